"""Makes a line of JSON fit the limit of a record: its longest texts are cut, and every field stays. Private: see `logserv.formatters`.

In: an object as JSON text, and the bytes that it may take. Out: a shorter object of the same fields, or None.
Not here: how long a record may be; cutting of lines that are no JSON (`_pure.py`, and in the extension `cut.rs`).
"""

import json
from collections.abc import Iterable
from typing import Any

from logserv import _json_values

TEXT_BYTES_MIN = 64
"""No text is cut to less than this, its quotes included: whatever says how much is gone fits, and names and times stay whole."""

CHARACTER_BYTES_MAX = 12
"""Of one character in JSON: two escapes for one beyond U+FFFF."""


def shorter(text: str, bytes_max: int, encoder: json.JSONEncoder) -> str | None:
    """`text`, a JSON object, in at most `bytes_max` bytes of UTF-8.

    The longest texts in it, wherever they stand, are cut until all is short enough, each to the same length; a cut one ends in
    `…[cut: N bytes]`. Where that does not do, as in a list of a million numbers, the largest lists and objects among the fields become
    texts that are cut.

    Returns:
        None: it is no object, or too long by its numbers or the names of its fields alone.
    """
    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            return None
        cutter = _Cutter(encoder)
        line = cutter.fit(data, bytes_max)
        return cutter.fit(cutter.flattened(data, bytes_max), bytes_max) if line is None else line
    except (ValueError, TypeError, RecursionError):
        return None


class _Cutter:
    def __init__(self, encoder: json.JSONEncoder) -> None:
        self._encoder = encoder

    def encode(self, value: Any) -> str:
        return _json_values.one_line(self._encoder.encode(value))

    def size(self, value: Any) -> int:
        """Bytes of a value as JSON."""
        return len(self.encode(value).encode())

    def fit(self, data: dict[str, Any], bytes_max: int) -> str | None:
        sizes = [self.size(text) for text in _texts(data)]
        excess = self.size(data) - bytes_max
        if sum(size - TEXT_BYTES_MIN for size in sizes if size > TEXT_BYTES_MIN) < excess:
            return None
        longest = _level(sizes, excess)
        line = self.encode(self._with_texts_of(data, max(longest, TEXT_BYTES_MIN)))
        return line if len(line.encode()) <= bytes_max else None

    def flattened(self, data: dict[str, Any], bytes_max: int) -> dict[str, Any]:
        """The same fields, the largest lists and objects among them as the text of their JSON."""
        sizes = {name: self.size(value) for name, value in data.items()}
        longest = _level(sizes.values(), self.size(data) - bytes_max)
        return {
            name: self.encode(value) if isinstance(value, (list, dict)) and sizes[name] > longest else value
            for name, value in data.items()
        }

    def _with_texts_of(self, value: Any, bytes_max: int) -> Any:
        """A copy in which no text has more than `bytes_max` bytes."""
        if isinstance(value, str):
            is_short = len(value) * CHARACTER_BYTES_MAX + 2 <= bytes_max or self.size(value) <= bytes_max
            return value if is_short else self._cut(value, bytes_max)
        if isinstance(value, dict):
            return {name: self._with_texts_of(item, bytes_max) for name, item in value.items()}
        if isinstance(value, list):
            return [self._with_texts_of(item, bytes_max) for item in value]
        return value

    def _cut(self, text: str, bytes_max: int) -> str:
        length = _bytes_of(text)
        room = bytes_max - self.size(_marker(length))
        least, most = 0, min(len(text), room)
        while least < most:
            middle = (least + most + 1) // 2
            if self.size(text[:middle]) - 2 <= room:  # 2: the quotes, which the marker has
                least = middle
            else:
                most = middle - 1
        head = text[:least]
        return head + _marker(length - _bytes_of(head))


def _marker(missing: int) -> str:
    return f"…[cut: {missing} bytes]"


def _bytes_of(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _texts(value: Any) -> Iterable[str]:
    """All texts in a value, but not the names of fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _level(sizes: Iterable[int], excess: int) -> int:
    """The length to which all that are longer must be cut, to be shorter by `excess` together; 0 where they are too short for it."""
    ordered = sorted(sizes, reverse=True)
    gained = 0
    for count, size in enumerate(ordered, 1):
        following = ordered[count] if count < len(ordered) else 0
        step = (size - following) * count
        if gained + step >= excess:
            return size - -(-(excess - gained) // count)
        gained += step
    return 0
