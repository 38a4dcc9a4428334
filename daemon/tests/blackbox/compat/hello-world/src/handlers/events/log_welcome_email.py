from generated.events.welcome_email_sent import WelcomeEmailSent
from journal import note


async def log_welcome_email(event: WelcomeEmailSent):
    note("log_welcome_email", event.payload["email"])
