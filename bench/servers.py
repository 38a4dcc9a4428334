"""Which servers are measured, how are they started, and what do they cost while they run?"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

BENCH = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(sys.prefix) / "bin"
TICKS = os.sysconf("SC_CLK_TCK")
START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0

GOOD = b'{"name":"Ann Example","email":"ann@example.com"}'
BAD = b'{"name":"Ann Example"}'


@dataclasses.dataclass(frozen=True)
class Server:
    """One way to answer the request. `command` is given a port."""

    name: str
    command: Callable[[int], list[str]]
    directory: pathlib.Path


def rohas(binary: pathlib.Path, scratch: pathlib.Path) -> Server:
    """Ours, as `rohas run` serves a project: on a copy, so that nothing is left in the repository."""
    project = scratch / "project"
    shutil.copytree(BENCH / "project", project, ignore=shutil.ignore_patterns(".rohas", ".venv", "generated"))
    subprocess.run([binary, "codegen", "--project", project], check=True, timeout=60, env=environment(), stdout=2)
    return Server("rohas", lambda port: [str(binary), "run", "--project", str(project), "--port", str(port)], project)


def peers() -> list[Server]:
    """The others, with the settings that their documentation recommends for speed, access logs off, one worker."""
    folder = BENCH / "peers"

    def uvicorn(port: int) -> list[str]:
        flags = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        return [str(BIN / "uvicorn"), "fastapi_app:app", "--port", str(port), *flags]

    def granian(interface: str, app: str) -> Callable[[int], list[str]]:
        flags = ["--interface", interface, "--loop", "uvloop", "--workers", "1", "--no-access-log"]
        flags += ["--log-level", "warning"]
        return lambda port: [str(BIN / "granian"), *flags, "--port", str(port), app]

    return [
        Server("uvicorn + FastAPI", uvicorn, folder),
        Server("Granian + FastAPI", granian("asgi", "fastapi_app:app"), folder),
        Server("Granian RSGI", granian("rsgi", "rsgi_app:app"), folder),
    ]


def environment() -> dict[str, str]:
    """All servers run in the same virtual environment."""
    return {**os.environ, "VIRTUAL_ENV": sys.prefix, "PATH": f"{BIN}:{os.environ['PATH']}"}


def write_project(directory: pathlib.Path, files: dict[str, str], binary: pathlib.Path) -> pathlib.Path:
    """A project directory of these files, with its generated code."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run([binary, "codegen", "--project", directory], check=True, timeout=60, env=environment(), stdout=2)
    return directory


class Running:
    """A server that runs on one core until the `with` block ends."""

    def __init__(self, server: Server, core: int, port: int, log: pathlib.Path) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{port}/users"
        self._command = ["taskset", "-c", str(core), *server.command(port)]
        self._log = log

    def __enter__(self) -> Running:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.server.directory,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_it_answers()
            self._check_that_it_validates()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        started = self._processes()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            print(f"{self.server.name} did not stop within {STOP_TIMEOUT:.0f} s of SIGTERM: killed", file=sys.stderr)
            for pid in started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()

    def cpu_seconds(self) -> float:
        """User and system time of the server's processes so far."""
        return sum(_cpu_seconds(pid) for pid in self._processes())

    def memory_mb(self) -> float:
        """Proportional set size of the server's processes."""
        return sum(_pss_kb(pid) for pid in self._processes()) / 1024

    def _processes(self) -> list[int]:
        """The server and all that descend from it, wherever their session is."""
        children: dict[int, list[int]] = {}
        for entry in pathlib.Path("/proc").iterdir():
            fields = _stat(int(entry.name)) if entry.name.isdigit() else None
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
        tree = [self._process.pid]
        for pid in tree:
            tree += children.get(pid, [])
        return tree

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        pause = threading.Event()
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.server.name} ended with {self._process.returncode}: see {self._log}")
            try:
                status, body = post(self.url, GOOD)
                break
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.server.name} doesn't answer within {START_TIMEOUT:.0f} s: see {self._log}")
            pause.wait(0.05)
        expected = b'{"id":1,"name":"Ann Example","email":"ann@example.com"}'
        if (status, body) != (200, expected):
            raise RuntimeError(f"{self.server.name} answers {status} {body!r} instead of {expected!r}")

    def _check_that_it_validates(self) -> None:
        status, body = post(self.url, BAD)
        if status != 422:
            raise RuntimeError(f"{self.server.name} answers {status} {body!r} instead of 422 to a body without an email")


def post(url: str, body: bytes) -> tuple[int, bytes]:
    """One request."""
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the command's name, so that 1 is the parent and 11 the user time."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None  # it has ended


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return 0.0 if fields is None else (int(fields[11]) + int(fields[12])) / TICKS


def _pss_kb(pid: int) -> int:
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
