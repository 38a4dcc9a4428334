from generated.websockets.order_tracking import OrderTrackingConnection


async def tracking_opened(connection: OrderTrackingConnection):
    return {"connected": connection.id}
