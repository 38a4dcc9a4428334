"""What do idle WebSockets cost, and how long does a broadcast take to reach all of them?

Opens CONNECTIONS (10,000), lets them be idle, and compares the daemon's memory with that before; then an api broadcasts, several times, and
the time counts from its request to the last client's frame. The client reads them in one thread on the same machine: a part of the time is its own.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import resource
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from servers import environment, write_project

PORT = 4482
TIMEOUT = 120.0
ROUNDS = 10
#: Goal in bytes per idle connection beyond the daemon without any.
GOAL = 12 * 1024
SETTINGS = """
[project]
name = "websockets"
[python]
workers = 1
[server]
max_connections = 1000
[websocket]
max_connections = 20000
# The clients here are too simple to answer pings.
ping_interval = "0s"
"""
SCHEMA = """
ws News { path: "/news"  message: Json  onMessage: [news_said] }
api Tell { method: POST  path: "/tell"  response: Json }
"""
SAID = """
async def news_said(message, connection, state):
    return message.data
"""
TELL = """
async def handle_tell(req, state):
    state.ws.broadcast("News", {"headline": "something of ordinary size, about a hundred bytes of JSON in all of its parts"})
    return "told"
"""
HANDSHAKE = (
    b"GET /news HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0\r\n"
    b"Accept-Language: en-US,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\r\n"
) % PORT


def project(directory: pathlib.Path, binary: pathlib.Path) -> pathlib.Path:
    files = {
        "config/rohas.toml": SETTINGS,
        "schema/schema.ro": SCHEMA,
        "src/handlers/websockets/news_said.py": SAID,
        "src/handlers/api/tell.py": TELL,
    }
    return write_project(directory, files, binary)


def tell() -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/tell", b"{}", {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
        assert reply.status == 200, reply.status


def wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT
    pause = threading.Event()
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the daemon ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
        pause.wait(0.05)


def memory(pid: int) -> int:
    """Bytes of a process that are in memory and its own."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Private_Clean:")))


def settled(pid: int) -> int:
    """The same once it stays within half a percent for two seconds."""
    pause = threading.Event()
    last = memory(pid)
    while True:
        pause.wait(2)
        now = memory(pid)
        if abs(now - last) < last * 0.005:
            return now
        last = now


def connect() -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", PORT), TIMEOUT)
    stream.sendall(HANDSHAKE)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        part = stream.recv(4096)
        if not part:
            raise RuntimeError(f"the handshake ended after {answer!r}")
        answer += part
    if not answer.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(f"the handshake was answered with {answer!r}")
    stream.setblocking(False)
    return stream


def broadcast(streams: dict[int, socket.socket], poller: select.epoll) -> tuple[float, float]:
    """Milliseconds until the first and the last client have a broadcast."""
    waiting = set(streams)
    first = 0.0
    began = time.perf_counter()
    teller = threading.Thread(target=tell)
    teller.start()
    while waiting:
        events = poller.poll(TIMEOUT, 4096)
        if not events:
            raise RuntimeError(f"{len(waiting)} clients have no frame after {TIMEOUT:.0f} s")
        for descriptor, _ in events:
            data = streams[descriptor].recv(65536)
            if not data:
                raise RuntimeError("a connection was closed")
            first = first or time.perf_counter()
            if data[0] == 0x81:
                waiting.discard(descriptor)
    last = time.perf_counter()
    teller.join()
    return (first - began) * 1000, (last - began) * 1000


def measure(process: subprocess.Popen[bytes], count: int) -> None:
    for stream in [connect() for _ in range(50)]:
        stream.close()
    tell()
    before = settled(process.pid)
    began = time.perf_counter()
    opened = [connect() for _ in range(count)]
    took = time.perf_counter() - began
    after = settled(process.pid)
    each = (after - before) / count
    print(f"{count} connections opened one after the other in {took:.1f} s")
    print(f"memory of the daemon: {before / 2**20:.1f} MiB before, {after / 2**20:.1f} MiB with them")
    print(f"{each:.0f} bytes per idle connection (goal: at most {GOAL})")
    streams = {stream.fileno(): stream for stream in opened}
    poller = select.epoll(count)
    for descriptor in streams:
        poller.register(descriptor, select.EPOLLIN)
    times = [broadcast(streams, poller) for _ in range(ROUNDS)]
    firsts, lasts = ([pair[index] for pair in times] for index in (0, 1))
    print(f"broadcast to all, {ROUNDS} times: first frame after {statistics.median(firsts):.0f} ms,", end=" ")
    print(f"last after {statistics.median(lasts):.0f} ms (median; {min(lasts):.0f} to {max(lasts):.0f})")
    print(f"{settled(process.pid) / 2**20:.1f} MiB after the broadcasts")
    if each > GOAL:
        sys.exit("an idle connection takes more than its goal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rohas", type=pathlib.Path, required=True, help="the daemon's executable")
    parser.add_argument("--connections", type=int, default=10_000)
    arguments = parser.parse_args()
    needed = arguments.connections + 500
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        sys.exit(f"at most {hard} files may be open here (ulimit -Hn); {needed} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(needed, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), hard))
    with tempfile.TemporaryDirectory() as scratch:
        directory = project(pathlib.Path(scratch), arguments.rohas.resolve())
        command = [arguments.rohas.resolve(), "run", "--project", directory, "--port", str(PORT)]
        log = os.environ.get("ROHAS_BENCH_LOG", os.devnull)
        with open(log, "ab") as output:
            process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            wait_until_ready(process)
            measure(process, arguments.connections)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
