import uuid
from datetime import datetime, timezone

from generated.api.place_order import PlaceOrderRequest, PlaceOrderResponse
from generated.dto.money import Money
from generated.dto.order_input import OrderInput
from generated.errors import Conflict, InvalidInput
from generated.models.currency import Currency
from generated.models.order import Order
from generated.models.order_line import OrderLine
from generated.models.order_status import OrderStatus
from generated.state import State
from shop import store


def handle_place_order(req: PlaceOrderRequest, state: State) -> PlaceOrderResponse:
    lines = _price(req.body)
    order = Order(
        id=str(uuid.uuid4()),
        region=req.region,
        email=req.body.email,
        status=OrderStatus.placed,
        lines=lines,
        total=Money(amount=sum(line.unitPrice.amount * line.quantity for line in lines), currency=Currency.EUR),
        shipTo=req.body.shipTo,
        payment=req.body.payment,
        note=req.body.note,
        tags=req.body.tags or {},
        createdAt=datetime.now(timezone.utc),
    )
    if not store.add_order(order, req.headers.get("idempotency-key")):
        raise Conflict("an order was placed with this Idempotency-Key before", code="repeated_key")
    state.logger.info("order placed", order=order.id, total=order.total.amount)
    return PlaceOrderResponse(data=order, headers={"location": f"/orders/{order.id}"})


def _price(body: OrderInput) -> list[OrderLine]:
    lines = []
    unknown = []
    for index, line in enumerate(body.lines):
        product = store.product(line.sku)
        if product is None:
            path = ["lines", index, "sku"]
            unknown.append({"path": path, "code": "unknown_sku", "message": f"there is no product {line.sku}"})
            continue
        lines.append(OrderLine(sku=product.sku, name=product.name, quantity=line.quantity, unitPrice=product.price))
    if unknown:
        raise InvalidInput("some products do not exist", details=unknown)
    return lines
