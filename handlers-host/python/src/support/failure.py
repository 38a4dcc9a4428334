"""Describes exceptions: what was raised, where in the user's code, and for the daemon whether to try again."""

import asyncio
import json
import os
import sys
import traceback

from rohas_worker import values

#: Longer messages and tracebacks are cut: nobody reads them, and all of them are stored.
_LONGEST = 64 << 10

_ROOT = os.path.realpath(os.getcwd())
_GENERATED = os.sep + "generated" + os.sep


class _Unknown(Exception):
    """Stands for `generated.errors.HandlerError` until it is imported."""


#: Errors with a meaning, set by the loader.
handler_error = _Unknown

#: Errors that say that the project's code is wrong, whatever it was given, with their codes; set by the loader.
faults = {}

#: `generated.runtime.Response`, set by the loader.
response = _Unknown


def describe(error, failure, result):
    """The body of `failed`. `failure` says what failed: the handler `raised` or was `cancelled`, or its `result` has no JSON form
    or is `too_large`.
    """
    file, line = place(error)
    described = {
        "class": "failed",
        "code": None,
        "type": type(error).__name__,
        "message": text(error),
        "status": None,
        "details": None,
        "retry_after_ms": None,
        "expected": False,
        "traceback": traceback_text(error),
        "file": file,
        "line": line,
    }
    if failure == "cancelled":
        described.update({"class": "cancelled", "message": "the call was cancelled"})
    elif failure == "result" and isinstance(error, values.WrongResult):
        described["code"] = error.code
    elif failure == "result" and isinstance(error, values.UnserializableResult):
        described["code"] = "unserializable_result"
    elif failure == "result":
        described.update({"code": "unserializable_result", "message": _cut(values.explain(result, error))})
    elif failure == "too_large":
        described["code"] = "result_too_large"
    elif isinstance(error, handler_error):
        described.update(_meaning(error))
    elif isinstance(error, asyncio.CancelledError):
        described["message"] = described["message"] or "the handler cancelled itself"
    else:
        described["code"] = _fault(error)
    return _json(described)


def _fault(error):
    """The code of an error that isn't about what the code was given, or `None`."""
    if isinstance(error, getattr(values.pydantic_core, "ValidationError", ())) and error.title in _names(response):
        return "invalid_reply"
    return next((code for kind, code in faults.items() if isinstance(error, kind)), None)


def _names(cls):
    return {cls.__name__}.union(*map(_names, cls.__subclasses__()))


def _meaning(error):
    """What an error of `generated.errors` says about itself. Subclasses are the user's, so nothing is taken on trust."""
    kind = error.kind if error.kind in ("failed", "rejected", "retry") else "failed"
    status = error.status if isinstance(error.status, int) and 100 <= error.status <= 599 else 500
    after = error.retry_after_ms
    return {
        "class": kind,
        "code": str(error.code),
        "status": status,
        "details": json.loads(values.log_fields({"details": error.details}))["details"],
        "retry_after_ms": after if isinstance(after, int) and after >= 0 else None,
        "expected": True,
    }


def text(error):
    """An exception's message, even when its `__str__` fails."""
    try:
        return _cut(str(error))
    except Exception as broken:
        return f"<the message can't be made: {type(broken).__name__}>"


def traceback_text(error):
    """The traceback from the user's code on."""
    try:
        return _cut("".join(traceback.format_exception(type(error), error, _trim(error.__traceback__))))
    except Exception as broken:
        return f"{type(error).__name__}: <the traceback can't be made: {type(broken).__name__}>\n"


def place(error):
    """File, relative to the project's root, and line of the user's code where an exception arose."""
    if isinstance(error, SyntaxError) and error.filename and is_users(error.filename):
        return relative(error.filename), error.lineno
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    users = [frame for frame in frames if is_users(frame[0])]
    # The line that called into generated code says more than the line in it.
    own = [frame for frame in users if _GENERATED not in frame[0]] or users
    if not own:
        return None, None
    file, line = own[-1]
    return relative(file), line


def is_users(file):
    """Whether a file belongs to the project rather than to a library, even if the environment lies in the project."""
    if file.startswith("<"):
        return False
    path = os.path.realpath(file)
    if not path.startswith(_ROOT + os.sep) or path.startswith(os.path.realpath(sys.prefix) + os.sep):
        return False
    return not {"site-packages", "dist-packages"} & set(path.split(os.sep))


def relative(file):
    """A path as it is shown."""
    return os.path.relpath(os.path.realpath(file), _ROOT)


def _trim(tb):
    """Leaves out the frames before the user's: ours and those of the import machinery."""
    start = tb
    while start is not None and _is_ours(start.tb_frame.f_code.co_filename):
        start = start.tb_next
    return start


def _is_ours(file):
    return file.startswith(("<rohas_worker", "<frozen importlib"))


def _cut(message):
    if len(message) <= _LONGEST:
        return message
    half = _LONGEST // 2
    return f"{message[:half]}\n[... {len(message) - _LONGEST} characters left out ...]\n{message[-half:]}"


def _json(described):
    # Texts may hold lone surrogates, which UTF-8 doesn't know; escaped they are valid JSON but the daemon's parser refuses them.
    cleaned = {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in described.items()
    }
    return json.dumps(cleaned).encode()
