"""Lines of different processes come out by time: by the record's own time, and each process's in its order.

Counted are inversions: records that stand behind a younger one of another process. The aim is none while the machine
keeps up. Where every processor is taken, a process may be held up between making a record and committing it for longer
than the merge window, and no server can know of a record that is not there; that is measured, and bounded loosely.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import figures
import oracle
import pytest
from kills import PATIENT, Crew, amount
from running import Server

pytestmark = [pytest.mark.faults, pytest.mark.newest, pytest.mark.timeout(300)]

PROCESSES = 4
SHARE_MAX = {"steady": 0.01, "flat out": 0.05}
"""Of the records that may stand behind a younger one; the machine that the tests run on does other things as well."""


@pytest.mark.parametrize("load", ["steady", "flat out"])
def test_four_processes_come_out_by_time(server: Server, root: Path, crew: Crew, load: str) -> None:
    # The whole of it flat out in `make test` too: the order under overload must at least stay that of each process.
    records = amount(4_000, 20_000) if load == "steady" else 20_000
    pace: dict[str, Any] = {"pause_s": 0.01, "pause_every": 20} if load == "steady" else {}
    start_at = time.time() + 1.0
    for number in range(PROCESSES):
        crew.start(
            server.handler(("unix", "tcp")[number % 2], "order.log", **PATIENT),
            fmt=oracle.CREATED_FORMAT,
            records=records,
            start_at=start_at,
            last_flush_s=60,
            **pace,
        )
    for member in crew.members:
        assert member.finish(150)["flushed"], member.said
    report = crew.report(root / "order.log", prefix=oracle.CREATED_PREFIX, max_bytes=200_000)
    assert report.perfect, report
    assert report.found == PROCESSES * records
    figures.keep(
        f"order, {load}",
        processes=PROCESSES,
        records=report.found,
        inversions=report.inversions,
        inversion_max_ms=round(report.inversion_max_ms, 2),
        per_second=round(report.found / (report.newest_ns / 1e9 - start_at)),
        reordered=report.reordered,
    )
    assert report.inversions <= report.found * SHARE_MAX[load], report
