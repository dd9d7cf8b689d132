"""Handlers that share a session, or are used again after they were closed; odd numbers and odd records."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer
from logserv.client import SocketForwarder, UnixClient
from running import wait_for

Connect = Callable[..., SocketForwarder]


@pytest.fixture
def fake(socket_dir: Path) -> Iterator[FakeServer]:
    """A server of 2.0 on a Unix socket."""
    server = FakeServer(socket_dir / "fake.sock")
    yield server
    server.stop()


@pytest.fixture
def connect(fake: FakeServer) -> Iterator[Connect]:
    """Makes handlers for it; they are closed at the end."""
    handlers: list[SocketForwarder] = []

    def make(**arguments: Any) -> SocketForwarder:
        handlers.append(UnixClient(str(fake.unix), **{"filename": "app.log", **arguments}))
        return handlers[-1]

    yield make
    for handler in handlers:
        handler.close()


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger of its own, outside of the tree: what pytest does to that one is not our subject."""
    logger = logging.Logger("test.client", logging.DEBUG)
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)


def test_each_handler_of_a_file_waits_as_its_own_arguments_say(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    fake.acknowledges = False
    patient = connect(ring_bytes=4096)
    hasty = connect(ring_bytes=4096, when_full="drop_newest")
    log.addHandler(patient)
    for _ in range(3):
        log.info("x" * 400)
    log.removeHandler(patient)
    log.addHandler(hasty)
    start = time.monotonic()
    for _ in range(10):
        log.info("x" * 400)
    assert time.monotonic() - start < 0.9
    assert hasty.stats()["dropped"] > 0
    fake.acknowledges = True
    fake.stop()
    fake.start()
    assert wait_until(hasty.flush)


def test_a_newer_handler_of_a_file_may_hold_more(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    fake.acknowledges = False
    small = connect(ring_bytes=4096, when_full="drop_newest")
    log.addHandler(small)
    log.info("x")
    log.removeHandler(small)
    large = connect(ring_bytes=1 << 20, when_full="drop_newest")
    log.addHandler(large)
    for _ in range(100):
        log.info("x" * 400)
    assert large.stats()["dropped"] == 0
    fake.acknowledges = True
    fake.stop()
    fake.start()
    assert wait_until(large.flush)


def wait_until(flush: Callable[[], bool]) -> bool:
    """On a busy machine a server may need longer to be there again than a flush waits for one."""
    wait_for(flush, "everything to be written")
    return True


def test_a_handler_that_is_used_again_after_it_was_closed_does_not_ask_to_truncate(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    def end() -> None:
        handler.close()
        time.sleep(0.3)  # until the connection has ended: else the next record finds it

    handler = connect(mode="w")
    log.addHandler(handler)
    log.info("1")
    end()
    log.info("2")
    end()
    handler.setLevel(logging.WARNING)
    log.warning("3")
    assert handler.flush()
    first, *others = [request["first"] for request in fake.opened]
    assert first
    assert others
    assert not any(others)
    end()
    log.removeHandler(handler)
    log.addHandler(connect(mode="w"))
    log.info("4")
    fake.wait_for(4)
    assert fake.opened[-1]["first"]


def test_flush_takes_every_number_for_a_time(fake: FakeServer, connect: Connect, log: logging.Logger) -> None:
    handler = connect()
    log.addHandler(handler)
    log.info("x")
    assert handler.flush(float("inf"))
    for number in (-1.0, 0.0, 1e300, float("nan")):
        assert handler.flush(number)


def test_a_record_with_a_message_of_its_own_making_keeps_it(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    def shout(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        record.getMessage = lambda: message.upper()  # type: ignore[method-assign]
        return True

    handler = connect()
    handler.addFilter(shout)
    log.addHandler(handler)
    log.info("loud")
    assert handler.flush()
    assert fake.messages == ["LOUD"]
