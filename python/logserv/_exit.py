"""Sees to it that unsent records leave before the process does, within a bound for the whole process.

Three ways lead out: `atexit` (ours runs before `logging.shutdown`, which was registered earlier), `logging.shutdown`
itself, also when the user or a second `dictConfig` calls it, and, in a child of `multiprocessing`, its finalizers.
Handlers that are flushed and closed by one `logging.shutdown` share one budget.

Not here: what a session does with the time it is given; that is `logserv-client`.
"""

import atexit
import contextlib
import logging
import os
import sys
import time
import weakref
from collections.abc import Iterator

from logserv import _native

WITH_SERVER_S = 5.0
"""Longest wait for unsent records while a server takes them, for the whole process."""

WITHOUT_SERVER_S = 0.8
"""The same while no server is there: with the last look at it, that makes one second."""

_LEVEL = "written"
_RECENT_S = 10.0  # a way out that began so long ago is another one
_FRAMES_MAX = 6  # how far `logging.shutdown` may be up the stack: a subclass or two, and we

unprepared = True
"""Whether this process has not yet emitted a record; true again in a forked child."""

is_over = False
"""Whether this process has seen its records off: a record that comes later waits for its own safety."""

_is_hopeless = False

_handlers: "weakref.WeakSet[logging.Handler]" = weakref.WeakSet()
"""Those that `logging.shutdown` will have to close."""


class _Budget:
    """What one way out may still wait."""

    def __init__(self, frame_id: int = 0) -> None:
        self.frame_id = frame_id
        self.started_s = time.monotonic()
        self.waited_s = 0.0
        self.has_ended = False

    @property
    def is_recent(self) -> bool:
        return time.monotonic() - self.started_s < _RECENT_S

    @property
    def with_server_s(self) -> float:
        return max(0.0, WITH_SERVER_S - self.waited_s)

    @property
    def without_server_s(self) -> float:
        return max(0.0, WITHOUT_SERVER_S - self.waited_s)

    @contextlib.contextmanager
    def spend(self) -> Iterator[None]:
        """Counts the time of its body."""
        start_s = time.monotonic()
        try:
            yield
        finally:
            self.waited_s += time.monotonic() - start_s


_exit_budget: _Budget | None = None
_shutdown_budget: _Budget | None = None


def attached(handler: logging.Handler) -> None:
    """A handler has opened its session."""
    _handlers.add(handler)
    if _exit_budget is not None:
        _exit_budget.has_ended = (
            False  # a record of another exit function: there is something to wait for again
        )


def detached(handler: logging.Handler) -> None:
    """A handler has closed it."""
    _handlers.discard(handler)


def prepare() -> None:
    """Called before the first record of each process."""
    global unprepared
    unprepared = False
    _native.set_direct(not is_over)
    # A child of `multiprocessing` leaves by `os._exit`: `atexit` never runs there, its own finalizers do.
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _leave_child, exitpriority=-100)


def see_off(sender: _native.Sender) -> None:
    """Waits for a record that came after the process's last wait, within what that has left; not again in vain."""
    global _is_hopeless
    if not _is_hopeless:
        _is_hopeless = not sender.flush(WITH_SERVER_S, _LEVEL)


def wait_for(sender: _native.Sender, timeout_s: float, level: str = _LEVEL) -> bool:
    """`sender.flush`, within the budget of the way out that the caller is on, if any."""
    frame_id = _shutdown_frame_id()
    if frame_id == 0:
        return sender.flush(timeout_s, level)
    budget = _budget_of(frame_id)
    if budget is _exit_budget:
        if not budget.has_ended:
            _end(budget)
        return sender.flush(0.0, level)
    has_server = sender.statistics()["connected"]
    remaining_s = budget.with_server_s if has_server or budget.without_server_s > 0 else 0.0
    with budget.spend():
        return sender.flush(min(timeout_s, remaining_s), level)


def _end(budget: _Budget) -> None:
    """Ends all sessions, with what is left."""
    budget.has_ended = True
    with budget.spend():
        _shut_down(budget.without_server_s, budget.with_server_s)


def _shut_down(without_server_s: float, with_server_s: float) -> None:
    global is_over
    is_over = True  # first: a record of another thread is either waited for here or waits itself
    _native.set_direct(False)
    _native.shutdown(without_server_s, with_server_s)


def _budget_of(frame_id: int) -> _Budget:
    global _shutdown_budget
    if _exit_budget is not None:
        return _exit_budget
    known = _shutdown_budget
    if known is None or known.frame_id != frame_id or not known.is_recent:
        known = _shutdown_budget = _Budget(frame_id)
    return known


def _shutdown_frame_id() -> int:
    """Identifies the call of `logging.shutdown` that we are in; 0: none."""
    code = getattr(logging.shutdown, "__code__", None)
    frame = sys._getframe(1)
    for _ in range(_FRAMES_MAX):
        if frame.f_code is code:
            return id(frame)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return 0


def _leave() -> None:
    global _exit_budget
    _exit_budget = budget = _Budget()
    if _shutdown_budget is not None and _shutdown_budget.is_recent:
        budget.waited_s = (
            _shutdown_budget.waited_s
        )  # the user called `logging.shutdown` and leaves: one way out
    # For a thread that waits for space and holds the lock of a handler that `logging.shutdown` is going to want.
    _native.begin_exit(WITHOUT_SERVER_S, WITH_SERVER_S)
    if not _handlers:
        _end(budget)
    elif budget.without_server_s > 0:
        # The end comes with `logging.shutdown`, behind the records of exit functions that were registered before ours.
        with budget.spend():
            _native.flush_all(budget.with_server_s, _LEVEL)


def _leave_child() -> None:
    import multiprocessing

    if multiprocessing.get_start_method(allow_none=True) == "spawn":
        _native.flush_all(WITH_SERVER_S, _LEVEL)  # `atexit` still comes
    else:
        _shut_down(WITHOUT_SERVER_S, WITH_SERVER_S)


def _after_fork_in_child() -> None:
    global unprepared, is_over, _is_hopeless, _exit_budget, _shutdown_budget
    unprepared, is_over, _is_hopeless = True, False, False
    _native.set_direct(False)
    _exit_budget = _shutdown_budget = None


atexit.register(_leave)
os.register_at_fork(after_in_child=_after_fork_in_child)
