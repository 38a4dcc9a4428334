"""Several handlers in one file; the files that the schema names take them from here."""

from generated.events.order_placed import OrderPlaced
from generated.events.payment_captured import PaymentCaptured
from generated.events.stock_reserved import StockReserved
from generated.models.order_summary import OrderSummary
from generated.state import State
from journal import note


async def reserve_stock(event: OrderPlaced, state: State):
    order = event.payload
    note("reserve_stock", order.id, [item.quantity for item in order.items], order.customer.address)
    summary = OrderSummary(orderId=order.id, total=order.total, items=len(order.items))
    state.trigger_event("StockReserved", summary.model_dump())


async def capture_payment(event: StockReserved, state: State):
    note("capture_payment", event.payload.orderId, event.payload.total)
    state.trigger_event("PaymentCaptured", event.payload.dict())


async def ship_order(event: PaymentCaptured, state: State):
    note("ship_order", event.payload.orderId)
