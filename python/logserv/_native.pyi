"""Encodes log records and hands them to the sender thread of their file's session. Private: see `logserv.client`."""

import logging
import os
from typing import Final, final

from logserv._statistics import Statistics

__all__ = [
    "RECORD_MAX_BYTES_DEFAULT",
    "RECORD_MAX_BYTES_LIMITS",
    "RING_BYTES_DEFAULT",
    "LogRecord",
    "Sender",
    "adopt_handlers",
    "adopt_loggers",
    "begin_exit",
    "encode",
    "flush_all",
    "is_remembered",
    "knows_this_logging",
    "set_direct",
    "shutdown",
]

RECORD_MAX_BYTES_DEFAULT: Final[int]
RECORD_MAX_BYTES_LIMITS: Final[tuple[int, int]]
RING_BYTES_DEFAULT: Final[int]

@final
class Sender:
    """One handler's way to its server: a share in the session of its address and file.

    Opens and starts nothing before the first record. All methods may be called from any thread.
    """

    def __new__(
        cls,
        host: str | os.PathLike[str],
        port: int | None,
        handler_class: str,
        arguments: str,
        *,
        configured_at_s: float,
        record_max_bytes: int,
        ring_bytes: int,
        when_full: str,
        block_timeout_s: float,
        connect_timeout_s: float | None,
        announce_drops: bool,
        level: int,
        program: str,
        launch: str | None = None,
    ) -> Sender:
        """Joins the session of this address and file, or makes it.

        Args:
            host: Name or address, or with `port` None the path of a Unix socket.
            port: TCP port, or None.
            handler_class: Dotted name of the class on the server.
            arguments: Its arguments as a JSON object, `filename` among them.
            configured_at_s: When the handler was constructed, in seconds since 1970: the newest configuration wins.
            record_max_bytes: Longest encoded record in bytes; longer ones are cut.
            ring_bytes: Bytes of records that wait until the server has written them.
            when_full: `"block"` or `"drop_newest"`.
            block_timeout_s: Longest wait of one call while the buffer is full.
            connect_timeout_s: Longest wait for a connection and each answer to it; None: 5 s.
            announce_drops: Whether a record in the file tells of drops.
            level: Announced to a server of protocol 1.0.
            program: Name of this program, for `logserv status`.
            launch: The program that starts the user's own server; `host` and `port` are not looked at then.
        """

    def emit(self, handler: logging.Handler, record: logging.LogRecord) -> tuple[str, str] | None:
        """Encodes a record and puts it into the session's buffer.

        The server renders it if the result is certain to be that of `handler.format(record)`; else that is called now.
        Waits, without the GIL, only while the buffer is full and `when_full` is `"block"`. Raises what rendering raises.

        Returns:
            A refusal by the server since the last call: what it expected, and what it received.
        """

    def announce(self, handler: logging.Handler) -> bool:
        """Numbers the handler's present formatter. Returns whether the server renders its records."""

    def take_refusal(self) -> tuple[str, str] | None:
        """The latest refusal, once."""

    def flush(self, timeout_s: float, level: str) -> bool:
        """Waits, without the GIL, until all records of the session are at `level`; False: not in time, or no server."""

    def rollover(self, timeout_s: float) -> bool:
        """Has the server rotate the file once, after all records of the session. Waits without the GIL."""

    def leave(self) -> None:
        """Gives the share back. The last one to leave ends the connection once everything is written, without waiting."""

    def statistics(self) -> Statistics:
        """The session's numbers, and this handler's."""

def encode(handler: logging.Handler, record: logging.LogRecord, record_max_bytes: int) -> bytes:
    """The wire record that `handler` would send, its formatter under number 1. For tests; see PROTOCOL.md."""

def flush_all(timeout_s: float, level: str) -> bool:
    """Waits, without the GIL, until all records of this process are at `level`, for all sessions at the same time."""

def begin_exit(without_server_s: float, with_server_s: float) -> None:
    """From here on no call waits for space longer than this, without and with a server; `shutdown` follows."""

def shutdown(without_server_s: float, with_server_s: float) -> int:
    """Ends all sessions: waits so long for those without and with a server, in all. Afterwards nothing waits any more.

    Returns:
        Records that stay unsent, of which a line on stderr tells.
    """

def LogRecord(
    name: str,
    level: int,
    pathname: str,
    lineno: int,
    msg: object,
    args: object,
    exc_info: object,
    func: str | None = None,
    sinfo: str | None = None,
    **kwargs: object,
) -> logging.LogRecord:
    """A `logging.LogRecord`, made without running its `__init__`; where anybody has changed that, by running it.

    For `logging.setLogRecordFactory`. Arguments, attributes and what is raised are those of `logging.LogRecord`.
    """

def adopt_loggers(cls: type[logging.Logger], /) -> None:
    """Gives a subclass of `logging.Logger` its native methods."""

def knows_this_logging() -> bool:
    """Whether clock, threads and flags are the standard library's."""

def is_remembered(logger: logging.Logger, level: int) -> bool:
    """Whether the way of the logger's records of this level is remembered, and as it was: for tests."""

def adopt_handlers(cls: type[logging.Handler], /) -> None:
    """Gives the base of our handlers its native `handle`."""

def set_direct(yes: bool) -> None:
    """Whether a record may go without `_exit` being asked: the process is prepared for its end, which has not begun."""
