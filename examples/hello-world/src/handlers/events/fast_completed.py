from generated.events.fast_completed import FastCompleted


async def fast_completed(event: FastCompleted) -> None:
    print(f"Fast operation took {event.payload['duration']} ms")
