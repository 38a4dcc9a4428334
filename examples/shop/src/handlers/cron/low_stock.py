from typing import Any

from generated.dto.stock_level import StockLevel
from generated.state import State
from shop import store

ENOUGH = 10


def handle_low_stock(req: dict[str, Any], state: State) -> None:
    for product in store.products():
        available = product.onHand - product.reserved
        if available < ENOUGH:
            state.trigger_event("StockLow", StockLevel(sku=product.sku, available=available))
