import asyncio

from generated.dto.payment import Payment
from generated.errors import Reject
from generated.events.payment_authorized import PaymentAuthorized
from generated.models.order_status import OrderStatus
from shop import payments, store


# The payload of `PaymentCaptured` is what this returns.
async def capture_payment(event: PaymentAuthorized) -> Payment:
    payment = event.payload
    await payments.capture(payment.id)
    paid = await asyncio.to_thread(
        store.advance, payment.orderId, OrderStatus.paid, only_from={OrderStatus.authorized}
    )
    if paid is None:
        raise Reject(f"order {payment.orderId} was cancelled before it was paid")
    return payment.model_copy(update={"captured": True})
