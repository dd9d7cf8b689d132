"""Log from many unrelated processes into one rotating file, through a server written in Rust.

`logserv.handlers` has the file handlers of `logging`, which start a server by themselves;
`logserv.client.SocketForwarder` and `logserv.client.UnixClient` are `logging` handlers that send records to a server;
`logserv.server.LogServer` runs that server as a child process; the program `logserv serve` runs it on its own.
`logserv.formatters.JsonFormatter` writes one JSON object per record.
`logserv.install()` makes the process's loggers native, and `logserv.uninstall()` takes it back.

Importing this package is cheap and changes nothing in `logging`: the submodules are loaded when they are first used.
"""

from logserv._errors import LogServerError, ProtocolError, VersionMismatchError

TYPE_CHECKING = False  # for checkers, without the 2 ms of `typing`
if TYPE_CHECKING:
    from logserv import client, formatters, handlers, server
    from logserv._logger import Logger, LogRecord, install, uninstall

__all__ = [
    "LogRecord",
    "LogServerError",
    "Logger",
    "ProtocolError",
    "VersionMismatchError",
    "client",
    "formatters",
    "handlers",
    "install",
    "server",
    "uninstall",
]

_SUBMODULES = ("client", "formatters", "handlers", "server")
_NATIVE_LOGGER = ("LogRecord", "Logger", "install", "uninstall")


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        import importlib

        return importlib.import_module(f"logserv.{name}")
    if name in _NATIVE_LOGGER:
        from logserv import _logger

        return getattr(_logger, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_NATIVE_LOGGER})
