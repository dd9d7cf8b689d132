"""The handlers of `logserv.handlers` where the extension cannot load: those of the standard library, under our names.

Settings that are shared with a machine where it cannot (a laptop with another system) load and log all the same, into a file of this
process's own, with all that the library's handlers lack: no other process may write it. One warning says so.
Our own arguments are checked as ever, and have no effect.

In: the arguments of both. Out: lines in a file, written by Python.
"""

import logging
import logging.handlers
import os
from typing import Any

from logserv import _arguments, _binding
from logserv._refused import refused
from logserv._statistics import Statistics

__all__ = ["FileHandler", "RotatingFileHandler", "TimedRotatingFileHandler", "WatchedFileHandler"]


def _arguments_of(base: type, owner: str, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Checks all arguments. Returns those that the class of the library has."""
    code = base.__init__.__code__  # type: ignore[misc]
    names = code.co_varnames[1 : code.co_argcount]
    if len(given) > len(names):
        raise TypeError(f"{owner}() takes at most {len(names)} positional arguments, received {len(given)}")
    arguments = dict(zip(names, given, strict=False))
    for name, value in named.items():
        if name in arguments:
            raise TypeError(f"{owner}() got multiple values for argument {name!r}")
        arguments[name] = value
    _arguments.check(owner, arguments, f"{base.__module__}.{base.__qualname__}")
    _binding.warn("files are written by the standard library's handlers, each process for itself")
    return {name: value for name, value in arguments.items() if name in names}


class _Standard(logging.FileHandler):
    """What ours have beside the library's."""

    _count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """As the library's; counts."""
        self._count += 1
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """As the library's: such a record has not been emitted."""
        self._count -= 1
        super().handleError(record)

    def flush(self, timeout_s: float = 5.0, level: str = "written") -> bool:  # type: ignore[override]
        """Empties the buffer; for `"synced"` its contents are on the disk afterwards. Raises what the library's raises."""
        super().flush()  # within `emit` an error has to reach `handleError`
        if level == "synced" and self.stream is not None:
            os.fsync(self.stream.fileno())
        return True

    def stats(self) -> Statistics:
        """The numbers of this handler: a record is written when the call returns."""
        return {
            "emitted": self._count,
            "announced": 0,
            "written": self._count,
            "dropped": 0,
            "dropped_by_reason": {},
            "pending_records": 0,
            "pending_bytes": 0,
            "connected": False,
            "protocol": None,
            "connections": 0,
            "refusals": 0,
            "ring_bytes": None,
            "records_cut": 0,
            "records_rendered": self._count,
        }


class FileHandler(_Standard, logging.FileHandler):
    """`logging.FileHandler`."""

    def __init__(self, *given: Any, **named: Any) -> None:
        arguments = _arguments_of(logging.FileHandler, type(self).__name__, given, named)
        logging.FileHandler.__init__(self, **arguments)


class RotatingFileHandler(_Standard, logging.handlers.RotatingFileHandler):
    """`logging.handlers.RotatingFileHandler`."""

    namer = refused("namer")
    rotator = refused("rotator")

    def __init__(self, *given: Any, **named: Any) -> None:
        base = logging.handlers.RotatingFileHandler
        base.__init__(self, **_arguments_of(base, type(self).__name__, given, named))

    # It tells how it went, where the library's tells nothing.
    def doRollover(self) -> bool:  # type: ignore[override]
        """As the library's. Returns True: it has been done. Raises what the library's raises."""
        super().doRollover()
        return True


class TimedRotatingFileHandler(_Standard, logging.handlers.TimedRotatingFileHandler):
    """`logging.handlers.TimedRotatingFileHandler`."""

    namer = refused("namer")
    rotator = refused("rotator")

    def __init__(self, *given: Any, **named: Any) -> None:
        base = logging.handlers.TimedRotatingFileHandler
        base.__init__(self, **_arguments_of(base, type(self).__name__, given, named))

    # It tells how it went, where the library's tells nothing.
    def doRollover(self) -> bool:  # type: ignore[override]
        """As the library's. Returns True: it has been done. Raises what the library's raises."""
        super().doRollover()
        return True


class WatchedFileHandler(_Standard, logging.handlers.WatchedFileHandler):
    """`logging.handlers.WatchedFileHandler`."""

    def __init__(self, *given: Any, **named: Any) -> None:
        base = logging.handlers.WatchedFileHandler
        base.__init__(self, **_arguments_of(base, type(self).__name__, given, named))
