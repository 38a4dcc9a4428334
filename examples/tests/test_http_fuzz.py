"""Does any sequence of bytes break the HTTP edge? Mutated requests, for `ROHAS_FUZZ_SECONDS` (3 without it).

`ROHAS_FUZZ_SEED` repeats a run as far as timing allows; a failure prints the request.
"""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import random
import socket
import time
import unittest

from daemon import Daemon, eventually

SECONDS = float(os.environ.get("ROHAS_FUZZ_SECONDS", "3"))
SEED = int(os.environ.get("ROHAS_FUZZ_SEED", time.time_ns() % 1_000_000))
THREADS = 4
PATIENCE = 15

GOOD = [
    b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /greetings/Ann?tone=warm&times=2 HTTP/1.1\r\nhost: localhost\r\naccept-language: de\r\n\r\n",
    b"GET /users/1 HTTP/1.1\r\nhost: localhost\r\ncookie: a=b; c=d\r\n\r\n",
    b"HEAD /test HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    b"OPTIONS /users HTTP/1.1\r\nhost: localhost\r\norigin: http://b\r\naccess-control-request-method: POST\r\n\r\n",
    b"POST /users HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 30\r\n\r\n"
    b'{"name":"Ann","email":"a@b.c"}',
    b"POST /users HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    b'1e\r\n{"name":"Ann","email":"a@b.c"}\r\n0\r\n\r\n',
    b"POST /users HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 39\r\n\r\n"
    b'{"body":{"name":"A","email":"a@b.c"}}  ',
]

PIECES = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b",", b";", b"=", b"&", b"?", b"#", b"/", b"//", b"..", b"*", b"%", b"%00",
    b"%2f", b"%zz", b"%e2%82", b"+", b"\xff", b"\xc3\xa9", b"\x7f", b"HTTP/1.0", b"HTTP/2.0", b"http://x/", b"GET ", b"PUT ",
    b"content-length: 0\r\n", b"content-length: -1\r\n", b"content-length: 99999999999999999999\r\n", b"content-length: 3\r\n",
    b"transfer-encoding: chunked\r\n", b"transfer-encoding: gzip\r\n", b"upgrade: websocket\r\nconnection: upgrade\r\n",
    b"connection: close\r\n", b"expect: 100-continue\r\n", b"range: bytes=0-\r\n", b"x: " + b"a" * 9000 + b"\r\n", b"ffffffff\r\n",
    b"0\r\n\r\n", b"{", b"}", b"[", b"]" * 40, b"[" * 400, b'"', b"\\", b"\\ud800", b"\\u0000", b"null", b"true", b"-", b"1e999",
    b"18446744073709551616", b"0.1", b'"name":', b'"email":1', b'"__proto__":{}', b"tone=", b"times=-1", b"times=1e3", b"a" * 70000,
]  # fmt: skip

#: What a client may be told about bytes that it sent. Anything above says that the daemon or a handler failed.
ALLOWED = {501, 505} | set(range(100, 500))


def mutated(chance: random.Random) -> bytes:
    """A request with a few changes, or several of them one after the other."""
    request = bytearray(chance.choice(GOOD))
    for _ in range(chance.choice([0, 1, 1, 2, 3, 8])):
        at = chance.randrange(len(request) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            request[at:at] = chance.choice(PIECES)
        elif kind == 1:
            del request[at : at + chance.choice([1, 2, 5, 20])]
        elif kind == 2 and at < len(request):
            request[at] ^= 1 << chance.randrange(8)
        elif kind == 3:
            request[at:at] = request[max(0, at - chance.randrange(1, 40)) : at]
        elif kind == 4:
            request = request[:at] + bytearray(chance.choice(GOOD))[chance.randrange(30) :]
        else:
            request[at : at + chance.randrange(8)] = chance.choice(PIECES)
    return bytes(request)


class HttpFuzz(unittest.TestCase):
    def test_mutated_requests_harm_nobody(self) -> None:
        with Daemon("hello-world") as daemon:
            daemon.get("/health")
            descriptors = pathlib.Path(f"/proc/{daemon.pid}/fd")
            before = len(list(descriptors.iterdir()))
            deadline = time.monotonic() + SECONDS

            def work(number: int) -> int:
                chance = random.Random(f"{SEED}/{number}")
                sent = 0
                while time.monotonic() < deadline:
                    exchange(daemon.port, mutated(chance), cut=chance.random() < 0.7)
                    sent += 1
                return sent

            with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
                sent = sum(pool.map(work, range(THREADS)))
            print(f"\n{sent} requests, seed {SEED}")
            self.assertEqual(daemon.get("/health").status, 200)
            self.assertNotIn("panicked", daemon.output())
            eventually("the connections are closed", lambda: len(list(descriptors.iterdir())) <= before + 8)


def exchange(port: int, request: bytes, cut: bool) -> None:
    """Sends the bytes, reads what comes back, and complains if it is no answer to a client."""
    reply = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(request)
            if cut:
                connection.shutdown(socket.SHUT_WR)
            else:
                connection.settimeout(0.02)
            while part := connection.recv(65536):
                reply += part
        except TimeoutError as silence:
            if cut:
                raise AssertionError(f"no end of the answer within {PATIENCE} s to {request[:2000]!r}") from silence
        except OSError:
            pass  # the daemon hung up in the middle of it, which it may; what it said before is looked at
    answered = reply[9:12] if reply.startswith(b"HTTP/1.") else b"400" if not reply else b"599"
    if int(answered) not in ALLOWED:
        raise AssertionError(f"{bytes(reply[:400])!r} to {request[:2000]!r}")


if __name__ == "__main__":
    unittest.main()
