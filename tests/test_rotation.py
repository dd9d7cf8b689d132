"""Rotation as users of other loggers ask for it: size and time, compression, retention, modes, one line a record.

In: the whole product, real processes, real files. Out: every record once in the chain, whatever is compressed or deleted of it
meanwhile. The rules of names are tested with a false clock in ``crates/logserv-disk/tests``, and deaths at every call.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import client_1_0
import oracle
import pytest
from kills import Crew, Tally, amount, chance
from logserv import _arguments
from logserv.client import UnixClient
from running import Server, StartServer, wait_for

TIMED = "logging.handlers.TimedRotatingFileHandler"
FORMS = {"gzip": ".gz", "zstd": ".zst"}


def handler(server: Server, filename: str = "app.log", **arguments: Any) -> UnixClient:
    """One whose lines are the messages."""
    made = UnixClient(str(server.unix), filename=filename, **arguments)
    made.setFormatter(logging.Formatter("%(message)s"))
    return made


def emit(to: logging.Handler, message: str, exc_info: Any = None) -> None:
    to.handle(logging.LogRecord("app", logging.INFO, __file__, 1, message, None, exc_info))


def rotated(active: Path) -> list[Path]:
    """The chain without its active file, oldest first."""
    return oracle.chain(active)[:-1]


def temporary(active: Path) -> Path:
    """What a compression is written to."""
    return active.with_name(f".{active.name}.logserv-tmp")


def wait_until_compressed(active: Path, suffix: str) -> None:
    """Returns when every rotated file is compressed, and nothing is on the way."""

    def is_done() -> bool:
        names = [path.name for path in rotated(active)]
        return all(name.endswith(suffix) for name in names) and not temporary(active).exists()

    wait_for(is_done, f"all rotated files to end in {suffix}", 60)


@pytest.mark.parametrize("compress", FORMS)
def test_rotated_files_are_compressed_and_hold_every_line(
    server: Server, root: Path, crew: Crew, compress: str
) -> None:
    active = root / "app.log"
    for number in range(3):
        crew.start(
            server.handler(
                ("unix", "tcp")[number % 2],
                "app.log",
                maxBytes=30_000,
                backupCount=1_000,
                compress=compress,
                block_timeout_s=60.0,
            ),
            records=1_500,
            exceptions=20,
            last_flush_s=30,
        )
    for member in crew.members:
        member.finish()
    wait_until_compressed(active, FORMS[compress])
    report = crew.settled(active, max_bytes=30_000)
    assert report.perfect, report
    assert report.found == 4_500
    assert report.files > 10
    assert all(path.stat().st_size < 25_000 for path in rotated(active)), "nothing became smaller"
    if compress == "gzip":  # any gzip reads it
        eldest = rotated(active)[0]
        assert subprocess.run(["gzip", "-dc", eldest], capture_output=True, check=True).stdout == (
            oracle.contents(eldest)
        )
    [status] = json.loads(server.command_line("status", "--json").stdout)["files"]
    assert status["files_compressed"] == report.files - 1
    assert status["compressions_failed"] == 0


@pytest.mark.faults
@pytest.mark.newest
@pytest.mark.timeout(amount(180, 3_600))
@pytest.mark.parametrize("compress", FORMS)
def test_a_server_killed_in_the_middle_of_compressions_loses_and_doubles_nothing(
    start_server: StartServer, root: Path, crew: Crew, seed: int, compress: str
) -> None:
    generator = chance(f"compression/{compress}", seed)
    server = start_server(stop_checked=False)
    active = root / "app.log"
    kills, on_the_way = amount(12, 150), 0
    for number in range(3):
        crew.start(
            server.handler(
                ("unix", "tcp")[number % 2],
                "app.log",
                maxBytes=150_000,
                backupCount=5_000,
                compress=compress,
                block_timeout_s=60.0,
            ),
            pause_s=0.002,
            pause_every=20,
            payload=200,
        )
    for member in crew.members:
        member.wait_until_it_logs()
    for _ in range(kills):
        before = sum(member.account.returned for member in crew.members)
        time.sleep(generator.uniform(0.02, 0.2))
        deadline = time.monotonic() + 2
        while not temporary(active).exists() and time.monotonic() < deadline:
            time.sleep(0.0001)
        # A file this small takes zstd a millisecond or two on a quiet machine: most kills come at once.
        time.sleep(generator.uniform(0, generator.choice((0.0, 0.0, 0.001, 0.02))))
        server.kill()
        on_the_way += temporary(active).exists()
        server.restart()
        wait_for(
            lambda before=before: sum(member.account.returned for member in crew.members) > before,  # type: ignore[misc]
            "the producers to go on",
        )
    crew.leave()
    wait_until_compressed(active, FORMS[compress])
    tally = Tally()
    report = tally.add(crew.settled(active, max_bytes=150_000))
    assert report.perfect, report
    assert report.files > kills
    assert on_the_way >= kills // 4, f"only {on_the_way} of {kills} kills struck while a file was compressed"
    tally.keep(f"server kills, compressing with {compress}", kills=kills, struck=on_the_way, seed=seed)


def test_a_chain_is_read_back_whichever_compression_was_chosen_when(server: Server, root: Path) -> None:
    active = root / "app.log"
    for number, compress in enumerate([None, "gzip", "zstd", None, "gzip"]):
        to = handler(server, maxBytes=1_000_000, backupCount=4, compress=compress)
        emit(to, f"line {number}")
        assert to.flush()
        if compress:
            wait_until_compressed_plain(active, FORMS[compress])
        assert to.doRollover()
        to.close()
    wait_until_compressed_plain(active, ".gz")
    texts = [oracle.contents(path) for path in oracle.chain(active)]
    assert texts == [b"line 1\n", b"line 2\n", b"line 3\n", b"line 4\n", b""]
    assert {path.suffix for path in rotated(active)} <= {".gz", ".zst"}


def wait_until_compressed_plain(active: Path, suffix: str) -> None:
    """As `wait_until_compressed`, where others were compressed otherwise before."""
    suffixes = tuple(FORMS.values())
    assert suffix in suffixes
    wait_for(
        lambda: all(path.name.endswith(suffixes) for path in rotated(active)),
        "all rotated files to be compressed",
    )


def test_size_and_time_rotate_together_and_names_keep_the_order(server: Server, root: Path) -> None:
    active = root / "app.log"
    to = handler(server, handler_class=TIMED, when="midnight", maxBytes=1_000, backupCount=5, utc=True)
    for number in range(120):
        emit(to, f"line {number:04} {'x' * 80}")
    assert to.flush()
    names = [path.name for path in rotated(active)]
    assert len(names) == 5
    # Higher numbers are newer, also when the first ones of the day are deleted already.
    assert all(re.fullmatch(r"app\.log\.\d{4}-\d\d-\d\d\.\d+", name) for name in names), names
    numbers = [
        int(found)
        for path in oracle.chain(active)
        for found in re.findall(r"^line (\d+)", path.read_text(), re.MULTILINE)
    ]
    assert numbers == list(range(numbers[0], 120))
    assert all(path.stat().st_size < 1_000 for path in oracle.chain(active))

    by_second = handler(server, "second.log", handler_class=TIMED, when="S", maxBytes=1_000_000)
    emit(by_second, "first")
    assert by_second.flush()
    time.sleep(1.5)
    emit(by_second, "second")
    assert by_second.flush()
    assert [path.read_text() for path in oracle.chain(root / "second.log")] == ["first\n", "second\n"]


def test_the_oldest_go_by_count_by_bytes_and_by_age_and_nothing_else_does(server: Server, root: Path) -> None:
    foreign = {name: root / name for name in ("app.log.old", "app.log.01", "app.log.99", "app.log.2.bz2")}
    for path in foreign.values():
        path.write_text("precious\n")
    active = root / "app.log"
    to = handler(server, maxBytes=100, backupCount=50, retain_bytes=450)
    for number in range(40):
        emit(to, f"{number:03} {'x' * 90}")
    assert to.flush()
    own = [path for path in rotated(active) if path not in foreign.values()]
    assert [path.name for path in own] == [f"app.log.{number}" for number in (4, 3, 2, 1)]
    assert all(path.read_text() == "precious\n" for path in foreign.values())

    for number, age_s in enumerate((10, 400, 600, 1_000), 1):
        path = root / f"aged.log.{number}"
        path.write_text(f"{age_s} s\n")
        os.utime(path, (time.time() - age_s, time.time() - age_s))
    to = handler(server, "aged.log", maxBytes=100_000, backupCount=50, retain_age_s=500)
    emit(to, "opened")
    assert to.flush()
    texts = [path.read_text() for path in oracle.chain(root / "aged.log")]
    assert texts == ["400 s\n", "10 s\n", "opened\n"]


def test_a_limit_in_bytes_is_one_of_compressed_files_and_the_newest_stays(server: Server, root: Path) -> None:
    # Each file is ten times as large as the limit, and a fiftieth of it when it is compressed.
    to = handler(server, maxBytes=100_000, backupCount=50, compress="zstd", retain_bytes=10_000)
    lines = [f"{number:03} {'x' * 990}" for number in range(800)]
    for line in lines:
        emit(to, line)
    assert to.flush(60)
    active = root / "app.log"
    wait_until_compressed(active, ".zst")
    assert len(rotated(active)) == 7 or len(rotated(active)) == 8
    assert b"".join(map(oracle.contents, oracle.chain(active))).decode().splitlines() == lines

    # What is larger than the limit as it is: the newest stays, alone, and the server says that this is so.
    to = handler(server, "plain.log", maxBytes=10_000, backupCount=50, retain_bytes=9_000)
    for line in lines[:100]:
        emit(to, line)
    assert to.flush(60)
    assert [path.name for path in rotated(root / "plain.log")] == ["plain.log.1"]
    doubt = "maxBytes=10000 is more than retain_bytes=9000: of its rotated files only the newest"
    assert server.stderr.count(doubt) == 1
    assert server.stderr.count("is more than retain_bytes=10000") == 1


def test_the_file_of_another_server_is_no_part_of_the_chain(start_server: StartServer, root: Path) -> None:
    """Two servers of one user, and one's file is called as a rotated one of the other's."""
    first, second = start_server(), start_server()
    theirs = handler(second, "app.log.1")
    emit(theirs, "theirs")
    assert theirs.flush()
    to = handler(first, maxBytes=100, backupCount=3, compress="gzip", retain_age_s=86_400, retain_bytes=1)
    os.utime(root / "app.log.1", (0, 0))
    for number in range(5):
        emit(to, f"{number} {'x' * 90}")
        assert to.doRollover()
    emit(theirs, "still theirs")
    assert theirs.flush()
    assert (root / "app.log.1").read_text() == "theirs\nstill theirs\n"

    # The other one leaves: now it is a rotated file like any, and not the newest.
    assert second.stop() == 0
    emit(to, "the last")
    assert to.doRollover()
    active = root / "app.log"
    wait_for(
        lambda: [path.name for path in rotated(active)] == ["app.log.1.gz"], "only the newest to stay", 60
    )
    assert oracle.contents(root / "app.log.1.gz") == b"the last\n"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_the_mode_holds_for_every_file_whatever_the_umask_of_the_server(
    start_server: StartServer, root: Path
) -> None:
    server = start_server(prefix=["sh", "-c", 'umask 077; exec "$@"', "sh"])
    active = root / "app.log"
    to = handler(server, maxBytes=1_000_000, backupCount=5, compress="gzip", file_mode="0664")
    for number in range(3):
        emit(to, str(number))
        assert to.doRollover()
    wait_until_compressed(active, ".gz")
    assert {path.name: oct(mode(path)) for path in oracle.chain(active)} == {
        name: oct(0o664) for name in ("app.log", "app.log.1.gz", "app.log.2.gz", "app.log.3.gz")
    }
    # Without it: what somebody has given the active file is kept.
    to = handler(server, "kept.log", maxBytes=1_000_000, backupCount=5, compress="zstd", umask=0o027)
    emit(to, "0")
    assert to.flush()
    assert mode(root / "kept.log") == 0o640
    (root / "kept.log").chmod(0o604)
    for number in range(2):
        assert to.doRollover()
        emit(to, str(number))
    assert to.flush()
    wait_until_compressed(root / "kept.log", ".zst")
    assert {mode(path) for path in oracle.chain(root / "kept.log")} == {0o604}


def test_a_group_is_kept_through_rotation_and_compression(server: Server, root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to any group")
    to = handler(
        server, maxBytes=1_000_000, backupCount=5, compress="gzip", file_group=54_321, file_mode=0o640
    )
    emit(to, "a line")
    assert to.doRollover()
    wait_until_compressed(root / "app.log", ".gz")
    found = {(path.stat().st_gid, mode(path)) for path in oracle.chain(root / "app.log")}
    assert found == {(54_321, 0o640)}


def test_an_owner_that_cannot_be_had_is_refused_with_what_is_needed(
    server: Server, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = handler(server, file_owner="nobody-of-this-name")
    emit(to, "a line")
    wait_for(lambda: to.stats()["refusals"] > 0, "the refusal")
    to.flush(0.1)
    to.close()
    said = capsys.readouterr().err
    assert "file_owner" in said
    assert list(root.iterdir()) == []


TRICKY = "one\ntwo\r\nthree\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029four \\n C:\\new"
ESCAPED = r"one\ntwo\r\nthree\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029four \n C:\new"


class Shouting(logging.Formatter):
    """One that only Python can render."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record) + "\n!"


def test_escaped_newlines_keep_every_record_on_one_line(server: Server, root: Path) -> None:
    to = handler(server, newlines="escape")
    emit(to, TRICKY)
    try:
        raise ValueError("forged\n2026-01-01 CRITICAL all is well")
    except ValueError:
        emit(to, "with a traceback", sys.exc_info())
    to.setFormatter(Shouting("%(message)s"))
    emit(to, "rendered in the client")
    assert to.flush()
    lines = (root / "app.log").read_text("utf-8").splitlines()
    assert len(lines) == 3, lines
    assert lines[0] == ESCAPED
    assert lines[1].startswith(r"with a traceback\nTraceback (most recent call last):\n  File ")
    assert lines[1].endswith(r"ValueError: forged\n2026-01-01 CRITICAL all is well")
    assert lines[2] == r"rendered in the client\n!"

    keeping = handler(server, "kept.log", newlines="keep")
    emit(keeping, TRICKY)
    assert keeping.flush()
    assert (root / "kept.log").read_bytes() == TRICKY.encode() + b"\n"


def test_an_old_client_gets_all_of_it_by_naming_it(server: Server, root: Path) -> None:
    client = client_1_0.Client(server.connect_unix())
    client.open(
        filename="old.log",
        maxBytes=40,
        backupCount=9,
        newlines="escape",
        compress="gzip",
        file_mode="0600",
    )
    client.send(*(client_1_0.record(f"{number} one\ntwo {'x' * 20}") for number in range(4)))
    client.quit()
    active = root / "old.log"
    wait_for(lambda: len(rotated(active)) == 3, "three rotations")
    wait_until_compressed(active, ".gz")
    texts = [oracle.contents(path).decode() for path in oracle.chain(active)]
    assert texts == [f"{number} one\\ntwo {'x' * 20}\n" for number in range(4)]
    assert {mode(path) for path in oracle.chain(active)} == {0o600}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"compress": "bzip2"}, '"gzip", "zstd"'),
        ({"retain_age_s": 0}, "seconds above 0"),
        ({"retain_bytes": 0}, "bytes above 0"),
        ({"file_mode": "0888"}, "octal"),
        ({"newlines": "drop"}, '"keep" or "escape"'),
        ({"handler": "logging.FileHandler", "compress": "gzip"}, "arguments of FileHandler"),
        ({"file_owner": 12_345}, "--root"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_the_server_and_creates_nothing(
    server: Server, root: Path, arguments: dict[str, Any], expected: str
) -> None:
    with pytest.raises(client_1_0.Refused) as refusal:
        client_1_0.Client(server.connect_unix()).open(filename="app.log", **arguments)
    assert expected in str(refusal.value)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"compress": "bzip2"}, ValueError, "compress: expected one of gzip, zstd"),
        ({"compress": True}, TypeError, "compress"),
        ({"retain_age_s": 0}, ValueError, "retain_age_s"),
        ({"retain_age_s": "1 day"}, TypeError, "retain_age_s"),
        ({"retain_bytes": 0}, ValueError, "retain_bytes"),
        ({"retain_bytes": 1.5}, TypeError, "retain_bytes"),
        ({"file_mode": "0888"}, ValueError, "file_mode"),
        ({"file_mode": 640}, ValueError, r"640 \(0o1200\)"),
        ({"file_mode": "0044"}, ValueError, "read and write"),
        ({"file_mode": 6.4}, TypeError, "file_mode"),
        ({"file_owner": ""}, ValueError, "file_owner"),
        ({"file_owner": 1.5}, TypeError, "file_owner"),
        ({"file_group": -1}, ValueError, "file_group"),
        ({"newlines": "drop"}, ValueError, "newlines: expected one of keep, escape"),
        ({"newlines": None}, TypeError, "newlines"),
        ({"umask": 0o1000}, ValueError, "umask"),
        ({"compres": "gzip"}, TypeError, "did you mean compress"),
        ({"handler_class": "logging.FileHandler", "compress": "gzip"}, TypeError, "see handler_class"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_the_constructor(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        UnixClient("/tmp/nobody.sock", filename="app.log", **arguments)


def test_arguments_are_sent_as_the_server_reads_them() -> None:
    given = {
        "filename": "app.log",
        "file_mode": "0640",
        "file_owner": "root",
        "file_group": 4,
        "retain_age_s": 3600,
        "retain_bytes": 1e9,
        "compress": None,
        "newlines": "escape",
        "umask": 0o22,
    }
    assert _arguments.check("Handler", given).handler_arguments == {
        **given,
        "file_mode": 0o640,
        "retain_age_s": 3600.0,
        "retain_bytes": 1_000_000_000,
    }
