from generated.api.create_order import CreateOrderRequest, CreateOrderResponse
from generated.state import State


async def handle_create_order(req: CreateOrderRequest, state: State) -> CreateOrderResponse:
    """POST /shops/{region}/orders

    Places an order.
    """
    raise NotImplementedError("the handler of POST /shops/{region}/orders is not written yet")
