"""Runs the log server as a child of this process, with the face that it had in 2013.

    import asyncore
    from logserv import server
    s = server.LogServer(("localhost", 9876))
    asyncore.loop(map=server.LogServer.logging_map)

The server itself is the program of this installation; nothing of it runs in Python. `asyncore` is not needed:
`serve_forever()` and `with LogServer(…):` do without. Where CPython no longer has it (from 3.12 on), it is `pyasyncore`.
"""

import contextlib
import os
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeAlias

from logserv._errors import LogServerError
from logserv._program import find_program

__all__ = ["LogServer", "LogServerError"]

START_TIMEOUT_S = 30.0
"""How long a server may take until it accepts: it does nothing but bind, so only a machine in trouble needs more."""

CLOSE_TIMEOUT_S = 10.0
"""How long a server may take to write what it holds; then it is killed. A dead disk must not keep the caller."""

LEAVE_TIMEOUT_S = 2.0
"""How long a server that could not start may take to say so on stderr and leave by itself."""

_READY_FD = 3
_READY_TEXT_MAX = 64 << 10

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str


class LogServer:
    """A log server of its own process. It accepts when the constructor returns.

    It leaves, with everything written, when `close()` is called or this process is gone.

    Args:
        address: `(host, port)`, port 0 for one that the system chooses; with `socket_family` AF_UNIX a path.
        roots: The directories below which clients may name files; relative names belong to the first. Default: the
            working directory.

    Raises:
        OSError: It cannot listen there; `errno` says why (`EADDRINUSE`, …).
        FileNotFoundError: The program is not installed.
        LogServerError: It does not start for another reason.
        TypeError, ValueError: The address does not fit `socket_family`.
    """

    socket_family: ClassVar[int] = socket.AF_INET
    """AF_INET, AF_INET6 or AF_UNIX; set it before the first server is made."""

    logging_map: ClassVar[dict[int, Any]] = {}
    """The servers that run, by descriptor, as `asyncore.loop` wants it; shared by all of this class."""

    def __init__(self, address: Address, *, roots: Iterable[str | os.PathLike[str]] | None = None) -> None:
        listen = self._listen_arguments(address)
        if isinstance(roots, str | os.PathLike):
            raise TypeError(f"roots: expected several directories, received {roots!r}")
        directories = [str(Path.cwd())] if roots is None else [os.fspath(root) for root in roots]
        if not directories:
            raise ValueError("roots: expected at least one directory")
        self._map = self.logging_map
        self._owner_pid = os.getpid()
        self._lock = threading.Lock()
        self._pid, self.address = self._start(
            find_program(),
            [*listen, *(part for root in directories for part in ("--root", root))],
            address,
        )
        self._entry = _Entry(self, os.pidfd_open(self._pid))
        self._map[self._entry.fileno()] = self._entry

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._pid

    @property
    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return not self._entry.has_ended

    def close(self) -> None:
        """Has the server write what it holds and leave, and waits for that, at most 10 s; then kills it. Idempotent."""
        if os.getpid() != self._owner_pid:
            self._entry.forget()  # a forked child: the server is its parent's
            return
        with self._lock:
            if not self._entry.has_ended:
                self._signal(signal.SIGTERM)
                if not self._entry.wait(CLOSE_TIMEOUT_S):
                    self._signal(signal.SIGKILL)
                    self._entry.wait(None)
        self._ended()

    def serve_forever(self) -> None:
        """Waits until the server has ended, by itself or by `close()` in another thread."""
        self._entry.wait(None)
        self._ended()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "running" if self.is_running else "ended"
        return f"<{type(self).__name__} {self.address!r} pid {self._pid} {state}>"

    @classmethod
    def _listen_arguments(cls, address: Address) -> list[str]:
        if cls.socket_family == socket.AF_UNIX:
            if not isinstance(address, str | os.PathLike):
                raise TypeError(f"address: expected the path of a Unix socket, received {address!r}")
            return ["--unix", os.fspath(address)]
        if cls.socket_family not in (socket.AF_INET, socket.AF_INET6):
            raise ValueError(
                f"socket_family: expected AF_INET, AF_INET6 or AF_UNIX, received {cls.socket_family}"
            )
        if not isinstance(address, tuple | list) or len(address) < 2:
            raise TypeError(f"address: expected (host, port), received {address!r}")
        host, port = address[0], address[1]
        if not isinstance(host, str) or isinstance(port, bool) or not isinstance(port, int):
            raise TypeError(f"address: expected (str, int), received {address!r}")
        if not 0 <= port <= 65535:
            raise ValueError(f"address: expected a port from 0 to 65535, received {port}")
        if not host:
            host = "::" if cls.socket_family == socket.AF_INET6 else "0.0.0.0"
        return ["--tcp", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]

    @staticmethod
    def _start(program: str, arguments: list[str], address: Address) -> tuple[int, Address]:
        """Starts the program and waits until it accepts. Returns its process id and the address with its real port."""
        command = ["logserv", "serve", *arguments]
        command += ["--ready-fd", str(_READY_FD), "--watch-parent", str(os.getpid())]
        ready, told = os.pipe()
        with os.fdopen(ready, "rb", buffering=0) as answer:
            try:
                pid = os.posix_spawn(
                    program,
                    command,
                    os.environ,
                    file_actions=[
                        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                        (os.POSIX_SPAWN_DUP2, told, _READY_FD),
                    ],
                    # Of its own, so that Ctrl-C reaches this process alone, which then lets it drain.
                    setpgroup=0,
                    setsigmask=(),
                )
            finally:
                os.close(told)
            text = _read_all(answer.fileno(), START_TIMEOUT_S)
        first, _, rest = text.partition("\n")
        if first == "ready":
            return pid, _real_address(address, rest)
        _reap(pid, LEAVE_TIMEOUT_S if text else 0.0)
        raise _start_error(first, command)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._entry.fileno(), number)

    def _ended(self) -> None:
        """Takes the entry out of the map, and the child's exit status from the system."""
        self._entry.forget()
        if os.getpid() == self._owner_pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, os.WNOHANG)


class _Entry:
    """A running server in `logging_map`, with what `asyncore` asks of a dispatcher.

    Its descriptor (a pidfd) becomes readable when the server's process has ended; then the entry leaves the map.
    """

    accepting = False
    connected = True
    closing = False
    addr = None

    def __init__(self, server: LogServer, fd: int) -> None:
        self._server = server
        self._fd = fd
        self._fileno: int | None = fd
        self._has_ended = False
        self._changing = threading.Lock()
        self._waiting = 0

    def fileno(self) -> int:
        return self._fd

    @property
    def has_ended(self) -> bool:
        return self.wait(0)

    def wait(self, timeout_s: float | None) -> bool:
        """Waits for the end of the process. Returns whether it has come."""
        with self._changing:
            if self._has_ended:
                return True
            self._waiting += 1
        try:
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            ended = bool(poll.poll(None if timeout_s is None else timeout_s * 1000))
        finally:
            with self._changing:
                self._waiting -= 1
        return ended

    def forget(self) -> None:
        """Leaves the map. The descriptor is closed by the last who waits for it."""
        if self._server._map.get(self._fd) is self:
            del self._server._map[self._fd]
        with self._changing:
            self._has_ended = True
            if self._fileno is not None and self._waiting == 0:
                self._fileno = None
                os.close(self._fd)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        self._server._ended()

    def handle_write_event(self) -> None:
        pass

    def handle_expt_event(self) -> None:
        pass

    def handle_close(self) -> None:
        self._server._ended()

    def handle_error(self) -> None:
        raise  # asyncore calls this while it handles the exception

    def close(self) -> None:
        """For `asyncore.close_all`."""
        self._server.close()


def _reap(pid: int, timeout_s: float) -> None:
    """Waits for a child that is about to end, then ends it."""
    deadline = time.monotonic() + timeout_s
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() >= deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            time.sleep(0.01)


def _read_all(fd: int, timeout_s: float) -> str:
    """Everything until the other end is closed, or what came in time."""
    deadline = time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    received = b""
    while len(received) < _READY_TEXT_MAX and poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        part = os.read(fd, 4096)
        if not part:
            break
        received += part
    return received.decode("utf-8", "replace")


def _real_address(address: Address, listening: str) -> Address:
    """The address with the port that the system chose, where 0 was asked for."""
    if isinstance(address, str | os.PathLike) or address[1] != 0:
        return address
    for line in listening.splitlines():
        if found := re.search(r":(\d+)$", line.strip()):
            return (address[0], int(found[1]))
    raise LogServerError(f"the server did not tell its port, but {listening!r}")


def _start_error(answer: str, command: list[str]) -> Exception:
    """What the server said instead of `ready`, as the exception that binding in this process would have raised."""
    if found := re.fullmatch(r"error (\d+) (.*)", answer):
        number, message = int(found[1]), found[2]
        return OSError(number, message) if number else LogServerError(message)
    return LogServerError(f"the server did not start: {' '.join(command)}")
