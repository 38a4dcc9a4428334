from generated.dto.step import Step
from generated.errors import Unavailable
from generated.events.step_three_completed import StepThreeCompleted
from generated.state import State


async def step_four(event: StepThreeCompleted, state: State) -> Step:
    if state.attempt == 1:
        raise Unavailable("the fourth step always needs a second attempt")
    step = event.payload
    return Step(number=step.number + 1, of=step.of, trail=[*step.trail, "four"])
