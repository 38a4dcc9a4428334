from generated.events.stock_low import StockLow


def reorder(event: StockLow) -> None:
    print(f"Reorder {event.payload.sku}: {event.payload.available} are left")
