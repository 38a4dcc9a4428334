from journal import note


async def release_stock(event):
    note("release_stock", event.payload.orderId)
