"""What the clients have in common where the extension cannot load: records go over protocol 1.0, in pure Python.

In: records, from `logging`. Out: rendered lines as pickles, on a `Conversation`. A mixin in front of a standard handler
class, with the methods of `_forwarding.py`. No thread: records are sent in the logging call, as by `SocketHandler`. What cannot
be sent waits in a buffer of `ring_bytes` for the next call; what a broken connection had not taken whole is sent again.

Not here: bytes and answers (`_conversation.py`); addresses and constructors (`client.py`).
"""

import collections
import logging
import os
import pickle
import struct
import sys
import time
from typing import Any

from logserv import _binding
from logserv._arguments import DEFAULT_CLASS, Checked
from logserv._conversation import Conversation
from logserv._drops import Drops
from logserv._errors import LogServerError
from logserv._statistics import Statistics

FLUSH_TIMEOUT_S = 5.0

CONNECT_TIMEOUT_S = 1.0
"""Longest wait of a logging call for a connection and the answers to it; `SocketHandler` waits as long for the first."""

FLUSH_CONNECT_TIMEOUT_S = 0.25
"""How long `flush` looks for a server."""

RETRY_S = (0.05, 2.0)
"""First and longest pause between two attempts to connect, unless the next one says more."""

RETRY_PER_ATTEMPT = 10
"""A pause is at least so many times as long as the attempt before it: an address that swallows all costs a tenth of the time."""

TELL_AFTER_S = 2.0
"""How long a server is out of reach before stderr says so."""

TELL_EVERY_S = 60.0
"""Least time between two lines on stderr from one handler."""

LINE_MAX_BYTES = (4 << 20) - 4096
"""Longest line, whatever `record_max_bytes` allows: a server skips pickles over 4 MiB."""

_POLL_S = 0.02  # how often a call that waits for space looks for a server
_ATTRIBUTES = (
    *("name", "levelno", "levelname", "created", "msecs"),
    *("process", "processName", "thread", "threadName"),
)


class Forwarding(logging.Handler):
    """Sends each record to the server that the handler names. Nothing is connected before the first one."""

    _checked: Checked
    _timeout_s: float

    def _address(self) -> tuple[str, int | None]:
        raise NotImplementedError

    def _configure(self, checked: Checked, connect_timeout_s: float | None) -> None:
        self._checked = checked
        self._timeout_s = CONNECT_TIMEOUT_S if connect_timeout_s is None else connect_timeout_s
        self._start_anew()
        _binding.warn("records are sent by pure Python over protocol 1.0, without shared memory")

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._conversation: Conversation | None = None
        self._announced_level = 0
        self._queue: collections.deque[bytes] = collections.deque()
        self._queue_bytes = 0
        self._taken_bytes = 0  # of the first in the queue
        self._is_doubtful = False  # a connection broke, and of what it had taken nobody knows
        self._is_stalled = False  # a call has waited in vain: later ones do not, until there is space
        self._retry_at_s = self._pause_s = 0.0
        self._away_since_s: float | None = None
        self._told_at_s = -TELL_EVERY_S
        self._why = "not tried yet"
        self._refusal: LogServerError | None = None
        self._emitted = self._announced = self._written = self._connections = self._refusals = self._cut = 0
        self._drops = Drops()
        self._is_sync = os.environ.get("LOGSERV_SYNC", "0") not in ("", "0")

    def _after_a_fork(self) -> None:
        """What was inherited is the parent's to send; the parent's connection is only closed."""
        if os.getpid() != self._pid:
            if self._conversation is not None:
                self._conversation.close()
            self._start_anew()

    def emit(self, record: logging.LogRecord) -> None:
        """Sends the record. What goes wrong is given to `handleError`.

        Waits for a connection, at most `timeout` (1 s), and while the buffer is full, at most `block_timeout_s`.
        """
        try:
            self._after_a_fork()
            frame = self._frame(record, self.format(record))
            self._emitted += 1
            if self._make_room(len(frame)):
                self._append(frame)
                self._push(self._wait_s())
            else:
                self._drops.count()
            if self._is_sync:
                self._finish(FLUSH_TIMEOUT_S, "written")
            self._tell_if_away()
            self._raise_refusal()
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S, level: str = "written") -> bool:  # type: ignore[override]
        """Waits until the server has written all records emitted before: it ends the connection, and the server closes
        its side once everything is processed.

        Returns:
            Whether that came in time; False, once, where a connection broke before it. Always False for the level `"synced"`, of which protocol 1.0 knows nothing.
        """
        self.acquire()
        try:
            self._after_a_fork()
            if level not in ("received", "written", "synced"):
                raise ValueError(f"level: expected 'received', 'written' or 'synced', received {level!r}")
            is_safe = self._finish(timeout_s, level)
            self._raise_refusal()
            return is_safe
        except Exception as error:
            self.handleError(_record_about(error))
            return False
        finally:
            self.release()

    def close(self) -> None:
        """Waits as `flush()` does. Of records that no server took a line on stderr tells: they are lost with the process.

        A record emitted afterwards opens the handler again, as with `SocketHandler`, and sends them too.
        """
        self.acquire()
        try:
            self.flush()
            if self._queue and logging.raiseExceptions:
                self._tell(f"{len(self._queue)} records stay unsent")
        finally:
            self.release()
        super().close()

    def doRollover(self) -> bool:
        """Protocol 1.0 has no words for it: does nothing, and returns False."""
        return False

    def sendFormat(self) -> None:
        """There is nothing to announce: each line is rendered here."""

    def stats(self) -> Statistics:
        """The numbers of this handler; `written` are those that the kernel has taken, as ever in protocol 1.0."""
        self._after_a_fork()
        return {
            "emitted": self._emitted,
            "announced": self._announced,
            "written": self._written,
            "dropped": self._drops.total,
            "dropped_by_reason": {"queue full": self._drops.total} if self._drops.total else {},
            "pending_records": len(self._queue),
            "pending_bytes": self._queue_bytes,
            "connected": self._conversation is not None,
            "protocol": "1.0" if self._connections else None,
            "connections": self._connections,
            "refusals": self._refusals,
            "ring_bytes": None,
            "records_cut": self._cut,
            "records_rendered": self._emitted,
        }

    def _frame(self, record: logging.LogRecord, line: str) -> bytes:
        """Length and pickle. Only what a server needs of the record: the line has everything else."""
        fields: dict[str, Any] = {name: getattr(record, name, None) for name in _ATTRIBUTES}
        fields |= {"msg": self._cut_line(line), "args": None, "exc_info": None}
        pickled = pickle.dumps(fields, 1)
        return struct.pack(">L", len(pickled)) + pickled

    def _cut_line(self, line: str) -> str:
        maximum = min(self._checked.options.record_max_bytes, LINE_MAX_BYTES)
        if len(line) * 4 <= maximum:
            return line
        encoded = line.encode("utf-8", "surrogatepass")
        if len(encoded) <= maximum:
            return line
        self._cut += 1
        # A `JsonFormatter` keeps its fields.
        shortened = getattr(self.formatter, "_shortened", None)
        if shortened is not None and (shorter := shortened(line, maximum)) is not None:
            return str(shorter)
        kept = encoded[: maximum - 40].decode("utf-8", "ignore")  # 40: room for the words
        return f"{kept}…[cut: {len(encoded) - len(kept.encode())} bytes]"

    def _append(self, frame: bytes) -> None:
        self._queue.append(frame)
        self._queue_bytes += len(frame)

    def _wait_s(self) -> float:
        options = self._checked.options
        return 0.0 if self._is_stalled or options.when_full != "block" else options.block_timeout_s

    def _make_room(self, size: int) -> bool:
        """Whether there is room for `size` bytes, after waiting as long as a call may. One that is alone always fits."""
        deadline = time.monotonic() + self._wait_s()
        while self._queue and self._queue_bytes + size > self._checked.options.ring_bytes:
            remaining_s = max(0.0, deadline - time.monotonic())
            self._push(remaining_s)
            if not self._queue or self._queue_bytes + size <= self._checked.options.ring_bytes:
                break
            if time.monotonic() >= deadline:
                self._is_stalled = True
                return False
            if self._conversation is None:
                time.sleep(min(_POLL_S, remaining_s))
        return True

    def _push(self, wait_s: float) -> None:
        """Sends what waits; returns when nothing does, no server is there, or it has taken nothing for `wait_s`."""
        for _ in range(2):  # a server that has restarted is met on the second
            if not self._queue or not self._connect(self._timeout_s, self._timeout_s):
                return
            try:
                self._send_all(time.monotonic() + wait_s)
                return
            except LogServerError as error:
                self._refused(error, 0.0)
            except OSError:
                self._disconnect()

    def _send_all(self, deadline: float) -> None:
        assert self._conversation is not None
        while self._queue:
            frame = self._queue[0]
            taken = self._conversation.send(memoryview(frame)[self._taken_bytes :], deadline)
            if taken == 0:
                self._is_stalled = True
                return
            self._taken_bytes += taken
            if self._taken_bytes == len(frame):
                self._queue.popleft()
                self._queue_bytes -= len(frame)
                self._taken_bytes = 0
                self._written += 1
                self._is_stalled = False
            if not self._queue and self._checked.options.announce_drops:
                self._announce_drops()

    def _announce_drops(self) -> None:
        if message := self._drops.message():
            record = logging.LogRecord("logserv", logging.WARNING, __file__, 0, message, None, None)
            self._append(self._frame(record, self.format(record)))
            self._announced += 1

    def _connect(self, connect_timeout_s: float, timeout_s: float) -> bool:
        """Whether there is a connection; looks for one where an attempt is due."""
        if self._conversation is not None and self.level < self._announced_level:
            # The server filters by what it was told.
            self._end_conversation(self._conversation, time.monotonic() + timeout_s)
        if self._conversation is not None:
            return True
        started_s = time.monotonic()
        if started_s < self._retry_at_s:
            return False
        host, port = self._address()
        parameters: dict[str, Any] = {"--level": self.level}
        if self._checked.handler_class != DEFAULT_CLASS:  # of which the server of 2013 knows nothing
            parameters["--handler"] = self._checked.handler_class
        parameters |= self._checked.handler_arguments
        try:
            self._conversation = Conversation(host, port, parameters, connect_timeout_s, timeout_s)
        except LogServerError as error:
            self._refused(error, time.monotonic() - started_s)
        except OSError as error:
            self._why = error.strerror or str(error) or type(error).__name__
            self._away(time.monotonic() - started_s)
        else:
            self._announced_level = self.level
            self._connections += 1
            self._pause_s = self._retry_at_s = 0.0
            self._away_since_s = None
        return self._conversation is not None

    def _disconnect(self) -> None:
        """What the connection has not taken whole is sent again on the next one."""
        if self._conversation is not None:
            self._conversation.close()
            self._is_doubtful = self._is_doubtful or self._conversation.has_sent
        self._conversation = None
        self._taken_bytes = 0

    def _end_conversation(self, conversation: Conversation, deadline: float) -> bool:
        """Whether the server has written all that went over it."""
        self._conversation = None
        self._taken_bytes = 0
        try:
            if conversation.quit(deadline):
                return True
        except OSError:
            pass
        except LogServerError as error:
            self._refused(error, 0.0)
        self._is_doubtful = self._is_doubtful or conversation.has_sent
        return False

    def _away(self, attempt_s: float) -> None:
        now_s = time.monotonic()
        if self._away_since_s is None:
            self._away_since_s = now_s
        shortest_s, longest_s = RETRY_S
        self._pause_s = min(longest_s, max(shortest_s, self._pause_s * 2))
        self._retry_at_s = now_s + max(self._pause_s, attempt_s * RETRY_PER_ATTEMPT)

    def _refused(self, error: LogServerError, attempt_s: float) -> None:
        self._disconnect()
        if self._refusals == 0:
            self._refusal = error  # `handleError` hears of it once
        self._refusals += 1
        self._why = str(error)
        self._away(attempt_s)

    def _raise_refusal(self) -> None:
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise refusal

    def _finish(self, timeout_s: float, level: str) -> bool:
        """Sends all there is, and ends the connection. Returns whether the server has processed it."""
        deadline = time.monotonic() + timeout_s
        if self._queue:
            self._retry_at_s = 0.0
            self._is_stalled = False
            self._connect(min(FLUSH_CONNECT_TIMEOUT_S, timeout_s), timeout_s)
            self._push(max(0.0, deadline - time.monotonic()))
        if self._queue:
            return False
        if self._conversation is not None:
            self._end_conversation(self._conversation, deadline)
        is_doubtful, self._is_doubtful = self._is_doubtful, False  # told once
        return not is_doubtful and (level != "synced" or self._written == 0)

    def _tell_if_away(self) -> None:
        if self._away_since_s is not None and time.monotonic() - self._away_since_s > TELL_AFTER_S:
            self._tell(f"{len(self._queue)} records waiting")

    def _tell(self, what: str) -> None:
        now_s = time.monotonic()
        if not logging.raiseExceptions or sys.stderr is None or now_s - self._told_at_s < TELL_EVERY_S:
            return
        self._told_at_s = now_s
        host, port = self._address()
        place, option = (
            (host, f"--unix {host}") if port is None else (f"{host}:{port}", f"--tcp {host}:{port}")
        )
        print(
            f"logserv: cannot reach {place} ({self._why}); {what}; start it with: logserv serve {option}",
            file=sys.stderr,
        )

    def __getstate__(self) -> dict[str, Any]:
        """A copy, in this process or another, has its own lock and connects by itself."""
        return {
            name: self.__dict__[name]
            for name in self.__dict__
            if name not in ("lock", "_conversation", "_queue", "_drops", "_refusal")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        logging.Handler.__init__(self)  # lock, and the place in the list that `logging.shutdown` goes through
        self.__dict__.update(state)
        self._start_anew()


def _record_about(error: Exception) -> logging.LogRecord:
    """What `handleError` shows where a refusal was noticed without a record at hand."""
    return logging.LogRecord("logserv", logging.ERROR, __file__, 0, "%s", (error,), None)
