from generated.events.stock_added import StockAdded
from generated.state import State


def log_stock(event: StockAdded, state: State) -> None:
    change = event.payload
    state.logger.info("stock added", sku=change.sku, quantity=change.quantity, on_hand=change.onHand)
