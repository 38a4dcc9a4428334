from datetime import datetime

from generated.api.get_order import GetOrderRequest, GetOrderResponse
from generated.models.order import Customer, Order


async def handle_get_order(req: GetOrderRequest) -> GetOrderResponse:
    order = Order(
        id=req.orderId, customer=Customer(email="a@x.io"), items=[], total=0, status="open", createdAt=datetime.now()
    )
    return GetOrderResponse(data=order)
