"""The one checker: reads a log file with all its rotated files and says what became of every record that was sent.

In: the path of the active file, and how many records each thread of each producer sent, or the ledgers that the producers
kept (``ledger.py``). Out: a :class:`Report`.
The records carry their own proof: producer, thread, number, time, length and checksum (:func:`make_message`), so that
a line that was cut, mixed or invented is told from a whole one. A record with a traceback ends in a line that
names the record again; anything in between that does not belong to it is torn.
Not here: sending (``producer.py``), and what a test makes of the report.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import ledger

# The default format of the producers, and what it puts before the message.
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
PREFIX = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+: "
# One that tells the record's own time, by which files are merged: a prefix with a group `created`.
CREATED_FORMAT = "%(created).6f %(levelname)s %(name)s: %(message)s"
CREATED_PREFIX = r"(?P<created>\d+\.\d{6}) [A-Z]+ [\w.]+: "

MESSAGE = re.compile(
    r"record p=(\d+) t=(\d+) n=(\d+) s=(\d+) x=([01]) l=(\d+) c=([0-9a-f]{8}) \|(.*)\|", re.DOTALL
)
NOTICE = re.compile(r"dropped (\d+) records? \((.+)\) between .+ and .+")
TRACEBACK_HEAD = "Traceback (most recent call last):"
EXAMPLES_MAX = 5
LOOKS_MAX = 100  # at a chain that a server is rotating

Thread = tuple[int, int]
"""A producer's number and, within it, a thread's."""
Number = tuple[int, int, int]
"""A record: producer, thread, sequence number (from 0)."""


class ProducerError(Exception):
    """What the producers raise and log; its text names the record, so that the traceback's end can be recognised."""


def make_message(producer: int, thread: int, number: int, sent_ns: int, payload: str, exception: bool) -> str:
    """The text of one record. `payload` holds no newline."""
    crc = _checksum(producer, thread, number, sent_ns, payload)
    return (
        f"record p={producer} t={thread} n={number} s={sent_ns} x={int(exception)} "
        f"l={len(payload)} c={crc:08x} |{payload}|"
    )


def exception_text(producer: int, thread: int, number: int) -> str:
    """The text of the exception that is logged with a record."""
    return f"end of the traceback of {producer}/{thread}/{number}"


def _checksum(producer: int, thread: int, number: int, sent_ns: int, payload: str) -> int:
    return zlib.crc32(f"{producer}/{thread}/{number}/{sent_ns}/{payload}".encode("utf-8", "surrogatepass"))


@dataclass
class Report:
    """What became of the records. `torn` counts lines; everything else counts records, files or milliseconds."""

    attempted: int = 0  # logging calls begun; as many may be there
    sent: int = 0  # logging calls that returned; as many must be there
    found: int = 0  # distinct records, whole
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    reordered: int = 0
    invented: int = 0
    oversize: int = 0  # files
    dropped: int = 0  # as the notices in the file tell
    files: int = 0
    inversions: int = 0  # records behind one of another producer that is younger
    inversion_max_ms: float = 0.0
    newest_ns: int = 0  # when the newest record that was found was sent
    others: int = 0  # lines that are nobody's records and were expected
    processes: Counter[int] = field(
        default_factory=Counter
    )  # records by the pid in their line, where it has one
    examples: list[str] = field(default_factory=list)  # of what is wrong, the first few

    @property
    def perfect(self) -> bool:
        """Everything sent is there once, in order, whole, in files of the right size, and nothing else is."""
        return not (
            self.lost
            or self.doubled
            or self.torn
            or self.reordered
            or self.invented
            or self.oversize
            or self.dropped
        )

    @property
    def unharmed(self) -> bool:
        """As `perfect`, but for lines that are not ours: somebody else's, or what a crash left of one."""
        return not (self.lost or self.doubled or self.reordered or self.invented or self.dropped)

    def __str__(self) -> str:
        counts = ", ".join(
            f"{item.name} {getattr(self, item.name)}" for item in fields(self) if item.name != "examples"
        )
        return counts + "".join(f"\n  {example}" for example in self.examples)

    def note(self, what: str) -> None:
        """Keeps an example of something wrong, if there is still room for one."""
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(what)


def chain(active: Path) -> list[Path]:
    """The files of one base name, oldest first: ``app.log.2``, ``app.log.1``, ``app.log``; dated ones by their date."""

    def age(path: Path) -> tuple[int, str, int]:
        suffix = path.name[len(active.name) + 1 :].removesuffix(".gz").removesuffix(".zst")
        if suffix.isdecimal():
            return (1, "", -int(suffix))
        date, _, copy = suffix.partition(".")  # a date name that was taken has `.1` behind it
        return (0, date, int(copy) if copy.isdecimal() else 0)

    pattern = re.compile(re.escape(active.name) + r"\.\d[\w-]*(\.\d+)?(\.gz|\.zst)?")
    rotated = [path for path in active.parent.iterdir() if pattern.fullmatch(path.name)]
    rotated.sort(key=age)
    return [*rotated, active] if active.exists() else rotated


def contents(path: Path) -> bytes:
    """What a file of the chain holds, compressed or not."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(raw)
    if path.suffix == ".zst":
        import zstandard  # of the tests' environments; others read no such files

        unpacked: bytes = zstandard.ZstdDecompressor().decompress(raw)
        return unpacked
    return raw


def check(
    active: Path,
    sent: Mapping[Thread, int | tuple[int, int]],
    *,
    prefix: str = PREFIX,
    others: str = "",
    max_bytes: int = 0,
    files: Sequence[Path] | None = None,
) -> Report:
    """Reads the whole chain of `active`, or `files`, the oldest first, where others than the server have moved them.

    `sent` gives for each thread how many records must be there, or that and how many may be there at most (after a
    kill). `prefix` is a regular expression for what the format puts before the message; where it has a group `process`,
    the records of one thread may come through several processes, and keep their order within each. `others` is one for
    whole lines that belong there and are no records: a framework's own. No file may be longer than
    `max_bytes`, unless it holds one record only; 0 switches that off.
    """
    reader = _Reader(sent, prefix, others)
    for path, raw in _read_chain(active) if files is None else [(path, contents(path)) for path in files]:
        before = reader.report.found + reader.report.doubled
        reader.read(path.name, raw)
        if max_bytes and len(raw) > max_bytes and reader.report.found + reader.report.doubled - before != 1:
            reader.report.oversize += 1
            reader.report.note(f"{path.name}: {len(raw)} bytes, more than {max_bytes}")
    return reader.finish()


def _read_chain(active: Path) -> list[tuple[Path, bytes]]:
    """The chain's files and what they hold. One that is renamed before it is read is found in the next look."""
    for _ in range(LOOKS_MAX - 1):
        with contextlib.suppress(FileNotFoundError):
            return [(path, contents(path)) for path in chain(active)]
    return [(path, contents(path)) for path in chain(active)]


def sent_by(ledgers: Iterable[tuple[int, Path]], *, synced: bool = False) -> dict[Thread, tuple[int, int]]:
    """What must be there and what may be there, of producers by number and ledger.

    A record whose call had returned must be there; one whose call had only begun may. With `synced` only what a flush
    has confirmed as synced must be there.
    """
    return {
        (producer, thread): (confirmed if synced else returned, attempted)
        for producer, path in ledgers
        for thread, (attempted, returned, confirmed, _) in ledger.Account(path).threads.items()
    }


class _Reader:
    """Walks over the lines of one chain."""

    def __init__(self, sent: Mapping[Thread, int | tuple[int, int]], prefix: str, others: str) -> None:
        self.report = Report()
        self.others = re.compile(others) if others else None
        self.must = {thread: count if isinstance(count, int) else count[0] for thread, count in sent.items()}
        self.may = {thread: count if isinstance(count, int) else count[1] for thread, count in sent.items()}
        self.head = re.compile(prefix)
        self.seen: dict[Thread, set[int]] = {thread: set() for thread in sent}
        self.last: dict[Number, int] = {}  # by producer, thread and, where lines tell it, process
        self.youngest: tuple[int, int] = (-1, 0)  # producer and time of the youngest record so far
        self.youngest_other: tuple[int, int] = (-1, 0)  # the youngest of any other producer

    def read(self, name: str, raw: bytes) -> None:
        self.report.files += 1
        if raw and not raw.endswith(b"\n"):
            self._torn(name, "the file does not end in a newline")
        lines = iter(raw.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n") if raw else [])
        line = next(lines, None)
        while line is not None:
            line = self._record(name, line, lines)

    def _record(self, name: str, line: str, lines: Iterator[str]) -> str | None:
        """Takes one record off; returns the line behind it, or None at the end of the file."""
        head = self.head.match(line)
        text = line[head.end() :] if head else ""
        found = MESSAGE.fullmatch(text)
        if found is None:
            notice = NOTICE.fullmatch(text)
            if notice is not None:
                self.report.dropped += int(notice[1])
                self.report.note(f"{name}: {text}")
            elif self.others is not None and self.others.fullmatch(line):
                self.report.others += 1
            else:
                self._torn(name, line)
            return next(lines, None)
        producer, thread, number, sent_ns, exception, length = (int(found[group]) for group in range(1, 7))
        payload = found[8]
        if len(payload) != length or _checksum(producer, thread, number, sent_ns, payload) != int(
            found[7], 16
        ):
            self._torn(name, line)
            return next(lines, None)
        if exception:
            end = f"ProducerError: {exception_text(producer, thread, number)}"
            following = next(lines, None)
            if following != TRACEBACK_HEAD:
                self._torn(name, f"no traceback behind: {line}")
                return following
            while True:
                following = next(lines, None)
                if following is None or self.head.match(following):
                    self._torn(name, f"the traceback is cut: {line}")
                    return following
                if following.endswith(end):
                    break
                if not following.startswith("  "):
                    self._torn(name, f"in a traceback: {following}")
        time_ns = sent_ns
        process = int(head["process"]) if head and "process" in head.groupdict() else 0
        if head and "created" in head.groupdict():
            time_ns = int(head["created"].replace(".", "")) * 1_000
        self.report.newest_ns = max(self.report.newest_ns, sent_ns)
        self._whole(name, (producer, thread, number), time_ns, process)
        return next(lines, None)

    def _whole(self, name: str, record: Number, time_ns: int, process: int) -> None:
        thread, number = record[:2], record[2]
        if number >= self.may.get(thread, 0):
            self.report.invented += 1
            self.report.note(f"{name}: invented {record}")
            return
        if number in self.seen[thread]:
            self.report.doubled += 1
            self.report.note(f"{name}: doubled {record}")
            return
        self.seen[thread].add(number)
        self.report.found += 1
        if process:
            self.report.processes[process] += 1
        way = (*thread, process)
        if number < self.last.get(way, -1):
            self.report.reordered += 1
            self.report.note(f"{name}: {record} behind number {self.last[way]}")
        self.last[way] = max(number, self.last.get(way, -1))
        self._by_time(record[0], time_ns)

    def _by_time(self, producer: int, time_ns: int) -> None:
        """Counts the record if one of another producer before it is younger."""
        before_ns = (self.youngest_other if self.youngest[0] == producer else self.youngest)[1]
        if time_ns < before_ns:
            self.report.inversions += 1
            self.report.inversion_max_ms = max(self.report.inversion_max_ms, (before_ns - time_ns) / 1e6)
        if producer == self.youngest[0]:
            self.youngest = (producer, max(time_ns, self.youngest[1]))
        elif time_ns > self.youngest[1]:
            self.youngest, self.youngest_other = (producer, time_ns), self.youngest
        elif time_ns > self.youngest_other[1]:
            self.youngest_other = (producer, time_ns)

    def _torn(self, name: str, what: str) -> None:
        self.report.torn += 1
        self.report.note(f"{name}: torn: {what[:160]!r}")

    def finish(self) -> Report:
        for thread, must in self.must.items():
            missing = [number for number in range(must) if number not in self.seen[thread]]
            self.report.sent += must
            self.report.attempted += self.may[thread]
            self.report.lost += len(missing)
            if missing:
                self.report.note(f"lost of {thread}: {len(missing)}, the first is number {missing[0]}")
        return self.report


def main(arguments: list[str]) -> int:
    """``oracle.py FILE PRODUCERS THREADS RECORDS [MAX_BYTES]``: prints the report; fails unless it is perfect."""
    active, producers, threads, records, *rest = arguments
    sent = {(p, t): int(records) for p in range(int(producers)) for t in range(int(threads))}
    report = check(Path(active), sent, max_bytes=int(rest[0]) if rest else 0)
    print(report)
    return 0 if report.perfect else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
