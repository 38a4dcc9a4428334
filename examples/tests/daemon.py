"""How does a test run a project? `Daemon` copies it, starts the real binary on it, and talks HTTP to it.

`ROHAS` names the binary. The interpreter that runs the tests is the one that runs the handlers, so it needs pydantic.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import typing
import unittest

from websockets.sync.client import ClientConnection, connect

EXAMPLES = pathlib.Path(__file__).resolve().parents[1]
PATIENCE = float(os.environ.get("ROHAS_TEST_PATIENCE", "60"))
_LEFT_BEHIND = shutil.ignore_patterns(".rohas", ".venv", "generated", "__pycache__")


class Reply(typing.NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> typing.Any:
        """The body as JSON."""
        return json.loads(self.body)


def binary() -> pathlib.Path:
    """The daemon under test."""
    named = os.environ.get("ROHAS")
    if not named:
        raise RuntimeError("ROHAS doesn't name the binary: run `make test`, or set it to target/debug/rohas")
    return pathlib.Path(named)


def eventually(what: str, condition: typing.Callable[[], typing.Any], patience: float = PATIENCE) -> typing.Any:
    """Waits until the condition holds, and returns what it returned."""
    deadline = time.monotonic() + patience
    pause = threading.Event()
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:.0f} s: {what}")
        pause.wait(0.02)


@contextlib.contextmanager
def copy_of(example: str) -> typing.Iterator[pathlib.Path]:
    """A copy of an example as it comes out of the repository, for as long as the `with` block lasts."""
    with tempfile.TemporaryDirectory(prefix="rohas-") as directory:
        root = pathlib.Path(directory) / example
        shutil.copytree(EXAMPLES / example, root, ignore=_LEFT_BEHIND)
        yield root


class Daemon:
    """`rohas dev` or `rohas run` on a copy of an example, until the `with` block ends."""

    def __init__(self, example: str, command: str = "dev", root: pathlib.Path | None = None) -> None:
        self._copy = contextlib.ExitStack()
        self.root = root or self._copy.enter_context(copy_of(example))
        self.port = _free_port()
        self._command = [str(binary()), command, "--project", str(self.root), "--port", str(self.port)]
        self._lines: list[str] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Daemon:
        environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            eventually("the daemon is ready", self._ready)
        except BaseException:
            self._end(signal.SIGKILL)
            self._show_output()
            self._copy.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        code = self._end(signal.SIGTERM)
        if kind is not None:
            self._show_output()
        elif code != 0:
            raise AssertionError(f"SIGTERM should drain and exit with 0, but it was {code}:\n{self.output()}")
        self._copy.close()

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        return self._process.pid

    @classmethod
    def shared_by(cls, case: type[unittest.TestCase], example: str) -> Daemon:
        """A daemon for all tests of a class."""
        daemon = cls(example)
        daemon.__enter__()
        case.addClassCleanup(daemon.__exit__, None, None, None)
        return daemon

    def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        """GET."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: typing.Any, headers: dict[str, str] | None = None) -> Reply:
        """POST with a JSON body, or with the bytes given."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, data, {"content-type": "application/json", **(headers or {})})

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, names, response.read())
        finally:
            connection.close()

    def websocket(self, path: str) -> ClientConnection:
        """A client of a WebSocket, to be used in a `with` block."""
        return connect(f"ws://127.0.0.1:{self.port}{path}", open_timeout=PATIENCE, compression=None)

    def rohas(self, *arguments: str) -> str:
        """What a command of the same binary prints about this project."""
        command = [str(binary()), *arguments, "--project", str(self.root)]
        finished = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        if finished.returncode != 0:
            raise AssertionError(f"{command} exited with {finished.returncode}:\n{finished.stderr}")
        return finished.stdout

    def output(self) -> str:
        """Everything that the daemon printed so far."""
        with self._lock:
            return "".join(self._lines)

    def printed(self, text: str) -> int:
        """How many lines contain the text so far."""
        with self._lock:
            return sum(text in line for line in self._lines)

    def wait_for_line(self, text: str, times: int = 1) -> None:
        """Waits until so many lines contain the text."""
        eventually(f"{times} times {text!r} in the output", lambda: self.printed(text) >= times)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces text in a file of the project, the way editors save: by renaming a new file over the old one."""
        path = self.root / file
        text = path.read_text()
        if old not in text:
            raise AssertionError(f"{file} doesn't contain {old!r}")
        draft = path.with_suffix(".tmp")
        draft.write_text(text.replace(old, new))
        draft.replace(path)

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self._process.returncode}:\n{self.output()}")
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False

    def _read(self) -> None:
        for line in typing.cast(typing.TextIO, self._process.stdout):
            with self._lock:
                self._lines.append(line)

    def _end(self, how: signal.Signals) -> int:
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join(PATIENCE)
        typing.cast(typing.TextIO, self._process.stdout).close()
        return code

    def _show_output(self) -> None:
        sys.stderr.write(f"\n--- output of {' '.join(self._command)} ---\n{self.output()}--- end ---\n")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
