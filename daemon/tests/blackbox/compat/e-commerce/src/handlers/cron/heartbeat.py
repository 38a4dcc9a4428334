from journal import note


async def handle_heartbeat(req, state):
    beat = state.generate_id()
    note("heartbeat", beat)
    state.trigger_event("Restocked", beat)
