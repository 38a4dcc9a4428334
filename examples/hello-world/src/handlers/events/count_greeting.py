from generated.events.greeted import Greeted
from generated.state import State


def count_greeting(event: Greeted, state: State) -> None:
    state.logger.info("greeted", text=event.payload.text, tone=event.payload.tone.value)
