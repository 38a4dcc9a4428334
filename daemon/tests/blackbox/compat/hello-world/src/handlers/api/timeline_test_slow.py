import asyncio

from generated.api.timeline_test_slow import TimelineTestSlowRequest, TimelineTestSlowResponse
from generated.state import State


async def handle_timeline_test_slow(req: TimelineTestSlowRequest, state: State) -> TimelineTestSlowResponse:
    state.logger.info("starting", seconds=2.0)
    await asyncio.sleep(2.0)
    state.set_payload("SlowCompleted", {"operation": "slow", "duration": 2000})
    return TimelineTestSlowResponse(data="slow done")
