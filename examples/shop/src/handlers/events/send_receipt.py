from generated.events.order_placed import OrderPlaced


# Runs beside `reserve_stock`: handlers of one event don't wait for each other.
async def send_receipt(event: OrderPlaced) -> None:
    order = event.payload
    print(f"Receipt for {order.email}: {order.total.amount} {order.total.currency.value}")
