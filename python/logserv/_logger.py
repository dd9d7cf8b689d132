"""The native logger: `install`, `uninstall`, `Logger` and `LogRecord`, which `logserv` offers under these names.

In: the loggers of the process. Out: the same loggers, of a class whose methods need no Python where every handler that a
record reaches is logserv's own. Nothing here is imported before it is asked for.

Not here: what the methods do (`crates/logserv-py/src/logger.rs`); docs/native-logger.md describes it for users.
"""

import hashlib
import logging
import sys
import threading
from types import CodeType, FunctionType
from typing import Any

from logserv import _binding
from logserv._library import DIGESTS

if _binding.missing is None:
    from logserv import _forwarding as _forwarding  # the native methods know its handlers
    from logserv import _native
    from logserv._native import LogRecord
else:
    LogRecord = logging.LogRecord  # type: ignore[assignment]

__all__ = ["LogRecord", "Logger", "install", "uninstall"]


class Logger(logging.Logger):
    """A `logging.Logger` whose `debug`, `info`, `warning`, `error`, `critical`, `exception` and `log` are native.

    They do what the library's do. Where every handler that the record reaches is one of logserv's and nobody else has to
    see it, no `LogRecord` is made, and the record goes straight to the ring; else the library's own methods are called.
    For `logging.setLoggerClass`; `install()` does it for the loggers that exist, too.

    Blocks and drops as the handlers do. Raises what the library's methods raise.
    """


class RootLogger(Logger, logging.RootLogger):
    """The same for the root of the hierarchy."""


_FUNCTIONS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (
        logging.Logger,
        ("__init__", "debug", "info", "warning", "error", "critical", "exception", "log", "_log"),
    ),
    (logging.Logger, ("findCaller", "makeRecord", "handle", "filter", "callHandlers", "isEnabledFor")),
    (logging.Handler, ("__init__", "handle", "format", "acquire", "release")),
    (logging.Formatter, ("format", "formatTime", "formatMessage", "formatException", "usesTime")),
    (logging.LogRecord, ("__init__", "getMessage")),
    (logging, ("getLevelName", "_is_internal_frame")),
    (threading, ("current_thread",)),
)

_installed = threading.Lock()


def install() -> None:
    """Makes the plain loggers of this process native, those that exist and those to come, and their records' factory.

    Plain is a logger of exactly the class `logging.Logger`, and the root; others are left alone. The record factory is
    exchanged where it is `logging.LogRecord`. May be called again, for loggers that somebody else has made meanwhile.

    Raises:
        RuntimeError: The functions of `logging` are not those of a Python that this version of logserv was tested with, or
            the extension is not loaded. Nothing was changed.
    """
    _check()
    with _installed, logging._lock:  # type: ignore[attr-defined]
        for logger in _loggers():
            if type(logger) is logging.Logger:
                _set_class(logger, Logger)
            elif type(logger) is logging.RootLogger:
                _set_class(logger, RootLogger)
        if logging.getLoggerClass() is logging.Logger:
            logging.setLoggerClass(Logger)
        if logging.getLogRecordFactory() is logging.LogRecord:
            logging.setLogRecordFactory(LogRecord)


def uninstall() -> None:
    """Takes `install()` back: loggers, logger class and record factory are what they were.

    What somebody else has put in its place since is left alone. Without effect where nothing was installed. Loggers that
    the program made by calling `logserv.Logger` itself stay as they are.
    """
    with _installed, logging._lock:  # type: ignore[attr-defined]
        for logger in _loggers():
            if type(logger) is Logger:
                _set_class(logger, logging.Logger)
            elif type(logger) is RootLogger:
                _set_class(logger, logging.RootLogger)
        if logging.getLoggerClass() is Logger:
            logging.setLoggerClass(logging.Logger)
        if logging.getLogRecordFactory() is LogRecord:
            logging.setLogRecordFactory(logging.LogRecord)


def _set_class(logger: logging.Logger, logger_class: type[logging.Logger]) -> None:
    logger.__class__ = logger_class


def _loggers() -> list[logging.Logger]:
    """All that can be found by their names, and the root."""
    named = [each for each in logging.Logger.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    return [logging.Logger.manager.root, *named]


def _check() -> None:
    """Refuses a `logging` that nobody has compared the native methods with."""
    if _binding.missing is not None:
        raise RuntimeError(
            f"logserv.install() needs the extension, which cannot be loaded here: {_binding.missing}"
        )
    tested = DIGESTS.get(sys.version_info[:2], {})
    different = [name for name, digest in _digests().items() if digest != tested.get(name)]
    if different:
        version = sys.version.split()[0]
        raise RuntimeError(
            f"logserv.install(): Python {version} has functions that this version of logserv was not tested with: "
            f"{', '.join(different)}; without install() everything works as it is"
        )
    _native.knows_this_logging()


def _digests() -> dict[str, str]:
    """The functions whose work is done natively, each with a number that changes where it does.

    Without those that somebody has replaced: that is noticed in every call, and is no reason to refuse all others.
    """
    digests = {}
    for owner, names in _FUNCTIONS:
        for name in names:
            function = getattr(owner, name)
            module = sys.modules[owner.__module__] if isinstance(owner, type) else owner
            if (
                isinstance(function, FunctionType)
                and function.__globals__ is vars(module)
                and function.__code__.co_name == name
            ):
                shape = repr(_shape(function.__code__)).encode()
                digests[f"{owner.__name__}.{name}"] = hashlib.sha256(shape).hexdigest()[:12]
    return digests


def _shape(code: CodeType) -> tuple[object, ...]:
    """What a function does, without its documentation and its place in a file."""
    constants = [
        _shape(each) if isinstance(each, CodeType) else each
        for each in code.co_consts
        if not (isinstance(each, str) and "\n" in each)
    ]
    return (code.co_name, code.co_code, code.co_names, code.co_varnames, repr(constants))


if _binding.missing is None:
    _native.adopt_loggers(Logger)
