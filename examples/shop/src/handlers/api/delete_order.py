from generated.api.delete_order import DeleteOrderRequest
from generated.errors import Conflict, NotFound
from generated.models.order_status import OrderStatus
from shop import store

FINISHED = {OrderStatus.completed, OrderStatus.cancelled, OrderStatus.rejected}


def handle_delete_order(req: DeleteOrderRequest) -> None:
    order = store.order(req.orderId)
    if order is None:
        raise NotFound(f"there is no order {req.orderId}")
    if order.status not in FINISHED:
        raise Conflict(f"the order is {order.status.value}; only finished orders can be deleted")
    store.delete_order(req.orderId)
