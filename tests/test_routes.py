"""What the native logger remembers of a logger's way: any change of it, at any time, has the effect that it has in the library.

Both trees of `twin_loggers` are warmed up until the way is remembered, then changed alike, and have to write the same lines.
"""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from logserv import _native
from running import Server
from twin_loggers import Tree, trees

NAME = "app.db.pool"
FORMAT = "%(name)s %(levelname)s %(filename)s:%(lineno)d %(funcName)s %(message)s"
CHANGES: dict[str, Callable[[Tree], Any]] = {}


def change(function: Callable[[Tree], Any]) -> Callable[[Tree], Any]:
    CHANGES[function.__name__] = function
    return function


@change
def nothing(tree: Tree) -> None:
    pass


@change
def another_list_of_handlers(tree: Tree) -> None:
    tree.root.handlers = [tree.other]


@change
def the_list_in_place(tree: Tree) -> None:
    tree.root.handlers[:] = [tree.other]


@change
def a_second_handler(tree: Tree) -> None:
    tree.logger(NAME).addHandler(tree.other)


@change
def somebody_elses_handler(tree: Tree) -> None:
    tree.logger("app").addHandler(tree.listener)


@change
def no_handler(tree: Tree) -> None:
    tree.root.removeHandler(tree.handler)
    tree.root.addHandler(logging.NullHandler())


@change
def another_handler_in_its_place(tree: Tree) -> None:
    old = tree.handler
    tree.root.removeHandler(old)
    tree.handler = tree.other
    tree.logger("app").addHandler(tree.other)
    old.close()
    del old
    gc.collect()


@change
def propagation(tree: Tree) -> None:
    tree.logger("app").propagate = False
    tree.logger("app.db").addHandler(tree.other)


@change
def another_parent(tree: Tree) -> None:
    tree.logger("web").addHandler(tree.other)
    tree.logger("app.db").parent = tree.logger("web")


@change
def a_filter_of_the_logger(tree: Tree) -> None:
    tree.logger(NAME).addFilter(lambda record: record.levelno > logging.INFO)


@change
def a_filter_of_the_handler(tree: Tree) -> None:
    tree.handler.addFilter(logging.Filter("web"))


@change
def the_loggers_level(tree: Tree) -> None:
    tree.logger("app").setLevel(logging.ERROR)


@change
def the_handlers_level(tree: Tree) -> None:
    tree.handler.setLevel(logging.ERROR)


@change
def the_handlers_level_as_an_attribute(tree: Tree) -> None:
    tree.handler.level = logging.ERROR


@change
def everything_disabled(tree: Tree) -> None:
    tree.manager.disable = logging.WARNING
    tree.manager._clear_cache()  # type: ignore[attr-defined]


@change
def the_logger_disabled(tree: Tree) -> None:
    tree.logger(NAME).disabled = True


@change
def another_formatter(tree: Tree) -> None:
    tree.handler.setFormatter(logging.Formatter("%(levelname)s|%(message)s"))


@change
def no_formatter(tree: Tree) -> None:
    tree.handler.setFormatter(None)


@change
def the_format(tree: Tree) -> None:
    assert tree.handler.formatter is not None
    tree.handler.formatter._style._fmt = "%(message)s <- %(name)s"


@change
def the_style(tree: Tree) -> None:
    assert tree.handler.formatter is not None
    tree.handler.formatter._style = logging.StrFormatStyle("{levelname:>9} {message}")


@change
def a_method_of_the_formatter(tree: Tree) -> None:
    assert tree.handler.formatter is not None
    tree.handler.formatter.formatMessage = lambda record: f"own {record.lineno}"  # type: ignore[method-assign]


@change
def the_name(tree: Tree) -> None:
    tree.logger(NAME).name = "renamed"


@change
def a_method_of_the_logger(tree: Tree) -> None:
    def make(name: str, level: int, fn: str, lno: int, msg: Any, *rest: Any, **more: Any) -> Any:
        return logging.LogRecord(name, level, fn, lno, f"made: {msg}", *rest[:2])

    tree.logger(NAME).makeRecord = make  # type: ignore[method-assign]


@change
def a_method_of_the_handler(tree: Tree) -> None:
    tree.handler.emit = lambda record: tree.other.emit(record)  # type: ignore[method-assign]


@change
def the_class_of_the_logger(tree: Tree) -> None:
    class Silent(type(tree.logger(NAME))):  # type: ignore[misc]
        def callHandlers(self, record: logging.LogRecord) -> None:
            pass

    tree.logger(NAME).__class__ = Silent


@change
def the_attributes_of_the_handler_at_once(tree: Tree) -> None:
    tree.handler.__dict__ = {**tree.handler.__dict__, "level": logging.ERROR}


@change
def the_attributes_of_the_logger_at_once(tree: Tree) -> None:
    logger = tree.logger("app.db")
    logger.__dict__ = {**logger.__dict__, "handlers": [tree.other]}


@change
def an_attribute_that_says_nothing(tree: Tree) -> None:
    tree.handler.note = "mine"  # type: ignore[attr-defined]
    tree.logger(NAME).note = "mine"  # type: ignore[attr-defined]


@change
def an_attribute_and_back(tree: Tree) -> None:
    tree.handler.level = logging.CRITICAL
    tree.logger(NAME).info("not for this one")
    tree.handler.level = logging.NOTSET


def log(tree: Tree, first: int) -> None:
    logger = tree.logger(NAME)
    for number in range(first, first + 3):
        logger.info("%d %s %r %.2f", number, "text", "quoted", number / 8)
        logger.warning("no arguments")
        logger.error("%5d|%-6s|%x", number, None, 255)
        logger.debug("disabled")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_has_the_effect_that_it_has_in_the_library(server: Server, root: Path, name: str) -> None:
    both = trees(str(server.unix))
    for tree in both:
        tree.root.setLevel(logging.INFO)
        tree.handler.setFormatter(logging.Formatter(FORMAT))
        log(tree, 0)
        handlers = (tree.handler, tree.other)
        assert tree.handler.flush(20)  # from now on the server is sent what the line shows
        for number in range(10):
            log(tree, 100 + number)
        CHANGES[name](tree)
        for number in range(10):
            log(tree, 200 + number)
        for handler in handlers:
            handler.flush(20)
            handler.close()
    plain, native = both
    assert plain.reports == native.reports
    for file in ("{}.log", "other-{}.log"):
        first, second = (root / file.format(which) for which in ("plain", "native"))
        assert first.exists() == second.exists()
        if first.exists():
            assert first.read_bytes().split(b"\n") == second.read_bytes().split(b"\n")


def remembered(server: Server) -> Tree:
    """A native tree whose ways are remembered."""
    plain, native = trees(str(server.unix))
    plain.handler.close()
    plain.other.close()
    native.root.setLevel(logging.INFO)
    log(native, 0)
    assert native.handler.flush(20)
    for number in range(10):  # not every look is remembered
        log(native, 100 + number)
    assert _native.is_remembered(native.logger(NAME), logging.INFO)
    return native


def test_the_way_is_remembered_where_this_interpreter_allows(server: Server) -> None:
    """Else all of the above would be true of the close look alone."""
    tree = remembered(server)
    assert _native.is_remembered(tree.logger(NAME), logging.DEBUG)
    tree.handler.setLevel(logging.ERROR)
    assert not _native.is_remembered(tree.logger(NAME), logging.INFO)
    tree.handler.close()
    tree.other.close()


def test_no_logger_and_no_handler_is_kept_alive(server: Server) -> None:
    tree = remembered(server)
    objects: list[logging.Filterer] = [tree.handler, tree.logger(NAME), tree.root]
    followed = [weakref.ref(each) for each in objects]
    tree.handler.close()
    tree.other.close()
    del tree, objects
    gc.collect()
    assert [each() for each in followed] == [None, None, None]


FINALIZERS = """
import gc, logging, sys
import logserv
from logserv.client import UnixClient

handler = UnixClient(sys.argv[1], filename="finalizers.log")
handler.setFormatter(logging.Formatter("%(lineno)s %(message)s"))
logger = logserv.Logger("x")
logger.addHandler(handler)
logger.info("first")
assert handler.flush(20)
for number in range(40):
    logger.info("n %d", number)
assert logserv._native.is_remembered(logger, logging.INFO)
logging._handlers.clear()
logging._handlerList.clear()


class Final:
    def __init__(self, change):
        self.me, self.change = self, change

    def __del__(self):
        self.change()
        self.filled = [bytearray(length) for length in (40, 48, 56, 64, 72, 80, 96, 112) * 200]


def collected(change, call):
    # Until Python 3.12 the collector runs when an object is made: an exception, too.
    gc.disable()
    gc.set_threshold(1, 1, 1)
    kept = [[] for _ in range(3000)]
    Final(change)
    gc.enable()
    call()
    gc.disable()
    return kept


record = logging.makeLogRecord({"msg": "replayed"})
record.__dict__["lineno"] = int("9" * 40)
collected(lambda: record.__dict__.update(lineno=1), lambda: handler.emit(record))
record.__dict__["lone \\ud800"] = [1] * 10
collected(lambda: record.__dict__.pop("lone \\ud800", None), lambda: handler.emit(record))
assert handler.flush(20)
info, handler = logger.info, None
collected(logger.handlers.clear, lambda: info("lone \\ud800"))
print("alive")
"""


def test_a_finalizer_in_the_middle_of_a_call_harms_nobody(server: Server, root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", FINALIZERS, str(server.unix)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
    lines = (root / "finalizers.log").read_text("utf-8").splitlines()
    assert {line.split(" ")[0] for line in lines if "replayed" in line} <= {"1", "9" * 40}
