from generated.events.bottleneck_detected import BottleneckDetected
from generated.state import State


async def log_bottleneck(event: BottleneckDetected, state: State) -> None:
    operation = event.payload.get("operation", "unknown")
    state.logger.warning("bottleneck detected", operation=operation)
    state.trigger_event("BottleneckLogged", {"operation": operation})
