"""`logserv.install`: the same lines, the same errors, the same records for others, and the library as it was afterwards."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import logserv
import pytest
from logserv import _library, _logger, _native
from logserv.client import UnixClient
from running import Server
from twin_loggers import Program, trees

STEPS = 4000


@pytest.fixture
def installed() -> Iterator[None]:
    logserv.install()
    yield
    logserv.uninstall()


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n") if path.exists() else []


def test_a_random_program_gives_the_same_with_and_without(server: Server, root: Path, seed: int) -> None:
    plain, native = trees(str(server.unix))
    program = Program(seed)
    for number in range(STEPS):
        step = program.step()
        for tree in (plain, native):
            tree.reports.append(f"--- {number}")
            step(tree)
        assert plain.reports == native.reports, f"step {number}"
        plain.reports.clear()
        native.reports.clear()
    for tree in (plain, native):
        assert tree.handler.flush(30)
        tree.handler.close()
        tree.other.close()
    first, second = lines(root / "plain.log"), lines(root / "native.log")
    assert len(first) > STEPS / 20
    assert [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]][:3] == []
    assert len(first) == len(second)
    assert lines(root / "other-plain.log") == lines(root / "other-native.log")


def sender_of(server: Server, name: str = "native.log", fmt: str = "%(message)s") -> UnixClient:
    handler = UnixClient(str(server.unix), filename=name)
    handler.setFormatter(logging.Formatter(fmt))
    return handler


def test_no_record_is_made_where_nobody_needs_one(server: Server, root: Path) -> None:
    logger = logserv.Logger("direct")
    handler = sender_of(server)
    logger.addHandler(handler)
    logger.info("the first prepares the process for its end")
    assert handler.flush(20)  # a server that renders is there: from now on it is sent what the line shows
    made: list[str] = []
    python: list[str] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            made.append(record.getMessage())

    kept = []
    sys.setprofile(
        lambda frame, event, _: python.append(frame.f_code.co_filename) if event == "call" else None
    )
    try:
        for number in range(1000):
            logger.info("number %d", number)
            kept.append(number)
    finally:
        sys.setprofile(None)
    assert python == [], "no function of Python was called"
    logger.addHandler(Noting())
    logger.info("seen")
    assert made == ["seen"]
    assert handler.flush(20)
    handler.close()
    assert lines(root / "native.log")[1:] == [*(b"number %d" % number for number in kept), b"seen", b""]


def test_install_and_uninstall_leave_everything_as_it_was() -> None:
    class Own(logging.Logger):
        pass

    existing = logging.getLogger("test.native.existing")
    subclass = logging.Manager(logging.RootLogger(30))
    subclass.loggerClass = Own
    before = (type(existing), type(logging.root), logging.getLoggerClass(), logging.getLogRecordFactory())
    logserv.install()
    try:
        logserv.install()
        assert type(existing) is logserv.Logger
        assert isinstance(logging.root, logserv.Logger)
        assert isinstance(logging.root, logging.RootLogger)
        assert type(logging.getLogger("test.native.new")) is logserv.Logger
        assert (
            repr(existing)
            == f"<Logger test.native.existing ({logging.getLevelName(existing.getEffectiveLevel())})>"
        )
        assert logging.getLogRecordFactory() is logserv.LogRecord
        assert pickle.loads(pickle.dumps(existing)) is existing
        assert copy.copy(existing) is existing
    finally:
        logserv.uninstall()
    assert (
        type(existing),
        type(logging.root),
        logging.getLoggerClass(),
        logging.getLogRecordFactory(),
    ) == before
    assert type(logging.getLogger("test.native.new")) is logging.Logger
    logserv.uninstall()


def test_a_subclass_and_a_foreign_factory_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(logging.Logger):
        pass

    logging.setLoggerClass(Own)
    previous = logging.getLogRecordFactory()

    def factory(*arguments: object, **keywords: object) -> logging.LogRecord:
        return previous(*arguments, **keywords)

    logging.setLogRecordFactory(factory)
    try:
        own = logging.getLogger("test.native.own")
        logserv.install()
        assert type(own) is Own
        assert logging.getLoggerClass() is Own
        assert logging.getLogRecordFactory() is factory
    finally:
        logserv.uninstall()
        assert logging.getLoggerClass() is Own
        logging.setLoggerClass(logging.Logger)
        logging.setLogRecordFactory(previous)


def test_a_library_that_nobody_has_compared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    version = sys.version_info[:2]
    monkeypatch.setitem(_library.DIGESTS, version, {**_library.DIGESTS[version], "Logger.handle": "another"})
    with pytest.raises(RuntimeError, match=r"was not tested with: Logger\.handle; without install"):
        logserv.install()
    assert type(logging.getLogger("test.native.refused")) is logging.Logger


@pytest.mark.parametrize(
    "place",
    [
        "Logger.callHandlers",
        "Logger.makeRecord",
        "Logger.findCaller",
        "Handler.format",
        "time",
        "factory",
        "flag",
    ],
)
def test_what_somebody_replaces_later_is_called(
    place: str, server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logserv.Logger("patched")
    handler = sender_of(server, fmt="%(created)f %(threadName)s %(message)s")
    logger.addHandler(handler)
    for _ in range(3):
        logger.info("before")
    called: list[str] = []
    if place == "time":
        clock = "time_ns" if sys.version_info >= (3, 13) else "time"

        def first_second() -> float:
            called.append("time")
            return 10**9 if clock == "time_ns" else 1.0

        monkeypatch.setattr(time, clock, first_second)
    elif place == "factory":
        original = logging.getLogRecordFactory()

        def factory(*arguments: Any, **keywords: Any) -> logging.LogRecord:
            called.append("factory")
            return original(*arguments, **keywords)

        logging.setLogRecordFactory(factory)
        monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    elif place == "flag":
        monkeypatch.setattr(logging, "logThreads", False)
    else:
        class_name, name = place.split(".")
        owner = getattr(logging, class_name)
        method = getattr(owner, name)

        def replaced(self: object, *arguments: object, **keywords: object) -> object:
            called.append(name)
            return method(self, *arguments, **keywords)

        monkeypatch.setattr(owner, name, replaced)
    logger.info("while")
    if place == "factory":
        logging.setLogRecordFactory(original)
    monkeypatch.undo()
    logger.info("after")
    assert handler.flush(20)
    handler.close()
    assert called or place == "flag"
    written = [line.split(b" ") for line in lines(root / "native.log")[:-1]]
    assert [line[-1] for line in written] == [b"before"] * 3 + [b"while", b"after"]
    if place == "time":
        assert written[3][0] == b"1.000000"
        assert written[4][0] > b"1.000000"
    if place == "flag":
        assert written[3][1] == b"None"


def test_threads_processes_and_tasks_have_their_names(server: Server, root: Path) -> None:
    logger = logserv.Logger("names")
    handler = sender_of(server, fmt="%(process)d %(processName)s %(thread)d %(threadName)s %(message)s")
    logger.addHandler(handler)
    logger.info("first")
    expected = [f"{os.getpid()} MainProcess {threading.get_ident()} MainThread first"]
    threading.current_thread().name = "renamed"
    logger.info("second")
    expected.append(f"{os.getpid()} MainProcess {threading.get_ident()} renamed second")
    threading.current_thread().name = "MainThread"

    def work() -> None:
        logger.info("third")
        expected.append(f"{os.getpid()} MainProcess {threading.get_ident()} worker third")

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()
    process = multiprocessing.current_process()
    process.name = "Other"
    logger.info("fourth")
    expected.append(f"{os.getpid()} Other {threading.get_ident()} MainThread fourth")
    process.name = "MainProcess"
    assert handler.flush(20)
    assert [line.decode() for line in lines(root / "native.log")[:-1]] == expected
    handler.close()


@pytest.mark.python("3.12")
def test_a_task_has_its_name(server: Server, root: Path) -> None:
    logger = logserv.Logger("tasks")
    handler = sender_of(server, fmt="%(taskName)s %(message)s")
    logger.addHandler(handler)

    async def work() -> None:
        logger.info("inside")

    async def run() -> None:
        await asyncio.create_task(work(), name="errand")

    logger.info("outside")
    asyncio.run(run())
    assert handler.flush(20)
    handler.close()
    assert lines(root / "native.log")[:-1] == [b"None outside", b"errand inside"]


def test_a_forked_child_is_another_process(server: Server, root: Path) -> None:
    logger = logserv.Logger("forks")
    handler = sender_of(server, fmt="%(process)d %(message)s")
    logger.addHandler(handler)
    logger.info("parent")
    child = os.fork()
    if child == 0:
        try:
            logger.info("child")
            logger.info("child")
            handler.flush(20)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    logger.info("parent")
    assert handler.flush(20)
    handler.close()
    written = sorted(lines(root / "native.log")[:-1])
    assert written == sorted([b"%d parent" % os.getpid()] * 2 + [b"%d child" % child] * 2)


def test_a_native_record_is_the_librarys() -> None:
    def attributes(record: logging.LogRecord) -> list[tuple[str, object]]:
        times = ("created", "msecs", "relativeCreated")
        return [(name, None if name in times else value) for name, value in record.__dict__.items()]

    cases: list[tuple[object, ...]] = [
        ("name", 20, "/a/b/module.py", 3, "message %s", ("x",), None, "function", None),
        ("name", 20, "module", 3, "message", ({"a": 1},), None),
        ("name", 20, "", 3, "message", ({},), None),
        ("name", 25, "/a/.hidden", 3, "message", (), None),
        ("name", 20, None, None, None, None, None),
        (None, "INFO", "x.tar.gz", 3, "message", [1], (None, None, None), "f", "stack"),
    ]
    for case in cases:
        ours = logserv.LogRecord(*case)  # type: ignore[arg-type]
        theirs = logging.LogRecord(*case)  # type: ignore[arg-type]
        assert type(ours) is logging.LogRecord
        assert attributes(ours) == attributes(theirs)
        assert abs(ours.created - theirs.created) < 5
        assert abs(ours.relativeCreated - theirs.relativeCreated) < 5000
        assert ours.msecs == int(ours.msecs)
        assert abs(ours.created % 1 * 1000 - ours.msecs) < 1.5
        assert json.dumps(ours.__dict__, default=str)
    with pytest.raises(TypeError):
        logserv.LogRecord("name")  # type: ignore[call-arg]


def test_a_disabled_call_does_nothing(server: Server) -> None:
    logger = logserv.Logger("quiet", logging.ERROR)
    handler = sender_of(server)
    logger.addHandler(handler)

    class Unasked:
        def __str__(self) -> str:
            raise AssertionError("nobody needs this text")

    for _ in range(3):
        logger.debug("%s", Unasked())
    assert handler.stats()["emitted"] == 0
    handler.close()


def test_the_sources_that_were_compared_are_those_that_run() -> None:
    assert _logger._digests() == _library.DIGESTS[sys.version_info[:2]]
    assert _native.knows_this_logging()


def test_without_the_extension_install_says_what_is_missing(tmp_path: Path) -> None:
    script = """
        import logging, logserv
        assert logserv.LogRecord is logging.LogRecord and issubclass(logserv.Logger, logging.Logger)
        try:
            logserv.install()
        except RuntimeError as error:
            print(error)
        logserv.uninstall()
    """
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(line[8:] for line in script.splitlines())],
        env={**os.environ, "LOGSERV_PURE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "LOGSERV_PURE is set" in done.stdout
