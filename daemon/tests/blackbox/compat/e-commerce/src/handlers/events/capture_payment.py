from handlers.events.orders import capture_payment
