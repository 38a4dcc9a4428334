from generated.events.step_two_completed import StepTwoCompleted
from generated.state import State


async def step_three(event: StepTwoCompleted, state: State) -> str:
    step = event.payload
    state.set_payload("StepThreeCompleted", {"number": step.number + 1, "of": step.of, "trail": [*step.trail, "three"]})
    return "set_payload goes before this"
