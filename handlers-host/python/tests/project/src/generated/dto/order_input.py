from __future__ import annotations

import datetime
import typing

from generated.runtime import Record


class Item(Record):
    name: str
    quantity: int


class OrderInput(Record):
    email: str
    items: typing.List[Item]
    placed: typing.Optional[datetime.datetime] = None


class Filter(Record):
    limit: int
    tag: typing.List[str] = []
