"""What the generated classes stand on. Handlers import the classes themselves, not this module.

The contract between this package and the worker that runs the handlers
-----------------------------------------------------------------------

**Validators.** ``adapter(cls, "body")`` gives the pydantic ``TypeAdapter`` of one declared field (``body`` and ``query`` of a
request, ``payload`` of an event, ``data`` of a message), exactly as annotated, arrays, maps and enums included. The worker
calls it once per handler at load and keeps ``adapter(...).validator.validate_json``.

**Instances.** All input was validated by the daemon, so the worker makes requests, events, messages and connections without
validating them again::

    instance = cls.__new__(cls)
    object.__setattr__(instance, "__dict__", {...})                   # exactly the fields listed below
    object.__setattr__(instance, "__pydantic_fields_set__", {...})    # a new set of their names
    object.__setattr__(instance, "__pydantic_extra__", None)
    object.__setattr__(instance, "__pydantic_private__", None)

- request: one ``str`` per path parameter under its attribute name (``cls.PATH_PARAMS`` holds ``(parameter, attribute)``
  pairs in the order of the path), ``body`` if ``"body" in cls.model_fields``, ``query`` if ``"query" in cls.model_fields``,
  ``query_params`` (a ``QueryParams``) and ``headers`` (a ``Headers``). ``path_params`` and ``cookies`` are computed.
- event: ``payload``, ``timestamp`` (an aware ``datetime``), ``event_id`` (``str``), ``key`` (``str`` or ``None``).
- WebSocket message: ``data``, ``timestamp``. Connection: ``connection_id``, ``path``, ``connected_at``, ``path_params`` (a dict), ``query_params``, ``headers``,
  ``client``, ``close_code`` and ``close_reason``. A middleware before a WebSocket gets a plain ``Connection``.
- ``QueryParams()`` starts empty: the worker puts in each name with its last value and, only if a name is repeated, sets
  ``_pairs`` to all ``(name, value)`` pairs in order.
- ``Headers``: the worker calls ``Headers.__new__(Headers)`` and sets ``_pairs`` to an iterable of ``(lower-case name, value)``
  pairs that can be iterated again and again. Nothing reads it before the handler asks for a header.

**State** (``generated.state``) is called with positional arguments in this order, all optional::

    State(handler_name, log_fn, id_fn, events, trace_id, attempt, encode)

- ``log_fn(handler_name, level, message, fields)``: ``level`` is one of trace debug info warn error, ``fields`` a dict.
- ``id_fn()`` returns the next integer id; ``events`` is the frozenset of declared event names.
- ``encode(payload)`` returns the payload as JSON ``bytes`` or raises. It is called inside ``trigger_event`` and ``set_payload``, so
  what the payload holds at that moment is what is emitted, and what can't be encoded fails on the user's own line.
- After the call the worker reads ``state._triggers``, a list of ``(event, payload, key or None, due)`` tuples in call order, ``due`` being when it
  becomes visible in milliseconds since 1970 (0: at once), and ``state._auto_payloads``, a dict of event to payload. The payloads are what ``encode`` returned.

- What ``state.ws`` does goes out at once: when the handlers are loaded the worker sets ``State.push_fn`` and ``State.websockets``, the frozenset of declared names.
  ``push_fn(action, targets)`` or ``push_fn(action, targets, data)`` takes the numbers and elements of the message ``push`` in the worker protocol; bytes are a binary frame, other data is
  serialised.

**Middlewares** get a dict whose ``query_params``, ``headers`` and ``connection`` are of the classes here and whose ``cookies`` are what ``cookies(text)`` returns. ``QueryParams`` that
come back from one are sent as ``all()`` says. After a handler they get
what ``generated.responses.Answer.received(status, pairs, body)`` makes; the worker then takes its ``status``, ``headers.pairs()`` and ``body(encode)``.

**Replies.** For an instance of ``Response`` the worker reads ``status`` (``int`` or ``None``) and ``headers`` (``None``, or a mapping of
name to one text or a list of texts) and serialises the instance, which leaves both out. Everything is serialised with
``by_alias=True``: names that Python doesn't allow carry their JSON name as alias.

**Errors** (``generated.errors``): see there for the attributes of a ``HandlerError``.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import typing
import uuid
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

import pydantic
import pydantic_core
from pydantic_core import core_schema

from .state import State

# A schema may call a field `copy` or `schema`. Those names are deprecated methods of pydantic models; the field wins.
warnings.filterwarnings("ignore", message=r'Field name "\w+" (in "\w+" )?shadows an attribute in parent "(Record|Request)"')


class Record(pydantic.BaseModel):
    """A JSON object declared in the schema."""

    model_config = pydantic.ConfigDict(
        from_attributes=True,
        populate_by_name=True,
        protected_namespaces=(),
        serialize_by_alias=True,
        ser_json_bytes="base64",
    )

    def dict(self, **options: typing.Any) -> typing.Dict[str, typing.Any]:
        """The same as ``model_dump``."""
        return self.model_dump(**options)

    def json(self, **options: typing.Any) -> str:
        """The same as ``model_dump_json``."""
        return self.model_dump_json(**options)


def _from_mapping(cls: typing.Any) -> core_schema.CoreSchema:
    def convert(value: typing.Any, handler: core_schema.ValidatorFunctionWrapHandler) -> typing.Any:
        return value if isinstance(value, cls) else cls(handler(value))

    return core_schema.no_info_wrap_validator_function(
        convert,
        core_schema.dict_schema(core_schema.str_schema(), core_schema.str_schema()),
        serialization=core_schema.plain_serializer_function_ser_schema(dict),
    )


class QueryParams(typing.Dict[str, str]):
    """Query parameters by name; of a repeated one the last value."""

    __slots__ = ("_pairs",)
    _pairs: Iterable[tuple[str, str]]

    def getlist(self, name: str) -> list[str]:
        """All values of a parameter in the order of the query string."""
        pairs: Iterable[tuple[str, str]] | None = getattr(self, "_pairs", None)
        if pairs is not None:
            return [value for key, value in pairs if key == name]
        return [self[name]] if name in self else []

    def all(self) -> typing.Dict[str, typing.Union[str, list[str]]]:
        """By name the value, or the list of all where the name is repeated; what was set by hand since is one value."""
        pairs: Iterable[tuple[str, str]] = getattr(self, "_pairs", ())
        repeated: dict[str, list[str]] = {}
        for name, value in pairs:
            repeated.setdefault(name, []).append(value)
        values: typing.Dict[str, typing.Union[str, list[str]]] = {}
        for name, value in self.items():
            given = repeated.get(name, [])
            values[name] = given if len(given) > 1 and given[-1] == value else value
        return values

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: typing.Any, handler: pydantic.GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return _from_mapping(cls)


class Headers(Mapping[str, str]):
    """Request headers. Names are compared without regard to case; repeated headers are joined with a comma."""

    __slots__ = ("_pairs", "_values")
    _pairs: Iterable[tuple[str, str]]
    _values: dict[str, str]

    def __init__(self, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        self._pairs = [(name.lower(), value) for name, value in pairs]

    def getlist(self, name: str) -> list[str]:
        """The values of a header, one per header line."""
        name = name.lower()
        return [value for key, value in self._pairs if key == name]

    def __getitem__(self, name: str) -> str:
        return self._joined()[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._joined()

    def __iter__(self) -> Iterator[str]:
        return iter(self._joined())

    def __len__(self) -> int:
        return len(self._joined())

    def __repr__(self) -> str:
        return f"Headers({self._joined()!r})"

    def _joined(self) -> dict[str, str]:
        try:
            return self._values
        except AttributeError:
            values: dict[str, str] = {}
            self._values = values
        for name, value in self._pairs:
            separator = "; " if name == "cookie" else ", "
            values[name] = f"{values[name]}{separator}{value}" if name in values else value
        return values

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: typing.Any, handler: pydantic.GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return _from_mapping(cls)


class Request(Record):
    """What an HTTP handler receives."""

    PATH_PARAMS: typing.ClassVar[tuple[tuple[str, str], ...]] = ()

    query_params: QueryParams = pydantic.Field(default_factory=QueryParams)
    headers: Headers = pydantic.Field(default_factory=Headers)

    @property
    def path_params(self) -> typing.Dict[str, str]:
        """The parameters of the path by name."""
        return {name: getattr(self, attribute) for name, attribute in self.PATH_PARAMS}

    @property
    def cookies(self) -> typing.Dict[str, str]:
        """The cookies by name; of a repeated one the first."""
        return cookies(self.headers.get("cookie", ""))


class Response(Record):
    """What an HTTP handler replies. Only ``data`` is the body; ``status`` and ``headers`` go beside it."""

    status: typing.Optional[int] = pydantic.Field(default=None, ge=100, le=599, exclude=True)
    headers: typing.Optional[Mapping[str, typing.Union[str, list[str]]]] = pydantic.Field(default=None, exclude=True)


class Event(Record):
    """What an event handler receives. ``event_id`` is the same for each attempt and each handler of the event."""

    event_id: typing.Optional[str] = pydantic.Field(default=None, exclude=True)
    key: typing.Optional[str] = pydantic.Field(default=None, exclude=True)


class Message(Record):
    """What a WebSocket handler receives and sends."""


class Connection(Record):
    """One client of a WebSocket. As JSON it is ``connection_id``, ``path`` and ``connected_at``; what the client sent along stays here."""

    connection_id: str
    #: As the schema has it.
    path: str
    connected_at: datetime.datetime
    path_params: typing.Dict[str, str] = pydantic.Field(default_factory=dict, exclude=True)
    query_params: QueryParams = pydantic.Field(default_factory=QueryParams, exclude=True)
    #: Of the request that opened the connection.
    headers: Headers = pydantic.Field(default_factory=Headers, exclude=True)
    #: The client's address.
    client: typing.Optional[str] = pydantic.Field(default=None, exclude=True)
    #: How the connection was closed, for ``onDisconnect``.
    close_code: typing.Optional[int] = pydantic.Field(default=None, exclude=True)
    close_reason: typing.Optional[str] = pydantic.Field(default=None, exclude=True)

    @property
    def id(self) -> str:
        """The same as ``connection_id``."""
        return self.connection_id

    @property
    def cookies(self) -> typing.Dict[str, str]:
        """The cookies by name; of a repeated one the first."""
        return cookies(self.headers.get("cookie", ""))


In = typing.TypeVar("In")
Subject = typing.TypeVar("Subject")
Out = typing.TypeVar("Out")

# A handler may be `async def` or `def` and takes as many of its parameters as it needs.
_Result = typing.Union[Awaitable[Out], Out]
Handler = typing.Union[
    Callable[[In, State], _Result[Out]],
    Callable[[In], _Result[Out]],
    Callable[[], _Result[Out]],
]
MessageHandler = typing.Union[
    Callable[[In, Subject, State], _Result[typing.Any]],
    Callable[[Subject, State], _Result[typing.Any]],
    Callable[[Subject], _Result[typing.Any]],
    Callable[[], _Result[typing.Any]],
]


def cookies(header: str) -> typing.Dict[str, str]:
    """What a cookie header says, by name; of a repeated one the first."""
    by_name: typing.Dict[str, str] = {}
    for crumb in header.split(";"):
        name, equals, value = crumb.partition("=")
        if equals:
            by_name.setdefault(name.strip(), value.strip().strip('"'))
    return by_name


def adapter(cls: type[pydantic.BaseModel], field: str) -> pydantic.TypeAdapter[typing.Any]:
    """The type adapter of one field of a generated class, as annotated."""
    return pydantic.TypeAdapter(typing.get_type_hints(cls, include_extras=True)[field])


def now() -> datetime.datetime:
    """``@default(now)``"""
    return datetime.datetime.now(datetime.timezone.utc)


def now_text() -> str:
    """``@default(now)`` of a ``String``"""
    return now().isoformat(timespec="microseconds")


def new_uuid() -> str:
    """``@default(uuid)``"""
    return str(uuid.uuid4())


_DATE_TIME: pydantic.TypeAdapter[datetime.datetime] = pydantic.TypeAdapter(datetime.datetime)


def date_time(text: str) -> datetime.datetime:
    """A ``DateTime`` from its RFC 3339 text."""
    return _DATE_TIME.validate_python(text)


def from_base64(value: typing.Any) -> typing.Any:
    """``Bytes`` from base64 text, standard or URL-safe; other values are returned as they are."""
    if not isinstance(value, str):
        return value
    text = value.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise pydantic_core.PydanticCustomError("base64", "not base64: {error}", {"error": str(error)}) from error


def to_base64(value: bytes) -> str:
    """``Bytes`` as they stand in JSON."""
    return base64.b64encode(value).decode("ascii")


class _Base64:
    def __get_pydantic_core_schema__(
        self, source: typing.Any, handler: pydantic.GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        serialization = core_schema.plain_serializer_function_ser_schema(to_base64, when_used="json")
        return core_schema.no_info_before_validator_function(from_base64, handler(source), serialization=serialization)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> typing.Dict[str, typing.Any]:
        return {"type": "string", "contentEncoding": "base64"}


Bytes = typing.Annotated[bytes, _Base64()]
