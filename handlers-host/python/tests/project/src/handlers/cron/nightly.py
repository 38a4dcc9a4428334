async def handle_nightly(req, state):
    state.trigger_event("Counted", [1])
    state.ws.broadcast("Chat", "it is night")
    return [req, req["scheduled_at"].utcoffset().total_seconds()]


def handle_bare():
    return "ran"
