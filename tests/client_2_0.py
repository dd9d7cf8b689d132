"""A client of protocol 2.0, written from PROTOCOL.md alone: it shares no code with the package or the crates.

In: Python values, or bytes of frames, records and values. Out: the other. :class:`Client` speaks to a server, and can
do what no sound client does: repeat, skip, cut.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any

OPEN, FORMATTER, BATCH, FLUSH, ROLLOVER, ADMIN, CLOSE, ATTACH, WAKE = range(1, 10)
WELCOME, ACK, DONE, ERROR, REPORT, ATTACHED = range(65, 71)
RECEIVED, WRITTEN, SYNCED = 1, 2, 3
FIELDS, LINE = 1, 2
TEXTS = {
    "name": 1,
    "message": 2,
    "levelname": 3,
    "pathname": 4,
    "filename": 5,
    "module": 6,
    "funcName": 7,
    "threadName": 8,
    "processName": 9,
    "taskName": 10,
    "exc_text": 11,
    "stack_info": 12,
}
HEADER = struct.Struct("<IBBHIidddQIIiI")


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), bit by bit over a table."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _table() -> list[int]:
    table = []
    for number in range(256):
        crc = number
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _table()


class Opaque(str):
    """A text that stands for a value of another type (tag 11)."""


def encode_value(value: object) -> bytes:
    """One value."""
    match value:
        case None:
            return b"\0"
        case False:
            return b"\1"
        case True:
            return b"\2"
        case int() if -(1 << 63) <= value < 1 << 63:
            return b"\3" + struct.pack("<q", value)
        case int():
            return b"\4" + _sized(str(value).encode())
        case float():
            return b"\5" + struct.pack("<d", value)
        case Opaque():
            return b"\x0b" + _sized(value.encode())
        case str():
            return b"\6" + _sized(value.encode())
        case bytes():
            return b"\7" + _sized(value)
        case list():
            return b"\x08" + struct.pack("<I", len(value)) + b"".join(map(encode_value, value))
        case tuple():
            return b"\x09" + struct.pack("<I", len(value)) + b"".join(map(encode_value, value))
        case dict():
            pairs = b"".join(encode_value(key) + encode_value(item) for key, item in value.items())
            return b"\x0a" + struct.pack("<I", len(value)) + pairs
    raise TypeError(f"no encoding for {type(value)}")


def decode_value(data: bytes, at: int = 0) -> tuple[Any, int]:
    """One value and the offset behind it."""
    tag, at = data[at], at + 1
    if tag <= 2:
        return (None, False, True)[tag], at
    if tag == 3:
        return struct.unpack_from("<q", data, at)[0], at + 8
    if tag == 5:
        return struct.unpack_from("<d", data, at)[0], at + 8
    (count,) = struct.unpack_from("<I", data, at)
    at += 4
    if tag in (4, 6, 7, 11):
        body = data[at : at + count]
        assert len(body) == count
        if tag == 7:
            return body, at + count
        text = body.decode()
        value: int | str = int(text) if tag == 4 else Opaque(text) if tag == 11 else text
        return value, at + count
    items = []
    for _ in range(2 * count if tag == 10 else count):
        item, at = decode_value(data, at)
        items.append(item)
    if tag == 10:
        return dict(zip(items[::2], items[1::2], strict=True)), at
    return {8: list, 9: tuple}[tag](items), at


def _sized(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


@dataclass
class Record:
    """One record: the header's numbers, the texts by their names, the attributes by theirs."""

    kind: int = FIELDS
    formatter: int = 0
    levelno: int = 20
    created: float = 0.0
    msecs: float = 0.0
    relativeCreated: float = 0.0
    lineno: int = 0
    thread: int | None = None
    process: int | None = None
    utc_offset_s: int | None = None
    texts: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    unknown: list[tuple[int, bytes]] = field(default_factory=list)  # fields of a later version

    def encode(self) -> bytes:
        """The record's bytes."""
        fields = [(TEXTS[name], text.encode()) for name, text in self.texts.items()]
        for name, value in self.attributes.items():
            fields.append((13, struct.pack("<H", len(name.encode())) + name.encode() + encode_value(value)))
        body = b"".join(
            bytes([tag]) + len(content).to_bytes(3, "little") + content
            for tag, content in fields + self.unknown
        )
        present = sum(
            bit
            for bit, value in ((1, self.thread), (2, self.process), (4, self.utc_offset_s))
            if value is not None
        )
        header = HEADER.pack(
            *(HEADER.size + len(body), 1, self.kind, present, self.formatter, self.levelno),
            *(self.created, self.msecs, self.relativeCreated),
            *(self.thread or 0, self.process or 0, self.lineno, self.utc_offset_s or 0, 0),
        )
        return header + body

    @classmethod
    def decode(cls, data: bytes) -> tuple[Record, bytes]:
        """The first record and the bytes behind it."""
        length, version, kind, present, formatter, levelno, created, msecs, relative, *rest = (
            HEADER.unpack_from(data)
        )
        thread, process, lineno, offset_s, _reserved = rest
        assert version == 1
        made = cls(kind, formatter, levelno, created, msecs, relative, lineno)
        made.thread = thread if present & 1 else None
        made.process = process if present & 2 else None
        made.utc_offset_s = offset_s if present & 4 else None
        names = {tag: name for name, tag in TEXTS.items()}
        at = HEADER.size
        while at < length:
            tag, size = data[at], int.from_bytes(data[at + 1 : at + 4], "little")
            content = data[at + 4 : at + 4 + size]
            at += 4 + size
            if tag in names:
                made.texts[names[tag]] = content.decode()
            elif tag == 13:
                (name_size,) = struct.unpack_from("<H", content)
                name = content[2 : 2 + name_size].decode()
                made.attributes[name] = decode_value(content, 2 + name_size)[0]
            else:
                made.unknown.append((tag, content))
        assert at == length
        return made, data[length:]


def line(text: str) -> Record:
    """A record that the client has rendered."""
    return Record(kind=LINE, created=time.time(), texts={"message": text})


def frame(frame_type: int, body: bytes) -> bytes:
    """One frame."""
    return struct.pack("<IB", 1 + len(body), frame_type) + body


def json_frame(frame_type: int, value: object) -> bytes:
    """A frame whose body is JSON."""
    return frame(frame_type, json.dumps(value).encode())


def batch(first_seq: int, records: list[Record]) -> bytes:
    """A batch frame."""
    encoded = b"".join(record.encode() for record in records)
    return frame(BATCH, struct.pack("<QII", first_seq, len(records), crc32c(encoded)) + encoded)


class Client:
    """One connection."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.unread = b""
        self.written = 0

    def hello(self) -> None:
        """HELLO both ways."""
        self.link.sendall(b"HELLO 2.0\n")
        answer = b""
        while not answer.endswith(b"\n"):
            byte = self.link.recv(1)
            assert byte, f"closed behind {answer!r}"
            answer += byte
        assert answer == b"HELLO 2.0\n", answer

    def open(self, session: str, filename: str, **options: Any) -> dict[str, Any]:
        """Opens or resumes a session; returns the Welcome. Options: handler, arguments, configured_at_s, …"""
        self.hello()
        request = {
            "session": session,
            "handler": options.pop("handler", "logging.handlers.RotatingFileHandler"),
            "arguments": {"filename": filename, **options.pop("arguments", {})},
            "configured_at_s": options.pop("configured_at_s", time.time()),
            "client": {"pid": 1, "program": "client_2_0.py", "version": "2.0"},
            **options,
        }
        self.link.sendall(json_frame(OPEN, request))
        frame_type, body = self.receive()
        assert frame_type == WELCOME, (frame_type, body)
        welcome: dict[str, Any] = json.loads(body)
        return welcome

    def formatter(self, number: int, **specification: Any) -> None:
        """Announces a formatter."""
        self.link.sendall(frame(FORMATTER, struct.pack("<I", number) + json.dumps(specification).encode()))

    def send(self, first_seq: int, *records: Record) -> None:
        """Sends one batch."""
        self.link.sendall(batch(first_seq, list(records)))

    def receive(self) -> tuple[int, bytes]:
        """The next frame's type and body. EOFError: the server has closed."""
        while True:
            if len(self.unread) >= 4:
                (length,) = struct.unpack_from("<I", self.unread)
                if len(self.unread) >= 4 + length:
                    body, self.unread = self.unread[4 : 4 + length], self.unread[4 + length :]
                    return body[0], body[1:]
            arrived = self.link.recv(65536)
            if not arrived:
                raise EOFError
            self.unread += arrived

    def wait_written(self, seq: int) -> None:
        """Waits for the acknowledgement of everything up to `seq`, at level 2 or higher."""
        while self.written < seq:
            frame_type, body = self.receive()
            if frame_type == ACK:
                acknowledged, level = struct.unpack("<QB", body)
                if level >= WRITTEN:
                    self.written = max(self.written, acknowledged)
            else:
                assert frame_type not in (ERROR, DONE), body

    def flush(self, token: int = 1, level: int = WRITTEN) -> bool:
        """Asks for everything to reach `level`; True if the server says so."""
        self.link.sendall(frame(FLUSH, struct.pack("<QB", token, level)))
        return self._done(token)

    def rollover(self, token: int = 2) -> bool:
        """Asks for one rotation."""
        self.link.sendall(frame(ROLLOVER, struct.pack("<Q", token)))
        return self._done(token)

    def _done(self, token: int) -> bool:
        while True:
            frame_type, body = self.receive()
            if frame_type == ACK:
                self.written = max(self.written, struct.unpack("<QB", body)[0])
            else:
                assert frame_type == DONE, (frame_type, body)
                assert struct.unpack("<QB", body)[0] == token
                return body[8] == 1

    def error(self) -> dict[str, Any]:
        """The server's Error, whatever acknowledgements come before it; the connection is then closed."""
        while True:
            frame_type, body = self.receive()
            if frame_type == ERROR:
                told: dict[str, Any] = json.loads(body)
                try:
                    self.receive()
                except (EOFError, ConnectionResetError):
                    return told
                raise AssertionError("the server goes on behind an Error")
