"""One connection in protocol 1.0, spoken by pure Python: where the extension cannot load.

In: an address, what IDENTIFY says, and frames (length and pickle). Out: bytes on a socket, and what the server refused.
It sends no FORMAT: the lines are rendered before they come here, and `%(message)s` is what a server begins with.
PROTOCOL.md, "1.0", is what it follows, its section about servers of 2013 included: every answer is awaited.

Not here: what waits, what is dropped, when to connect again (`_pure.py`).
"""

import json
import re
import select
import socket
import time
from collections.abc import Mapping
from typing import Any

from logserv._errors import ProtocolError, VersionMismatchError

ANSWER_MAX_BYTES = 64 << 10
"""More than a server has to say in one line."""

UNFINISHED_ERROR_S = 0.1
"""How long the rest of an ERROR may take: the server of 2013 ends it without a newline."""

_QUIT = b"\0\0\0\0QUIT\n"


class Conversation:
    """A connection that takes records. The constructor connects and has the server open the file.

    Args:
        host: Name or address; the path of a Unix socket where `port` is None.
        connect_timeout_s: Longest wait for the connection.
        timeout_s: Longest wait for all of it.

    Raises:
        OSError: It cannot be reached, or is silent.
        ProtocolError, VersionMismatchError: It does not take the records.
    """

    def __init__(
        self,
        host: str,
        port: int | None,
        parameters: Mapping[str, Any],
        connect_timeout_s: float,
        timeout_s: float,
    ) -> None:
        deadline = time.monotonic() + timeout_s
        self.has_sent = False
        """Whether it has carried any record."""
        self._socket = _connect(host, port, min(connect_timeout_s, timeout_s))
        try:
            self._socket.setblocking(False)
            answer = self._ask(b"HELLO 1.0\n", deadline)
            if not answer.startswith("HELLO 1."):
                raise VersionMismatchError(f"EXPECTED HELLO 1.0, received {answer}")
            self._expect_ok(b"IDENTIFY " + json.dumps(parameters).encode() + b"\n", deadline)
            self._expect_ok(b"LOG\n", deadline)
        except BaseException:
            self._socket.close()
            raise

    def send(self, data: memoryview, deadline: float) -> int:
        """Gives the kernel what it takes of `data`; waits until it takes any, or the deadline. Returns how much it took.

        Raises:
            OSError: The connection has ended.
            ProtocolError: The server has ended it with an error.
        """
        self._check()
        while True:
            try:
                sent = self._socket.send(data)
                self.has_sent = True
                return sent
            except BlockingIOError:
                if not self._wait(False, deadline):
                    return 0

    def quit(self, deadline: float) -> bool:
        """Ends it. Returns whether the server, which closes once everything before is processed, has done so in time."""
        try:
            left = memoryview(_QUIT)
            while left:
                sent = self.send(left, deadline)
                if sent == 0:
                    return False
                left = left[sent:]
            while self._wait(True, deadline):
                if not self._socket.recv(4096):
                    return True
        finally:
            self.close()
        return False

    def close(self) -> None:
        """Closes this process's end."""
        self._socket.close()

    def _check(self) -> None:
        """Notices an end, which the first write would not: what is written then is lost."""
        try:
            arrived = self._socket.recv(4096)
        except BlockingIOError:
            return
        if arrived.startswith(b"ERROR "):
            raise _refusal(arrived.decode("utf-8", "replace"))
        raise ConnectionResetError("the server has closed the connection")

    def _expect_ok(self, line: bytes, deadline: float) -> None:
        answer = self._ask(line, deadline)
        if answer != "OK":
            raise ProtocolError("OK", answer)

    def _ask(self, line: bytes, deadline: float) -> str:
        """Sends a line and returns the answer without its newline."""
        left = memoryview(line)
        while left:
            if not self._wait(False, deadline):
                raise TimeoutError("timed out")
            left = left[self._socket.send(left) :]
        answer = b""
        while not answer.endswith(b"\n") and len(answer) < ANSWER_MAX_BYTES:
            is_error = answer.startswith(b"ERROR ")
            if not self._wait(True, time.monotonic() + UNFINISHED_ERROR_S if is_error else deadline):
                if is_error:
                    break
                raise TimeoutError("timed out")
            arrived = self._socket.recv(4096)
            if not arrived:
                if answer:
                    break
                raise ConnectionResetError("the server has closed the connection")
            answer += arrived
        text = answer.decode("utf-8", "replace").removesuffix("\n")
        if text.startswith("ERROR "):
            raise _refusal(text)
        return text

    def _wait(self, for_reading: bool, deadline: float) -> bool:
        """Whether the socket is ready before the deadline."""
        timeout_s = max(0.0, deadline - time.monotonic())
        if hasattr(select, "poll"):  # `select` itself takes no descriptor above 1023
            poll = select.poll()
            poll.register(self._socket, select.POLLIN if for_reading else select.POLLOUT)
            return bool(poll.poll(timeout_s * 1000))
        reading, writing = ([self._socket], []) if for_reading else ([], [self._socket])
        return any(select.select(reading, writing, [], timeout_s))


def _connect(host: str, port: int | None, timeout_s: float) -> socket.socket:
    if port is not None:
        return socket.create_connection((host, port), timeout_s)
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise OSError("this system has no Unix sockets")
    link = socket.socket(family)
    try:
        link.settimeout(timeout_s)
        link.connect(host)
    except BaseException:
        link.close()
        raise
    return link


def _refusal(line: str) -> ProtocolError:
    """`ERROR EXPECTED <this>, received <that>`, as an exception."""
    found = re.match(r"ERROR EXPECTED (.*?), received (.*)", line, re.DOTALL)
    if found is None:
        return ProtocolError("OK", line.strip())
    return ProtocolError(found[1], found[2].strip())
