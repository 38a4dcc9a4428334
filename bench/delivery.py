"""How many events a second go through a broker to a Python handler? Published, stored, delivered, handled, acked.

One worker, both cores, all defaults on (validation, recording, retries). Requests whose handler emits many events fill the queue while it is worked
off; what counts is the time from the first request to the last handled event. Rounds are interleaved, the table has medians.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from servers import environment, write_project

PORT = 4481
PER_REQUEST = 500
PUBLISHERS = 16
TIMEOUT = 120.0
#: Goals of the embedded store in events per second.
GOALS = {"rocksdb, disk": 25_000, "rocksdb, process": 120_000}
ADAPTERS = {
    "memory": 'type = "memory"\nbuffer_size = 100000\n',
    "rocksdb, disk": 'type = "rocksdb"\ndurability = "disk"\n',
    "rocksdb, process": 'type = "rocksdb"\ndurability = "process"\n',
}
SCHEMA = """
input Tick { n: Int  text: String }
api Emit { method: POST path: "/emit/{n}" response: Json timeout: 60s }
api Count { method: GET path: "/count" response: Int }
event Ticked { payload: Tick handler: [tick] concurrency: 512 }
"""
EMIT = """
async def handle_emit(req, state):
    for n in range(int(req.n)):
        state.trigger_event("Ticked", {"n": n, "text": "an event of ordinary size, about a hundred bytes of JSON"})
    return None
"""
COUNT = """
import counter
async def handle_count():
    return counter.handled
"""
TICK = """
import counter
async def tick(event):
    counter.handled += 1
"""


def project(directory: pathlib.Path, adapter: str, binary: pathlib.Path) -> pathlib.Path:
    """A project directory of its own for each adapter and round."""
    files = {
        "config/rohas.toml": f'[project]\nname = "delivery"\n[python]\nworkers = 1\n[adapter]\n{ADAPTERS[adapter]}',
        "schema/schema.ro": SCHEMA,
        "src/counter.py": "handled = 0\n",
        "src/handlers/api/emit.py": EMIT,
        "src/handlers/api/count.py": COUNT,
        "src/handlers/events/tick.py": TICK,
    }
    return write_project(directory, files, binary)


def ask(path: str, method: str = "GET") -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", method=method, data=b"" if method == "POST" else None)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
        return reply.read()


def wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    pause = threading.Event()
    while True:
        try:
            ask("/count")
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the daemon does not answer; see the log") from None
            pause.wait(0.05)


def measure(binary: pathlib.Path, adapter: str, events: int, log: pathlib.Path) -> float:
    """Events per second."""
    with tempfile.TemporaryDirectory(prefix="rohas-bench-", dir=os.environ.get("BENCH_DIR")) as scratch, log.open("ab") as output:
        directory = project(pathlib.Path(scratch), adapter, binary)
        command = [str(binary), "run", "--project", str(directory), "--port", str(PORT)]
        process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            wait_until_ready(process)
            return run(events)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def run(events: int) -> float:
    requests = events // PER_REQUEST
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(PUBLISHERS) as publishers:
        for _ in publishers.map(lambda _: ask(f"/emit/{PER_REQUEST}", "POST"), range(requests)):
            pass
    pause = threading.Event()
    while (handled := int(ask("/count"))) < requests * PER_REQUEST:
        if time.monotonic() - began > TIMEOUT:
            raise RuntimeError(f"only {handled} of {requests * PER_REQUEST} events were handled in {TIMEOUT:.0f} s")
        pause.wait(0.02)
    return requests * PER_REQUEST / (time.monotonic() - began)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rohas", type=pathlib.Path, required=True, help="the release binary")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each with every adapter (default 5)")
    parser.add_argument("--events", type=int, default=200_000, help="events per measurement (default 200000)")
    options = parser.parse_args()
    options.rohas = options.rohas.resolve(strict=True)
    return options


def main() -> None:
    options = arguments()
    results = pathlib.Path(__file__).resolve().parent / "results"
    results.mkdir(exist_ok=True)
    rates: dict[str, list[float]] = {adapter: [] for adapter in ADAPTERS}
    for number in range(1, options.rounds + 1):
        for adapter, measured in rates.items():
            measured.append(measure(options.rohas, adapter, options.events, results / "delivery.log"))
            print(f"round {number}/{options.rounds}  {adapter:<18}{measured[-1]:>9.0f} events/s", file=sys.stderr, flush=True)
    print(f"{'events/s':<18}{'median':>10}{'worst':>10}{'goal':>10}")
    for adapter, measured in rates.items():
        goal = GOALS.get(adapter)
        verdict = "" if goal is None else f"{goal:>10}  {'met' if statistics.median(measured) >= goal else 'MISSED'}"
        print(f"{adapter:<18}{statistics.median(measured):>10.0f}{min(measured):>10.0f}{verdict}")
    (results / "delivery.json").write_text(json.dumps(rates, indent=1) + "\n")


if __name__ == "__main__":
    main()
