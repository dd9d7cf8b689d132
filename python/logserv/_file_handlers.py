"""The handlers of `logserv.handlers`, in front of the user's own server.

In: the arguments of the library's classes, and ours. Out: records, sent by `_forwarding.py` to the server that is started where
there is none. Not here: where the extension cannot load; those are in `_standard.py`.
"""

import datetime
import logging
import logging.handlers
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from logserv import _arguments, _program
from logserv._forwarding import Forwarding
from logserv._place import check_writable, own_umask
from logserv._refused import refused

__all__ = ["FileHandler", "RotatingFileHandler", "TimedRotatingFileHandler", "WatchedFileHandler"]

_ENCODING = "utf-8"  # what the server writes where none is named
_TERMINATOR = "\n"
_BACKUP_COUNT = "How many rotated files are kept. It can be set later, too."


def _setting(name: str, check: Callable[[str, object], object], doc: str) -> Any:
    """An attribute of the file: setting it has the server open the file anew. What `check` refuses is not stored.

    Soon, not at once: records that are on their way may still be written the old way.
    """

    def get(self: "FileHandler") -> Any:
        return self._settings[name]

    def set_(self: "FileHandler", value: Any) -> None:
        self._settings[name] = check(name, value)
        self._reconfigure()

    return property(get, set_, doc=doc)


class FileHandler(Forwarding, logging.FileHandler):
    """`logging.FileHandler`, through the user's own server.

    Args:
        filename: The file; a relative one is below the present working directory, as in the library. Also as bytes.
        mode: "a" or "w".
        encoding: None is UTF-8, "locale" what the process's locale says.
        delay: False: a directory that is missing or not writable is told here, as in the library. The file itself is
            opened, by the server, when the first record comes.
        errors: As in the library.
        **options: Ours: `when_full`, `block_timeout_s`, `record_max_bytes`, `ring_bytes`, `announce_drops`, `sync` and all
            the others of docs/python.md.

    Raises:
        TypeError, ValueError: An argument is unknown, missing or mistyped.
        OSError: The file could not be opened, as far as that can be told without opening it; also where it is a FIFO or a
            device, for which there is `logging.StreamHandler`. Only without `delay`.
    """

    _server_class = "logging.FileHandler"

    def __init__(
        self,
        filename: str | os.PathLike[str],
        mode: str = "a",
        encoding: str | None = None,
        delay: bool = False,
        errors: str | None = None,
        **options: Any,
    ) -> None:
        self._prepare(
            {"filename": filename, "mode": mode, "encoding": encoding, "delay": delay, "errors": errors},
            options,
        )
        logging.FileHandler.__init__(self, filename, mode, encoding or _ENCODING, True, errors)
        self._finish_construction(delay)

    def _prepare(self, arguments: dict[str, Any], options: dict[str, Any]) -> None:
        """Checks everything, before the library's constructor does in its own words."""
        if "handler_class" in options:
            raise TypeError(
                "handler_class: this class is the handler class; use another one of logserv.handlers"
            )
        given = {**arguments, **options}
        self._settings: dict[str, Any] = {"terminator": _TERMINATOR}
        self._configure(_arguments.check(type(self).__name__, given, self._server_class), None)

    def _finish_construction(self, delay: bool) -> None:
        self.delay = delay
        if not delay:
            try:
                check_writable(self.baseFilename)
            except OSError:
                logging.Handler.close(self)  # nobody else will
                raise
        self._umask = own_umask()
        self._program = _program.find_program_or_guess()

    terminator = _setting(
        "terminator", _arguments.check_text, "What ends each line; it can be set later, too."
    )

    def setStream(self, stream: Any) -> Any:
        """There is no stream. Raises NotImplementedError: use a `logging.StreamHandler`."""
        raise NotImplementedError("this handler has no stream: use logging.StreamHandler(stream)")

    def _open(self) -> Any:
        raise NotImplementedError(f"the server opens {self.baseFilename}, not this process")

    def _address(self) -> tuple[str, int | None]:
        return "", None

    def _launch(self) -> str | None:
        if not Path(self._program).exists():
            self._program = _program.find_program_or_guess()  # installed meanwhile, perhaps elsewhere
        return self._program

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_settings": dict(self._settings)}

    def _server_arguments(self) -> dict[str, Any]:
        filename = _arguments.check_filename("filename", self.baseFilename)
        arguments = {**self._checked.handler_arguments, "filename": filename}
        for name in ("maxBytes", "backupCount"):
            if name in arguments:
                arguments[name] = _arguments.check_count(name, getattr(self, name, arguments[name]))
        if (terminator := self.terminator) != _TERMINATOR:
            arguments["terminator"] = _arguments.check_text("terminator", terminator)
        if self._umask is not None:
            arguments.setdefault("umask", self._umask)
        return arguments


# Its `doRollover` tells how it went, where the library's tells nothing.
class RotatingFileHandler(FileHandler, logging.handlers.RotatingFileHandler):  # type: ignore[misc]
    """`logging.handlers.RotatingFileHandler`, through the user's own server.

    Args:
        filename, mode, encoding, delay, errors, **options: As in `FileHandler`.
        maxBytes: Size in bytes that no file reaches; 0: any. Like `backupCount`, it can be set later, too.
        backupCount: How many rotated files are kept; 0: no rotation.

    Raises:
        TypeError, ValueError, OSError: As in `FileHandler`.
    """

    _server_class = "logging.handlers.RotatingFileHandler"

    def __init__(
        self,
        filename: str | os.PathLike[str],
        mode: str = "a",
        maxBytes: int = 0,
        backupCount: int = 0,
        encoding: str | None = None,
        delay: bool = False,
        errors: str | None = None,
        **options: Any,
    ) -> None:
        arguments: dict[str, Any] = {"filename": filename, "mode": mode, "encoding": encoding, "delay": delay}
        arguments |= {"errors": errors, "maxBytes": maxBytes, "backupCount": backupCount}
        self._prepare(arguments, options)
        logging.handlers.RotatingFileHandler.__init__(
            self, filename, mode, maxBytes, backupCount, encoding or _ENCODING, True, errors
        )
        self._finish_construction(delay)

    maxBytes = _setting(
        "maxBytes",
        _arguments.check_count,
        "Size in bytes that no file reaches; 0: any. It can be set later, too.",
    )
    backupCount = _setting("backupCount", _arguments.check_count, _BACKUP_COUNT)
    namer = refused("namer")
    rotator = refused("rotator")

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """The server decides. Always False."""
        return False


# Its `doRollover` tells how it went, where the library's tells nothing.
class TimedRotatingFileHandler(FileHandler, logging.handlers.TimedRotatingFileHandler):  # type: ignore[misc]
    """`logging.handlers.TimedRotatingFileHandler`, through the user's own server.

    Args:
        filename, encoding, delay, errors, **options: As in `FileHandler`.
        when, interval, utc, atTime: When to rotate, as in the library.
        backupCount: How many rotated files are kept; 0: all. It can be set later, too.

    Raises:
        TypeError, ValueError, OSError: As in `FileHandler`.
    """

    _server_class = "logging.handlers.TimedRotatingFileHandler"

    def __init__(
        self,
        filename: str | os.PathLike[str],
        when: str = "h",
        interval: int = 1,
        backupCount: int = 0,
        encoding: str | None = None,
        delay: bool = False,
        utc: bool = False,
        atTime: datetime.time | None = None,
        errors: str | None = None,
        **options: Any,
    ) -> None:
        arguments: dict[str, Any] = {"filename": filename, "when": when, "interval": interval}
        arguments |= {"backupCount": backupCount, "encoding": encoding, "delay": delay, "utc": utc}
        arguments |= {"atTime": atTime, "errors": errors}
        self._prepare(arguments, options)
        logging.handlers.TimedRotatingFileHandler.__init__(
            self, filename, when, interval, backupCount, encoding or _ENCODING, True, utc, atTime, errors
        )
        self._finish_construction(delay)

    backupCount = _setting("backupCount", _arguments.check_count, _BACKUP_COUNT)
    namer = refused("namer")
    rotator = refused("rotator")

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """The server decides. Always False."""
        return False


class WatchedFileHandler(FileHandler, logging.handlers.WatchedFileHandler):
    """`logging.handlers.WatchedFileHandler`, through the user's own server: a file that others move away is made anew.

    Args:
        filename, mode, encoding, delay, errors, **options: As in `FileHandler`.

    Raises:
        TypeError, ValueError, OSError: As in `FileHandler`.
    """

    _server_class = "logging.handlers.WatchedFileHandler"

    def __init__(
        self,
        filename: str | os.PathLike[str],
        mode: str = "a",
        encoding: str | None = None,
        delay: bool = False,
        errors: str | None = None,
        **options: Any,
    ) -> None:
        self._prepare(
            {"filename": filename, "mode": mode, "encoding": encoding, "delay": delay, "errors": errors},
            options,
        )
        logging.handlers.WatchedFileHandler.__init__(
            self, filename, mode, encoding or _ENCODING, True, errors
        )
        self._finish_construction(delay)

    def reopenIfNeeded(self) -> None:
        """The server looks after the file. Does nothing."""
