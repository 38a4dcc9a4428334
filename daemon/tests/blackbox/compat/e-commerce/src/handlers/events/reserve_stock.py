from handlers.events.orders import reserve_stock
