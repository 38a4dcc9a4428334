from handlers.events.orders import ship_order
