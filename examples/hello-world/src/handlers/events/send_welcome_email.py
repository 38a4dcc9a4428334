from generated.events.user_created import UserCreated
from generated.state import State


async def send_welcome_email(event: UserCreated, state: State) -> None:
    user = event.payload
    print(f"Sending welcome email to: {user.email}")
    state.trigger_event("WelcomeEmailSent", {"userId": user.id, "email": user.email})
