"""What middlewares answer with.

Before a handler a middleware may return a ``Reply``, or the response class of an api: the handler isn't run then. After it, in its function
``<name>_after(context, response, state)``, it gets the ``Answer`` and may change it, or return another response instead.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping

import pydantic

from .runtime import Response

__all__ = ["Answer", "AnswerHeaders", "Reply"]

HeaderValue = typing.Union[str, typing.List[str]]


class Reply(Response):
    """An answer that a middleware gives by itself. As with the response of an api, the body is ``{"data": ...}``."""

    data: typing.Any = None
    status: typing.Optional[int] = pydantic.Field(default=200, ge=200, le=599, exclude=True)


class AnswerHeaders(MutableMapping[str, HeaderValue]):
    """Headers of an answer. Names are compared without regard to case; one that is sent several times has a list."""

    __slots__ = ("_values",)

    def __init__(self, headers: Mapping[str, HeaderValue] | Iterable[tuple[str, str]] = ()) -> None:
        self._values: typing.Dict[str, HeaderValue] = {}
        if isinstance(headers, Mapping):
            self.update(headers)
            return
        for name, value in headers:
            self.add(name, value)

    def add(self, name: str, value: str) -> None:
        """Send a header besides those of the same name."""
        name = name.lower()
        present = self._values.get(name)
        if present is None:
            self._values[name] = value
        else:
            self._values[name] = [*([present] if isinstance(present, str) else present), value]

    def pairs(self) -> list[tuple[str, str]]:
        """Names and values, one per line that is sent."""
        pairs: list[tuple[str, str]] = []
        for name, value in self._values.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            pairs.extend((name, _text(name, each)) for each in values)
        return pairs

    def __getitem__(self, name: str) -> HeaderValue:
        return self._values[name.lower()]

    def __setitem__(self, name: str, value: HeaderValue) -> None:
        self._values[name.lower()] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"AnswerHeaders({self._values!r})"


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return json.dumps(value)
    raise TypeError(f"the value of the response header {name[:60]!r} is neither text nor a number")


class Answer:
    """The answer to a request, as the handler and the middlewares after it have left it so far. All of it may be changed.

    ``data`` is what the handler replied: of a response class its ``data``, else the whole JSON body.
    """

    __slots__ = ("status", "headers", "_body", "_data", "_is_wrapped")

    def __init__(
        self,
        data: typing.Any = None,
        status: int = 200,
        headers: Mapping[str, HeaderValue] | Iterable[tuple[str, str]] = (),
    ) -> None:
        self.status = status
        self.headers = AnswerHeaders(headers)
        # JSON that nobody has looked at goes out as it came.
        self._body: typing.Optional[bytes] = None
        self._data = data
        self._is_wrapped = True

    @classmethod
    def received(cls, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """The worker makes one."""
        answer = cls(None, status, headers)
        answer._body = body
        return answer

    @property
    def data(self) -> typing.Any:
        """What the handler replied."""
        self._decode()
        return self._data

    @data.setter
    def data(self, data: typing.Any) -> None:
        self._decode()
        self._data = data

    def body(self, encode: Callable[[typing.Any], bytes]) -> bytes:
        """The JSON body; the worker asks for it."""
        if self._body is not None:
            return self._body
        return encode({"data": self._data} if self._is_wrapped else self._data)

    def _decode(self) -> None:
        if self._body is None:
            return
        body: typing.Any = json.loads(self._body) if self._body else None
        self._body = None
        self._is_wrapped = isinstance(body, dict) and body.keys() == {"data"}
        self._data = body["data"] if self._is_wrapped else body
