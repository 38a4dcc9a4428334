"""Turns what handlers print, and what they log with Python's `logging`, into log lines of their calls."""

import io
import logging
import sys


def redirect(worker):
    """Has everything that is printed sent as log lines."""
    sys.stdout = _Stream(worker, True, sys.__stdout__)
    sys.stderr = _Stream(worker, False, sys.__stderr__)


def redirect_logging(worker):
    """To be called after the project's modules were imported, so that a project that configures `logging` keeps what it configured."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_LogHandler(worker))
        if root.level == logging.WARNING:
            root.setLevel(logging.INFO)


class _Stream(io.TextIOBase):
    """A standard stream whose lines become log lines of the call that prints them."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True

    def __init__(self, worker, stdout, original):
        self._print = worker.print
        self._stdout = stdout
        self._original = original
        self.buffer = _Buffer(self)
        self.name = original.name
        self.mode = "w"

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._print(self._stdout, text)
        return len(text)

    def writable(self):
        return True

    def flush(self):
        pass

    def fileno(self):
        return self._original.fileno()

    def isatty(self):
        return False

    def reconfigure(self, **_options):
        pass


class _Buffer(io.BufferedIOBase):
    """What `sys.stdout.buffer` is: bytes that are printed as text."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, data):
        data = bytes(data)
        self._stream.write(data.decode("utf-8", "backslashreplace"))
        return len(data)

    def writable(self):
        return True

    def fileno(self):
        return self._stream.fileno()


class _LogHandler(logging.Handler):
    """Sends the records of Python's `logging` as log lines of the call that writes them."""

    def __init__(self, worker):
        super().__init__()
        self._log = worker.log

    def emit(self, record):
        try:
            fields = {"logger": record.name, **{name: value for name, value in vars(record).items() if name not in _USUAL}}
            if record.exc_info:
                fields["traceback"] = logging.Formatter().formatException(record.exc_info)
            self._log(_level(record.levelno), record.getMessage(), fields)
        except Exception:
            self.handleError(record)


#: The attributes that every record has; others come from `extra`.
_USUAL = {*vars(logging.makeLogRecord({})), "asctime", "message", "taskName"}


def _level(number):
    for limit, name in ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"), (logging.DEBUG, "debug")):
        if number >= limit:
            return name
    return "trace"
