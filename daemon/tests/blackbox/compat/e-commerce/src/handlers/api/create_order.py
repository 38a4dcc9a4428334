from datetime import datetime

from generated.api.create_order import CreateOrderRequest, CreateOrderResponse
from generated.models.customer import Customer
# The original's examples import nested models from their parent's module, and types from models.
from generated.models.order import Order, OrderItem
from generated.state import State


async def handle_create_order(req: CreateOrderRequest, state: State) -> CreateOrderResponse:
    items = [OrderItem(productId=item.productId, quantity=item.quantity, price=9.5) for item in req.body.items]
    order = Order(
        id=str(state.generate_id()),
        customer=Customer(email=req.body.email),
        items=items,
        total=sum(item.quantity * 9.5 for item in items),
        status="pending",
        note=req.body.note,
        createdAt=datetime.now(),
    )
    return CreateOrderResponse(data=order)
