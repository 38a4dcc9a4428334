import asyncio

from generated.dto.payment import Payment
from generated.dto.rejection import Rejection
from generated.errors import Reject, Retry
from generated.events.stock_reserved import StockReserved
from generated.models.order_status import OrderStatus
from generated.state import State
from shop import payments, store


async def authorize_payment(event: StockReserved, state: State) -> None:
    order = await asyncio.to_thread(store.order, event.payload.orderId)
    if order is None:
        raise Reject(f"order {event.payload.orderId} is gone")
    try:
        payment_id = await payments.authorize(order.id, order.total, order.payment)
    except payments.Pending as pending:
        raise Retry(str(pending), after="100ms") from pending
    except payments.Declined as declined:
        state.trigger_event("PaymentDeclined", Rejection(orderId=order.id, reason=str(declined)))
        return
    if await asyncio.to_thread(
        store.advance, order.id, OrderStatus.authorized, only_from={OrderStatus.reserved}
    ):
        payment = Payment(id=payment_id, orderId=order.id, amount=order.total, method=order.payment, captured=False)
        state.trigger_event("PaymentAuthorized", payment)
