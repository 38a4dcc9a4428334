from generated.api.get_order import GetOrderRequest, GetOrderResponse
from generated.state import State


async def handle_get_order(req: GetOrderRequest, state: State) -> GetOrderResponse:
    """GET /orders/:id"""
    raise NotImplementedError("the handler of GET /orders/:id is not written yet")
