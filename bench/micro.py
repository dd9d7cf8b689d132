"""`make bench-micro`: what one record costs in each room of logserv, in nanoseconds and in instructions.

In: cargo, and valgrind for the instructions. Out: a table, also in ``target/bench/micro.md`` and ``micro.json``. Instructions are counted by callgrind
over two runs that differ in the number of records only, so that everything else falls out; they are the same on a busy machine and on a
quiet one, where nanoseconds are not. What the kernel does for a record is not in them. The work itself is in `micro/src/cases.rs`.
"""

from __future__ import annotations

import argparse
import json
import logging
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/logserv-bench"
PICKLE = ROOT / "bench/micro/src/record.pickle"
COLLECTED = re.compile(r"Collected : (\d+)")
PYTHON_LOADS = "CPython: pickle.loads"
PYTHON_PIPELINE = "CPython: loads, makeLogRecord, format"
OURS = "pickle: read to record"
PYTHON_COUNT = 20_000


class MicroError(Exception):
    """Something could not be run; the message has its output."""


def output(*command: str | Path) -> str:
    """What a command prints, on both ways."""
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise MicroError(" ".join(str(part) for part in command) + "\n" + done.stdout)
    return done.stdout


def nanoseconds() -> dict[str, float]:
    """Of each case, the best of some rounds."""
    lines = (line.split("\t") for line in output(PROGRAM).splitlines())
    return {name: float(figure) for name, figure in lines}


def instructions(case: str, count: int) -> float:
    """Instructions of one record."""

    def collected(records: int) -> int:
        said = output(
            *("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
            *(PROGRAM, "--count", str(records), case),
        )
        found = COLLECTED.search(said)
        if found is None:
            raise MicroError(f"callgrind counted nothing:\n{said}")
        return int(found[1])

    return (collected(2 * count) - collected(count)) / count


def of_python() -> dict[str, float]:
    """What this interpreter takes for the same pickle, in nanoseconds: the best of five."""
    raw = PICKLE.read_bytes()
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def pipeline() -> None:
        formatter.format(logging.makeLogRecord(pickle.loads(raw)))

    def best(work: Callable[[], object]) -> float:
        rounds = []
        for _ in range(5):
            began = time.perf_counter_ns()
            for _ in range(PYTHON_COUNT):
                work()
            rounds.append((time.perf_counter_ns() - began) / PYTHON_COUNT)
        return min(rounds)

    return {PYTHON_LOADS: best(lambda: pickle.loads(raw)), PYTHON_PIPELINE: best(pipeline)}


def main(arguments: Sequence[str]) -> int:
    """Builds, runs, prints."""
    parser = argparse.ArgumentParser(prog="bench/micro.py", description="What one record costs in each room.")
    parser.add_argument(
        "--instructions", action="store_true", help="count instructions only: quick, and the same everywhere"
    )
    parser.add_argument("--count", type=int, default=4_000, help="records of each counted run")
    options = parser.parse_args(arguments)
    try:
        # Together with the program: with what that needs of them, the crates are built already where there is a wheel.
        packages = ("--package", "logserv", "--package", "logserv-bench")
        output("cargo", "build", "--quiet", "--release", "--locked", *packages)
        cases = output(PROGRAM, "--list").splitlines()
        has_valgrind = shutil.which("valgrind") is not None
        counted = {case: instructions(case, options.count) for case in cases} if has_valgrind else {}
        timed = {} if options.instructions else {**nanoseconds(), **of_python()}
    except MicroError as error:
        print(f"micro: {error}", file=sys.stderr)
        return 1
    if not has_valgrind:
        print("no valgrind, so no instructions; install it with: apt-get install valgrind")
    text = table([*cases, *(name for name in timed if name not in cases)], counted, timed)
    if timed:
        text += f"\nThe pickle reader is {timed[PYTHON_LOADS] / timed[OURS]:.1f} times as fast as pickle.loads of Python {sys.version.split()[0]}.\n"
    print(text, end="")
    place = ROOT / "target/bench"
    place.mkdir(parents=True, exist_ok=True)
    (place / "micro.md").write_text(text, "utf-8")
    (place / "micro.json").write_text(
        json.dumps({"instructions": counted, "nanoseconds": timed}, indent=1), "utf-8"
    )
    return 0


def table(cases: Sequence[str], counted: dict[str, float], timed: dict[str, float]) -> str:
    """One row a case."""
    lines = ["| one record | instructions | ns | records/s |", "| --- | ---: | ---: | ---: |"]
    for case in cases:
        count = f"{counted[case]:,.0f}" if case in counted else "–"
        taken = timed.get(case)
        speed = ("–", "–") if taken is None else (f"{taken:,.1f}", f"{1e9 / taken:,.0f}")
        lines.append(f"| {case} | {count} | {speed[0]} | {speed[1]} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
