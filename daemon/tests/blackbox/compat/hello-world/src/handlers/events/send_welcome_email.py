from generated.events.user_created import UserCreated
from generated.state import State
from journal import note


async def send_welcome_email(event: UserCreated, state: State):
    print(f"Sending welcome email to: {event.payload.email}")
    note("send_welcome_email", event.payload.model_dump(mode="json"))
    state.trigger_event("WelcomeEmailSent", {"email": event.payload.email})
