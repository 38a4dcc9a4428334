import asyncio

from generated.api.timeline_test_multi_step import TimelineTestMultiStepRequest, TimelineTestMultiStepResponse
from generated.state import State


async def handle_timeline_test_multi_step(
    req: TimelineTestMultiStepRequest, state: State
) -> TimelineTestMultiStepResponse:
    for step in range(1, 5):
        state.logger.info(f"step {step}")
        await asyncio.sleep(0.5)
    state.set_payload("StepOneCompleted", {"step": 1})
    state.set_payload("StepTwoCompleted", {"step": 2})
    state.trigger_event("StepThreeCompleted", {"step": 3})
    state.trigger_event("MultiStepCompleted", {"steps": 4})
    return TimelineTestMultiStepResponse(data="multi-step done")
