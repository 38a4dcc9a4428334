from generated.api.list_orders import ListOrdersRequest, ListOrdersResponse
from generated.dto.order_list import OrderList
from shop import store


def handle_list_orders(req: ListOrdersRequest) -> ListOrdersResponse:
    found = store.orders(req.query.status, req.query.email, req.query.limit)
    return ListOrdersResponse(data=OrderList(orders=found))
