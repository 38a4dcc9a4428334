from generated.events.cleanup_completed import CleanupCompleted
from journal import note


async def log_cleanup(event: CleanupCompleted):
    note("log_cleanup", event.payload)
