"""`logserv.LogRecord`, and the handler that gets its records unread: whatever is done to a record, or to what it depends on,
shows in its line."""

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import logserv
import pytest
from logserv.client import UnixClient
from running import Server

FORMAT = (
    "%(name)s %(levelname)s %(pathname)s %(filename)s %(module)s %(lineno)d %(funcName)s %(threadName)s %(processName)s %(thread)d "
    "%(message)s"
)


class Truth(logging.Handler):
    """Keeps the line of each record as Python makes it, of a copy that has nothing but the record's dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(logging.makeLogRecord(dict(record.__dict__))))


class Bench:
    """A logger with our handler in front of one that tells the truth."""

    def __init__(self, server: Server, fmt: str = FORMAT) -> None:
        self.path = server.root / "factory.log"
        self.handler = UnixClient(
            str(server.unix), filename="factory.log", handler_class="logging.FileHandler"
        )
        self.truth = Truth()
        self.logger = logging.Logger("shop.cart")
        for handler in (self.handler, self.truth):
            handler.setFormatter(logging.Formatter(fmt))
            self.logger.addHandler(handler)
        self.logger.warning("first")  # afterwards the handler knows that its server renders
        assert self.handler.flush(20)

    def check(self) -> None:
        assert self.handler.flush(20)
        assert self.handler.stats()["records_rendered"] == 0
        assert self.path.read_text().splitlines() == self.truth.lines
        self.handler.close()


@pytest.fixture
def native() -> Iterator[None]:
    logging.setLogRecordFactory(logserv.LogRecord)
    yield
    logging.setLogRecordFactory(logging.LogRecord)


@pytest.mark.usefixtures("native")
def test_one_place_with_changing_surroundings(server: Server) -> None:
    bench = Bench(server)

    def log(argument: object) -> None:
        for level in (logging.INFO, logging.ERROR, 35):
            bench.logger.log(level, "message %s", argument)
            bench.logger.log(level, "no arguments")

    thread = threading.current_thread()
    name = thread.name
    try:
        log(1)
        thread.name = "renamed"
        log("text")
        logging.addLevelName(35, "NOTICE")
        logging.addLevelName(logging.ERROR, "FAULT")
        log({"a": 1})
        bench.logger.name = "other"
        log(("a", "b"))
        other = threading.Thread(target=log, args=(2.5,), name="another")
        other.start()
        other.join()
        log(3)
    finally:
        thread.name = name
        logging.addLevelName(logging.ERROR, "ERROR")
        logging._levelToName.pop(35)
        logging._nameToLevel.pop("NOTICE")
    bench.check()


CHANGES: dict[str, Callable[[logging.LogRecord], object]] = {
    "attribute": lambda record: setattr(record, "name", "changed"),
    "message": lambda record: setattr(record, "msg", "other %s"),
    "arguments": lambda record: setattr(record, "args", ("changed",)),
    "item": lambda record: record.__dict__.__setitem__("levelname", "CHANGED"),
    "dictionary": lambda record: setattr(record, "__dict__", {**record.__dict__, "funcName": "changed"}),
    "method": lambda record: setattr(record, "getMessage", lambda: "changed"),
    "nothing": lambda record: None,
    "new": lambda record: setattr(record, "user", "zoë"),
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("change", CHANGES)
def test_a_record_that_somebody_has_changed(server: Server, change: str) -> None:
    bench = Bench(server)

    def alter(record: logging.LogRecord) -> bool:
        CHANGES[change](record)
        return True

    for _ in range(3):
        bench.logger.warning("message %s", "argument")
    bench.logger.addFilter(alter)
    for _ in range(3):
        bench.logger.warning("message %s", "argument")
    bench.logger.removeFilter(alter)
    bench.logger.warning("message %s", "argument", extra={"user": "zoë"})
    bench.check()


@pytest.mark.usefixtures("native")
def test_a_record_that_is_not_the_newest(server: Server) -> None:
    bench = Bench(server)

    def make(number: int) -> logging.LogRecord:
        return bench.logger.makeRecord(
            f"n{number}", 20, "/a/b.py", number, "message %d", (number,), None, "f"
        )

    for _ in range(2):
        records = [make(number) for number in range(300)]  # more than the factory remembers places
        for record in [*records, *reversed(records)]:
            bench.logger.handle(record)
    bench.check()


@pytest.mark.usefixtures("native")
def test_what_a_record_holds_dies_with_it(server: Server) -> None:
    bench = Bench(server)
    bench.logger.removeHandler(bench.truth)

    class Held:
        alive = 0

        def __init__(self) -> None:
            Held.alive += 1

        def __del__(self) -> None:
            Held.alive -= 1

    for _ in range(3):
        bench.logger.warning("message %s", Held())
    gc.collect()
    assert Held.alive == 0
    bench.handler.close()


def test_a_dictionary_that_a_handler_was_given_is_followed(server: Server, tmp_path: Path) -> None:
    bench = Bench(server, "%(message)s")
    formatter = bench.handler.formatter
    assert formatter is not None
    style = formatter._style
    truth = bench.truth.formatter
    assert truth is not None
    for number in range(3):
        for each in (style, truth._style):
            each._fmt = f"{number} %(message)s"
        for _ in range(2):
            bench.logger.warning("style")
    # A dictionary in the place of the one that was looked at, which somebody keeps.
    kept = style.__dict__
    for each in (style, truth._style):
        each.__dict__ = {**each.__dict__, "_fmt": "new %(message)s"}
    for _ in range(2):
        bench.logger.warning("dictionary")
    assert kept["_fmt"] == "2 %(message)s"
    other = logging.Formatter("other %(message)s")
    bench.handler.formatter = bench.truth.formatter = other
    for _ in range(2):
        bench.logger.warning("formatter")
    bench.check()


@pytest.mark.usefixtures("native")
def test_no_object_gets_another_dictionary(server: Server) -> None:
    """What is followed of them is looked at where it is: they are the application's."""
    bench = Bench(server)
    formatter = bench.handler.formatter
    assert formatter is not None
    objects = (bench.handler, formatter, formatter._style, bench.logger)
    # Not the dictionaries themselves: to hold one could change what is done with it.
    before = [id(each.__dict__) for each in objects]
    for number in range(10):
        bench.logger.warning("message %d", number)
    assert [id(each.__dict__) for each in objects] == before
    held = bench.handler.__dict__
    bench.handler.setLevel(logging.ERROR)
    assert held["level"] == logging.ERROR
    bench.truth.setLevel(logging.ERROR)
    bench.logger.warning("not for these")
    bench.check()
