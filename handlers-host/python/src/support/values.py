"""Turns what handlers return and emit into JSON."""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping

try:
    import pydantic_core
except ImportError:
    # No handler can be loaded then, and the loader says why.
    pydantic_core = None


class UnserializableResult(TypeError):
    """What a handler returned or emitted has no JSON form."""


def log_fields(fields):
    """The fields of a log line as JSON; what JSON doesn't know becomes its `repr`."""
    if pydantic_core is None:
        return json.dumps(fields, default=repr)
    try:
        return pydantic_core.to_json(fields, inf_nan_mode="null", bytes_mode="base64", fallback=repr).decode()
    except Exception:
        return json.dumps({str(name): repr(value) for name, value in fields.items()})


def encode(payload):
    """An event's payload as JSON."""
    try:
        return to_json(payload)
    except Exception as error:
        raise UnserializableResult(explain(payload, error)) from error


class WrongResult(TypeError):
    """A handler returned something that its kind of handler can't return."""

    code = "wrong_result"


class WrongAnswer(WrongResult):
    """What runs after a handler left an answer that can't be sent."""

    code = "invalid_reply"


def settle(result, answer):
    """What becomes of the answer to a request when a middleware has looked at it: status, pairs of headers, body, and whether it is another one."""
    if result is None or result is answer:
        return _status(answer.status), _pairs(answer.headers), _body(answer), False
    if not hasattr(result, "status") or not hasattr(result, "headers"):
        kind = type(result).__name__
        raise WrongResult(f"what runs after a handler returns None or a response such as generated.responses.Reply, not {kind}")
    headers = type(answer.headers)(result.headers or {})
    return _status(result.status or answer.status), _pairs(headers), to_json(result), True


#: What a middleware can say in the dict that it returns.
_SAYS = ("payload", "query_params", "response_headers", "error")

#: It may return its whole context too.
_CONTEXT = frozenset((
    "headers", "cookies", "method", "path", "path_params", "client_ip", "trace_id", "api_name", "websocket_name", "connection",
))  # fmt: skip

#: So many keys are told of.
_MOST_IGNORED = 10


def ignored(said):
    """The keys of what a middleware returned that mean nothing, where another of them, or one much like them, means something."""
    context = _CONTEXT if "trace_id" in said else ()
    keys = [str(key)[:60] for key in said if key not in _SAYS and key not in context]
    if not any(name in said for name in _SAYS):
        import difflib  # only needed here, and slow to import

        if not any(difflib.get_close_matches(key, _SAYS, n=1) for key in keys[:_MOST_IGNORED]):
            return []
    return keys[:_MOST_IGNORED]


def _status(status):
    if isinstance(status, int) and not isinstance(status, bool) and 200 <= status <= 599:
        return int(status)
    raise WrongAnswer(f"response.status is {status!r:.60}, which no answer can have; choose one from 200 to 599")


def _pairs(headers):
    try:
        return headers.pairs()
    except TypeError as error:
        raise WrongAnswer(str(error)) from error


def _body(answer):
    try:
        return answer.body(to_json)
    except Exception as error:
        raise UnserializableResult(f"response.data can't be sent: {explain(answer.data, error)}") from error


def explain(value, error):
    """Why a value has no JSON form, naming the part that hasn't one."""
    try:
        path, part, reason = _culprit(value, "", error)
    except Exception:
        return str(error)
    place = f" at {path}" if path else ""
    return f"a {type(part).__module__}.{type(part).__qualname__}{place} can't be written as JSON: {reason}"


def _fallback(value):
    """JSON forms of types that pydantic doesn't know."""
    if callable(getattr(value, "tolist", None)):
        # numpy's arrays and scalars
        return value.tolist()
    if hasattr(value, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in value.__attrs_attrs__}
    if hasattr(value, "__fields__") and callable(getattr(value, "dict", None)):
        # models of pydantic 1, which pydantic 2 brings along
        return value.dict()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"unknown type {type(value).__module__}.{type(value).__qualname__}")


# NaN and infinities have no JSON form and become null; bytes become base64, as the schema's Bytes do.
_OPTIONS = {"inf_nan_mode": "null", "bytes_mode": "base64", "fallback": _fallback}

to_json = None if pydantic_core is None else functools.partial(pydantic_core.to_json, **_OPTIONS)


def _culprit(value, path, error):
    """The innermost part of a value that can't be serialised."""
    for name, part in _parts(value):
        try:
            to_json(part)
        except RecursionError:
            break
        except Exception as inner:
            return _culprit(part, f"{path}{name}", inner)
    return path, value, str(error)


def _parts(value):
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    if hasattr(type(value), "__pydantic_fields__") or hasattr(type(value), "model_fields"):
        return [(f".{name}", part) for name, part in value.__dict__.items()]
    return []
