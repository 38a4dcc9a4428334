from journal import note


async def log_timeline(event):
    note("log_timeline", type(event).__name__, event.payload)
