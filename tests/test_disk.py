"""Files beside those of ``logging.handlers``: the same names, contents, times of rotation and bytes, or a listed difference.

The Rust example ``disk_drive`` opens, fills and rotates files in one directory, the standard library's handlers do the
same in another, both by the same clock and beginning with the same files, which the library left behind. After each
step the directories must be equal. ``LOGSERV_TEST_SEED`` replays a run, ``LOGSERV_TEST_CASES`` says how many.

The differences that are wanted, each a rule of docs/files.md, are overridden in ``Sized`` and ``Timed`` below.
"""

from __future__ import annotations

import codecs
import datetime
import encodings
import encodings.aliases
import json
import logging
import logging.handlers
import os
import pkgutil
import random
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SEED = int(os.environ.get("LOGSERV_TEST_SEED") or random.randrange(2**32))
CASES = int(os.environ.get("LOGSERV_TEST_CASES") or 140)
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
]
WHENS = ["S", "M", "H", "D", "midnight", "MIDNIGHT", "W0", "w1", "W2", "W3", "W4", "W5", "W6"]
DAY = 86_400


@pytest.fixture(scope="module")
def program() -> Path:
    """The example ``disk_drive``, built."""
    if named := os.environ.get("LOGSERV_DISK_DRIVE"):
        return Path(named)
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("no cargo to build the example disk_drive with; LOGSERV_DISK_DRIVE may name one")
    options = ["--quiet", "--package", "logserv-disk", "--example", "disk_drive", "--message-format=json"]
    built = subprocess.run(
        [cargo, "build", *options], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True
    )
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    (path,) = [
        message["executable"] for message in messages if message.get("target", {}).get("name") == "disk_drive"
    ]
    return Path(path)


class Drive:
    """The Rust side, a process that lives in one time zone."""

    def __init__(self, program: Path, zone: str) -> None:
        self.process = subprocess.Popen(
            [program],
            env={**os.environ, "TZ": zone},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, action: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": action, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert not (isinstance(answer, dict) and "error" in answer), (action, arguments, answer)
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait() == 0


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """A time zone, in force in this process."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.fixture
def drive(program: Path, request: pytest.FixtureRequest) -> Iterator[Drive]:
    """The Rust side, in the zone of the test if it has one."""
    zone = request.getfixturevalue("zone") if "zone" in request.fixturenames else "UTC"
    drive = Drive(program, zone)
    yield drive
    drive.close()


class Sized(logging.handlers.RotatingFileHandler):
    """The library's handler, but for the rules that are ours."""

    def shouldRollover(self, record: logging.LogRecord) -> int:
        # An empty file is not rotated (CPython 3.11 rotates it); without a count nothing is.
        if self.stream is None:
            self.stream = self._open()
        self.stream.seek(0, 2)
        return super().shouldRollover(record) if self.stream.tell() and self.backupCount else False


class Timed(logging.handlers.TimedRotatingFileHandler):
    """The library's handler of 3.13, but for the rules that are ours."""

    def rotation_filename(self, default_name: str) -> str:
        # Nothing is overwritten or left unrotated: a taken name gets the number after the highest.
        plain = Path(default_name)
        pattern = re.compile(re.escape(plain.name) + r"(?:\.([1-9]\d*))?")
        found = [pattern.fullmatch(path.name) for path in plain.parent.iterdir()]
        numbers = [int(match[1] or 0) for match in found if match]
        return f"{default_name}.{max(numbers) + 1}" if numbers else default_name

    def getFilesToDelete(self) -> list[str]:
        # Numbered names count, in their order.
        base = Path(self.baseFilename)
        found = []
        for path in base.parent.iterdir():
            suffix = path.name.removeprefix(base.name + ".")
            match = re.fullmatch(r"(.*?)(?:\.([1-9]\d*))?", suffix)
            if suffix != path.name and match and self.extMatch.fullmatch(match[1]):
                found.append((match[1], int(match[2] or 0), str(path)))
        found.sort()
        return [name for _, _, name in found[: max(0, len(found) - self.backupCount)]]

    def doRollover(self) -> None:
        super().doRollover()
        # A time that is over already would rotate with every record.
        while self.rolloverAt <= int(time.time()):
            self.rolloverAt += self.interval


class Both:
    """One file by each side, in directories that must stay equal."""

    def __init__(self, drive: Drive, directory: Path, now: float) -> None:
        self.drive = drive
        self.ours = directory / "ours"
        self.theirs = directory / "theirs"
        self.ours.mkdir(parents=True)
        self.theirs.mkdir()
        self.now = now
        self.handler: logging.Handler | None = None
        self.steps: list[str] = []
        self.number = 0

    def leave_behind(
        self, cls: type[logging.FileHandler], arguments: dict[str, Any], lines: list[str]
    ) -> None:
        """Files of an earlier run, by the standard library as it is."""
        handler = self.made(cls, arguments)
        for line in lines:
            with mock.patch("time.time", return_value=self.now):
                handler.emit(self.record(line))
            self.now += random.Random(line).choice([0, 1, 3600])
        handler.close()
        shutil.copytree(self.theirs, self.ours, dirs_exist_ok=True)
        self.steps.append(f"left behind: {self.listing(self.theirs)}")

    def open(self, cls: type[logging.FileHandler], **arguments: Any) -> None:
        self.close()
        self.steps.append(f"open at {self.now}: {cls.__name__} {arguments}")
        for directory in (self.ours, self.theirs):
            for path in directory.iterdir():
                os.utime(path, (self.now - 5, self.now - 5))
        at_time = arguments.get("atTime")
        self.handler = self.made(cls, arguments)
        sent = {**arguments, "filename": "app.log", "atTime": at_time and at_time.isoformat()}
        sent = {name: value for name, value in sent.items() if value is not None}
        name = next(base for base in cls.__mro__ if base.__module__.startswith("logging"))
        dotted = f"{name.__module__}.{name.__name__}"
        self.drive.ask("open", root=str(self.ours), arguments=sent, now=self.now, **{"class": dotted})
        self.compare()

    def made(self, cls: type[logging.FileHandler], arguments: dict[str, Any]) -> logging.FileHandler:
        """The library's handler. A file that it makes has the time of the real clock, which it must not go by."""
        path = self.theirs / "app.log"
        existed = path.exists()
        with mock.patch("time.time", return_value=self.now):
            handler = cls(str(path), **arguments)
            if isinstance(handler, Timed) and not existed:
                handler.rolloverAt = handler.computeRollover(int(self.now))
        return handler

    def record(self, line: str) -> logging.LogRecord:
        return logging.LogRecord("name", logging.INFO, "path", 1, line, (), None)

    def append(self, line: str) -> None:
        self.steps.append(f"append at {self.now}: {len(line)} characters")
        assert self.handler is not None
        with mock.patch("time.time", return_value=self.now):
            self.handler.emit(self.record(line))
        self.drive.ask("append", line=line + "\n", now=self.now)

    def rollover(self) -> None:
        self.steps.append(f"rollover at {self.now}")
        with mock.patch("time.time", return_value=self.now):
            self.handler.doRollover()  # type: ignore[union-attr]
        assert self.drive.ask("rollover", now=self.now)

    def close(self) -> None:
        if self.handler is not None:
            self.handler.close()
            self.drive.ask("close")
            self.handler = None

    def in_both(self, action: Any) -> None:
        for directory in (self.ours, self.theirs):
            action(directory)

    def listing(self, directory: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}

    def compare(self) -> None:
        if self.handler is not None:
            self.drive.ask("commit")
        ours, theirs = self.listing(self.ours), self.listing(self.theirs)
        if ours != theirs:
            shorten = {
                name: (ours.get(name, b"-")[-60:], theirs.get(name, b"-")[-60:]) for name in ours | theirs
            }
            steps = "\n  ".join(self.steps)
            pytest.fail(f"LOGSERV_TEST_SEED={SEED}\n  {steps}\n  name: (ours, theirs)\n  {shorten}")


def lines(rng: random.Random) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{number} " + "x" * rng.choice([0, 1, 5, 20, 80, 200])


def test_sizes_rotate_as_in_the_library(drive: Drive, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    rotated = 0
    for case in range(CASES):
        both = Both(drive, tmp_path / str(case), 1_000_000.0)
        text = lines(rng)
        before = {"maxBytes": rng.choice([30, 100]), "backupCount": rng.randrange(6)}
        if rng.random() < 0.7:
            both.leave_behind(Sized, before, [next(text) for _ in range(rng.randrange(20))])
        for _ in range(rng.randrange(1, 4)):
            arguments: dict[str, Any] = {
                "maxBytes": rng.choice([0, 1, 10, 50, 100, 100, 500]),
                "backupCount": rng.choice([0, 1, 2, 3, 5, 20]),
                "delay": rng.random() < 0.3,
            }
            if arguments["maxBytes"] and rng.random() < 0.2:
                arguments["mode"] = "w"
            if rng.random() < 0.3:
                # Sizes are bytes here, characters there, so that wide codecs cannot agree on them.
                wide = [] if arguments["maxBytes"] else ["utf-16", "utf-32-be"]
                arguments["encoding"] = rng.choice(["utf-8", "latin-1", "utf-8-sig", *wide])
            both.open(Sized, **arguments)
            for _ in range(rng.randrange(25)):
                action = rng.random()
                if action < 0.85:
                    both.append(next(text))
                elif action < 0.92 and arguments["backupCount"]:
                    both.rollover()
                elif action < 0.96:
                    gone = f"app.log.{rng.randrange(1, 6)}"
                    both.steps.append(f"delete {gone}")
                    both.in_both(lambda directory, gone=gone: (directory / gone).unlink(missing_ok=True))
                else:
                    both.compare()
            both.compare()
            rotated += (both.ours / "app.log.1").exists()
        both.close()
        both.compare()
    assert rotated > CASES // 3, "hardly anything was rotated"


@pytest.mark.python("3.13")
def test_times_rotate_as_in_the_library(drive: Drive, zone: str, tmp_path: Path) -> None:
    rng = random.Random(f"{SEED} {zone}")
    rotated = 0
    for case in range(CASES // len(ZONES)):
        start = rng.choice(TRANSITIONS[zone]) + rng.randrange(-3 * DAY, 3 * DAY)
        both = Both(drive, tmp_path / str(case), start + rng.random())
        text = lines(rng)
        arguments = timed_arguments(rng)
        unit = {"S": 1, "M": 60, "H": 3600}.get(arguments["when"], DAY)
        if rng.random() < 0.7:
            both.leave_behind(Timed, arguments, [next(text) for _ in range(rng.randrange(20))])
        for _ in range(rng.randrange(1, 4)):
            arguments["backupCount"] = rng.choice([0, 0, 1, 2, 5])
            arguments["delay"] = rng.random() < 0.3
            both.open(Timed, **arguments)
            for _ in range(rng.randrange(25)):
                both.now += rng.choice([0, 0.25, 1, 1800, 3600, unit // 3, unit, unit, 3 * unit])
                if rng.random() < 0.9:
                    both.append(next(text))
                elif rng.random() < 0.5:
                    both.rollover()
                both.compare()
        rotated += len(list(both.ours.iterdir())) > 1
        both.close()
        both.compare()
    assert rotated > CASES // len(ZONES) // 3, "hardly anything was rotated"


def timed_arguments(rng: random.Random) -> dict[str, Any]:
    arguments: dict[str, Any] = {"when": rng.choice(WHENS), "interval": rng.choice([1, 1, 1, 2, 3, 7])}
    if rng.random() < 0.3:
        arguments["utc"] = True
    if rng.random() < 0.4:
        fraction = rng.choice([0, 1, 500_000])
        arguments["atTime"] = datetime.time(
            rng.randrange(24), rng.choice([0, 30, 59]), rng.choice([0, 59]), fraction
        )
    return arguments


def offset_changes(zone: str, first: int, last: int) -> list[int]:
    """The moments at which the offset or the daylight-saving flag of the zone changes, to the second."""

    def state(moment: int) -> tuple[int, int]:
        local = time.localtime(moment)
        return local.tm_gmtoff, local.tm_isdst

    found = []
    for day in range(first, last, DAY):
        low, high = day, day + DAY
        if state(low) == state(high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if state(middle) == state(low) else (low, middle)
        found.append(high)
    return found


def transitions() -> dict[str, list[int]]:
    """For each zone, its changes between 2008 and 2027; a date of no importance where there is none."""
    before = os.environ.get("TZ")
    found = {}
    for zone in ZONES:
        os.environ["TZ"] = zone
        time.tzset()
        found[zone] = offset_changes(zone, 1_200_000_000, 1_800_000_000) or [1_767_225_600]
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()
    return found


TRANSITIONS = transitions()


@pytest.mark.python("3.13")
def test_times_of_rotation_are_the_librarys(drive: Drive, zone: str, tmp_path: Path) -> None:
    rng = random.Random(f"{SEED} {zone}")
    moments = 0
    for _ in range(CASES):
        arguments = timed_arguments(rng)
        handler = logging.handlers.TimedRotatingFileHandler(
            str(tmp_path / "app.log"), delay=True, **arguments
        )
        around = rng.choice(TRANSITIONS[zone])
        times = [around + rng.randrange(-9 * DAY, 2 * DAY) for _ in range(20)]
        times += [around + near for near in (-3601, -3600, -1801, -1, 0, 1, 1799, 3599, 3600)]
        times += [rng.randrange(2**31) for _ in range(5)]
        sent = {**arguments, "filename": "app.log"}
        if "atTime" in arguments:
            sent["atTime"] = arguments["atTime"].isoformat()
        name = "logging.handlers.TimedRotatingFileHandler"
        answers = drive.ask("compute", arguments=sent, times=times, **{"class": name})
        for moment, (rollover_at, suffix) in zip(times, answers, strict=True):
            context = f"LOGSERV_TEST_SEED={SEED}, {zone}, {arguments}, {moment}"
            assert rollover_at == handler.computeRollover(moment), context
            assert suffix == library_suffix(handler, rollover_at, max(rollover_at, moment)), context
            moments += 1
        handler.close()
    print(f"{zone}: {moments} moments")
    assert moments >= 30 * CASES


def library_suffix(handler: logging.handlers.TimedRotatingFileHandler, rollover_at: int, now: int) -> str:
    """The name that the library's doRollover chooses."""
    chosen: list[str] = []

    def choose(name: str) -> str:
        chosen.append(name)
        return handler.baseFilename  # it exists, so that the handler stops there

    with (
        mock.patch("time.time", return_value=now),
        mock.patch.object(handler, "rolloverAt", rollover_at),
        mock.patch.object(handler, "rotation_filename", choose),
    ):
        Path(handler.baseFilename).touch()
        handler.doRollover()
    (name,) = chosen
    return name.removeprefix(handler.baseFilename + ".")


def test_a_watched_file_is_followed_as_in_the_library(drive: Drive, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    for case in range(CASES // 4):
        both = Both(drive, tmp_path / str(case), 1_000_000.0)
        text = lines(rng)
        both.open(logging.handlers.WatchedFileHandler, delay=rng.random() < 0.3)
        for step in range(rng.randrange(20)):
            action = rng.random()
            if action < 0.6:
                both.append(next(text))
            elif action < 0.7:
                both.in_both(lambda directory: (directory / "app.log").unlink(missing_ok=True))
            elif action < 0.8 and (both.ours / "app.log").exists() and (both.theirs / "app.log").exists():
                both.in_both(
                    lambda directory, step=step: (directory / "app.log").rename(directory / f"old.{step}")
                )
            elif action < 0.9:
                both.in_both(lambda directory: (directory / "app.log").write_bytes(b""))
            else:
                both.append(next(text))
                both.compare()
                continue
            both.drive.ask("commit")
        both.append("last")
        both.close()
        both.compare()


def test_truncation_is_the_librarys(drive: Drive, tmp_path: Path) -> None:
    for case, (delay, mode) in enumerate(
        [(False, "w"), (True, "w"), (False, "a"), (True, "a"), (False, "w+")]
    ):
        both = Both(drive, tmp_path / str(case), 1_000_000.0)
        both.leave_behind(logging.FileHandler, {}, ["yesterday"])
        both.open(logging.FileHandler, delay=delay, mode=mode)
        both.append("today")
        both.compare()
        both.close()


def codec_names() -> list[str]:
    """All names of all codecs, and some spellings of them."""
    names = {module.name for module in pkgutil.iter_modules(encodings.__path__)} | set(
        encodings.aliases.aliases
    )
    return sorted(names) + [
        "UTF-8",
        "utf 8",
        "Latin-1",
        "ISO-8859-15",
        "windows-1252",
        "KOI8-R",
        "no-such-codec",
    ]


def test_codecs_write_the_librarys_bytes(drive: Drive) -> None:
    every = [chr(number) for number in range(0x110000) if not 0xD800 <= number < 0xE000]
    interesting = [sign for sign in every if sign < "\u2700" or "\ufb00" < sign <= "\U00010000"]
    interesting += random.Random(SEED).sample(every, 500)
    policies = ["backslashreplace", "replace", "ignore", "xmlcharrefreplace"]
    known = refused = 0
    seen: dict[str, str] = {}
    for name in codec_names():
        if drive.ask("encode", encoding=name, errors="strict", texts=["a"]) is None:
            refused += 1
            continue
        known += 1
        codec = codecs.lookup(name).name
        if codec in seen:
            # Another name of the same codec: a sample will do.
            sample, errors = interesting[:300], seen[codec]
        else:
            sample, errors = interesting, seen.setdefault(codec, policies[len(seen) % len(policies)])
        answers = drive.ask("encode", encoding=name, errors=errors, texts=sample)
        for sign, answer in zip(sample, answers, strict=True):
            assert answer == sign.encode(codec, errors).hex(), (name, errors, sign)
    print(f"{known} names known, {refused} refused")
    assert known > 250
    assert drive.ask("encode", encoding="no-such-codec", errors="strict", texts=[]) is None
    strict = drive.ask("encode", encoding="ascii", errors="strict", texts=["\xe9"])
    assert bytes.fromhex(strict[0]) == b"\\xe9", "never lost"
