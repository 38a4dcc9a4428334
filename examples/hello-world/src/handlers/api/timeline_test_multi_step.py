import asyncio

from generated.api.timeline_test_multi_step import TimelineTestMultiStepRequest, TimelineTestMultiStepResponse
from generated.state import State

STEPS = 4


async def handle_timeline_test_multi_step(
    req: TimelineTestMultiStepRequest, state: State
) -> TimelineTestMultiStepResponse:
    for number in range(1, STEPS + 1):
        await asyncio.sleep(0.5)
        state.logger.info("prepared a step", number=number)
    state.set_payload("MultiStepStarted", {"number": 0, "of": STEPS, "trail": []})
    return TimelineTestMultiStepResponse(data="multi-step operation started")
