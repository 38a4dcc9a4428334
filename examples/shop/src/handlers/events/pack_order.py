from generated.dto.shipment import Shipment
from generated.errors import Reject
from generated.events.payment_captured import PaymentCaptured
from generated.models.order_status import OrderStatus
from generated.state import State
from shop import store


def pack_order(event: PaymentCaptured, state: State) -> Shipment:
    order = store.advance(event.payload.orderId, OrderStatus.packed, only_from={OrderStatus.paid})
    if order is None:
        raise Reject(f"order {event.payload.orderId} was cancelled before it was packed")
    store.take(order.id)
    return Shipment(orderId=order.id, parcel=state.generate_id(), shipTo=order.shipTo)
