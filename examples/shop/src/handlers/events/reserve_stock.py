from generated.dto.rejection import Rejection
from generated.dto.reservation import Reservation
from generated.events.order_placed import OrderPlaced
from generated.models.order_status import OrderStatus
from generated.state import State
from shop import store


# What comes next depends on the outcome, so it is triggered here and doesn't stand in `triggers:`.
def reserve_stock(event: OrderPlaced, state: State) -> None:
    order = event.payload
    try:
        store.reserve(order.id, order.lines)
    except store.OutOfStock as shortage:
        state.logger.warning("not enough in stock", order=order.id, shortage=str(shortage))
        state.trigger_event("StockRejected", Rejection(orderId=order.id, reason=str(shortage)))
        return
    if store.advance(order.id, OrderStatus.reserved, only_from={OrderStatus.placed}) is None:
        store.release(order.id)  # cancelled meanwhile
        return
    state.trigger_event("StockReserved", Reservation(orderId=order.id, lines=order.lines))
