"""The truth of a line: what the file holds is what `handler.format(record)` gave in the client, byte for byte.

Random formatters and records of `format_cases.py` go through a real handler and a real server that lives in another time
zone. `LOGSERV_TEST_SEED` replays a run.
"""

from __future__ import annotations

import copy
import logging
import os
import random
import time
from pathlib import Path

import pytest
from format_cases import Generator, examples
from logserv.client import SocketForwarder, UnixClient
from running import StartServer

SEED = int(os.environ.get("LOGSERV_TEST_SEED") or random.randrange(2**32))
CASES = 1500  # more than the formatters that one session announces: the rest is rendered here


class Counting(UnixClient):
    """Counts what it could not render, and lets nothing else pass."""

    failures = 0

    def handleError(self, record: logging.LogRecord) -> None:
        self.failures += 1


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns", "Australia/Lord_Howe"])
def test_a_line_is_what_the_client_would_have_written(
    zone: str, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(env={"TZ": "Asia/Kathmandu", "LC_ALL": "C"})
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        handler = Counting(str(server.unix), filename="truth.log")
        generator = Generator(SEED)
        expected = []
        failures = 0
        for case in examples() + [generator.case() for _ in range(CASES)]:
            try:
                formatter = case.formatter()
            except ValueError:
                continue
            handler.setFormatter(formatter)
            record = case.log_record()
            try:
                line = handler.format(copy.copy(record))
            except Exception:
                failures += 1
            else:
                expected.append(line.encode("utf-8", "backslashreplace") + b"\n")
            handler.emit(record)
        assert handler.flush(30)
        stats = handler.stats()
        handler.close()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert handler.failures == failures, f"LOGSERV_TEST_SEED={SEED}"
    assert (server.root / "truth.log").read_bytes() == b"".join(expected), f"LOGSERV_TEST_SEED={SEED}"
    # Neither side did all of it.
    assert 0.2 < stats["records_rendered"] / stats["emitted"] < 0.9


def test_a_file_equals_that_of_the_library_for_ordinary_records(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(env={"TZ": "Asia/Kathmandu"})
    ours = SocketForwarder(server.host, server.port, filename="ours.log")
    theirs = logging.FileHandler(tmp_path / "theirs.log", encoding="utf-8")
    formatter = logging.Formatter(
        "%(asctime)s %(levelname)-8s %(name)s:%(lineno)d %(message)s %(user)s", defaults={"user": "-"}
    )
    log = logging.Logger("app.db", logging.DEBUG)
    for handler in (theirs, ours):
        handler.setFormatter(formatter)
        log.addHandler(handler)
    log.info("hello %s", "wörld", extra={"user": "zoë"})
    log.warning("100%%", stack_info=True)
    try:
        raise ValueError("boom")
    except ValueError:
        log.exception("two\nlines")
    assert ours.flush()
    ours.close()
    theirs.close()
    assert (server.root / "ours.log").read_bytes() == (tmp_path / "theirs.log").read_bytes()
    assert ours.stats()["records_rendered"] == 0
    ours.close()
