from generated.state import State
from generated.websockets.order_tracking import OrderTrackingConnection, OrderTrackingMessage


async def track_order(message: OrderTrackingMessage, connection: OrderTrackingConnection, state: State):
    return {"orderId": message.data.orderId, "for": connection.id, "number": state.generate_id()}
