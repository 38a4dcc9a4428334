from generated.events.cleanup_done import CleanupDone
from generated.state import State


def report_cleanup(event: CleanupDone, state: State) -> None:
    print(f"The cleanup has removed {event.payload.removed} files")
    # To all who are connected, from whatever handler.
    state.ws.broadcast("HelloWorld", {"text": "cleaned up"})
