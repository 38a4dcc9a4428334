from typing import Union

from generated.dto.order_update import OrderUpdate
from generated.events.order_completed import OrderCompleted
from generated.events.order_shipped import OrderShipped
from generated.events.payment_captured import PaymentCaptured
from generated.models.order import Order
from generated.models.order_status import OrderStatus
from generated.state import State

# What each event means, whatever has happened to the order since.
_MEANS = {
    PaymentCaptured: OrderStatus.paid,
    OrderShipped: OrderStatus.shipped,
    OrderCompleted: OrderStatus.completed,
}


# One handler of several events: the class tells them apart.
def tell_customer(event: Union[PaymentCaptured, OrderShipped, OrderCompleted], state: State) -> None:
    payload = event.payload
    order_id = payload.id if isinstance(payload, Order) else payload.orderId
    state.ws.broadcast("OrderUpdates", OrderUpdate(orderId=order_id, status=_MEANS[type(event)]), room=order_id)
