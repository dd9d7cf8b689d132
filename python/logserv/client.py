"""Handlers that send records to a running `logserv serve`, over TCP or a Unix socket.

    "handlers": {"file": {"class": "logserv.client.SocketForwarder", "host": "localhost", "port": 9876,
                          "filename": "app.log", "maxBytes": 10_000_000, "backupCount": 5}}

Both are `logging.handlers.SocketHandler`s; all arguments but host and port are those of the handler class that the
server runs, by default `logging.handlers.RotatingFileHandler`. See docs/python.md for all of them.
"""

import logging.handlers
import os
from typing import TYPE_CHECKING, Any

from logserv import _arguments, _binding
from logserv._errors import LogServerError, ProtocolError, VersionMismatchError
from logserv._statistics import Statistics

if TYPE_CHECKING or _binding.missing is None:
    from logserv._forwarding import Forwarding
else:
    from logserv._pure import Forwarding

__all__ = [
    "LogServerError",
    "ProtocolError",
    "SocketForwarder",
    "Statistics",
    "UnixClient",
    "VersionMismatchError",
]


_SOCKET_PATH_MAX = 107  # bytes of `sun_path` but one


class SocketForwarder(Forwarding, logging.handlers.SocketHandler):
    """Sends records to a server at a TCP address.

    Nothing is connected before the first record. A server that is away is tried again with growing pauses; meanwhile
    records wait in a buffer of `ring_bytes`.

    Args:
        host: Name or address of the server.
        port: Its port; None: `host` is the path of a Unix socket, as in `SocketHandler`.
        timeout: Longest wait in seconds for a connection and for each answer to it; None: 5 s.
        filename: File on the server; a relative one is below the server's first root. Required.
        handler_class: Class on the server, or its dotted name: `logging.FileHandler`, or one of `logging.handlers`:
            `RotatingFileHandler` (default), `TimedRotatingFileHandler`, `WatchedFileHandler`.
        **handler_arguments: That class's arguments, spelled as there (`maxBytes`, `backupCount`, `when`, …), and ours:
            `when_full` ("block", or "drop_newest"), `block_timeout_s` (1.0), `record_max_bytes` (1 MiB),
            `ring_bytes` (1 MiB), `announce_drops` (True: a record in the file tells of drops),
            `sync` ("never", "interval", "level" or "always"), `sync_interval_s` (1.0), `sync_level` ("ERROR"),
            `file_mode`, `file_owner`, `file_group`, `newlines` ("keep" or "escape"); of classes that rotate `compress`
            ("gzip" or "zstd"), `retain_age_s` and `retain_bytes`.

    Raises:
        TypeError, ValueError: An argument is unknown, missing or mistyped.

    Of `SocketHandler`'s attributes `host`, `port` and `address` say where the server is. `sock` is None, and `closeOnError`,
    `retryStart`, `retryMax`, `retryFactor`, `makePickle`, `makeSocket`, `createSocket` and `send` have no effect on what is
    sent: a thread of its own, without Python, connects and retries.
    """

    def __init__(
        self,
        host: str,
        port: int | None,
        timeout: float | None = None,
        **handler_arguments: Any,
    ) -> None:
        owner = type(self).__name__
        handler_class = handler_arguments.pop("handler_class", _arguments.DEFAULT_CLASS)
        checked = _arguments.check(owner, handler_arguments, handler_class)
        host = _arguments.check_host(host)
        if port is not None:
            port = _arguments.check_port(port)
        logging.handlers.SocketHandler.__init__(self, host, port)
        self.timeout = timeout
        # A relative socket path is that of the directory in which the handler was made, wherever the process goes.
        self._directory = "" if port is not None else _working_directory()
        self._configure(checked, _arguments.check_timeout(timeout))

    def _address(self) -> tuple[str, int | None]:
        if self.port is None:
            return _socket_path(self._directory, self.host), None
        return self.host, self.port

    def __repr__(self) -> str:
        place = self.host if self.port is None else f"{self.host}:{self.port}"
        level = logging.getLevelName(self.level)
        return f"<{type(self).__name__} {place} {self._checked.handler_arguments['filename']} ({level})>"


class UnixClient(SocketForwarder):
    """Sends records to a server at a Unix socket; in all else a `SocketForwarder`.

    Args:
        host: Path of the socket; a relative one is this process's.
        port: Must be None.

    Raises:
        TypeError: A port was given; and as `SocketForwarder`.
    """

    def __init__(
        self,
        host: str,
        port: None = None,
        timeout: float | None = None,
        **handler_arguments: Any,
    ) -> None:
        if port is not None:
            raise TypeError("port must be None for a UnixClient")
        super().__init__(host, None, timeout, **handler_arguments)


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 -- pathlib would be a fifth of this module's import
    except OSError:  # it has been removed
        return ""


def _socket_path(directory: str, path: str) -> str:
    """The path from the root, unless only the relative one fits a socket's address."""
    absolute = os.path.join(directory, path)  # noqa: PTH118
    return absolute if len(os.fsencode(absolute)) <= _SOCKET_PATH_MAX else path
