"""Records per second from the logging call to the file, beside the standard library's handlers, all on this machine and now.

In: an environment with logserv installed (``make bench`` sees to it). Out: one table. Every figure is the median of
three runs (``BENCH_RUNS``) with the spread behind it, of 1 and of 4 producing processes, from the first call until the last record is
in the file and its process has left. Beside it: microseconds that a record took
its producer, who makes a text with a checksum first; the same for all rows.
The 4-process rows of the standard library are not a like for like: RotatingFileHandler loses records there, and the
table says how many.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import oracle
import running

RECORDS = int(os.environ.get("BENCH_RECORDS", "20000"))  # by each run, all processes together
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
ROTATION = {"maxBytes": 1_000_000, "backupCount": 100}
Run = tuple[float, float, int]  # records/s, microseconds per call, records lost


def measure(active: Path, handler: dict[str, Any], processes: int) -> Run:
    """One run."""
    records = RECORDS // processes
    start_at = time.time() + 0.7
    producers = running.Producers()
    for producer in range(processes):
        config = running.dict_config(handler, oracle.FORMAT)
        producers.start({"config": config, "producer": producer, "records": records, "start_at": start_at})
    results = []
    for process in producers.processes:
        out, _err = process.communicate(timeout=300)
        results.append(json.loads(out)["logging_s"])
    seconds = time.time() - start_at
    report = oracle.check(active, {(producer, 0): records for producer in range(processes)})
    return RECORDS / seconds, 1e6 * statistics.mean(results) / records, report.lost


def repeated(
    name: str, processes: int, prepare: Callable[[Path], tuple[dict[str, Any], Callable[[], None]]]
) -> None:
    """Measures `RUNS` times in fresh directories, and prints one row."""
    runs = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(prefix="ls-bench-") as directory:
            handler, end = prepare(Path(directory))
            try:
                runs.append(measure(Path(directory) / "bench.log", handler, processes))
            finally:
                end()
    rates = sorted(run[0] for run in runs)
    calls = sorted(run[1] for run in runs)
    lost = max(run[2] for run in runs)
    print(
        f"{name:<28} | {processes:>9} | {rates[RUNS // 2]:>9,.0f} ({rates[0]:,.0f}..{rates[-1]:,.0f}) | "
        f"{calls[RUNS // 2]:>7.1f} | {lost:>6,}",
        flush=True,
    )


def standard(
    class_name: str, **arguments: Any
) -> Callable[[Path], tuple[dict[str, Any], Callable[[], None]]]:
    """A handler of the standard library in each process."""

    def prepare(directory: Path) -> tuple[dict[str, Any], Callable[[], None]]:
        return {"class": class_name, "filename": str(directory / "bench.log"), **arguments}, lambda: None

    return prepare


def served(transport: str, **arguments: Any) -> Callable[[Path], tuple[dict[str, Any], Callable[[], None]]]:
    """logserv, with a server of its own for each run."""

    def prepare(directory: Path) -> tuple[dict[str, Any], Callable[[], None]]:
        program = Path(sysconfig.get_path("scripts")) / "logserv"
        sockets = Path(tempfile.mkdtemp(prefix="ls-", dir="/tmp"))
        server = running.Server(program, sockets / "s.sock", directory)
        server.wait_until_ready()

        def end() -> None:
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(20)
            shutil.rmtree(sockets)

        return server.handler(transport, "bench.log", **arguments), end

    return prepare


def main() -> None:
    """Measures and prints."""
    version = subprocess.run(["uname", "-srm"], capture_output=True, text=True, check=True).stdout.strip()
    processors = len(os.sched_getaffinity(0))
    print(
        f"{RECORDS:,} records a run, {RUNS} runs, Python {sys.version.split()[0]}, {version}, {processors} processors\n"
    )
    print(f"{'handler':<28} | processes | records/s: median (least..most) | µs each | lost at most")
    print("-" * 103)
    for processes in (1, 4):
        repeated("logging.FileHandler", processes, standard("logging.FileHandler"))
        repeated(
            "RotatingFileHandler", processes, standard("logging.handlers.RotatingFileHandler", **ROTATION)
        )
        for transport in ("unix", "tcp"):
            repeated(f"logserv, {transport}", processes, served(transport, **ROTATION))
    print(
        "\n(FileHandler does not rotate. A call of logserv returns when the record is in the process's memory queue.\nThe first table of a busy machine says little: compare rows of the same run.)"
    )


if __name__ == "__main__":
    main()
