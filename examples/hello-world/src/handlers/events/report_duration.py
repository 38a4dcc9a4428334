from typing import Union

from generated.events.slow_completed import SlowCompleted
from generated.events.very_slow_completed import VerySlowCompleted
from generated.state import State


# One handler may serve several events.
async def report_duration(event: Union[SlowCompleted, VerySlowCompleted], state: State) -> None:
    state.logger.info("operation completed", **event.payload)
