from generated.events.order_placed import OrderPlaced
from generated.events.order_shipped import OrderShipped
from generated.state import State


async def audit(event: OrderPlaced | OrderShipped, state: State) -> None:
    """Handles OrderPlaced, OrderShipped.

    Somebody bought something.
    """
    print(f"audit: {event.payload!r}")
