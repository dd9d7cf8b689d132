"""The bench's reader of files finds what is planted, and its ratios are those of one round."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import check, report, run
from bench.workloads import WORKLOADS, make_calls

RECORDS = 6
Lines = list[bytes]


@pytest.fixture(params=["plain", "mixed", "exceptions", "long"])
def workload(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def written(directory: Path, workload: str, producers: int = 2) -> Path:
    """A file as `FileHandler` writes it, the producers' records in turn."""
    active = directory / "bench.log"
    handler = logging.FileHandler(active)
    handler.setFormatter(logging.Formatter(WORKLOADS[workload].format))

    def get_logger(name: str) -> logging.Logger:
        logger = logging.Logger(name)
        logger.addHandler(handler)
        return logger

    calls = [
        make_calls(WORKLOADS[workload], number, get_logger, takes_arguments=True)
        for number in range(producers)
    ]
    for number in range(RECORDS):
        for each in calls:
            each.one(0, number)
    handler.close()
    return active


def verdict(active: Path, workload: str, max_bytes: int = 0) -> check.Verdict:
    sent = {(0, 0): (RECORDS, RECORDS), (1, 0): (RECORDS, RECORDS)}
    return check.check(active, WORKLOADS[workload], sent, max_bytes)


def test_a_file_of_the_library_is_found_whole(tmp_path: Path, workload: str) -> None:
    found = verdict(written(tmp_path, workload), workload)
    assert found.is_perfect, found
    assert (found.sent, found.found, found.files) == (2 * RECORDS, 2 * RECORDS, 1)


def swapped(lines: Lines) -> Lines:
    return [*lines[2:4], *lines[:2], *lines[4:]]


DEFECTS: dict[str, tuple[Callable[[Lines], Lines], dict[str, int]]] = {
    "a line is gone": (lambda lines: lines[1:], {"lost": 1}),
    "a line is there twice": (lambda lines: [*lines, lines[0]], {"doubled": 1}),
    "a line has lost a character": (
        lambda lines: [lines[0][:-2] + b"\n", *lines[1:]],
        {"torn": 1, "lost": 1},
    ),
    "two lines have become one": (
        lambda lines: [lines[0][:-1] + lines[1], *lines[2:]],
        {"torn": 1, "lost": 2},
    ),
    "the last line has no end": (lambda lines: [*lines[:-1], lines[-1][:-1]], {"torn": 1, "lost": 1}),
    "two records have changed places": (swapped, {"reordered": 2}),
    "a record that nobody sent": (lambda lines: [*lines, lines[0].replace(b"n=0", b"n=64")], {"invented": 1}),
    "a line of another": (lambda lines: [*lines, b"hello\n"], {"torn": 1}),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_planted_defect_is_found(tmp_path: Path, defect: str) -> None:
    active = written(tmp_path, "plain")
    plant, expected = DEFECTS[defect]
    active.write_bytes(b"".join(plant(active.read_bytes().splitlines(keepends=True))))
    found = dataclasses.asdict(verdict(active, "plain"))
    counted = ("lost", "doubled", "torn", "reordered", "invented", "oversize")
    assert {what: found[what] for what in counted if found[what]} == expected, found


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_traceback_without_its_end_or_with_a_record_in_it_is_torn(tmp_path: Path, is_cut: bool) -> None:
    active = written(tmp_path, "exceptions")
    lines = active.read_bytes().splitlines(keepends=True)
    if not is_cut:
        lines.insert(1, lines[0].replace(b"n=0", b"n=5"))
    else:
        del lines[next(at for at, line in enumerate(lines) if line.startswith(b"bench.workloads.BenchError"))]
    active.write_bytes(b"".join(lines))
    assert verdict(active, "exceptions").torn > 0


def test_a_file_over_its_size_is_counted_and_rotated_ones_are_read_first(tmp_path: Path) -> None:
    active = written(tmp_path, "plain")
    raw = active.read_bytes()
    half = raw.index(b"\n", len(raw) // 2) + 1
    (tmp_path / "bench.log.1").write_bytes(raw[:half])
    active.write_bytes(raw[half:])
    (tmp_path / "bench.log.lock").write_bytes(b"not a log file")
    assert verdict(active, "plain", max_bytes=half).is_perfect
    assert verdict(active, "plain", max_bytes=half - 1).oversize == 1


def a_run(contender: str, number: int, rate: float, **more: Any) -> dict[str, Any]:
    right = {"lost": 0, "doubled": 0, "torn": 0, "reordered": 0, "invented": 0, "oversize": 0, "examples": []}
    return {
        "contender": contender,
        "scenario": "s",
        "kind": "rate",
        "round": number,
        "rate": rate,
        "ours": True,
        "survives_kill": True,
        "has_ring": True,
        "verdict": right,
        **more,
    }


def test_a_ratio_is_formed_within_each_round() -> None:
    runs = [a_run("a", 0, 10), a_run("b", 0, 5), a_run("a", 1, 300), a_run("b", 1, 100), a_run("a", 2, 8)]
    assert report.ratio(runs, "a", "b", "rate") == 2.5


def test_what_went_wrong_of_ours_fails_the_bench_and_of_others_does_not() -> None:
    wrong = {**a_run("a", 0, 1)["verdict"], "lost": 3}
    assert run.failures([a_run("a", 0, 1)]) == []
    assert len(run.failures([a_run("a", 0, 1, verdict=wrong)])) == 1
    assert run.failures([a_run("a", 0, 1, verdict=wrong, ours=False)]) == []
    assert len(run.failures([a_run("a", 0, 1, facts={"ring_bytes": None})])) == 1
    killed = {"kind": "kill", "verdict": wrong, "lost_of_killed": 3}
    assert len(run.failures([a_run("a", 0, 1, **killed)])) == 1
    assert run.failures([a_run("a", 0, 1, survives_kill=False, **killed)]) == []
