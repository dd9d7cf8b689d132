"""What all handlers of the package have in common: they send records instead of writing them.

In: records, from `logging`. Out: calls of a `_native.Sender`. A mixin in front of a standard handler class.
Not here: addresses and constructors (`client.py`); the end of the process (`_exit.py`).
"""

import logging
import os
import sys
import time
from typing import Any, NoReturn

from logserv import _exit, _native
from logserv._arguments import Checked
from logserv._errors import ProtocolError, VersionMismatchError
from logserv._statistics import Statistics as Statistics

SYNC_ENVIRONMENT = "LOGSERV_SYNC"
"""Set to anything but `0`, every record is flushed before the logging call returns: for test suites."""

FLUSH_TIMEOUT_S = 5.0


class Forwarding(logging.Handler):
    """Sends each record to the server that the handler names. Nothing is connected before the first one."""

    _checked: Checked
    _configured_at_s: float
    _connect_timeout_s: float | None
    _sender: _native.Sender | None = None
    _is_sync = False

    def _address(self) -> tuple[str, int | None]:
        raise NotImplementedError

    def _launch(self) -> str | None:
        """The program that starts the user's own server, which then is the one to send to."""
        return None

    def _server_arguments(self) -> dict[str, Any]:
        """What the server-side handler is made with."""
        return self._checked.handler_arguments

    def _reconfigure(self) -> None:
        """Something of the file was changed: the server is told at once where it knows the file, else with the first record."""
        self._configured_at_s = time.time()
        sender = self._sender
        if sender is not None:
            self._attach()
            sender.leave()

    def _configure(self, checked: Checked, connect_timeout_s: float | None) -> None:
        _load()
        self._checked = checked
        self._connect_timeout_s = connect_timeout_s
        self._configured_at_s = time.time()

    def _attach(self) -> _native.Sender:
        import json  # it is loaded, see _load

        host, port = self._address()
        options = self._checked.options
        sender = _native.Sender(
            host,
            port,
            self._checked.handler_class,
            json.dumps(self._server_arguments()),
            configured_at_s=self._configured_at_s,
            record_max_bytes=options.record_max_bytes,
            ring_bytes=options.ring_bytes,
            when_full=options.when_full,
            block_timeout_s=options.block_timeout_s,
            connect_timeout_s=self._connect_timeout_s,
            announce_drops=options.announce_drops,
            level=self.level,
            program=sys.argv[0] if sys.argv else "",
            launch=self._launch(),
        )
        self._is_sync = os.environ.get(SYNC_ENVIRONMENT, "0") not in ("", "0")
        self._sender = sender
        _exit.attached(self)
        return sender

    def emit(self, record: logging.LogRecord) -> None:
        """Sends the record. What goes wrong is given to `handleError`; like the library's handlers, this lets only a
        `RecursionError` out, which `handleError` could not survive.

        Waits while the buffer is full, at most `block_timeout_s`, and not at all with `when_full="drop_newest"`.
        """
        try:
            sender = self._sender or self._attach()
            if _exit.unprepared:
                _exit.prepare()
            refusal = sender.emit(self, record)
            if self._is_sync:
                sender.flush(FLUSH_TIMEOUT_S, "written")
                refusal = refusal or sender.take_refusal()
            elif _exit.is_over:
                _exit.see_off(sender)
            if refusal is not None:
                _raise_refusal(*refusal)
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    def _tell_failure(self, record: logging.LogRecord, error: Exception) -> None:
        """What the native `handle` could not send, and why."""
        try:
            raise error
        except Exception:
            self.handleError(record)

    def _tell_refusal(self, record: logging.LogRecord, expected: str, received: str) -> None:
        """What the native `handle` was told when it sent this record."""
        try:
            _raise_refusal(expected, received)
        except Exception:
            self.handleError(record)

    # It tells how it went, where the library's tells nothing.
    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S, level: str = "written") -> bool:  # type: ignore[override]
        """Waits until all records emitted before, by whichever handler of the same file in this process, are safe.

        Args:
            timeout_s: Longest wait in seconds.
            level: `"received"`: the server holds them; `"written"`: they are in the file, and survive the server;
                `"synced"`: they are on the disk, and survive a power failure.

        Returns:
            Whether they are. False: not in time, or there was no server within 0.25 s.

        Never raises. A level that there is not, or a time that is no number, is given to `handleError`, and is False.
        """
        sender = self._sender
        if sender is None:
            return True
        try:
            return self._finish(sender, timeout_s, level)
        except (TypeError, ValueError) as error:
            self.handleError(_record_about(error))
            return False

    def close(self) -> None:
        """Waits as `flush()` does, then gives up this handler's share of the connection.

        What could not be sent in time goes on being sent while the process lives. A record emitted afterwards opens
        the handler again, as with `SocketHandler`.
        """
        sender, self._sender = self._sender, None
        if sender is not None:
            self._finish(sender, FLUSH_TIMEOUT_S, "written")
            _exit.detached(self)
            sender.leave()
        super().close()

    def doRollover(self) -> bool:
        """Has the server rotate the file once, after all records emitted before. Waits for it at most 5 s.

        Returns:
            Whether it has been done.
        """
        return (self._sender or self._attach()).rollover(FLUSH_TIMEOUT_S)

    def sendFormat(self) -> None:
        """Announces the present formatter now. There is no need to: it travels by itself whenever it has changed."""
        (self._sender or self._attach()).announce(self)

    def stats(self) -> Statistics:
        """The numbers of this handler's session, which it shares with the process's other handlers of the same file.

        Always `emitted + announced == written + dropped + pending_records`. `announced` are the records that tell of
        drops; `dropped_by_reason` has only reasons that occurred; `protocol` is `"2.0"`, `"1.0"` or None before the
        first connection; `connections` and `refusals` count. `ring_bytes` is the size of the shared memory that carries
        the records, None where a connection does. `records_cut` (too long for `record_max_bytes`) and
        `records_rendered` (by Python, in this process) are of this handler alone; records that were too long for the
        ring are among those cut, whoever made them.
        """
        sender = self._sender or self._attach()
        return sender.statistics()

    def _finish(self, sender: _native.Sender, timeout_s: float, level: str) -> bool:
        is_safe = _exit.wait_for(sender, timeout_s, level)
        refusal = sender.take_refusal()
        if refusal is not None:
            try:
                _raise_refusal(*refusal)
            except Exception as error:
                self.handleError(_record_about(error))
        return is_safe

    def __getstate__(self) -> dict[str, Any]:
        """A copy, in this process or another, has its own lock and connects by itself."""
        state = self.__dict__.copy()
        for name in ("lock", "_sender"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        _load()
        logging.Handler.__init__(self)  # lock, and the place in the list that `logging.shutdown` goes through
        self.__dict__.update(state)


_native.adopt_handlers(Forwarding)  # its `handle`, which needs no Python where nobody has a say in it


def _load() -> None:
    """Loads what the first record needs: with the handler, not with the package, which many import who never log.

    Nor with the record: a child that another thread forks meanwhile would wait for ever for the module's lock.
    """
    import json  # noqa: F401

    from logserv import _tracebacks  # noqa: F401


def _raise_refusal(expected: str, received: str) -> NoReturn:
    if "HELLO" in expected and received.startswith("HELLO "):
        raise VersionMismatchError(f"EXPECTED {expected}, received {received}")
    raise ProtocolError(expected, received)


def _record_about(error: Exception) -> logging.LogRecord:
    """What `handleError` shows where a refusal was noticed without a record at hand."""
    return logging.LogRecord("logserv", logging.ERROR, __file__, 0, "%s", (error,), None)
