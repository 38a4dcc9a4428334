from typing import Union

from generated.events.stock_rejected import StockRejected
from generated.events.stock_released import StockReleased
from generated.models.order_status import OrderStatus
from generated.state import State
from shop import store

OPEN = {OrderStatus.placed, OrderStatus.reserved}


def reject_order(event: Union[StockRejected, StockReleased], state: State) -> None:
    rejection = event.payload
    if store.advance(rejection.orderId, OrderStatus.rejected, only_from=OPEN, reason=rejection.reason):
        state.logger.warning("order rejected", order=rejection.orderId, reason=rejection.reason)
