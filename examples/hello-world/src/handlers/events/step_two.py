from generated.events.step_one_completed import StepOneCompleted


# A dict does as well, as long as it fits the type.
def step_two(event: StepOneCompleted) -> dict[str, object]:
    step = event.payload
    return {"number": step.number + 1, "of": step.of, "trail": [*step.trail, "two"]}
