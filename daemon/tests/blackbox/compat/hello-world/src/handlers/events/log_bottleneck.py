from generated.events.bottleneck_detected import BottleneckDetected
from generated.state import State
from journal import note


async def log_bottleneck(event: BottleneckDetected, state: State):
    operation = event.payload.get("operation", "unknown")
    note("log_bottleneck", event.payload, operation)
    state.trigger_event("BottleneckLogged", {"operation": operation})
