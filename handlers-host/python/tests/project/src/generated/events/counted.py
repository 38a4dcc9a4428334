from __future__ import annotations

import datetime
import typing

from generated.runtime import Event


class Counted(Event):
    payload: typing.List[int]
    timestamp: datetime.datetime
