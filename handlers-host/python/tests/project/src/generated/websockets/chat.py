from __future__ import annotations

import datetime

from generated.dto.order_input import OrderInput
from generated.runtime import Bytes, Connection, Message


class ChatMessage(Message):
    data: OrderInput
    timestamp: datetime.datetime


class ChatConnection(Connection):
    pass


class BlobMessage(Message):
    data: Bytes
    timestamp: datetime.datetime


class BlobConnection(Connection):
    pass
