"""Kills processes, and knows what must be left: producers with ledgers, moments to strike, and the account behind it.

In: a server, jobs for producers, a generator of random numbers whose seed is printed. Out: a :class:`Crew` of producers that are
killed or leave, and the oracle's report once every record whose call had returned is in the files, or ten seconds are over.
Not here: which fault a test is about.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import figures
import ledger
import oracle
from running import PRODUCER, Server, dict_config, wait_for

LIVES = Path(__file__).with_name("lives.py")
HEALED_S = 10.0  # after a fault, a record is in its file within this time
ROTATION: dict[str, Any] = {"maxBytes": 200_000, "backupCount": 2_000}
PATIENT: dict[str, Any] = {
    **ROTATION,
    "block_timeout_s": 60.0,
}  # a call waits for a server that is being killed; no drop is in order
MIXED: dict[str, Any] = {"exceptions": 20, "payload": 100, "long_every": 60, "long": 8_000}
MEMORY = Path("/dev/shm")
# What goes before a program that is to have a /dev/shm of its own, as in a container.
OWN_MEMORY = (
    *("unshare", "-m", "sh", "-c"),
    'mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm && exec "$@"',
    "sh",
)
_FNV_BASIS, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


def amount(short: int, full: int) -> int:
    """How many times: as ``make test`` has time for, or all."""
    return full if figures.IS_FULL else short


def chance(place: str, seed: int) -> random.Random:
    """Random numbers of one test, the same for the same seed."""
    return random.Random(f"{place}/{seed}")


def clean_environment() -> dict[str, str]:
    """Ours without coverage, which would slow producers down that are to be struck while they log."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@dataclass
class Member:
    """One producer."""

    number: int
    process: subprocess.Popen[bytes]
    book: Path
    stdout: Path
    stderr: Path
    struck_in_call: bool = False

    @property
    def account(self) -> ledger.Account:
        """What its ledger says."""
        return ledger.Account(self.book)

    def wait_until_it_logs(self, records: int = 1) -> None:
        """Returns when so many of its logging calls have returned."""

        def logs() -> bool:
            if self.process.poll() not in (None, 0):
                raise AssertionError(f"a producer left with {self.process.returncode}: {self.said}")
            return self.account.returned >= records

        wait_for(logs, "a producer to log", 30)

    def kill(self) -> bool:
        """SIGKILL. Returns whether it struck in the middle of a logging call."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            self.struck_in_call = self.account.in_call > 0
        return self.struck_in_call

    def leave(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Asks it to stop, waits until it has left of its own will, and returns its result."""
        self.wait_until_it_logs()
        ledger.ask_to_stop(self.book)
        return self.finish(timeout_s)

    def finish(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Waits until it has left of its own will; returns its result."""
        code = self.process.wait(timeout_s)
        if code != 0:
            raise AssertionError(f"a producer left with {code}: {self.said}")
        result: dict[str, Any] = json.loads(self.stdout.read_text())
        return result

    @property
    def said(self) -> str:
        """What it printed on stderr."""
        return self.stderr.read_text("utf-8", "replace")


@dataclass
class Crew:
    """The producers of one test."""

    directory: Path
    members: list[Member] = field(default_factory=list)
    next_number: int = 0

    def start(
        self,
        handler: Mapping[str, Any],
        *,
        script: Path = PRODUCER,
        prefix: Sequence[str] = (),
        fmt: str = oracle.FORMAT,
        env: Mapping[str, str] | None = None,
        **job: Any,
    ) -> Member:
        """Starts one; see ``producer.py`` for the job."""
        number = self.next_number
        self.next_number += job.pop("numbers", 1)
        path = self.directory / f"{number}.ledger"
        job = {
            "config": dict_config(handler, fmt),
            "producer": number,
            "records": 10_000_000,
            "ledger": str(path),
            **job,
        }
        stdout, stderr = path.with_suffix(".stdout"), path.with_suffix(".stderr")
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(
                [*prefix, sys.executable, str(script), json.dumps(job)],
                env={**clean_environment(), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        member = Member(number, process, path, stdout, stderr)
        self.members.append(member)
        return member

    @property
    def ledgers(self) -> list[tuple[int, Path]]:
        """Of all producers, those included that a producer's child kept: named after the child's number."""
        return [(int(path.stem), path) for path in sorted(self.directory.glob("*.ledger"))]

    def leave(self) -> None:
        """Asks those that still run to stop, all at once, and waits for them."""
        running = [member for member in self.members if member.process.poll() is None]
        for member in running:
            member.wait_until_it_logs()
            ledger.ask_to_stop(member.book)
        for member in running:
            member.finish()

    def forget(self) -> None:
        """Begins anew: another file, other producers; numbers go on."""
        self.kill()
        self.members.clear()
        for path in self.directory.iterdir():
            path.unlink()

    def kill(self) -> None:
        """Ends those that still run."""
        for member in self.members:
            member.kill()

    def report(self, active: Path, **options: Any) -> oracle.Report:
        """What has become of everybody's records by now."""
        return oracle.check(active, oracle.sent_by(self.ledgers), **options)

    def settled(self, active: Path, timeout_s: float = HEALED_S, **options: Any) -> oracle.Report:
        """As `report`, as soon as nothing is missing, or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        pause_s = 0.02
        while True:
            report = self.report(active, **options)
            if (not report.lost and not report.torn) or time.monotonic() > deadline:
                return report
            time.sleep(pause_s)
            pause_s = min(0.5, pause_s * 2)


@dataclass
class Tally:
    """The reports of a test added up, for its figures."""

    records: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    reordered: int = 0
    invented: int = 0

    def add(self, report: oracle.Report) -> oracle.Report:
        """Counts one more file chain in."""
        self.records += report.found
        for name in ("lost", "doubled", "torn", "reordered", "invented"):
            setattr(self, name, getattr(self, name) + getattr(report, name))
        return report

    def keep(self, case: str, **more: float | str | None) -> None:
        """Keeps the figures of a case."""
        figures.keep(case, **vars(self), **more)


@contextlib.contextmanager
def crew(directory: Path, name: str = "crew") -> Iterator[Crew]:
    """Producers, none of which outlives the block."""
    place = directory / name
    place.mkdir()
    place.chmod(0o777)
    members = Crew(place)
    try:
        yield members
    finally:
        members.kill()


def remove_chain(active: Path) -> None:
    """Removes the files of a part of a test that is done."""
    for path in oracle.chain(active):
        path.unlink()


def ends_in_the_middle(active: Path) -> bool:
    """Whether the file's last line has no end: what a kill in the middle of a write leaves."""
    if not active.exists() or not active.stat().st_size:
        return False
    with active.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def ring_key(address: str) -> str:
    """The first part of the names of all rings of a server: 64-bit FNV-1a of its address (``LAYOUT.md``)."""
    value = _FNV_BASIS
    for byte in address.encode():
        value = (value ^ byte) * _FNV_PRIME % (1 << 64)
    return f"{value:016x}"


def rings(server: Server) -> list[Path]:
    """The rings of a server's clients that are there at this moment, of all users."""
    keys = [
        ring_key(f"unix:{os.path.realpath(server.unix)}"),
        ring_key(f"tcp:{server.host}:{server.port}"),
    ]
    return [path for key in keys for path in MEMORY.glob(f"logserv-*/{key}-*")]


def assert_no_ring_is_left(server: Server) -> None:
    """What dead clients leave behind is removed once it is written."""
    wait_for(lambda: not rings(server), f"the rings {rings(server)} to be removed", HEALED_S)


def cpu_ticks(pid: int) -> int:
    """Processor time that a process has used, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def strike_both(first: int, second: int) -> float:
    """SIGKILL to two processes, one right behind the other; returns the seconds in between."""
    started = time.monotonic()
    os.kill(first, signal.SIGKILL)
    between = time.monotonic() - started
    os.kill(second, signal.SIGKILL)
    return between


def timed(action: Callable[[], object]) -> float:
    """Seconds that `action` took."""
    started = time.monotonic()
    action()
    return time.monotonic() - started
