import asyncio

from generated.api.timeline_test_fast import TimelineTestFastRequest, TimelineTestFastResponse
from generated.state import State


async def handle_timeline_test_fast(req: TimelineTestFastRequest, state: State) -> TimelineTestFastResponse:
    await asyncio.sleep(0.05)
    # Also in `triggers:`, but emitted once: what a handler triggers itself isn't emitted for it again.
    state.trigger_event("FastCompleted", {"duration": 50, "label": req.query.label})
    return TimelineTestFastResponse(data="fast operation completed")
