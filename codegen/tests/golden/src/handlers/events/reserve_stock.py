from generated.events.order_placed import OrderPlaced
from generated.state import State


async def reserve_stock(event: OrderPlaced, state: State) -> None:
    """Handles OrderPlaced.

    Somebody bought something.
    """
    print(f"reserve_stock: {event.payload!r}")
