"""Any Python value as JSON on one line. Private: see `logserv.formatters`.

What `json` takes comes out as `json.dumps` writes it. Everything else has a text: dates in ISO 8601, bytes in base64, exceptions,
enums, dataclasses and classes as python-json-logger has them, other objects as `str` has them. NaN and the infinities are
null, for no JSON parser but Python's takes them. Nothing here raises for a value, however odd.
"""

import base64
import datetime
import enum
import json
import math
import traceback
import types
from collections.abc import Callable
from typing import Any

Default = Callable[[Any], Any]

#: Where `json` has given up, containers deeper than this are cut off, as are those that contain themselves.
DEPTH_MAX = 100

#: What `str.splitlines` takes for the end of a line, and JSON does not escape by itself.
_LINE_ENDS = (("\x85", "\\u0085"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))


def default(value: Any) -> Any:
    """Stands for a value that JSON does not know, as python-json-logger's encoder has it."""
    try:
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        if isinstance(value, types.TracebackType):
            return "".join(traceback.format_tb(value)).strip()
        if isinstance(value, enum.Enum):
            return value.value
        if isinstance(value, enum.EnumMeta):
            members: list[enum.Enum] = list(value)
            return [member.value for member in members]
        if isinstance(value, (bytes, bytearray)):
            return base64.urlsafe_b64encode(value).decode()
        if isinstance(value, type):
            return value.__name__
        if hasattr(type(value), "__dataclass_fields__"):
            import dataclasses  # not cheap, and whoever has one has loaded it

            return dataclasses.asdict(value)
    except Exception:
        pass
    return text_of(value)


def text_of(value: Any) -> str:
    """`str` of anything, or the next best."""
    for function in (str, repr):
        try:
            return function(value)
        except Exception:
            continue
    return "__could_not_encode__"


def encode(data: Any, encoder: json.JSONEncoder, default: Default) -> str:
    """One line of JSON. `encoder` must not allow NaN."""
    try:
        text = encoder.encode(data)
    except (ValueError, TypeError, RuntimeError):
        text = encoder.encode(_plain(data, default))
    return one_line(text)


def one_line(text: str) -> str:
    """The same JSON with nothing in it that ends a line, and nothing that UTF-8 does not have."""
    if text.isascii():
        return text
    for end, escape in _LINE_ENDS:
        text = text.replace(end, escape)
    try:
        text.encode()
    except UnicodeEncodeError:
        # The escapes of lone surrogates are those of JSON.
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _plain(value: Any, default: Default, inside: tuple[int, ...] = ()) -> Any:
    """A copy that any encoder takes, of what `json` refuses. `inside`: the containers around the value."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return _plain_integer(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    is_dict = isinstance(value, dict)
    if id(value) in inside or len(inside) > DEPTH_MAX:
        return "{...}" if is_dict else "[...]"
    inside = (*inside, id(value))
    if is_dict:
        return {_key(key): _plain(item, default, inside) for key, item in list(value.items())}
    if isinstance(value, (list, tuple)):
        return [_plain(item, default, inside) for item in list(value)]
    try:
        stand_in = default(value)
    except Exception:
        stand_in = text_of(value)
    return _plain(stand_in, default, inside)


def _plain_integer(value: int) -> int | str:
    try:
        int.__repr__(value)
    except ValueError:  # beyond sys.get_int_max_str_digits()
        return hex(value)
    return value


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, int):
        return str(_plain_integer(key))
    if isinstance(key, float) and not math.isfinite(key):
        return "NaN" if math.isnan(key) else "Infinity" if key > 0 else "-Infinity"
    return text_of(key)


def is_same_everywhere(value: Any, depth: int = 0) -> bool:
    """Whether a value comes out of JSON, and out of another program's numbers, as it went in."""
    kind = type(value)
    if value is None or kind is bool:
        return True
    if kind is str:
        return is_text(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**64)
    if kind is float:
        return bool(abs(value) < 2**63)  # NaN is not
    if depth > 30:
        return False
    if kind is list or kind is tuple:
        return all(is_same_everywhere(item, depth + 1) for item in value)
    return kind is dict and all(
        is_text(key) and is_same_everywhere(item, depth + 1) for key, item in value.items()
    )


def is_text(value: Any) -> bool:
    """Whether it is a `str` that UTF-8 has."""
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def copy_of(value: Any) -> Any:
    """A copy that no one else can change, of containers that JSON has; other values as they are."""
    if type(value) is dict:
        return {key: copy_of(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(copy_of(item) for item in value)
    return value
