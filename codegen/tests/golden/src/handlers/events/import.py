from generated.events.counted import Counted
from generated.state import State


async def handle_import(event: Counted, state: State) -> None:
    """Handles Counted."""
    print(f"import: {event.payload!r}")
