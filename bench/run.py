"""How fast is rohas beside its peers? One interleaved run, one table, one file with every figure.

Each server has one worker and core A to itself while it is measured, wrk has core B. A round measures each server in turn;
what counts is the ratio within a round, because the machine's speed changes between rounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

from servers import BENCH, Running, Server, peers, rohas

PORT = 4480
PACKAGES = ["fastapi", "granian", "pydantic", "pydantic_core", "uvicorn", "uvloop"]
#: At least so many times the rate of the peer, both pinned to one core.
GOALS = {"uvicorn + FastAPI": 8.0, "Granian + FastAPI": 12.0, "Granian RSGI": 3.0}
#: At most so many microseconds at the median, one request at a time.
GOAL_ALONE_US = 90


@dataclasses.dataclass(frozen=True)
class Measure:
    """One server in one round."""

    server: str
    round: int
    rate: float
    cpu_us: float
    p50_us: float
    p99_us: float
    alone_p50_us: float
    alone_p99_us: float
    memory_mb: float
    errors: int


@dataclasses.dataclass(frozen=True)
class Load:
    """What wrk reported."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    errors: int


def load(url: str, core: int, connections: int, seconds: float) -> Load:
    """Requests over so many connections for so long."""
    whole = max(1, round(seconds))
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{whole}s"]
    command += ["-s", str(BENCH / "post.lua"), url]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=whole + 30).stdout
    line = next(line for line in printed.splitlines() if line.startswith("RESULT "))
    return Load(**json.loads(line.removeprefix("RESULT ")))


def measure(server: Server, number: int, options: argparse.Namespace, log: pathlib.Path) -> Measure:
    """Starts the server, warms it up, loads it, and stops it."""
    with Running(server, options.cores[0], PORT, log) as running:
        load(running.url, options.cores[1], options.connections, 1)
        before = running.cpu_seconds()
        busy = load(running.url, options.cores[1], options.connections, options.seconds)
        cpu = running.cpu_seconds() - before
        memory = running.memory_mb()
        alone = load(running.url, options.cores[1], 1, max(1, options.seconds / 2))
    return Measure(
        server=server.name,
        round=number,
        rate=busy.requests / busy.seconds,
        cpu_us=cpu / busy.requests * 1e6,
        p50_us=busy.p50_us,
        p99_us=busy.p99_us,
        alone_p50_us=alone.p50_us,
        alone_p99_us=alone.p99_us,
        memory_mb=memory,
        errors=busy.errors + alone.errors,
    )


def median(rounds: list[Measure], field: str) -> float:
    """The middle of one figure."""
    return float(statistics.median(getattr(one, field) for one in rounds))


def table(measures: list[Measure]) -> str:
    """The figures for people: medians, and the ratios with the worst round beside them."""
    by_server: dict[str, list[Measure]] = {}
    for one in measures:
        by_server.setdefault(one.server, []).append(one)
    ours = by_server["rohas"]
    return "\n".join([*figures(by_server), "", *ratios(ours, by_server), "", alone(ours)])


def figures(by_server: dict[str, list[Measure]]) -> list[str]:
    """One line per server."""
    columns = {"req/s": "rate", "CPU us/req": "cpu_us", "p50 us": "p50_us", "p99 us": "p99_us"}
    columns |= {"alone p50": "alone_p50_us", "alone p99": "alone_p99_us", "PSS MB": "memory_mb"}
    lines = [f"{'medians':<20}" + "".join(f"{name:>11}" for name in columns) + f"{'errors':>8}"]
    for name, rounds in by_server.items():
        cells = [f"{median(rounds, field):>11.{1 if field == 'cpu_us' else 0}f}" for field in columns.values()]
        lines.append(f"{name:<20}" + "".join(cells) + f"{sum(one.errors for one in rounds):>8}")
    return lines


def ratios(ours: list[Measure], by_server: dict[str, list[Measure]]) -> list[str]:
    """One line per peer."""
    lines = [f"{'rohas against':<20}{'rate':>11}{'worst':>11}{'CPU':>11}{'goal':>11}"]
    for name, goal in GOALS.items():
        pairs = list(zip(ours, by_server[name]))
        rates = [mine.rate / theirs.rate for mine, theirs in pairs]
        cpu = statistics.median(theirs.cpu_us / mine.cpu_us for mine, theirs in pairs)
        cells = "".join(f"{ratio:>10.2f}x" for ratio in (statistics.median(rates), min(rates), cpu, goal))
        lines.append(f"{name:<20}{cells}  {verdict(statistics.median(rates) >= goal)}")
    return lines


def alone(ours: list[Measure]) -> str:
    """The goal for one request at a time."""
    found = median(ours, "alone_p50_us")
    return f"one request at a time: p50 {found:.0f} us, goal {GOAL_ALONE_US} us  {verdict(found <= GOAL_ALONE_US)}"


def verdict(met: bool) -> str:
    """In capitals when it is bad news."""
    return "met" if met else "MISSED"


def environment() -> dict[str, object]:
    """What the figures were measured on."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=BENCH, capture_output=True, text=True).stdout.strip()
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": commit,
        "load_before": os.getloadavg()[0],
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rohas", type=pathlib.Path, required=True, help="the release binary")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each with every server (default 5)")
    parser.add_argument("--seconds", type=float, default=5, help="length of a measurement (default 5)")
    parser.add_argument("--connections", type=int, default=32, help="connections under load (default 32)")
    options = parser.parse_args()
    options.cores = sorted(os.sched_getaffinity(0))[:2]
    if len(options.cores) < 2:
        parser.error("two cores are needed: one for the server, one for wrk")
    options.rohas = options.rohas.resolve(strict=True)
    return options


def measure_all(options: argparse.Namespace, log: pathlib.Path) -> list[Measure]:
    """All rounds, with a line on stderr for each measurement."""
    measures: list[Measure] = []
    with tempfile.TemporaryDirectory(prefix="rohas-bench-") as scratch:
        servers = [rohas(options.rohas, pathlib.Path(scratch)), *peers()]
        for number in range(1, options.rounds + 1):
            for server in servers:
                one = measure(server, number, options, log)
                measures.append(one)
                progress = f"round {number}/{options.rounds}  {one.server:<20}{one.rate:>9.0f} req/s"
                errors = f"  {one.errors} ERRORS" if one.errors else ""
                print(f"{progress}{one.cpu_us:>8.1f} us CPU per request{errors}", file=sys.stderr, flush=True)
    return measures


def main() -> None:
    options = arguments()
    facts = environment()
    results = BENCH / "results"
    results.mkdir(exist_ok=True)
    name = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    measures = measure_all(options, results / f"{name}.log")
    conditions = [
        f"{facts['cpu']}, {facts['cores']} cores, CPython {facts['python']}",
        f"{options.rounds} rounds, {options.seconds:g} s per measurement",
        f"server on core {options.cores[0]}, wrk with {options.connections} connections on core {options.cores[1]}",
    ]
    text = "\n".join([*conditions, "", table(measures), ""])
    (results / f"{name}.txt").write_text(text)
    chosen = {"rounds": options.rounds, "seconds": options.seconds, "connections": options.connections}
    report = {"environment": facts, "options": chosen, "measures": [dataclasses.asdict(one) for one in measures]}
    (results / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"\n{text}\nwritten to {results / name}.txt and .json")


if __name__ == "__main__":
    main()
