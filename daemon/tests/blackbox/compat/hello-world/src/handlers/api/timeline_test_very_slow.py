import asyncio

from generated.api.timeline_test_very_slow import TimelineTestVerySlowRequest, TimelineTestVerySlowResponse
from generated.state import State


async def handle_timeline_test_very_slow(req: TimelineTestVerySlowRequest, state: State) -> TimelineTestVerySlowResponse:
    state.logger.info("starting", seconds=6.0)
    await asyncio.sleep(6.0)
    state.set_payload("VerySlowCompleted", {"operation": "very_slow", "duration": 6000})
    return TimelineTestVerySlowResponse(data="very_slow done")
