"""Reads the files of one run and says what became of every record.

In: the active file, the workload, how many records each thread logged. Out: a :class:`Verdict`. All contenders begin a line with the
record's time to the millisecond; what may stand between that and the message differs. The idea is that of `tests/oracle.py`, with
records that cost their producers less and a reader that takes a million of them in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.workloads import Workload, exception_text, tail

TIME = rb"\d{4}-\d\d-\d\d[ T](\d\d:\d\d:\d\d(?:[,.]\d{3})?)"
MESSAGE = rb"p=(\d+) t=(\d+) n=(\d+) (.*)"
HEAD = re.compile(TIME + rb"[^=\n]* " + MESSAGE, re.DOTALL)
BARE_HEAD = re.compile(rb"()" + MESSAGE, re.DOTALL)
NOTICE = re.compile(TIME + rb"[^=\n]* dropped (\d+) records? ")
EXAMPLES_MAX = 3
Sent = Mapping[tuple[int, int], tuple[int, int]]
"""For each producer and thread: how many records must be there, and how many may (those whose call a kill cut short)."""


@dataclass
class Verdict:
    """What became of the records. `torn` counts lines, `oversize` files; everything else counts records."""

    sent: int = 0
    found: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    reordered: int = 0  # behind a later one of the same thread
    invented: int = 0
    inversions: int = 0  # behind one that is younger by a millisecond or more
    inversion_max_ms: int = 0
    oversize: int = 0
    oversize_max_bytes: int = 0
    told_dropped: int = 0  # of those lost, as the file itself says
    files: int = 0
    lost_by_producer: dict[int, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    @property
    def is_perfect(self) -> bool:
        """Everything is there once, whole, in its thread's order, in files of the right size."""
        return not (
            self.lost or self.doubled or self.torn or self.reordered or self.invented or self.oversize
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def chain(active: Path) -> list[Path]:
    """The files of a log, oldest first: by number where the suffix is one, by time of change where it is not."""
    rotated = [path for path in active.parent.iterdir() if path != active and _is_rotated(path, active)]
    numbers = {path: path.name[len(active.name) + 1 :] for path in rotated}
    if all(number.isdecimal() for number in numbers.values()):
        rotated.sort(key=lambda path: -int(numbers[path]))
    else:
        rotated.sort(key=lambda path: path.stat().st_mtime_ns)
    return [*rotated, active] if active.exists() else rotated


def _is_rotated(path: Path, active: Path) -> bool:
    stem = active.name.removesuffix(".log")
    return path.is_file() and path.name.startswith(stem + ".") and not path.name.endswith(("lock", ".lck"))


def count(active: Path) -> int:
    """How many records seem to be there; quick, and believes every line."""
    return sum(path.read_bytes().count(b" n=") for path in chain(active))


def check(active: Path, workload: Workload, sent: Sent, max_bytes: int, is_bare: bool = False) -> Verdict:
    """Reads all files of the log. `max_bytes` 0: no file is too long. `is_bare`: there is no time before the messages."""
    reader = _Reader(workload, sent, BARE_HEAD if is_bare else HEAD)
    for path in chain(active):
        raw = path.read_bytes()
        reader.read(path.name, raw)
        if max_bytes and len(raw) > max_bytes:
            reader.verdict.oversize += 1
            over = len(raw) - max_bytes
            reader.verdict.oversize_max_bytes = max(reader.verdict.oversize_max_bytes, over)
    return reader.finish()


class _Reader:
    def __init__(self, workload: Workload, sent: Sent, head: re.Pattern[bytes]) -> None:
        self.head = head
        payloads = workload.payloads()
        # The tail of a line follows from the number's remainder: of 4 sites and 64 payloads.
        self.tails = [tail(workload, payloads, number).encode() for number in range(64)]
        self.has_tracebacks = workload.kind == "exceptions"
        self.sent = sent
        self.seen = {thread: bytearray(may) for thread, (_, may) in sent.items()}
        self.last = dict.fromkeys(sent, -1)
        self.newest = b""
        self.verdict = Verdict()

    def read(self, name: str, raw: bytes) -> None:
        self.verdict.files += 1
        lines: Sequence[bytes] = raw.split(b"\n")
        if lines[-1]:
            self._torn(name, lines[-1])  # no end
        end = b""  # what the traceback of the record at hand must end in
        for line in lines[:-1]:
            found = self.head.match(line)
            if found is None:
                if end and not self._is_within(line):
                    if line.endswith(end):
                        end = b""
                        continue
                    end = b""
                elif end:
                    continue
                self._stranger(name, line)
                continue
            if end:
                self._torn(name, b"the traceback is cut before: " + line)
                end = b""
            number = int(found[4])
            if found[5] != self.tails[number & 63]:
                self._torn(name, line)
                continue
            thread = (int(found[2]), int(found[3]))
            self._whole(thread, number, found[1])
            if self.has_tracebacks:
                end = b"BenchError: " + exception_text(*thread, number).encode()
        if end:
            self._torn(name, b"the last traceback is cut")

    @staticmethod
    def _is_within(line: bytes) -> bool:
        return not line or line.startswith((b" ", b"Traceback"))

    def _whole(self, thread: tuple[int, int], number: int, time: bytes) -> None:
        verdict = self.verdict
        seen = self.seen.get(thread)
        if seen is None or number >= len(seen):
            verdict.invented += 1
            return
        if seen[number]:
            verdict.doubled += 1
            return
        seen[number] = 1
        verdict.found += 1
        if number < self.last[thread]:
            verdict.reordered += 1
        else:
            self.last[thread] = number
        if time < self.newest:
            verdict.inversions += 1
            behind = _milliseconds(self.newest) - _milliseconds(time)
            verdict.inversion_max_ms = max(verdict.inversion_max_ms, behind)
        else:
            self.newest = time

    def _stranger(self, name: str, line: bytes) -> None:
        if self.has_tracebacks and not line:
            return  # a line of air behind a traceback
        notice = NOTICE.match(line)
        if notice:
            self.verdict.told_dropped += int(notice[2])
            return
        self._torn(name, line)

    def _torn(self, name: str, line: bytes) -> None:
        self.verdict.torn += 1
        if len(self.verdict.examples) < EXAMPLES_MAX:
            self.verdict.examples.append(f"{name}: {line[:160].decode('utf-8', 'replace')}")

    def finish(self) -> Verdict:
        for (producer, thread), (must, _) in self.sent.items():
            missing = must - sum(self.seen[producer, thread][:must])
            self.verdict.sent += must
            self.verdict.lost += missing
            if missing:
                by_producer = self.verdict.lost_by_producer
                by_producer[producer] = by_producer.get(producer, 0) + missing
        return self.verdict


def _milliseconds(time: bytes) -> int:
    hours, minutes, seconds, ms = int(time[:2]), int(time[3:5]), int(time[6:8]), int(time[9:12] or 0)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
