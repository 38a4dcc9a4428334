from generated.events.manual_trigger import ManualTrigger


async def manual_trigger(event: ManualTrigger) -> None:
    print(f"Manual trigger says: {event.payload}")
