from generated.events.order_completed import OrderCompleted


async def send_goodbye(event: OrderCompleted) -> None:
    print(f"Thank you, {event.payload.email}: order {event.payload.id} is on its way")
