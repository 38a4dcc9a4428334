from journal import note


async def audit(event):
    note("audit", event.payload.id)
