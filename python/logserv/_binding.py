"""Decides, once for each process, whether the extension `logserv._native` carries the records.

Out: `missing`, why it does not, or None where it does. Everything that has two forms asks here: `client.py`, and the handlers
that need no server. Without the extension the package goes on in pure Python (`_pure.py`, `_standard.py`): on other
systems than Linux, in a second interpreter of a process, on a free-threaded build, with a wheel of another machine.

Not here: what the two forms do.
"""

import os

ENVIRONMENT = "LOGSERV_PURE"
"""Set to anything but `0`: as if there were no extension, to try on Linux what a laptop with another system will do."""


def _reason() -> str | None:
    if os.environ.get(ENVIRONMENT, "0") not in ("", "0"):
        return f"{ENVIRONMENT} is set"
    try:
        import logserv._native  # noqa: F401
    except ImportError as error:  # what the linker says (a libc that is too old) is one, too
        return str(error) or type(error).__name__
    return None


missing: str | None = _reason()

_has_warned = False


def warn(consequence: str) -> None:
    """Says once for each process, as a `RuntimeWarning`, that there is no extension and why, and what that means."""
    global _has_warned
    if _has_warned or missing is None:
        return
    _has_warned = True
    import warnings

    warnings.warn(
        f"logserv: {consequence}, as its extension cannot be loaded here: {missing}; see docs/install.md",
        RuntimeWarning,
        stacklevel=4,
    )
