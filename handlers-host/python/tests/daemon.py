"""Plays the daemon: starts a worker on a fixture project and speaks the worker protocol with it."""

import contextlib
import ctypes
import json
import mmap
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BOOTSTRAP = (HERE.parent / "src" / "bootstrap.py").read_text()
ENTERED = 1 << 63
PATIENCE = 20


# -- MessagePack, as much of it as headers need -----------------------------------------------------------------------------


def pack(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return bytes([value]) if value < 128 else b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        data = value.encode()
        return b"\xdb" + struct.pack(">I", len(data)) + data
    return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))


def unpack(data):
    value, rest = _unpack(memoryview(data))
    assert not rest, "bytes behind the header"
    return value


_INTEGERS = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
_LENGTHS = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I", 0xDC: ">H", 0xDD: ">I"}


def _unpack(data):
    tag, rest = data[0], data[1:]
    if tag < 0x80:
        return tag, rest
    if tag in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[tag], rest
    if tag in _INTEGERS:
        size = struct.calcsize(_INTEGERS[tag])
        return struct.unpack(_INTEGERS[tag], rest[:size])[0], rest[size:]
    if 0x90 <= tag < 0xA0:
        return _array(tag & 0x0F, rest)
    if 0xA0 <= tag < 0xC0:
        return _text(tag & 0x1F, rest)
    size = struct.calcsize(_LENGTHS[tag])
    length = struct.unpack(_LENGTHS[tag], rest[:size])[0]
    return (_text if tag in (0xD9, 0xDA, 0xDB) else _array)(length, rest[size:])


def _text(length, rest):
    return bytes(rest[:length]).decode(), rest[length:]


def _array(length, rest):
    items = []
    for _ in range(length):
        item, rest = _unpack(rest)
        items.append(item)
    return items, rest


# -- the daemon's side -------------------------------------------------------------------------------------------------------


class Shared:
    """Shared memory as 64-bit words."""

    def __init__(self, words):
        self.fd = os.memfd_create("rohas-test")
        os.ftruncate(self.fd, max(words * 8, 4096))
        self.map = mmap.mmap(self.fd, 0)
        self.words = (ctypes.c_uint64 * words).from_buffer(self.map)

    def __getitem__(self, index):
        return self.words[index]

    def __setitem__(self, index, value):
        self.words[index] = value


class Result:
    """An answer to an invoke, with the log lines that came before it."""

    def __init__(self, header, body, logs):
        self.logs = logs
        self.completed = header[0] == 103
        self.id = header[1]
        if not self.completed:
            self.error = json.loads(body)
            return
        _, _, self.status, self.headers, length, emits, sets, *rest = header
        self.replaces = rest == [True]
        self.raw, rest = body[:length], body[length:]
        self.emits, self.sets = [], {}
        for event, key, due, size in emits:
            self.emits.append((event, json.loads(rest[:size]), key, due))
            rest = rest[size:]
        for event, size in sets:
            self.sets[event] = json.loads(rest[:size])
            rest = rest[size:]
        assert not rest, "bytes behind the payloads"

    @property
    def json(self):
        assert self.completed, self.error
        return json.loads(self.raw)


class Worker:
    """A worker process with its end of the protocol."""

    def __init__(self, library, interpreter=sys.executable, root=None, ids=None, slots=4096, environment=None, options=()):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        self.slots, self.ids = Shared(slots), ids or Shared(1)
        self.fds = {"ROHAS_SOCKET_FD": theirs.fileno(), "ROHAS_SLOTS_FD": self.slots.fd, "ROHAS_IDS_FD": self.ids.fd}
        environment = {**os.environ, **(environment or {}), **{name: str(fd) for name, fd in self.fds.items()}}
        self.process = subprocess.Popen(
            [interpreter, *options, "-c", BOOTSTRAP, library],
            cwd=root, env=environment, pass_fds=list(self.fds.values()),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        theirs.close()
        self.next_id = 1
        self.buffer = b""
        self.logs, self.results, self.pongs = [], {}, []
        #: What was done to WebSocket connections: the elements behind the message's number, the body, and how many results had come.
        self.pushes = []
        self.hello = self.loaded = None
        self.gone = False
        self.pending = None

    # frames

    def send(self, header, body=b""):
        header = pack(header)
        frame = struct.pack("<II", 4 + len(header) + len(body), len(header)) + header + body
        if self.pending is None:
            self.socket.sendall(frame)
        else:
            self.pending.append(frame)

    @contextlib.contextmanager
    def batch(self):
        """Sends all messages of the block at once."""
        self.pending = []
        try:
            yield
        finally:
            frames, self.pending = self.pending, None
            self.socket.sendall(b"".join(frames))

    def frame(self):
        """The next frame, or `None` when the worker has closed its end."""
        while True:
            if len(self.buffer) >= 8:
                length, header = struct.unpack_from("<II", self.buffer)
                if len(self.buffer) >= 4 + length:
                    frame, self.buffer = self.buffer[8 : 4 + length], self.buffer[4 + length :]
                    return unpack(frame[:header]), frame[header:]
            wanted = max(1 << 20, struct.unpack_from("<I", self.buffer)[0] if len(self.buffer) >= 4 else 0)
            try:
                data = self.socket.recv(wanted)
            except ConnectionResetError:
                data = b""
            if not data:
                self.gone = True
                return None
            self.buffer += data

    def receive(self):
        """Takes one frame in; false at the end of the connection."""
        frame = self.frame()
        if frame is None:
            return False
        header, body = frame
        number = header[0]
        if number == 101:
            self.hello = json.loads(body)
        elif number == 102:
            self.loaded = json.loads(body)["handlers"]
        elif number in (103, 104):
            mine = [log for log in self.logs if log[0] == header[1]]
            assert header[1] not in self.results, "answered twice"
            self.results[header[1]] = Result(header, body, mine)
        elif number == 105:
            assert header[1] not in self.results, f"a log line after the result: {header}"
            fields = header[5] if header[5] is None else json.loads(header[5])
            self.logs.append((header[1], header[2], header[3], header[4], fields))
        elif number == 106:
            self.pongs.append(header[1])
        elif number == 107:
            self.pushes.append((header[1:], body, len(self.results)))
        else:
            raise AssertionError(f"unknown message {header}")
        return True

    def until(self, condition):
        """Receives until a condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            if not self.receive():
                raise AssertionError(f"the worker has gone: {self.output()}")

    # messages

    def load(self, project, threads=40, development=False):
        self.until(lambda: self.hello is not None)
        body = {
            "root": str(project.root), "source": "src", "threads": threads, "development": development,
            "events": project.events, "websockets": project.websockets, "handlers": project.handlers,
        }  # fmt: skip
        self.project = project
        self.send([1], json.dumps(body).encode())
        self.until(lambda: self.loaded is not None)
        return self.loaded

    def invoke(self, handler, body=None, *, path=(), query=(), headers=(), typed_query=None, own=True, attempt=1, key=None):
        id, self.next_id = self.next_id, self.next_id + 1
        slot = id % 4096
        self.slots[slot] = id if own else 0
        index = self.project.index(handler)
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if self.project.handlers[index]["kind"] == "event":
            event = [1, f"event-{id}", "2026-11-21T03:04:05.678901Z", key, self.project.handlers[index]["class"]]
            self.send([2, id, slot, index, attempt, f"{id:032x}", event], data)
            return id
        api = [0, list(path), [list(pair) for pair in query], [list(pair) for pair in headers], body is not None]
        if typed_query is not None:
            text = json.dumps(typed_query).encode()
            api.append(len(text))
            data = text + data
        self.send([2, id, slot, index, attempt, f"{id:032x}", api], data)
        return id

    def invoke_with(self, handler, input, body=b""):
        """Calls a handler with an input as the protocol has it."""
        id, self.next_id = self.next_id, self.next_id + 1
        slot = id % 4096
        self.slots[slot] = id
        self.send([2, id, slot, self.project.index(handler), 1, f"{id:032x}", input], body)
        return id

    def call_with(self, handler, input, body=b""):
        return self.result(self.invoke_with(handler, input, body))

    def result(self, id):
        self.until(lambda: id in self.results)
        return self.results[id]

    def call(self, handler, body=None, **options):
        return self.result(self.invoke(handler, body, **options))

    def cancel(self, id):
        self.send([3, id])

    def drain(self):
        self.send([4])

    def ping(self, number):
        self.send([5, number])

    def entered(self, id):
        return self.slots[id % 4096] == id | ENTERED

    # the process

    def wait(self):
        """The exit code, once the process has ended by itself."""
        while not self.gone and self.receive():
            pass
        return self.process.wait(PATIENCE)

    def output(self):
        try:
            out, err = self.process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            return "still running"
        return (out + err).decode()

    def close(self):
        self.socket.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()
