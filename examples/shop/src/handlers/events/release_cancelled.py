from generated.events.order_cancelled import OrderCancelled
from shop import store


def release_cancelled(event: OrderCancelled) -> None:
    store.release(event.payload.id)
