"""The functions by which the library's rotating handlers are told to rotate otherwise: `namer` and `rotator`, which ours do not take.

In: the name of the attribute. Out: a property that is None, and raises where it is set. Of both forms: those in front of a server,
which cannot call a function of another process, and those of the standard library, where the extension is missing: settings
that are shared between the two must not work in one of them only.
"""

from typing import Any

_INSTEAD = {
    "namer": "rotated files have the library's names, and .gz or .zst behind them with compress=",
    "rotator": 'use compress="gzip" or "zstd", retain_age_s= and retain_bytes=, file_mode=',
}


def refused(name: str) -> Any:
    """The property `name`, for a class."""
    instead = _INSTEAD[name]

    def get(self: object) -> None:
        return None

    def refuse(self: object, value: object) -> None:
        if value is not None:
            raise NotImplementedError(
                f"{name}: the server rotates the file, and cannot call a function of this process; {instead}"
            )

    return property(get, refuse, doc=f"Always None; setting it raises NotImplementedError: {instead}.")
