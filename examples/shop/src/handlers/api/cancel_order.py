from generated.api.cancel_order import CancelOrderRequest, CancelOrderResponse
from generated.errors import Conflict, NotFound
from generated.models.order_status import OrderStatus
from shop import store

EARLY = {OrderStatus.placed, OrderStatus.reserved, OrderStatus.authorized, OrderStatus.paid}


def handle_cancel_order(req: CancelOrderRequest) -> CancelOrderResponse:
    # `orderId` of the body was completed from the path.
    order_id = req.body.orderId
    found = store.order(order_id)
    if found is None:
        raise NotFound(f"there is no order {order_id}")
    cancelled = store.advance(order_id, OrderStatus.cancelled, only_from=EARLY, reason=req.body.reason)
    if cancelled is None:
        raise Conflict(f"the order is {found.status.value} already")
    return CancelOrderResponse(data=cancelled)
