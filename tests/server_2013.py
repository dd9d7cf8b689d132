"""A server that behaves as the one of 2013 did, its faults included, for our client to meet.

What it does, observed: it takes one line per ``recv`` and refuses two that arrive together; it answers ``HELLO 1.0``
to any version; its ERROR answers end without a newline, and the connection stays; IDENTIFY's keys other than
``--level`` go straight into a ``RotatingFileHandler``; after a FORMAT it answers OK and stays in its message state, so
that a record that follows is an error; it unpickles whatever comes. A model for tests: it knows no roots, and runs code.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import pickle
import socket
import struct
import threading
from pathlib import Path

_CWD_LOCK = threading.Lock()


class Server2013:
    """Listens on a port of 127.0.0.1; relative names lie below `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.errors: list[str] = []  # what was answered with ERROR
        self.formats = 0
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stops accepting."""
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=_Channel(self, link).run, daemon=True).start()


class _Refused(Exception):
    """Answered with an ERROR; args: what was expected, what was received."""


class _Channel:
    """One connection."""

    def __init__(self, server: Server2013, link: socket.socket) -> None:
        self.server = server
        self.link = link
        self.step = self._welcome
        self.handler: logging.handlers.RotatingFileHandler | None = None

    def run(self) -> None:
        with self.link:
            while True:
                try:
                    self.step()
                except _Refused as refused:
                    answer = f"ERROR EXPECTED {refused.args[0]}, received {refused.args[1]!r}"
                    self.server.errors.append(answer)
                    self.link.sendall(answer.encode())  # no newline
                except (EOFError, OSError, TypeError, ValueError, AttributeError):
                    break  # closed without a word, as for everything that it did not foresee
            if self.handler is not None:
                self.handler.close()

    def _line(self) -> str:
        text = b""
        while b"\n" not in text:
            arrived = self.link.recv(1024)
            if not arrived:
                raise EOFError
            text += arrived
        if not text.endswith(b"\n") or b"\n" in text[:-1]:
            raise _Refused("a single-line message", text)
        return text.decode()

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            arrived = self.link.recv(length - len(data))
            if not arrived:
                raise EOFError
            data += arrived
        return data

    def _welcome(self) -> None:
        line = self._line()
        if line.split(" ")[0] != "HELLO":
            raise _Refused("'HELLO'", line)
        self.link.sendall(b"HELLO 1.0\n")
        self.step = self._identify

    def _identify(self) -> None:
        head, rest = self._line().split(" ", 1)
        if head != "IDENTIFY":
            raise _Refused("'IDENTIFY'", head)
        parameters = json.loads(rest)
        level = parameters.pop("--level")
        with _CWD_LOCK:  # relative to the server's working directory, which threads share
            before = Path.cwd()
            os.chdir(self.server.directory)
            try:
                self.handler = logging.handlers.RotatingFileHandler(**parameters)
            except TypeError as error:
                raise _Refused("valid parameters for `RotatingFileHandler`", error.args[0]) from None
            finally:
                os.chdir(before)
        self.handler.setLevel(level)
        self.link.sendall(b"OK\n")
        self.step = self._log

    def _log(self) -> None:
        line = self._line()
        if line != "LOG\n":
            raise _Refused("'LOG\n'", line)
        self.link.sendall(b"OK\n")
        self.step = self._record

    def _record(self) -> None:
        (length,) = struct.unpack(">L", self._exactly(4))
        if length == 0:
            self.step = self._message
            return
        values = pickle.loads(self._exactly(length))
        assert self.handler is not None
        self.handler.emit(logging.makeLogRecord(values))

    def _message(self) -> None:
        line = self._line()
        head, _, rest = line.partition(" ")
        if head == "QUIT\n":
            raise EOFError
        if head != "FORMAT":
            raise _Refused("One of 'FORMAT' or 'QUIT'", line)
        parameters = json.loads(rest)
        assert self.handler is not None
        self.handler.setFormatter(logging.Formatter(**parameters))
        self.server.formats += 1
        self.link.sendall(b"OK\n")
        # And here it stays: records are no longer understood.
