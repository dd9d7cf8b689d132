"""The file handlers of `logging`, for any number of processes at once: change the class, and nothing else.

    "handlers": {"file": {"class": "logserv.handlers.RotatingFileHandler",
                          "filename": "app.log", "maxBytes": 10_000_000, "backupCount": 5}}

They are subclasses of the standard ones and take their arguments, and the package's own (docs/python.md). They never open the
file: the first process of a user that logs starts that user's own server, which writes it. See docs/handlers.md. Where the
extension cannot load they are the standard ones, and say so once (docs/install.md).
"""

from typing import TYPE_CHECKING

from logserv import _binding
from logserv._errors import LogServerError, ProtocolError, VersionMismatchError
from logserv._statistics import Statistics

if TYPE_CHECKING or _binding.missing is None:
    from logserv._file_handlers import (
        FileHandler,
        RotatingFileHandler,
        TimedRotatingFileHandler,
        WatchedFileHandler,
    )
else:
    from logserv._standard import (
        FileHandler,
        RotatingFileHandler,
        TimedRotatingFileHandler,
        WatchedFileHandler,
    )

__all__ = [
    "FileHandler",
    "LogServerError",
    "ProtocolError",
    "RotatingFileHandler",
    "Statistics",
    "TimedRotatingFileHandler",
    "VersionMismatchError",
    "WatchedFileHandler",
]

# What a handler is pickled as must be found by a process of the other form, too.
for _handler in (FileHandler, RotatingFileHandler, TimedRotatingFileHandler, WatchedFileHandler):
    _handler.__module__ = __name__
