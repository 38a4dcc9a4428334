from generated.events.order_placed import OrderPlaced
from journal import note


def notify_customer(event: OrderPlaced):
    note("notify_customer", event.payload.customer.email)
