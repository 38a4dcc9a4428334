from generated.errors import Reject
from generated.events.order_shipped import OrderShipped
from generated.models.order import Order
from generated.models.order_status import OrderStatus
from generated.state import State
from shop import store


def complete_order(event: OrderShipped, state: State) -> Order:
    shipment = event.payload
    order = store.advance(shipment.orderId, OrderStatus.completed, only_from={OrderStatus.shipped})
    if order is None:
        raise Reject(f"order {shipment.orderId} is not under way")
    state.logger.info("order completed", order=order.id, tracking=shipment.trackingCode)
    return order
