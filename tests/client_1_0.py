"""A client of protocol 1.0, written from the protocol's description alone: it shares no code with the package.

In: a connected socket. Out: the lines and the pickles of 2013, one at a time or all at once. Also what a plain
``logging.handlers.SocketHandler`` sends, for that is the same without the handshake.
"""

from __future__ import annotations

import json
import logging
import pickle
import socket
import struct
from typing import Any

CONTROL = b"\0\0\0\0"  # a record of no length: a text line follows


class Refused(Exception):
    """The server answered with an ERROR line; the text is what stands behind the word."""


def hello(version: str = "1.0") -> bytes:
    """The client's first line."""
    return f"HELLO {version}\n".encode()


def identify(level: int | str, **arguments: Any) -> bytes:
    """Names the file; ``handler=`` becomes ``--handler``."""
    parameters: dict[str, Any] = {"--level": level}
    if "handler" in arguments:
        parameters["--handler"] = arguments.pop("handler")
    return b"IDENTIFY " + json.dumps({**parameters, **arguments}).encode() + b"\n"


def format_line(fmt: str, datefmt: str | None = None, style: str = "%") -> bytes:
    """Sets the formatter of the records that follow."""
    return (
        CONTROL + b"FORMAT " + json.dumps({"fmt": fmt, "datefmt": datefmt, "style": style}).encode() + b"\n"
    )


def record(message: str, level: int = logging.INFO, protocol: int = 1, **attributes: Any) -> bytes:
    """One record with its length before it, as ``SocketHandler.makePickle`` has it."""
    made = logging.LogRecord("old.client", level, "/old/client.py", 7, message, None, None, "main")
    values = {**made.__dict__, **attributes, "msg": message, "args": None, "exc_info": None}
    pickled = pickle.dumps(values, protocol)
    return struct.pack(">L", len(pickled)) + pickled


class Client:
    """One conversation, a step at a time."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.unread = b""

    def open(self, level: int | str = 0, **arguments: Any) -> None:
        """The whole handshake, waiting for each answer."""
        self.expect(hello(), b"HELLO 1.0\n")
        self.expect(identify(level, **arguments), b"OK\n")
        self.expect(b"LOG\n", b"OK\n")

    def expect(self, line: bytes, answer: bytes) -> None:
        """Sends a line; the server must answer so."""
        self.link.sendall(line)
        received = self.answer()
        if received.startswith(b"ERROR "):
            raise Refused(received.decode().removeprefix("ERROR ").rstrip("\n"))
        assert received == answer, f"to {line!r} expected {answer!r}, received {received!r}"

    def answer(self) -> bytes:
        """The server's next line, its newline included; empty when the server has closed."""
        while b"\n" not in self.unread:
            arrived = self.link.recv(4096)
            if not arrived:
                line, self.unread = self.unread, b""
                return line
            self.unread += arrived
        line, _, self.unread = self.unread.partition(b"\n")
        return line + b"\n"

    def send(self, *records: bytes) -> None:
        """Sends records, which nobody answers."""
        self.link.sendall(b"".join(records))

    def set_format(self, fmt: str, datefmt: str | None = None, style: str = "%") -> None:
        """Sends a FORMAT and waits for its OK."""
        self.expect(format_line(fmt, datefmt, style), b"OK\n")

    def quit(self) -> None:
        """Says QUIT, and waits until the server has closed: everything before it is then processed."""
        self.link.sendall(CONTROL + b"QUIT\n")
        assert self.answer() == b""
        self.link.close()
