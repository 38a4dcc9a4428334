from generated.events.multi_step_completed import MultiStepCompleted
from journal import note


async def handle_log_second(event: MultiStepCompleted):
    note("log_second", event.payload)
