"""What a logging call costs the process that makes it, in instructions: a figure that a noisy machine does not change.

In: valgrind, and an interpreter with logserv. Out: a table, on stdout and in ``target/bench/calls.json``. As in `micro.py`, two runs that
differ in the number of calls only are counted by callgrind, so that everything else falls out but for what the sender's thread does
meanwhile: some hundreds of instructions. The calls are the bench's own (`workloads.py`), the loop around them is in them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import workloads  # noqa: E402 - the repository is not on the path before

COLLECTED = re.compile(r"Collected : (\d+)")
WAYS = {
    "noop": "a handler that does nothing",
    "file": "logging.FileHandler",
    "ring": "logserv, ring",
    "records": "logserv, ring, native records",
    "native": "logserv, ring, native logger",
}
WARM_UP = 200
START_TIMEOUT_S = 60.0


class CallsError(Exception):
    """Something could not be run; the message has its output."""


def make(way: str, kind: str, count: int, directory: Path) -> None:
    """The counted process: sets logging up as a user would, makes the calls, and ends at once."""
    import logserv
    from logserv.client import UnixClient

    workload = workloads.WORKLOADS[kind]
    handler: logging.Handler
    if way == "noop":
        handler = logging.Handler()
        handler.emit = lambda record: None  # type: ignore[method-assign]
    elif way == "file":
        handler = logging.FileHandler(directory / "file.log")
    else:
        handler = UnixClient(str(directory / "s.sock"), filename="ring.log", ring_bytes=32 << 20)
    handler.setFormatter(logging.Formatter(workload.format))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG)
    if way == "records":
        logging.setLogRecordFactory(logserv.LogRecord)
    elif way == "native":
        logserv.install()
    calls = workloads.make_calls(workload, 0, logging.getLogger, True)
    calls.loop(0, 0, 4)
    if isinstance(handler, UnixClient):
        until = time.monotonic() + START_TIMEOUT_S
        while handler.stats()["protocol"] is None and time.monotonic() < until:
            time.sleep(0.05)  # from here on the server is sent what the line shows
    calls.loop(0, 4, WARM_UP)
    calls.loop(0, WARM_UP, WARM_UP + count)
    os._exit(0)


def instructions(way: str, kind: str, count: int, directory: Path) -> float:
    """Of one call."""

    def collected(calls: int) -> int:
        command = (
            *("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
            *(sys.executable, __file__, "--make", way, kind, str(calls), str(directory)),
        )
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        found = COLLECTED.search(done.stdout)
        if done.returncode != 0 or found is None:
            raise CallsError(f"{' '.join(command)}\n{done.stdout}")
        return int(found[1])

    return (collected(3 * count) - collected(count)) / (2 * count)


def main(arguments: Sequence[str]) -> int:
    """Starts a server, counts, prints."""
    parser = argparse.ArgumentParser(prog="bench/calls.py", description="What a logging call costs.")
    parser.add_argument("--count", type=int, default=2_000, help="calls of each counted run")
    parser.add_argument("--way", action="append", choices=WAYS, default=[], help="only these")
    parser.add_argument("--kind", action="append", default=[], help="plain, mixed: only these")
    parser.add_argument(
        "--make", nargs=4, metavar=("WAY", "KIND", "COUNT", "DIRECTORY"), help=argparse.SUPPRESS
    )
    options = parser.parse_args(arguments)
    if options.make:
        way, kind, count, directory = options.make
        make(way, kind, int(count), Path(directory))
    if shutil.which("valgrind") is None:
        print("no valgrind; install it with: apt-get install valgrind")
        return 1
    program = Path(sysconfig.get_path("scripts")) / "logserv"
    with tempfile.TemporaryDirectory(prefix="logserv-calls-") as name:
        directory = Path(name)
        command: list[str | Path] = [program, "serve", "--unix", directory / "s.sock", "--root", directory]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        cases: list[tuple[str, str]] = [
            (way, kind) for kind in options.kind or ("plain", "mixed") for way in options.way or WAYS
        ]
        try:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                counted = list(
                    pool.map(lambda case: instructions(case[0], case[1], options.count, directory), cases)
                )
        except CallsError as error:
            print(f"calls: {error}", file=sys.stderr)
            return 1
        finally:
            server.terminate()
            server.wait()
    found = {f"{WAYS[way]}, {kind}": round(each) for (way, kind), each in zip(cases, counted, strict=True)}
    print("| one call | instructions |", "| --- | ---: |", sep="\n")
    for case, each in found.items():
        print(f"| {case} | {each:,} |")
    place = ROOT / "target/bench"
    place.mkdir(parents=True, exist_ok=True)
    (place / "calls.json").write_text(json.dumps({sys.version.split()[0]: found}, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
