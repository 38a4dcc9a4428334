from __future__ import annotations

import typing

import pydantic

from generated.dto.order_input import Filter, OrderInput
from generated.runtime import Request, Response


class PlaceRequest(Request):
    PATH_PARAMS: typing.ClassVar[tuple[tuple[str, str], ...]] = (("region", "region"), ("class", "class_"))

    region: str
    class_: str = pydantic.Field(alias="class")
    body: OrderInput
    query: Filter


class PlaceResponse(Response):
    data: OrderInput
