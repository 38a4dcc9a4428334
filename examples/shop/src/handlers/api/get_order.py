from generated.api.get_order import GetOrderRequest, GetOrderResponse
from generated.errors import NotFound
from shop import store


def handle_get_order(req: GetOrderRequest) -> GetOrderResponse:
    order = store.order(req.orderId)
    if order is None:
        raise NotFound(f"there is no order {req.orderId}")
    return GetOrderResponse(data=order)
