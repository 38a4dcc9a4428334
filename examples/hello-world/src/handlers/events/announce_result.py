from generated.events.multi_step_completed import MultiStepCompleted


async def announce_result(event: MultiStepCompleted) -> None:
    print(f"All {event.payload.of} steps done: {', '.join(event.payload.trail)}")
