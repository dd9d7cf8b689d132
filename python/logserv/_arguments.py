"""Checks the arguments of handlers where the user can see what is wrong: in the constructor.

In: keyword arguments as the user spelled them. Out: those of the server-side class, ready for the wire, and ours.
Not here: whether the server allows the file; it answers when the first record comes.
"""

import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

# As the extension has them; without one they hold all the same.
RECORD_MAX_BYTES_DEFAULT = 1 << 20
RECORD_MAX_BYTES_LIMITS = (1024, 4 << 20)
RING_BYTES_DEFAULT = 1 << 20

DEFAULT_CLASS = "logging.handlers.RotatingFileHandler"

_FILE = ("filename", "mode", "encoding", "delay", "errors")
_CLASSES: dict[str, tuple[str, ...]] = {
    "logging.FileHandler": _FILE,
    "logging.handlers.RotatingFileHandler": (*_FILE, "maxBytes", "backupCount"),
    "logging.handlers.TimedRotatingFileHandler": (
        *("filename", "encoding", "delay", "errors"),
        *("when", "interval", "backupCount", "utc", "atTime"),
    ),
    "logging.handlers.WatchedFileHandler": _FILE,
}
# Ours, for classes that rotate.
_ROTATED = ("compress", "retain_age_s", "retain_bytes")
_MORE: dict[str, tuple[str, ...]] = {
    "logging.handlers.RotatingFileHandler": _ROTATED,
    "logging.handlers.TimedRotatingFileHandler": ("maxBytes", *_ROTATED),
}
# Ours, about the server's file, and so for every class.
_SYNC = ("sync", "sync_interval_s", "sync_level")
_SYNC_POLICIES = ("never", "interval", "level", "always")
_PERMISSIONS = ("file_mode", "file_owner", "file_group")
_OURS = (*_SYNC, *_PERMISSIONS, "newlines")
# What logserv.handlers tells of its process; not for users to give.
_OF_THE_PROCESS = ("umask",)

_SHORT_NAMES = {name.rpartition(".")[2]: name for name in _CLASSES}

# Keys that `dictConfig` takes out of a handler's entry before it calls the constructor: likely to be meant.
_CONFIG_KEYS = ("formatter", "level", "filters")

_WHENS = ("S", "M", "H", "D", "MIDNIGHT", *(f"W{day}" for day in range(7)))

_ERROR_HANDLERS = (
    *("strict", "ignore", "replace", "backslashreplace", "xmlcharrefreplace", "namereplace"),
    *("surrogateescape", "surrogatepass"),
)


class Options(NamedTuple):
    """Our own arguments, of the client side."""

    when_full: str = "block"
    block_timeout_s: float = 1.0
    record_max_bytes: int = RECORD_MAX_BYTES_DEFAULT
    ring_bytes: int = RING_BYTES_DEFAULT
    announce_drops: bool = True


class Checked(NamedTuple):
    """What a handler was asked for."""

    handler_class: str
    handler_arguments: dict[str, Any]
    options: Options


def check(owner: str, given: Mapping[str, Any], handler_class: object = DEFAULT_CLASS) -> Checked:
    """Checks `given`, the keyword arguments of the class named `owner`.

    Raises:
        TypeError: An argument is unknown, missing or of the wrong type.
        ValueError: An argument has a value that cannot be meant.
    """
    class_name = _class_name(owner, handler_class)
    allowed = (*_of_class(class_name), *_OURS, *_OF_THE_PROCESS)
    ours: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    for name, value in given.items():
        if name in allowed:
            arguments[name] = _CHECKS[name](name, value)
        elif name in _OPTION_CHECKS:
            ours[name] = _OPTION_CHECKS[name](name, value)
        else:
            raise TypeError(_unknown(owner, name, class_name))
    if "filename" not in arguments:
        raise TypeError(f"{owner}() missing 1 required argument: 'filename'")
    return Checked(class_name, arguments, Options(**ours))


def check_timeout(timeout: object) -> float | None:
    """A number of seconds above 0, or None for our defaults."""
    return None if timeout is None else _positive_seconds("timeout", timeout)


def check_port(port: object) -> int:
    """A TCP port."""
    number = _integer("port", port, minimum=1)
    if number > 65535:
        raise ValueError(f"port: expected 1 to 65535, received {number}")
    return number


def check_count(name: str, value: object) -> int:
    """A number from 0 on."""
    return _integer(name, value)


def check_text(name: str, value: object) -> str:
    """A text that can be sent."""
    if not isinstance(value, str):
        raise _wrong_type(name, "str", value)
    return _encodable(name, value)


def check_filename(name: str, value: object) -> str:
    """A file's name that can be sent. Bytes are those of the name in its directory."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{name}: expected UTF-8, received {value!r}") from None
    if not isinstance(value, str):
        raise _wrong_type(name, "str, bytes or os.PathLike", value)
    if not value or "\0" in value:
        raise ValueError(f"{name}: expected a path, received {value!r}")
    return _encodable(name, value)


def check_host(host: object) -> str:
    """A host's name or address, or the path of a socket."""
    if isinstance(host, os.PathLike):
        host = os.fspath(host)
    if not isinstance(host, str):
        raise _wrong_type("host", "str", host)
    if not host or "\0" in host:
        raise ValueError(f"host: expected a name or a path, received {host!r}")
    return host


def _class_name(owner: str, handler_class: object) -> str:
    if isinstance(handler_class, type):
        name = f"{handler_class.__module__}.{handler_class.__qualname__}"
    elif isinstance(handler_class, str):
        name = handler_class
    else:
        raise _wrong_type("handler_class", "a class or its dotted name", handler_class)
    full = _SHORT_NAMES.get(name.removeprefix("handlers."), name)
    if full not in _CLASSES:
        raise ValueError(
            f"{owner}(): handler_class: expected one of {', '.join(_CLASSES)}, received {name}"
            + _suggestion(name.rpartition(".")[2], tuple(_SHORT_NAMES))
        )
    return full


def _of_class(class_name: str) -> tuple[str, ...]:
    return (*_CLASSES[class_name], *_MORE.get(class_name, ()))


def _unknown(owner: str, name: str, class_name: str) -> str:
    if name in _CONFIG_KEYS:
        setter = {"formatter": "setFormatter()", "level": "setLevel()", "filters": "addFilter()"}[name]
        return f"{owner}() has no argument {name!r}; use {setter}, or {name!r} in the entry of a dictConfig"
    known = (*_of_class(class_name), *_OURS, *_OPTION_CHECKS, "handler_class", *_CONFIG_KEYS)
    text = f"{owner}() got an unexpected keyword argument {name!r}"
    if elsewhere := [each for each in _CLASSES if name in _of_class(each)]:
        return f"{text}: {class_name} has none, {' and '.join(elsewhere)} has; see handler_class"
    return text + _suggestion(name, known)


def _suggestion(name: str, known: tuple[str, ...]) -> str:
    import difflib

    by_lower = {each.lower(): each for each in known}
    folded = name.lower().replace("_", "")
    close = difflib.get_close_matches(folded, by_lower, n=1, cutoff=0.7)
    return f"; did you mean {by_lower[close[0]]}?" if close else ""


def _wrong_type(name: str, expected: str, received: object) -> TypeError:
    return TypeError(f"{name}: expected {expected}, received {type(received).__name__} {received!r:.100}")


def _encodable(name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: {value!r} cannot be sent as UTF-8") from None
    return value


def _mode(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong_type(name, "'a' or 'w'", value)
    plain = "".join(sorted(value)).translate({ord("+"): None, ord("t"): None})
    if plain not in ("a", "w"):
        raise ValueError(f"{name}: expected 'a' or 'w', received {value!r}")
    return plain


def _encoding(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong_type(name, "str or None", value)
    if value == "locale":  # of this process, not of the server's
        import locale

        value = locale.getencoding()
    try:
        "".encode(value)  # refuses what is no text encoding, such as base64, too
    except LookupError as error:
        raise ValueError(f"{name}: {error}") from None
    return value


def _errors(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong_type(name, "str or None", value)
    if value not in _ERROR_HANDLERS:  # one that this process has registered cannot run on the server
        raise ValueError(f"{name}: expected one of {', '.join(_ERROR_HANDLERS)}, received {value!r}")
    return value


def _library_flag(name: str, value: object) -> bool:
    """The library looks whether it is true, and has no objection to None."""
    return value is not None and _flag(name, value)


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise _wrong_type(name, "bool", value)


def _integer(name: str, value: object, minimum: int = 0) -> int:
    # A whole float is what `maxBytes=1e6` gives, which the library accepts.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(name, "int", value)
    if not minimum <= value < 1 << 63:
        raise ValueError(f"{name}: expected {minimum} or more, received {value}")
    return int(value)


def _when(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong_type(name, "str", value)
    if value.upper() not in _WHENS:
        raise ValueError(f"{name}: expected one of {', '.join(_WHENS)}, received {value!r}")
    return value.upper()


def _interval(name: str, value: object) -> int:
    return _integer(name, value, minimum=1)


def _at_time(name: str, value: object) -> str | None:
    if value is None:
        return None
    import datetime

    if not isinstance(value, datetime.time):
        raise _wrong_type(name, "datetime.time or None", value)
    return value.replace(tzinfo=None).isoformat()


def _sync(name: str, value: object) -> str:
    return _one_of(name, value, _SYNC_POLICIES)


def _newlines(name: str, value: object) -> str:
    return _one_of(name, value, ("keep", "escape"))


def _compress(name: str, value: object) -> str | None:
    return None if value is None else _one_of(name, value, ("gzip", "zstd"))


def _retain_age_s(name: str, value: object) -> float | None:
    return None if value is None else _positive_seconds(name, value)


def _retain_bytes(name: str, value: object) -> int | None:
    return None if value is None else _integer(name, value, minimum=1)


def _one_of(name: str, value: object, known: tuple[str, ...]) -> str:
    if value not in known:
        error = ValueError if isinstance(value, str) else TypeError
        raise error(f"{name}: expected one of {', '.join(known)}, received {value!r}")
    return str(value)


def _level(name: str, value: object) -> int:
    # Names that this process has added are known here only.
    if isinstance(value, str):
        number = logging.getLevelNamesMapping().get(value)
        if number is None:
            raise ValueError(f"{name}: expected a level's number or name, received {value!r}")
        value = number
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(name, "a level's number or name", value)
    if not -(1 << 31) <= value < 1 << 31:
        raise ValueError(f"{name}: expected a level's number or name, received {value}")
    return int(value)


def _file_mode(name: str, value: object) -> int | None:
    if value is None:
        return None
    mode = value
    if isinstance(value, str):
        digits = value.removeprefix("0o")
        mode = int(digits, 8) if re.fullmatch("[0-7]{1,4}", digits) else -1
    if isinstance(mode, bool) or not isinstance(mode, int):
        raise _wrong_type(name, "an int or octal text", value)
    if not 0 <= mode <= 0o777 or mode & 0o600 != 0o600:
        shown = f"{value} ({value:#o})" if isinstance(value, int) else repr(value)
        raise ValueError(
            f'{name}: expected 0o600 to 0o777, or octal text such as "0640", '
            f"which lets the owner read and write, received {shown}"
        )
    return mode


def _account(name: str, value: object) -> int | str | None:
    """A user or a group of the server's host, which knows whether there is one of that name."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _wrong_type(name, "a name or a number", value)
    if isinstance(value, int):
        is_one = 0 <= value < (1 << 32) - 1
    else:
        is_one = 0 < len(value.encode("utf-8", "replace")) <= 256 and value.isprintable() and ":" not in value
    if not is_one:
        raise ValueError(f"{name}: expected a name or a number, received {value!r}")
    return _encodable(name, value) if isinstance(value, str) else value


def _umask(name: str, value: object) -> int:
    number = _integer(name, value)
    if number > 0o777:
        raise ValueError(f"{name}: expected at most 0o777, received {number:#o}")
    return number


def _positive_seconds(name: str, value: object) -> float:
    number = _seconds(name, value)
    if number <= 0:
        raise ValueError(f"{name}: expected seconds above 0, received {value!r}")
    return number


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(name, "a number of seconds", value)
    if not math.isfinite(value) or value < 0 or value > 1e9:
        raise ValueError(f"{name}: expected a number of seconds from 0 on, received {value!r}")
    return float(value)


def _when_full(name: str, value: object) -> str:
    if value not in ("block", "drop_newest"):
        error = ValueError if isinstance(value, str) else TypeError
        raise error(f"{name}: expected 'block' or 'drop_newest', received {value!r}")
    return str(value)


def _record_max_bytes(name: str, value: object) -> int:
    minimum, maximum = RECORD_MAX_BYTES_LIMITS
    number = _integer(name, value, minimum)
    if number > maximum:
        raise ValueError(f"{name}: expected at most {maximum}, received {number}")
    return number


def _ring_bytes(name: str, value: object) -> int:
    return _integer(name, value, minimum=4096)


_CHECKS: dict[str, Callable[[str, object], Any]] = {
    "filename": check_filename,
    "mode": _mode,
    "encoding": _encoding,
    "delay": _library_flag,
    "errors": _errors,
    "maxBytes": _integer,
    "backupCount": _integer,
    "when": _when,
    "interval": _interval,
    "utc": _library_flag,
    "atTime": _at_time,
    "sync": _sync,
    "sync_interval_s": _positive_seconds,
    "sync_level": _level,
    "file_mode": _file_mode,
    "file_owner": _account,
    "file_group": _account,
    "umask": _umask,
    "newlines": _newlines,
    "compress": _compress,
    "retain_age_s": _retain_age_s,
    "retain_bytes": _retain_bytes,
}

_OPTION_CHECKS: dict[str, Callable[[str, object], Any]] = {
    "when_full": _when_full,
    "block_timeout_s": _seconds,
    "record_max_bytes": _record_max_bytes,
    "ring_bytes": _ring_bytes,
    "announce_drops": _flag,
}
