from generated.events.multi_step_completed import MultiStepCompleted
from journal import note


async def log_first(event: MultiStepCompleted):
    note("log_first", event.payload)
    raise Exception("the first one always fails")
