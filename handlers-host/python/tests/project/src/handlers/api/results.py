import collections
import dataclasses
import datetime
import decimal
import enum
import pathlib
import typing
import uuid

import pydantic
from generated.api.plain import PlainResponse
from generated.dto.order_input import Item


class Colour(enum.Enum):
    RED = "red"


class Level(str, enum.Enum):
    LOW = "low"


class Named(pydantic.BaseModel):
    from_: str = pydantic.Field(alias="from")
    when: datetime.datetime


@dataclasses.dataclass
class Point:
    x: int
    label: typing.Optional[uuid.UUID] = None


Pair = collections.namedtuple("Pair", "left right")

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
CYCLE: list = []
CYCLE.append(CYCLE)

VALUES = {
    "none": None,
    "true": True,
    "int": 7,
    "big": 2**70,
    "float": 1.5,
    "nan": float("nan"),
    "infinite": [float("inf"), {"x": float("-inf")}],
    "text": "grüße",
    "bytes": b"\x00\xff",
    "list": [1, [2, "x"]],
    "tuple": (1, 2),
    "dict": {"a": {"b": None}, 1: 2},
    "datetime": NOW,
    "date": NOW.date(),
    "delta": datetime.timedelta(seconds=90),
    "decimal": decimal.Decimal("1.10"),
    "uuid": ID,
    "enum": Colour.RED,
    "text_enum": Level.LOW,
    "path": pathlib.PurePosixPath("/tmp/x"),
    "set": {3},
    "model": Item(name="a", quantity=2),
    "alias": Named(**{"from": "me", "when": NOW}),
    "dataclass": Point(1, ID),
    "namedtuple": Pair(1, 2),
    "response": PlainResponse(data=Item(name="a", quantity=2)),
    "response_of_dict": PlainResponse(data={"when": NOW}),
    "nested": {"items": [Item(name="a", quantity=2), Point(2)], "at": {"now": NOW, "price": decimal.Decimal("2.50"), "c": Colour.RED}},
    "object": {"a": [1, {"b": object()}]},
    "function": print,
    "cycle": CYCLE,
    "surrogate": "\ud800",
    "in_model": PlainResponse(data={"deep": [object()]}),
}


async def handle_results(req):
    if req.body == "huge":
        return "x" * (65 << 20)
    return VALUES[req.body]


def handle_results_sync(req):
    return VALUES[req.body]
