"""Two trees of loggers that are told the same: one of the library's classes, one of ours. What comes out has to be the same.

In: random steps, from a seed. Out: what each tree's handlers wrote, what was raised and what was given to `handleError`,
for each tree in its order. Both trees have loggers of the same names under roots of their own, so that even names agree.
"""

from __future__ import annotations

import functools
import logging
import random
import sys
from collections.abc import Callable
from typing import Any

import logserv
from logserv import _logger
from logserv.client import UnixClient

NAMES = ("", "app", "app.db", "app.db.pool", "web", "web.höhe")
FORMATS = (
    "%(name)s %(levelname)s %(levelno)d %(filename)s:%(lineno)d %(module)s %(funcName)s %(message)s",
    "%(pathname)s %(threadName)s %(processName)s %(process)d %(thread)d [%(message)-20s]",
    "%(message)s",
    "%(levelname)s:%(name)s:%(message)s %(taskName)s",
    "%(message)s user=%(user)s",
)
LEVELS = (1, 10, 15, 20, 30, 40, 50, 60)


class Reporting(UnixClient):
    """A handler that remembers what was given to `handleError`."""

    def __init__(self, host: str, reports: list[str], **arguments: Any) -> None:
        super().__init__(host, **arguments)
        self.reports = reports

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        self.reports.append(f"{type(error).__name__}: {error}; {record.name} {record.lineno} {record.msg!r}")


class Listening(logging.Handler):
    """Somebody else's handler: it notes all that a record has."""

    def __init__(self, reports: list[str]) -> None:
        super().__init__()
        self.reports = reports

    def emit(self, record: logging.LogRecord) -> None:
        timeless = {
            name: value
            for name, value in record.__dict__.items()
            if name not in ("created", "msecs", "relativeCreated", "exc_info")
        }
        self.reports.append(repr(timeless))


class Loud:
    """Its text is made by code that counts, and may raise."""

    def __init__(self, reports: list[str], fails: bool) -> None:
        self.reports = reports
        self.fails = fails

    def __repr__(self) -> str:
        return "Loud()"

    def __str__(self) -> str:
        self.reports.append("asked for its text")
        if self.fails:
            raise ValueError("no text")
        return "loud"


class Tree:
    """A root, its loggers, a handler of ours on the root."""

    def __init__(
        self, host: str, filename: str, logger_class: type[logging.Logger], root: logging.Logger
    ) -> None:
        self.reports: list[str] = []
        self.root = root
        self.manager = logging.Manager(root)  # type: ignore[arg-type]
        root.manager = self.manager
        self.manager.loggerClass = logger_class
        self.handler = Reporting(host, self.reports, filename=filename, maxBytes=0)
        self.handler.setFormatter(logging.Formatter(FORMATS[0]))
        self.other = Reporting(host, self.reports, filename="other-" + filename)
        self.listener = Listening(self.reports)
        root.addHandler(self.handler)

    def logger(self, name: str) -> logging.Logger:
        return self.manager.getLogger(name) if name else self.root


def trees(host: str) -> tuple[Tree, Tree]:
    """The library's, and ours."""
    plain = Tree(host, "plain.log", logging.Logger, logging.RootLogger(logging.WARNING))
    native = Tree(host, "native.log", logserv.Logger, _logger.RootLogger(logging.WARNING))
    return plain, native


Step = Callable[[Tree], None]


class Program:
    """Makes random steps. Each is a function of a tree, and does the same to both."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def step(self) -> Step:
        """Mostly a call, now and then a change of what surrounds the calls."""
        pick = self.random.random()
        return self.call() if pick < 0.85 else self.change()

    def call(self) -> Step:
        name = self.random.choice(NAMES)
        method = self.random.choice(
            ("debug", "info", "warning", "error", "critical", "exception", "log", "fatal")
        )
        level = self.random.choice((*LEVELS, "twenty", True))
        message, make_arguments = self.message()
        keywords = self.keywords()
        depth = self.random.randrange(3)
        has_error = self.random.random() < 0.3
        through_adapter = self.random.random() < 0.1

        def step(tree: Tree) -> None:
            logger: Any = tree.logger(name)
            if through_adapter:
                logger = logging.LoggerAdapter(logger, {"user": "adapted"})
            arguments = make_arguments(tree)
            if method == "log":
                arguments = (level, message, *arguments)
            else:
                arguments = (message, *arguments)
            if through_adapter and method == "fatal":
                return  # an adapter has none
            run = functools.partial(nested, depth, getattr(logger, method), arguments, keywords)
            try:
                if has_error:
                    try:
                        raise KeyError("lost")
                    except KeyError:
                        run()
                else:
                    run()
            except (TypeError, KeyError, ValueError, AttributeError) as error:
                tree.reports.append(f"raised {type(error).__name__}: {error}")

        return step

    def message(self) -> tuple[object, Callable[[Tree], tuple[object, ...]]]:
        fails = self.random.random() < 0.3
        choice = self.random.randrange(10)
        pairs: list[tuple[object, Callable[[Tree], tuple[object, ...]]]] = [
            ("plain text", lambda tree: ()),
            ("%s and %d", lambda tree: ("words", 42)),
            ("ünïcode %s", lambda tree: ("höhe ✓",)),
            ("%d is no number", lambda tree: ("x",)),
            ("too few %s %s", lambda tree: (1,)),
            ("%(a)s of a mapping", lambda tree: ({"a": 1},)),
            ("an empty one %s", lambda tree: ({},)),
            (12345, lambda tree: ()),
            ("surrogate \udc80 %s", lambda tree: (1.5,)),
            ("%s", lambda tree: (Loud(tree.reports, fails),)),
        ]
        return pairs[choice]

    def keywords(self) -> dict[str, Any]:
        keywords: dict[str, Any] = {}
        if self.random.random() < 0.2:
            keywords["exc_info"] = self.random.choice(
                (True, False, None, 1, ValueError("given"), (None, None, None))
            )
        if self.random.random() < 0.25:
            keywords["extra"] = self.random.choice(
                (
                    {"user": "zoë"},
                    {"user": 7},
                    {"user": [1, {"x": None}]},
                    {"message": 1},
                    {"name": "x"},
                    {},
                    None,
                    {"user": object},
                )
            )
        if self.random.random() < 0.2:
            keywords["stacklevel"] = self.random.choice((0, 1, 2, 3, 50))
        if self.random.random() < 0.1:
            keywords["stack_info"] = self.random.choice((True, False))
        if self.random.random() < 0.03:
            keywords["unknown"] = 1
        return keywords

    def change(self) -> Step:
        name = self.random.choice(NAMES)
        level = self.random.choice((0, *LEVELS))
        fmt = self.random.choice(FORMATS)
        flag = self.random.random() < 0.5
        steps: list[Step] = [
            lambda tree: tree.logger(name).setLevel(level),
            lambda tree: tree.root.setLevel(self_or(level, 10)),
            lambda tree: setattr(tree.logger(name), "propagate", flag),
            lambda tree: setattr(tree.logger(name), "disabled", flag and name != ""),
            lambda tree: disable(tree, level if flag else 0),
            lambda tree: tree.handler.setLevel(level if flag else 0),
            lambda tree: tree.handler.setFormatter(logging.Formatter(fmt, defaults={"user": "nobody"})),
            lambda tree: tree.handler.setFormatter(None if flag else logging.Formatter(fmt)),
            lambda tree: toggle(tree.root, tree.listener, flag),
            lambda tree: toggle(tree.logger(name), tree.other, flag),
            lambda tree: filters(tree.logger(name), flag),
            lambda tree: filters(tree.handler, flag),
            lambda tree: override(tree.logger(name), "handle", tree, flag),
            lambda tree: override(tree.logger(name), "makeRecord", tree, flag),
            lambda tree: override(tree.handler, "emit", tree, flag),
            lambda tree: setattr(tree.logger(name), "mark", flag),
        ]
        return self.random.choice(steps)


def self_or(level: int, otherwise: int) -> int:
    return level or otherwise


def nested(
    depth: int, call: Callable[..., object], arguments: tuple[object, ...], keywords: dict[str, Any]
) -> None:
    """Frames for `stacklevel` to go through."""
    if depth:
        nested(depth - 1, call, arguments, keywords)
    else:
        call(*arguments, **keywords)


def disable(tree: Tree, level: int) -> None:
    """As `logging.disable` does it."""
    tree.manager.disable = level
    tree.manager._clear_cache()  # type: ignore[attr-defined]


def toggle(logger: logging.Logger, handler: logging.Handler, flag: bool) -> None:
    if flag:
        logger.addHandler(handler)
    else:
        logger.removeHandler(handler)


def is_short(record: logging.LogRecord) -> bool:
    return len(str(record.msg)) < 12


def filters(filterer: logging.Filterer, flag: bool) -> None:
    if flag:
        filterer.addFilter(is_short)
    else:
        filterer.removeFilter(is_short)


def override(owner: Any, name: str, tree: Tree, flag: bool) -> None:
    """A method of the object's own, which notes that it was called; or no longer."""
    vars(owner).pop(name, None)
    if flag:
        original = getattr(owner, name)

        def noted(*arguments: Any, **keywords: Any) -> Any:
            tree.reports.append(f"{name} was called")
            return original(*arguments, **keywords)

        setattr(owner, name, noted)
