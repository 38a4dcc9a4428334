from generated.events.welcome_email_sent import WelcomeEmailSent
from generated.state import State


def handle_record_email(event: WelcomeEmailSent, state: State) -> None:
    state.logger.info("recorded a welcome email", email=event.payload["email"])
    state.trigger_event("EmailRecorded", {"id": state.generate_id(), "event": event.event_id})
