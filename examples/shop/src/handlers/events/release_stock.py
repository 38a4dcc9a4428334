from generated.dto.rejection import Rejection
from generated.events.payment_declined import PaymentDeclined
from shop import store


def release_stock(event: PaymentDeclined) -> Rejection:
    store.release(event.payload.orderId)
    return event.payload
