from __future__ import annotations

import datetime

from generated.dto.order_input import OrderInput
from generated.runtime import Event


class Ordered(Event):
    payload: OrderInput
    timestamp: datetime.datetime
