"""What a handler can do besides returning: emit events, log, make ids.

In unit tests ``State()`` works by itself: it collects what the handler triggers and sends its log to Python's ``logging``.
How the worker makes a ``State`` and what it reads afterwards is written in ``generated.runtime``.
"""

from __future__ import annotations

import copy
import datetime
import difflib
import json
import logging
import re
import threading
import time
import typing
from collections.abc import Callable

import pydantic

__all__ = ["Logger", "Sent", "State", "TriggeredEvent", "UndeclaredEvent", "UndeclaredWebSocket", "WebSockets"]

LogFn = Callable[[typing.Optional[str], str, str, typing.Dict[str, typing.Any]], typing.Any]
PushFn = Callable[..., None]
Delay = typing.Union[int, float, str, datetime.timedelta]


class UndeclaredEvent(ValueError):
    """An event was triggered that the schema doesn't declare."""


class UndeclaredWebSocket(ValueError):
    """A broadcast to a WebSocket that the schema doesn't declare."""


class TriggeredEvent(pydantic.BaseModel):
    """One call of ``State.trigger_event``."""

    event_name: str
    payload: typing.Any
    key: typing.Optional[str] = None
    #: When it becomes visible; ``None`` for at once.
    due: typing.Optional[datetime.datetime] = None


class Sent(pydantic.BaseModel):
    """One call of ``state.ws.send`` or, without a ``connection_id``, of ``state.ws.broadcast``."""

    data: typing.Any
    connection_id: typing.Optional[str] = None
    ws_name: typing.Optional[str] = None
    room: typing.Optional[str] = None
    exclude: typing.Optional[str] = None


class Logger:
    """Log lines that belong to the handler's trace. Keyword arguments become fields."""

    __slots__ = ("_handler_name", "_log_fn")

    def __init__(self, handler_name: typing.Optional[str] = None, log_fn: typing.Optional[LogFn] = None) -> None:
        self._handler_name = handler_name
        self._log_fn = log_fn

    def trace(self, message: object, **fields: typing.Any) -> None:
        """Log the finest detail."""
        self._log("trace", message, fields)

    def debug(self, message: object, **fields: typing.Any) -> None:
        """Log what helps to find a bug."""
        self._log("debug", message, fields)

    def info(self, message: object, **fields: typing.Any) -> None:
        """Log that something happened."""
        self._log("info", message, fields)

    def warning(self, message: object, **fields: typing.Any) -> None:
        """Log that something is odd."""
        self._log("warn", message, fields)

    warn = warning

    def error(self, message: object, **fields: typing.Any) -> None:
        """Log that something failed."""
        self._log("error", message, fields)

    def _log(self, level: str, message: object, fields: typing.Dict[str, typing.Any]) -> None:
        if self._log_fn is not None:
            self._log_fn(self._handler_name, level, str(message), fields)
            return
        text = " ".join([str(message), *(f"{name}={value!r}" for name, value in fields.items())])
        logging.getLogger(f"rohas.{self._handler_name or 'handler'}").log(_LEVELS[level], "%s", text)


class WebSockets:
    """Reaches the clients of WebSockets from any handler, at once and in the order of the calls, even if the handler fails later.

    ``data`` is a model, dict, list or scalar, which is sent as JSON in a text frame, or ``bytes``, which are a binary frame. A connection that has gone is no error.
    In unit tests ``sent``, ``joined``, ``left`` and ``closed`` collect what was done.
    """

    __slots__ = ("_push_fn", "_names", "sent", "joined", "left", "closed")

    def __init__(
        self,
        push_fn: typing.Optional[PushFn] = None,
        names: typing.Optional[typing.FrozenSet[str]] = None,
    ) -> None:
        self._push_fn = push_fn
        self._names = names
        self.sent: typing.List[Sent] = []
        #: Connections and rooms.
        self.joined: typing.List[typing.Tuple[str, str]] = []
        self.left: typing.List[typing.Tuple[str, str]] = []
        #: Connections, codes and reasons.
        self.closed: typing.List[typing.Tuple[str, int, str]] = []

    def send(self, connection_id: str, data: typing.Any) -> None:
        """Send a message to one client."""
        if self._push_fn is not None:
            self._push_fn(_SEND, (_text("connection_id", connection_id),), data)
        else:
            self.sent.append(Sent(data=copy.deepcopy(data), connection_id=connection_id))

    def broadcast(
        self,
        ws_name: str,
        data: typing.Any,
        room: typing.Optional[str] = None,
        exclude: typing.Optional[str] = None,
    ) -> None:
        """Send a message to all clients of a WebSocket, or those in a room of it, but not to the connection ``exclude``."""
        if self._names is not None and ws_name not in self._names:
            raise UndeclaredWebSocket(_unknown("WebSocket", ws_name, self._names))
        if self._push_fn is not None:
            targets = (ws_name, _text_or_none("room", room), _text_or_none("exclude", exclude))
            self._push_fn(_BROADCAST, targets, data)
        else:
            self.sent.append(Sent(data=copy.deepcopy(data), ws_name=ws_name, room=room, exclude=exclude))

    def join(self, connection_id: str, room: str) -> None:
        """Put a client into a room of its WebSocket, for ``broadcast``. A client may be in 1000 and leaves them when it goes."""
        if len(_text("room", room).encode()) > _LONGEST_ROOM:
            raise ValueError(f"a room's name has at most {_LONGEST_ROOM} bytes")
        if self._push_fn is not None:
            self._push_fn(_JOIN, (_text("connection_id", connection_id), room))
        else:
            self.joined.append((connection_id, room))

    def leave(self, connection_id: str, room: str) -> None:
        """Take a client out of a room."""
        if self._push_fn is not None:
            self._push_fn(_LEAVE, (_text("connection_id", connection_id), _text("room", room)))
        else:
            self.left.append((connection_id, room))

    def close(self, connection_id: str, code: int = 1000, reason: str = "") -> None:
        """Close a connection, with 1000 or a code of your own from 3000 to 4999, and at most 123 bytes of reason."""
        if code not in _CLOSE_CODES and not 3000 <= code <= 4999:
            raise ValueError(f"a connection is closed with 1000 to 1003, 1007 to 1014 or 3000 to 4999, not {code!r}")
        if len(reason.encode()) > _LONGEST_REASON:
            raise ValueError(f"a close reason has at most {_LONGEST_REASON} bytes, not {len(reason.encode())}")
        if self._push_fn is not None:
            self._push_fn(_CLOSE, (_text("connection_id", connection_id), code, reason))
        else:
            self.closed.append((connection_id, code, reason))


class State:
    """One call of one handler."""

    #: Set by the worker for all calls; in unit tests there is none.
    push_fn: typing.ClassVar[typing.Optional[PushFn]] = None
    #: The names of all declared WebSockets, set by the worker.
    websockets: typing.ClassVar[typing.Optional[typing.FrozenSet[str]]] = None

    _ws: WebSockets

    # `__dict__` is there for handlers that keep something of their own on the state; it costs nothing until then.
    __slots__ = (
        "handler_name",
        "trace_id",
        "attempt",
        "_log_fn",
        "_id_fn",
        "_events",
        "_encode",
        "_logger",
        "_triggers",
        "_auto_payloads",
        "_ws",
        "__dict__",
    )

    def __init__(
        self,
        handler_name: typing.Optional[str] = None,
        log_fn: typing.Optional[LogFn] = None,
        id_fn: typing.Optional[Callable[[], int]] = None,
        events: typing.Optional[typing.FrozenSet[str]] = None,
        trace_id: str = "",
        attempt: int = 1,
        encode: typing.Optional[Callable[[typing.Any], bytes]] = None,
    ) -> None:
        self.handler_name = handler_name
        #: The trace this call belongs to, 32 hexadecimal digits.
        self.trace_id = trace_id
        #: 1 at first, one more each time an event is tried again.
        self.attempt = attempt
        self._log_fn = log_fn
        self._id_fn = id_fn
        self._events = events
        self._encode = encode
        self._logger: typing.Optional[Logger] = None
        # Event, payload, key, and when it is due in milliseconds since 1970, 0 for at once.
        self._triggers: typing.List[typing.Tuple[str, typing.Any, typing.Optional[str], int]] = []
        self._auto_payloads: typing.Dict[str, typing.Any] = {}

    @property
    def logger(self) -> Logger:
        """The log of this call."""
        logger = self._logger
        if logger is None:
            logger = self._logger = Logger(self.handler_name, self._log_fn)
        return logger

    @property
    def ws(self) -> WebSockets:
        """The clients of WebSockets."""
        try:
            return self._ws
        except AttributeError:
            # Few handlers ask for it, so that not every call makes one.
            self._ws = WebSockets(type(self).push_fn, type(self).websockets)
            return self._ws

    def trigger_event(
        self,
        event_name: str,
        payload: typing.Any = None,
        key: typing.Union[str, int, None] = None,
        delay: typing.Optional[Delay] = None,
        at: typing.Optional[datetime.datetime] = None,
    ) -> None:
        """Emit an event once this handler has succeeded.

        ``payload`` is a model, dict, list or scalar that fits the event's payload type, as it is at the time of this call. Events with the same ``key`` are
        handled in order; without it the event's ``key:`` in the schema decides.

        ``delay`` (a number of seconds, a text such as ``"10m"``, or a timedelta, counted from this call) or ``at`` (a datetime with a time zone; one that
        has passed means at once) makes it wait, for 365 days at most.
        """
        if self._events is not None and event_name not in self._events:
            raise _undeclared(event_name, self._events)
        due = 0 if delay is None and at is None else _due(delay, at)
        self._triggers.append((event_name, self._snapshot(payload), None if key is None else str(key), due))

    def set_payload(self, event_name: str, payload: typing.Any) -> None:
        """Set what an event in the ``triggers:`` of this handler's declaration carries, instead of the handler's result."""
        if self._events is not None and event_name not in self._events:
            raise _undeclared(event_name, self._events)
        self._auto_payloads[event_name] = self._snapshot(payload)

    def get_triggers(self) -> typing.List[TriggeredEvent]:
        """What ``trigger_event`` was called with so far."""
        return [
            TriggeredEvent(
                event_name=event_name,
                payload=self._restore(payload),
                key=key,
                due=_EPOCH + datetime.timedelta(milliseconds=due) if due else None,
            )
            for event_name, payload, key, due in self._triggers
        ]

    def get_auto_trigger_payload(self, event_name: str) -> typing.Any:
        """What ``set_payload`` set for an event, or ``None``."""
        return self.get_all_auto_trigger_payloads().get(event_name)

    def get_all_auto_trigger_payloads(self) -> typing.Dict[str, typing.Any]:
        """What ``set_payload`` set, by event."""
        return {event_name: self._restore(payload) for event_name, payload in self._auto_payloads.items()}

    def generate_id(self) -> int:
        """An integer that no other call gets, larger than those before and below 2**53."""
        return next_id() if self._id_fn is None else self._id_fn()

    def _snapshot(self, payload: typing.Any) -> typing.Any:
        return copy.deepcopy(payload) if self._encode is None else self._encode(payload)

    def _restore(self, payload: typing.Any) -> typing.Any:
        return copy.deepcopy(payload) if self._encode is None else json.loads(payload)


def milliseconds(delay: Delay) -> int:
    """A delay in milliseconds: a number of seconds, a text such as ``"1h30m"``, or a timedelta."""
    if isinstance(delay, datetime.timedelta):
        seconds = delay.total_seconds()
    elif isinstance(delay, str):
        seconds = _seconds(delay)
    elif isinstance(delay, (int, float)) and not isinstance(delay, bool):
        seconds = delay
    else:
        raise TypeError(f"a delay is a number of seconds, a text such as '10m' or a timedelta, not {delay!r}")
    if not 0 <= seconds <= _LONGEST_DELAY:
        raise ValueError(f"a delay is between 0 and 365 days, not {delay!r}")
    return round(seconds * 1000)


def next_id() -> int:
    """The next id outside of a worker: the time in milliseconds and a counter."""
    global _last_id
    with _id_lock:
        since_2020 = int(time.time() * 1000) - 1_577_836_800_000
        _last_id = max(_last_id + 1, (since_2020 << 12) & (2**53 - 1))
        return _last_id


def _due(delay: typing.Optional[Delay], at: typing.Optional[datetime.datetime]) -> int:
    now = int(time.time() * 1000)
    if at is None:
        wait = 0 if delay is None else milliseconds(delay)
        return now + wait if wait else 0
    if delay is not None:
        raise TypeError("an event waits for a delay or until a time, not both: leave out delay= or at=")
    if not isinstance(at, datetime.datetime):
        raise TypeError(f"at= is a datetime with a time zone, not {at!r}")
    if at.utcoffset() is None:
        raise ValueError(f"at= needs a time zone, such as tzinfo=datetime.timezone.utc, not {at!r}")
    due = (at - _EPOCH) // datetime.timedelta(milliseconds=1)
    if due - now > _LONGEST_DELAY * 1000:
        raise ValueError(f"at= is at most 365 days ahead, not {at!r}")
    return due if due > now else 0


def _seconds(text: str) -> float:
    parts = _DURATION_PART.findall(text)
    if not parts or _DURATION_PART.sub("", text).strip():
        raise ValueError(f"{text!r} is no duration: write it as '200ms', '30s', '10m', '2h', '1d' or '1h30m'")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _undeclared(event_name: str, events: typing.FrozenSet[str]) -> UndeclaredEvent:
    return UndeclaredEvent(_unknown("event", event_name, events))


def _unknown(kind: str, name: str, declared: typing.FrozenSet[str]) -> str:
    close = difflib.get_close_matches(name, declared, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    known = ", ".join(sorted(declared)) or "none"
    return f"the schema declares no {kind} {name!r}{hint} (declared: {known})"


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is a text, not {value!r}")
    return value


def _text_or_none(name: str, value: object) -> typing.Optional[str]:
    return None if value is None else _text(name, value)


# The actions of the message `push` in the worker protocol.
_SEND, _BROADCAST, _JOIN, _LEAVE, _CLOSE = range(5)

# Those that a server may send; 1004 to 1006 and 1015 are never on the wire.
_CLOSE_CODES = frozenset([1000, 1001, 1002, 1003, *range(1007, 1015)])
_LONGEST_REASON = 123
_LONGEST_ROOM = 256


_LEVELS = {"trace": 5, "debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_LONGEST_DELAY = 365 * 86_400
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_id_lock = threading.Lock()
_last_id = 0
