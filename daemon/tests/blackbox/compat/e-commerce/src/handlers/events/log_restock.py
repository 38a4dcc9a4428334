from journal import note


async def log_restock(event):
    note("log_restock", event.payload)
