from generated.events.multi_step_completed import MultiStepCompleted
from generated.state import State


# The second handler of the event: it has its own attempts, whatever becomes of the first one.
def archive_result(event: MultiStepCompleted, state: State) -> None:
    state.logger.info("archived", trail=event.payload.trail)
