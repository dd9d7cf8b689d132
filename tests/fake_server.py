"""A server that keeps what it receives in memory, written from PROTOCOL.md: it shows what a client sends.

In: connections. Out: :class:`FakeServer` with the requests, formatters and records that came, and ways to misbehave:
refuse, answer slowly or not at all, go away and come back. 2.0 by default, 1.0 as the server of 2013 spoke it on demand.
"""

from __future__ import annotations

import json
import pickle
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import client_2_0 as v2
from running import free_port, wait_for


class FakeServer:
    """Listens on a Unix socket, or on a port of 127.0.0.1."""

    def __init__(self, unix: Path | None = None, *, protocol: str = "2.0") -> None:
        self.unix = unix
        self.port = 0 if unix else free_port()
        self.protocol = protocol
        self.refusal: dict[str, Any] | None = None
        self.acknowledges = True
        self.greeting: bytes | None = None
        self.opened: list[dict[str, Any]] = []
        self.identified: list[dict[str, Any]] = []
        self.formats: list[dict[str, Any]] = []
        self.formatters: dict[int, dict[str, Any]] = {}
        self.records: list[v2.Record] = []
        self.pickled: list[dict[str, Any]] = []
        self.rollovers = 0
        self._written: dict[str, int] = {}
        self._links: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.start()

    def start(self) -> None:
        """Listens, at first or again."""
        if self.unix:
            self.unix.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self.unix))
        else:
            listener = socket.create_server(("127.0.0.1", self.port))
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def stop(self) -> None:
        """Closes everything at once."""
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for link in list(self._links):
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @property
    def messages(self) -> list[str]:
        """The messages of the records so far."""
        return [record.texts["message"] for record in self.records]

    def wait_for(self, count: int) -> list[v2.Record]:
        """Waits for so many records."""
        wait_for(lambda: len(self.records) >= count, f"{count} records, of which {self.messages} came")
        return self.records

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(link,), daemon=True).start()

    def _run(self, link: socket.socket) -> None:
        self._links.add(link)
        try:
            with link:
                self._serve(link)
        except (OSError, EOFError):
            pass
        finally:
            self._links.discard(link)

    def _serve(self, link: socket.socket) -> None:
        reader = link.makefile("rb")
        hello = reader.readline()
        if not hello.startswith(b"HELLO "):
            raise EOFError
        if self.greeting is not None:
            link.sendall(self.greeting)
            return
        link.sendall(f"HELLO {self.protocol}\n".encode())
        if self.protocol == "1.0":
            self._serve_1_0(link, reader)
        else:
            self._serve_2_0(link, reader)

    def _serve_1_0(self, link: socket.socket, reader: Any) -> None:
        line = reader.readline().decode()
        assert line.startswith("IDENTIFY "), line
        self.identified.append(json.loads(line.removeprefix("IDENTIFY ")))
        link.sendall(b"OK\n")
        assert reader.readline() == b"LOG\n"
        link.sendall(b"OK\n")
        while True:
            (length,) = struct.unpack(">I", _exactly(reader, 4))
            if length:
                self.pickled.append(pickle.loads(_exactly(reader, length)))
                continue
            line = reader.readline().decode()
            if line == "QUIT\n" or not line:
                return
            assert line.startswith("FORMAT "), line
            self.formats.append(json.loads(line.removeprefix("FORMAT ")))
            link.sendall(b"OK\n")

    def _serve_2_0(self, link: socket.socket, reader: Any) -> None:
        session = ""
        while True:
            (length,) = struct.unpack("<I", _exactly(reader, 4))
            body = _exactly(reader, length)
            kind, body = body[0], body[1:]
            if kind == v2.OPEN:
                request = json.loads(body)
                self.opened.append(request)
                if self.refusal is not None:
                    link.sendall(v2.json_frame(v2.ERROR, self.refusal))
                    return
                session = request["session"]
                welcome = {
                    "written_seq": self._written.get(session, 0),
                    "record_max_bytes": 4 << 20,
                    "server": {},
                }
                link.sendall(v2.json_frame(v2.WELCOME, welcome))
            elif kind == v2.FORMATTER:
                (number,) = struct.unpack_from("<I", body)
                self.formatters[number] = json.loads(body[4:])
            elif kind == v2.BATCH:
                self._batch(session, body)
                if self.acknowledges:
                    link.sendall(v2.frame(v2.ACK, struct.pack("<QB", self._written[session], v2.WRITTEN)))
            elif kind in (v2.FLUSH, v2.ROLLOVER):
                self.rollovers += kind == v2.ROLLOVER
                if self.acknowledges:
                    link.sendall(v2.frame(v2.DONE, body[:8] + b"\1"))
            elif kind == v2.CLOSE:
                return

    def _batch(self, session: str, body: bytes) -> None:
        first, count, checksum = struct.unpack_from("<QII", body)
        encoded = body[16:]
        assert v2.crc32c(encoded) == checksum
        written = self._written.get(session, 0)
        assert first <= written + 1
        for number in range(first, first + count):
            record, encoded = v2.Record.decode(encoded)
            if number > written:
                self.records.append(record)
        assert encoded == b""
        self._written[session] = max(written, first + count - 1)


def _exactly(reader: Any, length: int) -> bytes:
    data: bytes = reader.read(length)
    if len(data) < length:
        raise EOFError
    return data
