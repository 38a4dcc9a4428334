from generated.dto.step import Step
from generated.events.multi_step_started import MultiStepStarted


# What a handler returns is the payload of the next event, which stands in `triggers:` of this one.
async def step_one(event: MultiStepStarted) -> Step:
    step = event.payload
    return Step(number=step.number + 1, of=step.of, trail=[*step.trail, "one"])
