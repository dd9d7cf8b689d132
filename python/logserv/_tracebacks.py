"""The text of an exception, as `logging.Formatter.formatException` gives it, without making the same lines again and again.

In: what `sys.exc_info()` gives. Out: Python's own text, byte for byte. What Python makes of one place in a program (file, line,
function, the source and its marks) is remembered while the source is the same; whatever is less common than that, and any
module that somebody has changed, is left to Python.

Not here: who asks (`crates/logserv-py/src/encode.rs`).
"""

import linecache
import logging
import os
import sys
import traceback
from types import CodeType, TracebackType
from typing import Any

PLACES_MAX = 1024
"""Places remembered; then all are forgotten. Each keeps its function's code from being freed."""

CHAIN_MAX = 8
"""Exceptions that caused each other, in one text; more of them are Python's affair."""

_REPEATED_MAX = 3  # Python writes so many equal entries, and then how many more there are

_ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
_Place = tuple[CodeType, str, str, Any, str, int, float | None]
# Code, its text, and the source that it was made from. By the code's address: its hash goes through all of it.
_places: dict[tuple[int, int], _Place] = {}

_formatter = logging.Formatter()

# Python looks for names that may have been meant, or has lines of their own for them.
_OWN_LINES = (SyntaxError, NameError, AttributeError, ImportError, BaseExceptionGroup)

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


class _UncommonError(Exception):
    """Python has to make the text."""


def _functions() -> tuple[object, ...]:
    """What makes the text, by Python."""
    exception, summary = traceback.TracebackException, traceback.StackSummary
    return (
        *(traceback.print_exception, exception, exception.__init__, exception.format, exception.print),
        *(exception.format_exception_only, summary, summary.format, summary.format_frame_summary),
        *(traceback.format_tb, linecache.checkcache, linecache.getlines, linecache.updatecache, os.stat),
    )


_original = _functions()


def format_exception(exc_info: _ExcInfo) -> str:
    """The text, without the last line's end.

    Blocks: for the source files, whose size and time are looked at each time, as Python does. Raises what Python's raises.
    """
    try:
        return _chain(exc_info[1], exc_info[2])
    except _UncommonError:
        return _formatter.formatException(exc_info)  # type: ignore[arg-type]


def _chain(value: BaseException | None, trace: TracebackType | None) -> str:
    if hasattr(sys, "tracebacklimit") or _functions() != _original:
        raise _UncommonError
    parts: list[str] = []
    looked_at: dict[str, tuple[int, float]] = {}
    seen: set[int] = set()
    while True:
        if value is None or trace is None or id(value) in seen or len(seen) >= CHAIN_MAX:
            raise _UncommonError
        seen.add(id(value))
        parts.append(_text(value, trace, looked_at))
        if value.__cause__ is not None:
            value, link = value.__cause__, _CAUSE
        elif value.__context__ is not None and not value.__suppress_context__:
            value, link = value.__context__, _CONTEXT
        else:
            break
        parts.append(link)
        trace = value.__traceback__
    return "".join(reversed(parts))[:-1]


def _text(value: BaseException, trace: TracebackType, looked_at: dict[str, tuple[int, float]]) -> str:
    """One exception of a chain."""
    kind = type(value)
    if issubclass(kind, _OWN_LINES) or hasattr(value, "__notes__"):
        raise _UncommonError
    parts = ["Traceback (most recent call last):\n"]
    last: tuple[CodeType, int] | None = None
    repeated = 0
    entry: TracebackType | None = trace
    while entry is not None:
        code, line = entry.tb_frame.f_code, entry.tb_lineno
        repeated = repeated + 1 if last == (code, line) else 1
        if repeated > _REPEATED_MAX:
            raise _UncommonError
        last = (code, line)
        known = _places.get((id(code), entry.tb_lasti))
        is_known = known is not None and known[0] is code and _is_current(known, looked_at)
        parts.append(known[1] if known is not None and is_known else _look(entry))
        entry = entry.tb_next
    name, module = kind.__qualname__, kind.__module__
    if not isinstance(module, str):
        raise _UncommonError
    if module not in ("__main__", "builtins"):
        name = f"{module}.{name}"
    try:
        said = str(value)
    except Exception:
        raise _UncommonError from None
    parts.append(f"{name}: {said}\n" if said else f"{name}\n")
    return "".join(parts)


def _is_current(place: _Place, looked_at: dict[str, tuple[int, float]]) -> bool:
    """Whether Python would find the same source again."""
    _code, _text, file_name, lines, full_name, size, time_s = place
    if linecache.cache.get(file_name) is not lines:
        return False
    if time_s is None:
        return True  # not from a file, or there is none
    found = looked_at.get(full_name)
    if found is None:
        try:
            stat = os.stat(full_name)  # noqa: PTH116 -- as linecache does, which pathlib would not
        except OSError:
            return False
        found = looked_at[full_name] = (stat.st_size, stat.st_mtime)
    return found == (size, time_s)


def _look(entry: TracebackType) -> str:
    """Has Python make the text of one entry, and remembers it where it can be known to hold."""
    frame = entry.tb_frame
    alone = TracebackType(None, frame, entry.tb_lasti, entry.tb_lineno)
    text = "".join(traceback.format_tb(alone))
    code = frame.f_code
    file_name = code.co_filename
    lines = linecache.cache.get(file_name)
    if lines is None:
        if not (file_name.startswith("<") and file_name.endswith(">")):
            return text  # a file that may come yet
        place: _Place = (code, text, file_name, None, "", 0, None)
    elif len(lines) == 4:
        size, time_s, _lines, full_name = lines
        place = (code, text, file_name, lines, full_name, size, time_s)
    else:
        return text  # not read yet
    if len(_places) >= PLACES_MAX:
        _places.clear()
    _places[id(code), entry.tb_lasti] = place
    return text
