from generated.dto.order_update import OrderUpdate
from generated.errors import NotFound
from generated.state import State
from generated.websockets.order_updates import OrderUpdatesConnection
from shop import store


# Everybody who watches an order is in the room of that name.
def watch_order(connection: OrderUpdatesConnection, state: State) -> OrderUpdate:
    order_id = connection.path_params["orderId"]
    state.ws.join(connection.connection_id, order_id)
    # Read after joining, so that no change is missed in between.
    order = store.order(order_id)
    if order is None:
        raise NotFound(f"there is no order {order_id}")
    return OrderUpdate(orderId=order.id, status=order.status)
