"""How late do cron jobs begin? From the slot to the handler's first line, for a job of every second on an otherwise idle daemon.

The time is read by the handler itself, so that planning, publication, the subscription and the worker are all in it.
"""

from __future__ import annotations

import argparse
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

PORT = 4483
TIMEOUT = 30.0
#: Goal in milliseconds for the latest of all.
GOAL = 50.0
ADAPTERS = ["memory", "rocksdb"]
SCHEMA = """
cron EachSecond { schedule: "* * * * * *" }
api Late { method: GET path: "/late" response: Json }
"""
JOB = """
import time
import seen
async def handle_each_second(req):
    seen.late.append(time.time() - req["scheduled_at"].timestamp())
"""
LATE = """
import seen
async def handle_late():
    return seen.late
"""


def project(directory: pathlib.Path, adapter: str, binary: pathlib.Path) -> pathlib.Path:
    files = {
        "config/rohas.toml": f'[project]\nname = "cron"\n[python]\nworkers = 1\n[adapter]\ntype = "{adapter}"\n',
        "schema/schema.ro": SCHEMA,
        "src/seen.py": "late = []\n",
        "src/handlers/cron/each_second.py": JOB,
        "src/handlers/api/late.py": LATE,
    }
    return write_project(directory, files, binary)


def late() -> list[float]:
    """Seconds by which each run was late so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/late", timeout=5) as reply:
        return json.load(reply)


def collect(process: subprocess.Popen[bytes], runs: int) -> list[float]:
    """The lateness of so many runs in milliseconds, asked for half a second away from the slots."""
    deadline = time.monotonic() + runs + TIMEOUT
    pause = threading.Event()
    while time.monotonic() < deadline:
        pause.wait(0.5 + (-time.time()) % 1)
        try:
            seen = late()
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"the daemon ended with {process.returncode}") from None
            continue
        if len(seen) >= runs:
            return [seconds * 1000 for seconds in seen[:runs]]
    raise RuntimeError(f"the job did not run {runs} times in {runs + TIMEOUT:.0f} s")


def measure(binary: pathlib.Path, adapter: str, runs: int) -> list[float]:
    log = os.environ.get("ROHAS_BENCH_LOG", os.devnull)
    with tempfile.TemporaryDirectory(prefix="rohas-bench-", dir=os.environ.get("BENCH_DIR")) as scratch, open(log, "ab") as output:
        directory = project(pathlib.Path(scratch), adapter, binary)
        command = [str(binary), "run", "--project", str(directory), "--port", str(PORT)]
        process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            return collect(process, runs)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rohas", type=pathlib.Path, required=True, help="the daemon's executable")
    parser.add_argument("--runs", type=int, default=30, help="runs of the job, one each second (default 30)")
    options = parser.parse_args()
    worst = 0.0
    print(f"{'late by ms':<12}{'p50':>8}{'p99':>8}{'max':>8}   goal {GOAL:.0f}")
    for adapter in ADAPTERS:
        times = measure(options.rohas.resolve(strict=True), adapter, options.runs)
        p99 = statistics.quantiles(times, n=100, method="inclusive")[98]
        print(f"{adapter:<12}{statistics.median(times):>8.1f}{p99:>8.1f}{max(times):>8.1f}", flush=True)
        worst = max(worst, *times)
    if worst > GOAL:
        sys.exit("a job began later than its goal")


if __name__ == "__main__":
    main()
