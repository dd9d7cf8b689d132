"""The main job on real input: 8 unrelated processes log to one rotating file: by the standard library, by logserv, and by
logserv while its server and one of the processes are killed.

In: an environment with logserv installed (``make demo`` sees to it). Out: a table of what became of the records, the
commands that were used, the files, three of their lines, and PASS; or the reason why not, and a failure.
The processes are started one by one, as a shell would, and know nothing of each other. Half of them reach logserv over
its Unix socket, half over TCP. The counting is done by ``tests/oracle.py``, from the files alone; of the process that is killed
with ``kill -9`` in the third run, what its calls had returned counts as sent, as its ledger in shared memory tells.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import ledger  # noqa: E402
import oracle  # noqa: E402
import running  # noqa: E402

PRODUCERS = 8
RECORDS = 10_000
MAX_BYTES = 200_000
BACKUP_COUNT = 200
EXCEPTIONS_EVERY = 50
FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(process)d %(name)s: %(message)s"
DATE_FORMAT = "%d %b %H:%M:%S"
PREFIX = r"\d\d \w+ \d\d:\d\d:\d\d\.\d{3} [A-Z]+ +\d+ [\w.]+: "
EXPECTED = {(producer, 0): RECORDS for producer in range(PRODUCERS)}
SERVER_KILLS = 5
VICTIM = 3  # the producer that is killed in the third run, when it has logged half of its records
SETTLED_S = 10.0  # how long what a dead process has left behind may take to its file


@dataclass
class Outcome:
    """One row of the table."""

    handler: str
    report: oracle.Report
    seconds: float
    complaints: int  # lines that the processes printed on stderr

    @property
    def records_per_second(self) -> float:
        return self.report.found / self.seconds


def configuration(handler: dict[str, Any]) -> dict[str, Any]:
    """The ``dictConfig`` of every process: the handler is all that differs."""
    arguments = {"maxBytes": MAX_BYTES, "backupCount": BACKUP_COUNT, "formatter": "demo"}
    return {
        "version": 1,
        "formatters": {"demo": {"format": FORMAT, "datefmt": DATE_FORMAT}},
        "handlers": {"file": {**handler, **arguments}},
        "root": {"level": "DEBUG", "handlers": ["file"]},
    }


def start(active: Path, handlers: list[dict[str, Any]], begin_at: float) -> list[subprocess.Popen[bytes]]:
    """Starts one process for each of `handlers`; they begin to log at the same moment."""
    work = active.parent.parent
    processes = []
    for producer, handler in enumerate(handlers):
        book = work / f"producer{producer}.ledger"
        book.unlink(missing_ok=True)
        job = {
            "config": configuration(handler),
            "producer": producer,
            "records": RECORDS,
            "exceptions": EXCEPTIONS_EVERY,
            "payload": 80,
            "start_at": begin_at,
            "ledger": str(book),
        }
        stderr = (work / f"producer{producer}.stderr.{active.parent.name}").open("ab")
        command = [sys.executable, str(running.PRODUCER), json.dumps(job)]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr))
        stderr.close()
    return processes


def run(
    name: str,
    active: Path,
    handlers: list[dict[str, Any]],
    strike: Callable[[list[subprocess.Popen[bytes]]], int | None] = lambda processes: None,
) -> Outcome:
    """Runs the processes, has `strike` do to them what it does, waits for all, and counts."""
    begin_at = time.time() + 1.5  # when all of them are up
    processes = start(active, handlers, begin_at)
    killed = strike(processes)
    codes = [process.wait() for process in processes]
    seconds = time.time() - begin_at
    if any(code != (-signal.SIGKILL if number == killed else 0) for number, code in enumerate(codes)):
        raise SystemExit(f"the processes of the demo left with {codes}")
    work = active.parent.parent
    complaints = sum(
        len(path.read_bytes().splitlines()) for path in work.glob(f"producer*.stderr.{active.parent.name}")
    )
    sent: dict[oracle.Thread, int | tuple[int, int]] = dict(EXPECTED)
    if killed is not None:
        sent.update(oracle.sent_by([(killed, work / f"producer{killed}.ledger")]))
    deadline = time.monotonic() + (SETTLED_S if killed is not None else 0.0)
    while True:
        report = oracle.check(active, sent, prefix=PREFIX, max_bytes=MAX_BYTES)
        if not report.lost or time.monotonic() > deadline:
            return Outcome(name, report, seconds, complaints)
        time.sleep(0.1)


class Killer:
    """Kills the server again and again, each time under load, and one of the processes for good."""

    def __init__(self, server: Served, work: Path) -> None:
        self.server = server
        self.work = work
        self.struck = 0
        self.killed_after = 0

    def returned(self, producer: int) -> int:
        """How many logging calls of a producer have returned."""
        return ledger.Account(self.work / f"producer{producer}.ledger").returned

    def kill_the_server(self) -> None:
        """Each time when the slowest process has come some way; at once started again."""
        for number in range(1, SERVER_KILLS + 1):
            goal = number * RECORDS // (SERVER_KILLS + 1)
            while min(self.returned(each) for each in range(PRODUCERS) if each != VICTIM) < goal:
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.005))
            self.server.process.kill()
            self.server.process.wait()
            self.struck += 1
            self.server.start()

    def __call__(self, processes: list[subprocess.Popen[bytes]]) -> int:
        """Strikes; returns which process was killed."""
        killing = threading.Thread(target=self.kill_the_server, daemon=True)
        killing.start()
        while self.returned(VICTIM) < RECORDS // 2:
            if processes[VICTIM].poll() is not None:
                raise SystemExit("the process that was to be killed has left by itself")
            time.sleep(0.0005)
        processes[VICTIM].kill()
        processes[VICTIM].wait()
        self.killed_after = self.returned(VICTIM)
        killing.join(60)
        return VICTIM


@dataclass
class Served:
    """A running logserv."""

    command: list[str]
    unix: Path
    stderr: Path
    process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Starts the same command again and returns when it accepts."""
        with self.stderr.open("ab") as stderr:
            self.process = subprocess.Popen(self.command, stderr=stderr)
        wait_until_it_accepts(self.process, self.unix)


def wait_until_it_accepts(server: subprocess.Popen[bytes], unix: Path) -> None:
    """Returns when the socket accepts."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(unix))
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server did not start") from None
            time.sleep(0.02)


def serve(program: Path, unix: Path, port: int, root: Path) -> Served:
    """Starts logserv and returns when it accepts."""
    command = [str(program), "serve", "--unix", str(unix), "--tcp", f"127.0.0.1:{port}", "--root", str(root)]
    path = root.parent / f"server.stderr.{root.name}"
    with path.open("wb") as stderr:
        served = Served(command, unix, path, subprocess.Popen(command, stderr=stderr))
    wait_until_it_accepts(served.process, unix)
    return served


def stop(served: Served) -> int:
    """SIGTERM: drains and leaves. Returns the exit status."""
    served.process.send_signal(signal.SIGTERM)
    return served.process.wait(20)


def show(outcomes: list[Outcome]) -> None:
    """Prints the table."""
    heads = ["handler", "sent", "in files", "lost", "doubled", "torn", "oversize", "records/s"]
    rows = [
        [
            outcome.handler,
            *(
                f"{number:,}"
                for number in (
                    outcome.report.sent,
                    outcome.report.found,
                    outcome.report.lost,
                    outcome.report.doubled,
                    outcome.report.torn,
                    outcome.report.oversize,
                    round(outcome.records_per_second),
                )
            ),
        ]
        for outcome in outcomes
    ]
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]

    def line(cells: list[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])

    print(line(heads))
    print("-|-".join("-" * width for width in widths))
    for row in rows:
        print(line(row))
    print(
        "(lost, doubled: records; torn: lines that are not, or not the next, line of a whole record; oversize: files)"
    )


def main() -> int:
    """Runs the demo."""
    work = ROOT / "target/demo"
    shutil.rmtree(work, ignore_errors=True)
    directories = {name: work / name for name in ("stdlib", "logserv", "killed")}
    for directory in directories.values():
        directory.mkdir(parents=True)
    program = Path(sysconfig.get_path("scripts")) / "logserv"
    unix, port = Path(f"/tmp/logserv-demo-{os.getpid()}.sock"), running.free_port()

    print(
        f"{PRODUCERS} processes x {RECORDS:,} records, maxBytes {MAX_BYTES:,}, backupCount {BACKUP_COUNT}, the same run three times."
    )
    active = directories["stdlib"] / "app.log"
    standard = {"class": "logging.handlers.RotatingFileHandler", "filename": str(active)}
    print("1. logging.handlers.RotatingFileHandler in each process ...", flush=True)
    outcomes = [run("RotatingFileHandler", active, [standard] * PRODUCERS)]

    active = directories["logserv"] / "app.log"
    print("2. logserv.client in each process, half over the Unix socket, half over TCP ...", flush=True)
    server = serve(program, unix, port, directories["logserv"])
    over_unix = {"class": "logserv.client.UnixClient", "host": str(unix), "filename": "app.log"}
    over_tcp = {
        "class": "logserv.client.SocketForwarder",
        "host": "127.0.0.1",
        "port": port,
        "filename": "app.log",
    }
    try:
        outcomes.append(run("logserv (4 Unix, 4 TCP)", active, [over_unix, over_tcp] * (PRODUCERS // 2)))
    finally:
        left_with = [stop(server)]

    print(
        f"3. the same, the server killed {SERVER_KILLS} times and one process once, with kill -9 ...",
        flush=True,
    )
    killer = Killer(serve(program, unix, port, directories["killed"]), work)
    patient = {"block_timeout_s": 30.0}  # a call waits for a server that is dead rather than drop a record
    try:
        outcomes.append(
            run(
                "logserv, with kill -9",
                directories["killed"] / "app.log",
                [over_unix | patient, over_tcp | patient] * (PRODUCERS // 2),
                killer,
            )
        )
    finally:
        left_with.append(stop(killer.server))

    print()
    show(outcomes)
    if outcomes[0].complaints:
        print(
            f"The standard library's processes printed {outcomes[0].complaints:,} lines of errors; logserv's {outcomes[1].complaints:,}."
        )
    print(
        f"The server was killed {killer.struck} times under load; process {VICTIM} when {killer.killed_after:,} of its calls "
        f"had returned, which is what it has sent."
    )
    print("\nThe commands (paths below the repository):")
    shown = [shlex.join(server.command), *(_producer_command(handler) for handler in (over_unix, over_tcp))]
    for text in shown:
        print("  " + text.replace(f"{ROOT}/", ""))
    _show_files(active)

    struck = killer.struck == SERVER_KILLS
    good = all(outcome.report.perfect for outcome in outcomes[1:]) and left_with == [0, 0] and struck
    totals = [f"{outcome.report.found:,} of {outcome.report.sent:,} records" for outcome in outcomes[1:]]
    if good:
        print(f"\nPASS: {totals[0]}, once, in order, whole; with kill -9: {totals[1]}, too")
        return 0
    print(
        f"\nFAIL: {totals[0]}; with kill -9: {totals[1]}, {killer.struck} kills; the servers left with {left_with}"
    )
    for outcome in outcomes[1:]:
        print(f"{outcome.handler}: {outcome.report}")
    return 1


def _producer_command(handler: dict[str, Any]) -> str:
    config = json.dumps(handler | {"maxBytes": MAX_BYTES, "backupCount": BACKUP_COUNT, "formatter": "demo"})
    return f'python tests/producer.py \'… "handlers": {{"file": {config}}} …\'      (4 processes)'


def _show_files(active: Path) -> None:
    files = oracle.chain(active)
    print(f"\nThe files ({len(files)}, {sum(path.stat().st_size for path in files):,} bytes):")
    for path in [*files[:2], *files[-2:]]:
        print(f"  {path.stat().st_size:>9,}  {path.relative_to(ROOT)}")
        if path == files[1] and len(files) > 4:
            print(f"{'…':>11}")
    print("\nThree lines:")
    lines = [line for line in active.read_text("utf-8").splitlines() if " INFO " in line]
    for line in lines[:3]:
        print("  " + line)


if __name__ == "__main__":
    sys.exit(main())
