from generated.events.user_created import UserCreated
from generated.state import State


async def send_welcome_email(event: UserCreated, state: State) -> None:
    state.logger.info("welcome", name=event.payload.name, email=event.payload.email)
