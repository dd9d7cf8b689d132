"""The handlers as users of `logging` know them: configuration, formatters, levels, errors, and what a server sees."""

from __future__ import annotations

import copy
import datetime
import json
import logging
import logging.config
import logging.handlers
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import client_2_0 as v2
import pytest
from fake_server import FakeServer
from logserv import ProtocolError, VersionMismatchError
from logserv.client import SocketForwarder, UnixClient
from running import wait_for

Connect = Callable[..., SocketForwarder]


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


# What a server sees.


def test_nothing_is_connected_before_the_first_record(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    handler = connect(maxBytes=200_000, backupCount=5, mode="w", delay=True)
    log.addHandler(handler)
    assert handler.flush()
    time.sleep(0.05)
    assert fake.opened == []
    before = time.time()
    log.info("hello %s", "world")
    assert handler.flush()
    (request,) = fake.opened
    assert request["handler"] == "logging.handlers.RotatingFileHandler"
    assert request["arguments"] == {
        "filename": "app.log",
        "maxBytes": 200_000,
        "backupCount": 5,
        "mode": "w",
        "delay": True,
    }
    assert before - 60 < request["configured_at_s"] <= before
    assert fake.messages == ["hello world"]


@pytest.mark.parametrize(
    ("handler_class", "expected"),
    [
        (logging.FileHandler, "logging.FileHandler"),
        ("logging.FileHandler", "logging.FileHandler"),
        (logging.handlers.WatchedFileHandler, "logging.handlers.WatchedFileHandler"),
        ("TimedRotatingFileHandler", "logging.handlers.TimedRotatingFileHandler"),
        ("handlers.RotatingFileHandler", "logging.handlers.RotatingFileHandler"),
    ],
)
def test_the_handler_class_is_the_users_choice(
    fake: FakeServer, connect: Connect, log: logging.Logger, handler_class: Any, expected: str
) -> None:
    handler = connect(handler_class=handler_class)
    log.addHandler(handler)
    log.info("x")
    assert handler.flush()
    assert fake.opened[0]["handler"] == expected


def test_at_time_travels_as_iso_text(fake: FakeServer, connect: Connect, log: logging.Logger) -> None:
    timed = {"handler_class": logging.handlers.TimedRotatingFileHandler, "when": "midnight", "utc": True}
    for number, (at_time, text) in enumerate(
        [(datetime.time(3, 30), "03:30:00"), (datetime.time(23, 59, 59, 5), "23:59:59.000005"), (None, None)]
    ):
        handler = connect(filename=f"{number}.log", atTime=at_time, **timed)
        log.addHandler(handler)
        log.info("x")
        assert handler.flush()
        arguments = fake.opened[-1]["arguments"]
        assert arguments == {"filename": f"{number}.log", "when": "MIDNIGHT", "utc": True, "atTime": text}
        log.removeHandler(handler)


def test_a_formatter_that_changes_travels_by_itself(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    handler = connect()
    log.addHandler(handler)
    formatter = logging.Formatter("%(message)s!")
    expected = []

    def emit(fmt: str, **others: object) -> None:
        log.info("x")
        expected.append({"fmt": fmt, **others})

    emit("%(message)s")
    handler.setFormatter(formatter)
    emit("%(message)s!")
    formatter._style._fmt = "%(levelname)s"
    emit("%(levelname)s")
    formatter.datefmt = "%H"
    emit("%(levelname)s", datefmt="%H")
    formatter.default_msec_format = None
    emit("%(levelname)s", default_msec_format=None)
    formatter.converter = time.gmtime
    emit("%(levelname)s", utc=True)
    handler.setFormatter(logging.Formatter("{message}", style="{", defaults={"user": "-"}))
    emit("{message}", style="{", defaults={"user": "-"})
    handler.formatter._style._defaults["user"] = "+"  # type: ignore[union-attr]
    emit("{message}", defaults={"user": "+"})
    handler.setFormatter(None)
    emit("%(message)s")
    assert handler.flush()
    for record, specification in zip(fake.records, expected, strict=True):
        announced = fake.formatters.get(record.formatter, {"fmt": "%(message)s"})
        assert {key: announced[key] for key in specification} == specification


def test_send_format_announces_without_a_record(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    handler = connect()
    handler.setFormatter(logging.Formatter("%(name)s"))
    handler.sendFormat()
    log.addHandler(handler)
    log.info("x")
    assert handler.flush()
    assert [each["fmt"] for each in fake.formatters.values()] == ["%(name)s"]


def test_two_handlers_of_one_file_share_a_session_and_keep_the_order(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    first, second = connect(), connect()
    second.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    first.addFilter(lambda record: record.msg % 2 == 0)
    second.addFilter(lambda record: record.msg % 2 == 1)
    log.addHandler(first)
    log.addHandler(second)
    for number in range(500):
        log.info(number)
    assert second.flush()
    assert fake.messages == [str(number) for number in range(500)]
    assert len(fake.opened) == 1
    assert len({record.formatter for record in fake.records}) == 2
    assert first.stats()["emitted"] == second.stats()["emitted"] == 500


def test_a_handler_level_acts_at_once(fake: FakeServer, connect: Connect, log: logging.Logger) -> None:
    handler = connect()
    log.addHandler(handler)
    handler.setLevel(logging.ERROR)
    log.info("no")
    log.error("yes")
    handler.setLevel(logging.INFO)
    log.info("again")
    assert handler.flush()
    assert fake.messages == ["yes", "again"]


def test_the_records_of_many_threads_arrive_once_and_each_threads_in_order(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    handler = connect()
    log.addHandler(handler)

    def work(name: int) -> None:
        for number in range(300):
            log.info("%d %d", name, number)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert handler.flush(20)
    assert len(fake.messages) == 2400
    for name in range(8):
        mine = [message for message in fake.messages if message.startswith(f"{name} ")]
        assert mine == [f"{name} {number}" for number in range(300)]


def test_records_wait_while_the_server_is_away(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    handler = connect()
    log.addHandler(handler)
    log.info("before")
    assert handler.flush()
    fake.stop()
    log.info("while away")
    assert not handler.flush(1)
    assert handler.stats()["pending_records"] == 1
    fake.start()
    fake.wait_for(2)
    log.info("after")
    assert handler.flush()
    assert fake.messages == ["before", "while away", "after"]
    assert fake.opened[0]["session"] == fake.opened[-1]["session"]


def test_a_relative_socket_path_is_that_of_the_directory_where_the_handler_was_made(
    fake: FakeServer, socket_dir: Path, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(socket_dir)
    handler = UnixClient("fake.sock", filename="app.log")
    monkeypatch.chdir("/")
    assert handler.host == "fake.sock"
    log.addHandler(handler)
    log.info("x")
    assert handler.flush()
    handler.close()
    assert fake.messages == ["x"]


def test_do_rollover_asks_once(fake: FakeServer, connect: Connect, log: logging.Logger) -> None:
    handler = connect()
    log.addHandler(handler)
    log.info("x")
    assert handler.doRollover()
    assert fake.rollovers == 1
    assert fake.messages == ["x"]


# Where things go wrong.


def test_flush_without_a_server_is_quick_and_false_and_never_raises(
    socket_dir: Path, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = UnixClient(str(socket_dir / "nobody.sock"), filename="a.log")
    log.addHandler(handler)
    log.info("x")
    start = time.monotonic()
    assert not handler.flush()
    assert time.monotonic() - start < 0.9
    handled: list[str] = []
    monkeypatch.setattr(handler, "handleError", lambda record: handled.append(record.getMessage()))
    assert not handler.flush(level="nonsense")
    assert not handler.flush("soon")  # type: ignore[arg-type]
    assert "level" in handled[0]
    assert len(handled) == 2
    start = time.monotonic()
    handler.close()
    assert time.monotonic() - start < 1.8


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The exceptions that `handleError` was called for."""
    import sys

    seen: list[BaseException] = []

    def handle_error(self: logging.Handler, record: logging.LogRecord) -> None:
        assert isinstance(record, logging.LogRecord)
        error = sys.exc_info()[1]
        assert error is not None
        seen.append(error)

    monkeypatch.setattr(logging.handlers.SocketHandler, "handleError", handle_error)
    return seen


def test_a_refusal_is_given_to_handle_error_once(
    fake: FakeServer, connect: Connect, log: logging.Logger, errors: list[BaseException]
) -> None:
    fake.refusal = {"expected": "a file below /srv (--root)", "received": "/etc/passwd", "retry": False}
    handler = connect(filename="/etc/passwd")
    log.addHandler(handler)
    log.info("x")
    wait_for(lambda: handler.stats()["refusals"] > 0, "the refusal")
    log.info("y")
    handler.flush(0.1)
    (error,) = errors[:1]
    assert isinstance(error, ProtocolError)
    assert (error.expected, error.actual) == ("a file below /srv (--root)", "/etc/passwd")
    assert str(error) == "EXPECTED a file below /srv (--root), received /etc/passwd"


def test_a_refusal_is_noticed_by_flush_too(
    fake: FakeServer, connect: Connect, log: logging.Logger, errors: list[BaseException]
) -> None:
    fake.refusal = {"expected": "x", "received": "y", "retry": False}
    handler = connect()
    log.addHandler(handler)
    log.info("x")
    assert not handler.flush(0.5)
    assert [type(error) for error in errors] == [ProtocolError]


def test_an_unknown_version_is_a_mismatch(
    fake: FakeServer, connect: Connect, log: logging.Logger, errors: list[BaseException]
) -> None:
    fake.greeting = b"HELLO 9.7\n"
    handler = connect()
    log.addHandler(handler)
    log.info("x")
    wait_for(lambda: handler.stats()["refusals"] > 0, "the refusal")
    handler.flush(0.1)
    assert isinstance(errors[0], VersionMismatchError)
    assert "9.7" in str(errors[0])


class Bad:
    def __str__(self) -> str:
        raise RuntimeError("bad __str__")


@pytest.mark.parametrize(
    ("msg", "args", "expected"),
    [("%d", ("x",), TypeError), (Bad(), (), RuntimeError), ("%s %s", (1,), TypeError)],
)
def test_what_cannot_be_rendered_is_given_to_handle_error(
    fake: FakeServer,
    connect: Connect,
    log: logging.Logger,
    errors: list[BaseException],
    msg: object,
    args: tuple[object, ...],
    expected: type,
) -> None:
    handler = connect()
    log.addHandler(handler)
    log.info(msg, *args)
    log.info("next")
    assert handler.flush()
    assert [type(error) for error in errors] == [expected]
    assert fake.messages == ["next"]


def test_a_missing_field_is_given_to_handle_error(
    fake: FakeServer, connect: Connect, log: logging.Logger, errors: list[BaseException]
) -> None:
    handler = connect()
    handler.setFormatter(logging.Formatter("%(nope)s"))
    log.addHandler(handler)
    log.info("x")
    log.info("y", extra={"nope": "yes"})
    assert handler.flush()
    assert [str(error) for error in errors] == ["Formatting field not found in record: 'nope'"]
    assert fake.messages == ["y"]


def test_a_str_that_logs_through_the_same_handler_comes_first(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    class Logs:
        def __str__(self) -> str:
            log.info("inner")
            return "outer"

    handler = connect()
    log.addHandler(handler)
    log.info(Logs())
    assert handler.flush()
    assert fake.messages == ["inner", "outer"]


def test_overridden_methods_are_respected(fake: FakeServer, log: logging.Logger) -> None:
    calls: list[str] = []

    class Mine(UnixClient):
        def handle(self, record: logging.LogRecord) -> bool:
            calls.append("handle")
            return super().handle(record)

        def filter(self, record: logging.LogRecord) -> Any:
            calls.append("filter")
            return super().filter(record)

        def emit(self, record: logging.LogRecord) -> None:
            calls.append("emit")
            super().emit(record)

        def format(self, record: logging.LogRecord) -> str:
            calls.append("format")
            return "<" + super().format(record) + ">"

    handler = Mine(str(fake.unix), filename="app.log")
    log.addHandler(handler)
    log.info("x")
    assert handler.flush()
    handler.close()
    assert calls == ["handle", "filter", "emit", "format"]
    assert [(record.kind, record.texts["message"]) for record in fake.records] == [(v2.LINE, "<x>")]


def test_a_custom_record_factory_is_honoured(fake: FakeServer, connect: Connect, log: logging.Logger) -> None:
    class Mine(logging.LogRecord):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.request = "r-17"

        def getMessage(self) -> str:
            return "mine: " + super().getMessage()

    handler = connect()
    handler.setFormatter(logging.Formatter("%(request)s %(message)s"))
    log.addHandler(handler)
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Mine)
    try:
        log.info("x")
    finally:
        logging.setLogRecordFactory(before)
    assert handler.flush()
    (record,) = fake.records
    assert (record.kind, record.texts["message"], record.attributes["request"]) == (
        v2.FIELDS,
        "mine: x",
        "r-17",
    )


def test_a_full_buffer_blocks_at_most_its_time_then_drops_and_tells(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    fake.acknowledges = False
    handler = connect(ring_bytes=4096, block_timeout_s=0.2)
    log.addHandler(handler)
    start = time.monotonic()
    for _ in range(100):
        log.info("x" * 100)
    assert 0.15 < time.monotonic() - start < 5  # one call waits, and not each
    stats = handler.stats()
    assert stats["dropped"] > 50
    assert stats["dropped_by_reason"] == {"queue full": stats["dropped"]}
    assert (
        stats["emitted"] + stats["announced"]
        == stats["written"] + stats["dropped"] + stats["pending_records"]
    )
    fake.stop()


def test_drop_newest_never_waits(fake: FakeServer, connect: Connect, log: logging.Logger) -> None:
    fake.acknowledges = False
    handler = connect(ring_bytes=4096, when_full="drop_newest", block_timeout_s=30)
    log.addHandler(handler)
    start = time.monotonic()
    for _ in range(100):
        log.info("x" * 100)
    assert time.monotonic() - start < 10
    assert handler.stats()["dropped"] > 50
    fake.stop()


def test_a_long_record_is_cut_and_counted(fake: FakeServer, connect: Connect, log: logging.Logger) -> None:
    handler = connect(record_max_bytes=2000)
    log.addHandler(handler)
    log.info("x" * 5000)
    assert handler.flush()
    assert fake.messages[0].endswith(" bytes]")
    assert handler.stats()["records_cut"] == 1


def test_logserv_sync_flushes_every_record(
    fake: FakeServer, connect: Connect, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGSERV_SYNC", "1")
    handler = connect()
    log.addHandler(handler)
    for number in range(5):
        log.info(number)
        assert fake.messages == [str(each) for each in range(number + 1)]


def test_a_closed_handler_opens_again_with_the_next_record(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    handler = connect()
    log.addHandler(handler)
    log.info("one")
    handler.close()
    assert fake.messages == ["one"]
    log.info("two")
    assert handler.flush()
    assert fake.messages == ["one", "two"]


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda handler: pickle.loads(pickle.dumps(handler))]
)
def test_a_copy_sends_to_the_same_file(
    fake: FakeServer, connect: Connect, log: logging.Logger, duplicate: Callable[[Any], Any]
) -> None:
    handler = connect()
    handler.setFormatter(logging.Formatter("%(levelname)s"))
    handler.setLevel(logging.INFO)
    log.addHandler(handler)
    log.info("original")
    twin = duplicate(handler)
    assert twin is not handler
    assert twin.lock is not handler.lock
    assert (twin.level, twin.formatter._fmt) == (logging.INFO, "%(levelname)s")
    log.addHandler(twin)
    log.info("both")
    assert twin.flush()
    assert fake.messages == ["original", "both", "both"]
    twin.close()


# A server of 2013.


def test_a_server_of_2013_gets_pickles_and_the_format(socket_dir: Path, log: logging.Logger) -> None:
    old = FakeServer(socket_dir / "old.sock", protocol="1.0")
    handler = UnixClient(str(old.unix), filename="app.log", maxBytes=100)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s", "%H"))
    handler.setLevel(logging.INFO)
    log.addHandler(handler)
    log.info("hello %s", "you", extra={"user": "zoë"})
    log.error("oops", exc_info=ValueError("v"))
    assert handler.flush()
    wait_for(lambda: len(old.pickled) == 2, "two pickles")
    assert old.identified[0] == {"--level": logging.INFO, "filename": "app.log", "maxBytes": 100}
    assert old.formats[0] == {"fmt": "%(levelname)s %(message)s", "datefmt": "%H", "style": "%"}
    first, second = old.pickled
    record = logging.makeLogRecord(first)
    assert (record.getMessage(), record.levelname, first["user"]) == ("hello you", "INFO", "zoë")
    assert second["exc_text"].endswith("ValueError: v")
    handler.close()
    old.stop()


def test_a_lowered_level_is_announced_to_a_server_of_2013(socket_dir: Path, log: logging.Logger) -> None:
    old = FakeServer(socket_dir / "old.sock", protocol="1.0")
    handler = UnixClient(str(old.unix), filename="app.log")
    handler.setLevel(logging.WARNING)
    log.addHandler(handler)
    log.warning("one")
    assert handler.flush()
    handler.setLevel(logging.DEBUG)
    log.info("two")
    assert handler.flush()
    wait_for(lambda: len(old.pickled) == 2, "two pickles")
    assert [each["--level"] for each in old.identified] == [logging.WARNING, logging.DEBUG]
    handler.close()
    old.stop()


def test_the_newest_configuration_of_a_file_wins_and_the_order_stays(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    older, newer = connect(maxBytes=1), connect(maxBytes=2)
    for handler in (newer, older):
        log.addHandler(handler)
    for number in range(100):
        log.info("%d", number)
        if number == 50:
            assert older.flush()
            log.addHandler(newest := connect(maxBytes=3))
    assert newest.flush()
    assert [each["arguments"]["maxBytes"] for each in fake.opened] == [2, 3]
    expected = [str(number) for number in range(100) for _ in range(2 if number <= 50 else 3)]
    assert fake.messages == expected


def test_a_session_says_what_it_sends_as_json(
    fake: FakeServer, connect: Connect, log: logging.Logger
) -> None:
    handler = connect(filename='a "quoted" ü.log')
    log.addHandler(handler)
    log.info("x")
    assert handler.flush()
    assert json.loads(json.dumps(fake.opened[0]))["arguments"]["filename"] == 'a "quoted" ü.log'
