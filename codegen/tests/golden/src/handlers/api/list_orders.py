from generated.api.list_orders import ListOrdersRequest, ListOrdersResponse
from generated.state import State


async def handle_list_orders(req: ListOrdersRequest, state: State) -> ListOrdersResponse:
    """GET /orders"""
    raise NotImplementedError("the handler of GET /orders is not written yet")
