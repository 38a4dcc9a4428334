from __future__ import annotations

import typing

from generated.runtime import Request, Response


class PlainRequest(Request):
    body: typing.Any


class PlainResponse(Response):
    data: typing.Any


class EmptyRequest(Request):
    pass
