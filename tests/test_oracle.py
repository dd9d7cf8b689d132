"""The checker itself: a file without fault is perfect, and each planted defect is found, as what it is."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ledger
import oracle
import pytest

THREADS = {(producer, thread): 6 for producer in range(2) for thread in range(2)}
HEAD = "2026-11-22 10:00:00,123 INFO app.part: "


def record(producer: int, thread: int, number: int, exception: bool = False, payload: str = "zoë | ✓") -> str:
    """One whole record as it stands in the file."""
    sent_ns = 1_000_000 * (number * 10 + producer * 2 + thread)
    text = HEAD + oracle.make_message(producer, thread, number, sent_ns, payload, exception) + "\n"
    if exception:
        text += 'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    raise\n'
        text += f"oracle.ProducerError: {oracle.exception_text(producer, thread, number)}\n"
    return text


@pytest.fixture
def records() -> list[str]:
    """What two producers with two threads each sent, in the order of time."""
    return [record(p, t, n, exception=n == 3) for n in range(6) for p in range(2) for t in range(2)]


def write(directory: Path, records: list[str]) -> Path:
    """Writes them to a chain of three files."""
    active = directory / "app.log"
    for name, part in (("app.log.2", records[:8]), ("app.log.1", records[8:16]), ("app.log", records[16:])):
        (directory / name).write_text("".join(part), "utf-8")
    (directory / "app.log.lock").write_text("not of the chain")
    (directory / "app.logbook").write_text("not of the chain")
    return active


def test_a_file_without_fault_is_perfect(tmp_path: Path, records: list[str]) -> None:
    report = oracle.check(write(tmp_path, records), THREADS, max_bytes=2_000)
    assert report.perfect, report
    assert (report.sent, report.found, report.files, report.inversions) == (24, 24, 3, 0)


def test_compressed_and_dated_files_are_read_in_their_order(tmp_path: Path, records: list[str]) -> None:
    (tmp_path / "app.log.2026-11-20").write_bytes("".join(records[:4]).encode())
    (tmp_path / "app.log.2026-11-20.1").write_bytes("".join(records[4:8]).encode())
    (tmp_path / "app.log.2026-11-21_10-00.gz").write_bytes(gzip.compress("".join(records[8:16]).encode()))
    (tmp_path / "app.log").write_bytes("".join(records[16:]).encode())
    report = oracle.check(tmp_path / "app.log", THREADS)
    assert report.perfect, report
    assert report.files == 4


def lose(records: list[str]) -> None:
    del records[10]


def double(records: list[str]) -> None:
    records.insert(20, records[2])


def reorder(records: list[str]) -> None:
    records[4], records[8] = records[8], records[4]


def tear_a_line(records: list[str]) -> None:
    records[5] = records[5][:40] + records[6] + records[5][40:]
    del records[6]


def tear_a_traceback(records: list[str]) -> None:
    head, rest = records[12].split("\n", 1)
    records[12:14] = [head + "\n", records[13], rest]


def mix_a_line_into_a_traceback(records: list[str]) -> None:
    records[12] = records[12].replace("    raise\n", "    raise\nwhat is this\n")


def cut_a_traceback(records: list[str]) -> None:
    records[12] = records[12][: records[12].index("oracle.ProducerError")]


def flip_a_letter(records: list[str]) -> None:
    records[7] = records[7].replace("zoë", "zoe")


def lose_the_last_newline(records: list[str]) -> None:
    records[-1] = records[-1].rstrip("\n")


def invent(records: list[str]) -> None:
    records.append(record(0, 0, 6))


def invent_a_producer(records: list[str]) -> None:
    records.append(record(7, 0, 0))


def tell_a_drop(records: list[str]) -> None:
    records[9] = HEAD + "dropped 1 records (queue full) between 10:00:00 and 10:00:01\n"


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (lose, {"lost": 1}),
        (double, {"doubled": 1}),
        (reorder, {"reordered": 1}),
        (tear_a_line, {"torn": 2, "lost": 2}),
        (tear_a_traceback, {"torn": 5, "lost": 1}),
        (mix_a_line_into_a_traceback, {"torn": 1}),
        (cut_a_traceback, {"torn": 1, "lost": 1}),
        (flip_a_letter, {"torn": 1, "lost": 1}),
        (lose_the_last_newline, {"torn": 1}),
        (invent, {"invented": 1}),
        (invent_a_producer, {"invented": 1}),
        (tell_a_drop, {"dropped": 1, "lost": 1}),
    ],
)
def test_each_planted_defect_is_found(
    tmp_path: Path, records: list[str], plant: Callable[[list[str]], None], expected: dict[str, int]
) -> None:
    plant(records)
    report = oracle.check(write(tmp_path, records), THREADS)
    wrong = ("lost", "doubled", "torn", "reordered", "invented", "oversize", "dropped")
    assert {name: getattr(report, name) for name in wrong if getattr(report, name)} == expected, report
    assert not report.perfect
    assert report.examples


def test_a_file_over_its_size_is_found(tmp_path: Path, records: list[str]) -> None:
    assert oracle.check(write(tmp_path, records), THREADS, max_bytes=300).oversize == 3


def test_one_record_may_be_longer_than_a_file(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text(record(0, 0, 0, payload="x" * 500))
    assert oracle.check(tmp_path / "app.log", {(0, 0): 1}, max_bytes=300).perfect


def test_records_that_may_be_there_are_neither_lost_nor_invented(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("".join(record(0, 0, number) for number in (0, 1, 3)))
    assert oracle.check(tmp_path / "app.log", {(0, 0): (2, 4)}).perfect
    assert oracle.check(tmp_path / "app.log", {(0, 0): (3, 4)}).lost == 1
    assert oracle.check(tmp_path / "app.log", {(0, 0): (2, 3)}).invented == 1


def test_neighbours_against_their_time_are_counted(tmp_path: Path, records: list[str]) -> None:
    records[1], records[2] = records[2], records[1]
    report = oracle.check(write(tmp_path, records), THREADS)
    assert report.perfect
    assert (report.inversions, report.inversion_max_ms) == (1, 1.0)


def test_threads_of_one_process_are_not_compared_by_time(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text(record(0, 0, 3) + record(0, 1, 0) + record(0, 1, 1))
    assert oracle.check(tmp_path / "app.log", {(0, 0): (0, 4), (0, 1): 2}).inversions == 0


def test_every_record_behind_a_younger_one_of_another_process_is_counted_by_its_own_time(
    tmp_path: Path,
) -> None:
    """The format tells when a record was made; when it was sent does not matter then."""

    def created(at: str, producer: int, number: int) -> str:
        return f"{at} INFO app: {oracle.make_message(producer, 0, number, 1, 'x', False)}\n"

    lines = [created("10.000000", 0, 0), created("13.000000", 1, 0), created("12.000000", 0, 1)]
    lines += [created("12.500000", 0, 2), created("13.000000", 0, 3), created("12.999000", 1, 1)]
    (tmp_path / "app.log").write_text("".join(lines))
    report = oracle.check(tmp_path / "app.log", {(0, 0): 4, (1, 0): 2}, prefix=oracle.CREATED_PREFIX)
    assert report.perfect, report
    assert (report.inversions, report.inversion_max_ms) == (3, 1000.0)


def test_a_ledger_tells_what_must_and_what_may_be_there(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path / "5.ledger", 2)
    assert ledger.Account(tmp_path / "5.ledger").attempted == 0
    for number in range(3):
        book.attempt(1, number)
        if number < 2:
            book.returned(1, number)
    book.synced(1, 0)
    account = ledger.Account(tmp_path / "5.ledger")
    assert (account.attempted, account.returned, account.synced, account.in_call) == (3, 2, 1, 1)
    assert oracle.sent_by([(5, tmp_path / "5.ledger")]) == {(5, 0): (0, 0), (5, 1): (2, 3)}
    assert oracle.sent_by([(5, tmp_path / "5.ledger")], synced=True)[5, 1] == (1, 3)
    assert not book.is_asked_to_stop
    ledger.ask_to_stop(tmp_path / "5.ledger")
    assert book.is_asked_to_stop


def test_a_ledger_that_its_producer_had_no_time_for_tells_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "1.ledger").touch()
    assert oracle.sent_by([(0, tmp_path / "none"), (1, tmp_path / "1.ledger")]) == {}


def test_a_ledger_survives_the_kill_of_its_producer(tmp_path: Path) -> None:
    script = (
        "import ledger, os, signal, sys; book = ledger.Ledger(sys.argv[1], 1); book.attempt(0, 6); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "0.ledger"], cwd=Path(__file__).parent, check=False
    )
    assert killed.returncode == -9
    assert ledger.Account(tmp_path / "0.ledger").in_call == 1


def test_files_that_others_have_moved_are_read_as_told(tmp_path: Path, records: list[str]) -> None:
    files = [tmp_path / "moved-1", tmp_path / "app.log"]
    files[0].write_text("".join(records[:10]), "utf-8")
    files[1].write_text("".join(records[10:]), "utf-8")
    assert oracle.check(tmp_path / "app.log", THREADS, files=files).perfect
    assert oracle.check(tmp_path / "app.log", THREADS).lost == 10


def test_records_of_one_thread_keep_their_order_within_each_process_they_came_through(tmp_path: Path) -> None:
    """As the requests of one visitor do that several workers answer."""

    def line(process: int, number: int) -> str:
        return f"{process}: {oracle.make_message(0, 0, number, 1, 'x', False)}\n"

    path, prefix = tmp_path / "app.log", r"(?P<process>\d+): "
    path.write_text(line(7, 1) + line(8, 0) + line(7, 2) + line(8, 3))
    report = oracle.check(path, {(0, 0): 4}, prefix=prefix)
    assert report.perfect, report
    assert report.processes == {7: 2, 8: 2}
    path.write_text(line(7, 1) + line(7, 0) + line(7, 2) + line(8, 3))
    assert oracle.check(path, {(0, 0): 4}, prefix=prefix).reordered == 1


def test_lines_of_others_are_counted_where_they_are_expected(tmp_path: Path, records: list[str]) -> None:
    (tmp_path / "app.log").write_text("".join([*records, "master: started\n", "master: sta"]), "utf-8")
    report = oracle.check(tmp_path / "app.log", THREADS, others="master: started")
    assert (report.others, report.torn, report.found) == (1, 2, 24), report  # no newline, and half a line
