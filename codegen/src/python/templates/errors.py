"""Errors with a meaning: raise one of them and the caller, or the broker, learns what went wrong.

An HTTP caller gets ``status`` and a body with the message, ``code`` and ``details``. For events the error decides what happens
to the message: an error that says the input itself is wrong (``InvalidInput``, ``NotFound``, ``Unauthorized``, ``Forbidden``) sends it to the
dead letters at once, because another attempt would end the same way; ``Conflict``, ``RateLimited`` and ``Unavailable`` pass by
themselves and are tried again. ``Retry`` and ``Reject`` say it outright. Any other exception is a failure: status 500, or a retry.

Subclasses may set ``status``, ``code`` and ``kind`` of their own. The worker reads these attributes of a raised ``HandlerError``: ``status``, ``code``,
``kind`` (``failed``: the retry policy decides, ``rejected``: no retry, ``retry``: again after ``retry_after_ms``), ``details``, ``retry_after_ms``, and ``str(error)``.
"""

from __future__ import annotations

import datetime
import typing

from .state import milliseconds

__all__ = [
    "Conflict",
    "Forbidden",
    "HandlerError",
    "InvalidInput",
    "NotFound",
    "RateLimited",
    "Reject",
    "Retry",
    "Unauthorized",
    "Unavailable",
]

Delay = typing.Union[int, float, str, datetime.timedelta]
Kind = typing.Literal["failed", "rejected", "retry"]


class HandlerError(Exception):
    """The base of all errors with a meaning. Its message is shown to the caller."""

    status: int = 500
    code: str = "handler_error"
    kind: Kind = "failed"
    details: typing.Any = None
    retry_after_ms: typing.Optional[int] = None

    def __init__(
        self, message: str = "", *, code: typing.Optional[str] = None, details: typing.Any = None
    ) -> None:
        super().__init__(message or self.code.replace("_", " "))
        if code is not None:
            self.code = code
        if details is not None:
            self.details = details


class NotFound(HandlerError):
    """404: what was asked for doesn't exist. Events: not tried again."""

    status = 404
    code = "not_found"
    kind = "rejected"


class Conflict(HandlerError):
    """409: the current state forbids it. Events: tried again, since the state may change."""

    status = 409
    code = "conflict"


class Unauthorized(HandlerError):
    """401: the caller isn't known. Events: not tried again."""

    status = 401
    code = "unauthorized"
    kind = "rejected"


class Forbidden(HandlerError):
    """403: the caller isn't allowed to. Events: not tried again."""

    status = 403
    code = "forbidden"
    kind = "rejected"


class InvalidInput(HandlerError):
    """422: the input breaks a rule that the schema can't express. Events: not tried again.

    ``details`` is by custom a list of ``{"path": ["items", 0], "code": "...", "message": "..."}``.
    """

    status = 422
    code = "invalid_input"
    kind = "rejected"


class _Temporary(HandlerError):
    def __init__(
        self,
        message: str = "",
        *,
        retry_after: typing.Optional[Delay] = None,
        code: typing.Optional[str] = None,
        details: typing.Any = None,
    ) -> None:
        super().__init__(message, code=code, details=details)
        if retry_after is not None:
            self.kind = "retry"
            self.retry_after_ms = milliseconds(retry_after)


class RateLimited(_Temporary):
    """429: too many calls. ``retry_after`` (seconds, ``"2m"`` or a timedelta) becomes the Retry-After header. Events: tried again."""

    status = 429
    code = "rate_limited"


class Unavailable(_Temporary):
    """503: something this handler needs is down. ``retry_after`` as in ``RateLimited``. Events: tried again."""

    status = 503
    code = "unavailable"


class Retry(_Temporary):
    """Try again after ``after`` (seconds, ``"2m"`` or a timedelta; without it after the usual delay). An HTTP caller gets 503 with Retry-After."""

    status = 503
    code = "retry"
    kind = "retry"

    def __init__(self, message: str = "", *, after: typing.Optional[Delay] = None) -> None:
        super().__init__(message, retry_after=after)


class Reject(HandlerError):
    """Never try this again: an event goes straight to the dead letters. An HTTP caller gets 422."""

    status = 422
    code = "rejected"
    kind = "rejected"

    def __init__(self, reason: str = "", *, details: typing.Any = None) -> None:
        super().__init__(reason, details=details)
