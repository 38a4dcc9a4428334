from generated.api.cancel_order import CancelOrderRequest, CancelOrderResponse
from generated.models.order_summary import OrderSummary
from generated.state import State


async def handle_cancel_order(req: CancelOrderRequest, state: State) -> CancelOrderResponse:
    state.logger.info("cancelling", order=req.body.orderId, reason=req.body.reason)
    return CancelOrderResponse(data=OrderSummary(orderId=req.body.orderId, total=0, items=0))
