"""Both protocols against a running server, by clients that were written from the descriptions alone.

The vectors beside the wire crate are read here by those clients, and by the crate's own tests: neither can drift.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import secrets
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import client_1_0 as v1
import client_2_0 as v2
import pytest
from running import Server, StartServer, wait_for

VECTORS = Path(__file__).parent.parent / "crates/logserv-wire/tests/vectors"
CONNECT: dict[str, Callable[[Server], Any]] = {"unix": Server.connect_unix, "tcp": Server.connect_tcp}
transports = pytest.mark.parametrize("transport", list(CONNECT))


def vectors(section: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / "protocol_2_0.json").read_text("utf-8"))[section]
    return found


def described(value: object) -> dict[str, Any]:
    """A value as the vectors spell it."""
    match value:
        case v2.Opaque():
            return {"opaque": str(value)}
        case None:
            return {"none": True}
        case bool():
            return {"bool": value}
        case int():
            return {"int": str(value)}
        case float():
            return {"float": repr(value)}
        case str():
            return {"str": value}
        case bytes():
            return {"bytes": value.hex()}
        case list() | tuple():
            return {type(value).__name__: [described(item) for item in value]}
        case dict():
            return {"dict": [[described(key), described(item)] for key, item in value.items()]}
    raise TypeError(type(value))


def test_values_are_those_of_the_vectors() -> None:
    for vector in vectors("values"):
        data = bytes.fromhex(vector["hex"])
        value, end = v2.decode_value(data)
        assert (described(value), end) == (vector["value"], len(data))
        assert v2.encode_value(value) == data


def test_records_are_those_of_the_vectors() -> None:
    for vector in vectors("records"):
        data = bytes.fromhex(vector["hex"])
        record, rest = v2.Record.decode(data)
        expected = vector["record"]
        assert rest == b""
        assert record.encode() == data
        assert (record.kind, record.formatter, record.levelno, record.lineno) == (
            *(expected["kind"], expected["formatter"], expected["levelno"], expected["lineno"]),
        )
        assert [repr(record.created), repr(record.msecs), repr(record.relativeCreated)] == [
            *(expected["created"], expected["msecs"], expected["relativeCreated"]),
        ]
        assert (None if record.thread is None else str(record.thread)) == expected["thread"]
        assert (record.process, record.utc_offset_s) == (expected["process"], expected["utc_offset_s"])
        assert record.texts == expected["texts"]
        assert [[name, described(value)] for name, value in record.attributes.items()] == expected[
            "attributes"
        ]


def test_frames_are_those_of_the_vectors() -> None:
    for vector in vectors("frames"):
        data, expected = bytes.fromhex(vector["hex"]), vector["frame"]
        assert struct.unpack_from("<IB", data) == (len(data) - 4, expected["type"])
        body = data[5:]
        match expected["type"]:
            case v2.BATCH:
                first_seq, count, crc = struct.unpack_from("<QII", body)
                assert (str(first_seq), count, crc) == (
                    *(expected[key] for key in ("first_seq", "count", "crc32c")),
                )
                assert (body[16:].hex(), v2.crc32c(body[16:])) == (expected["records"], crc)
            case v2.FORMATTER:
                assert (struct.unpack_from("<I", body)[0], body[4:].decode()) == (
                    expected["id"],
                    expected["json"],
                )
            case v2.FLUSH | v2.ACK | v2.DONE:
                number, byte = struct.unpack("<QB", body)
                assert str(number) == expected.get("token", expected.get("seq"))
                assert byte == int(expected.get("level", expected.get("ok")))
            case v2.ROLLOVER:
                assert str(struct.unpack("<Q", body)[0]) == expected["token"]
            case v2.ATTACHED:
                assert body == bytes([expected["ok"]])
            case v2.ATTACH | v2.WAKE | v2.CLOSE:
                assert body == b""
            case _:
                assert expected.get("skipped") or body.decode() == expected.get("json", "")


def lines_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


# --- 1.0


@transports
def test_a_client_of_1_0_writes_its_records(server: Server, root: Path, transport: str) -> None:
    client = v1.Client(CONNECT[transport](server))
    client.open(10, filename="old.log", maxBytes=100_000, backupCount=3)
    client.send(*(v1.record(f"number {number}") for number in range(100)))
    client.quit()
    wait_for(lambda: len(lines_of(root / "old.log")) == 100, "100 lines")
    assert lines_of(root / "old.log") == [f"number {number}" for number in range(100)]


@transports
def test_everything_of_1_0_may_arrive_at_once(server: Server, root: Path, transport: str) -> None:
    link = CONNECT[transport](server)
    link.sendall(
        v1.hello()
        + v1.identify("INFO", filename="once.log")
        + b"LOG\n"
        + v1.record("by the default format")
        + v1.format_line("{levelname}|{message}", style="{")
        + v1.record("by the new one")
        + v1.CONTROL
        + b"QUIT\n"
    )
    answers = b""
    while arrived := link.recv(4096):
        answers += arrived
    assert answers == b"HELLO 1.0\nOK\nOK\nOK\n"
    wait_for(lambda: len(lines_of(root / "once.log")) == 2, "two lines")
    assert lines_of(root / "once.log") == ["by the default format", "INFO|by the new one"]


def test_1_0_may_be_cut_at_every_byte(server: Server, root: Path) -> None:
    stream = (
        v1.hello() + v1.identify(0, filename="cut.log") + b"LOG\n" + v1.format_line("%(levelno)d %(message)s")
    )
    stream += v1.record("whole") + v1.CONTROL + b"QUIT\n"
    with server.connect_tcp() as link:
        link.setsockopt(6, 1, 1)  # TCP_NODELAY: each byte a segment of its own, or nearly
        for at in range(len(stream)):
            link.sendall(stream[at : at + 1])
        while link.recv(4096):
            pass
    wait_for(lambda: lines_of(root / "cut.log") == ["20 whole"], "the record")


def test_a_connection_of_1_0_may_end_at_every_byte(server: Server, root: Path) -> None:
    stream = v1.hello() + v1.identify(0, filename="end.log") + b"LOG\n" + v1.record("x") + v1.record("y")
    for end in range(len(stream)):
        with server.connect_unix() as link:
            link.sendall(stream[:end])
    client = v1.Client(server.connect_unix())
    client.open(0, filename="end.log")
    client.send(v1.record("the last"))
    client.quit()
    wait_for(lambda: "the last" in lines_of(root / "end.log"), "the last record")
    assert set(lines_of(root / "end.log")) <= {"x", "y", "the last"}


def test_the_level_that_1_0_announces_filters(server: Server, root: Path) -> None:
    client = v1.Client(server.connect_unix())
    client.open("WARNING", filename="level.log")
    client.send(
        v1.record("no", logging.INFO), v1.record("yes", logging.WARNING), v1.record("yes", logging.ERROR)
    )
    client.quit()
    wait_for(lambda: len(lines_of(root / "level.log")) == 2, "two lines")
    assert lines_of(root / "level.log") == ["yes", "yes"]


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol_is_read(server: Server, root: Path, protocol: int) -> None:
    client = v1.Client(server.connect_unix())
    client.open(0, filename=f"pickle{protocol}.log")
    client.set_format("%(levelname)s %(user)s %(message)s")
    client.send(v1.record("zoë ✓", protocol=protocol, user={"id": [1, (2.5, None)]}))
    client.quit()
    expected = ["INFO {'id': [1, (2.5, None)]} zoë ✓"]
    wait_for(lambda: lines_of(root / f"pickle{protocol}.log") == expected, "the line")


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        ([b"HELO 1.0\n"], "HELLO"),
        ([v1.hello(), b"LOG\n"], "IDENTIFY"),
        ([v1.hello(), b"IDENTIFY nonsense\n"], "JSON"),
        ([v1.hello(), v1.identify(0)], "filename"),
        ([v1.hello(), v1.identify(0, filename="x.log", maxBites=1)], "maxBites"),
        ([v1.hello(), v1.identify(0, filename="x.log", maxBytes="many")], "maxBytes"),
        ([v1.hello(), v1.identify(0, filename="../x.log")], "root"),
        ([v1.hello(), v1.identify(0, filename="/etc/x.log")], "root"),
        ([v1.hello(), v1.identify(0, filename=".x.log")], "."),
        ([v1.hello(), v1.identify(0, filename="x.log", handler="os.system")], "os.system"),
        ([v1.hello(), v1.identify("LOUD", filename="x.log")], "LOUD"),
        ([v1.hello(), b"x" * 11_000], "10"),
    ],
)
def test_what_1_0_does_not_allow_is_answered_with_an_error(
    server: Server, root: Path, lines: list[bytes], part: str
) -> None:
    with server.connect_tcp() as link:
        client = v1.Client(link)
        for line in lines:
            link.sendall(line)
        answer = b""
        while not answer.startswith(b"ERROR"):
            answer = client.answer()
            assert answer, "closed without an error"
        assert answer.startswith(b"ERROR EXPECTED ")
        assert b", received " in answer
        assert part in answer.decode()
    assert list(root.iterdir()) == []


def test_a_bad_pickle_costs_only_itself(server: Server, root: Path) -> None:
    client = v1.Client(server.connect_unix())
    client.open(0, filename="bad.log")
    marker = root / "executed"
    gadget = b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(marker)
    client.send(v1.record("before"))
    for pickled in (gadget, b"garbage", b"", b"]" * 1000 + b"."):
        if pickled:
            client.send(struct.pack(">L", len(pickled)) + pickled)
    client.send(v1.record("after"))
    client.quit()
    wait_for(lambda: "after" in lines_of(root / "bad.log"), "the record behind the bad ones")

    def told() -> list[str]:
        return [line for line in lines_of(root / "bad.log") if line.startswith("dropped ")]

    wait_for(lambda: bool(told()), "the drop of bad records to be told in the file")
    assert [line for line in lines_of(root / "bad.log") if line not in told()] == ["before", "after"]
    assert not marker.exists()


def test_a_plain_socket_handler_goes_to_the_operators_file(start_server: StartServer, root: Path) -> None:
    server = start_server(
        "--socket-handler-file", "plain.log", "--socket-handler-format", "%(levelname)s:%(message)s"
    )
    handler = logging.handlers.SocketHandler(server.host, server.port)
    try:
        for number in range(50):
            handler.emit(logging.makeLogRecord({"msg": "number %d", "args": (number,), "levelname": "INFO"}))
    finally:
        handler.close()
    expected = [f"INFO:number {number}" for number in range(50)]
    wait_for(lambda: lines_of(root / "plain.log") == expected, "50 lines")


# --- 2.0


def session() -> str:
    return secrets.token_hex(16)


@transports
def test_a_client_of_2_0_writes_its_records(server: Server, root: Path, transport: str) -> None:
    client = v2.Client(CONNECT[transport](server))
    welcome = client.open(session(), "new.log")
    assert welcome["written_seq"] == 0
    assert welcome["record_max_bytes"] >= 1 << 20
    client.formatter(1, fmt="%(levelname)s %(name)s: %(message)s", style="%")
    texts = {"levelname": "INFO", "name": "app", "message": "by the formatter"}
    client.send(1, v2.line("as it is"), v2.Record(formatter=1, texts=texts))
    client.wait_written(2)
    assert lines_of(root / "new.log") == ["as it is", "INFO app: by the formatter"]


def test_an_acknowledged_record_is_in_the_file(server: Server, root: Path) -> None:
    client = v2.Client(server.connect_unix())
    client.open(session(), "ack.log")
    for number in range(1, 101):
        client.send(number, v2.line(f"number {number}"))
        client.wait_written(number)
        assert len(lines_of(root / "ack.log")) == number


def test_what_is_sent_again_is_skipped(server: Server, root: Path) -> None:
    client = v2.Client(server.connect_unix())
    client.open(session(), "again.log")
    client.send(1, *(v2.line(f"{number}") for number in range(1, 11)))
    client.send(1, *(v2.line(f"{number}") for number in range(1, 11)))
    client.send(6, *(v2.line(f"{number}") for number in range(6, 16)))
    client.wait_written(15)
    assert lines_of(root / "again.log") == [str(number) for number in range(1, 16)]


def test_a_session_is_resumed_over_another_transport(server: Server, root: Path) -> None:
    name = session()
    client = v2.Client(server.connect_unix())
    client.open(name, "resume.log")
    client.send(1, *(v2.line(f"{number}") for number in range(1, 6)))
    client.wait_written(5)
    client.link.close()
    client = v2.Client(server.connect_tcp())
    assert client.open(name, "resume.log")["written_seq"] == 5
    client.send(4, *(v2.line(f"{number}") for number in range(4, 9)))
    client.wait_written(8)
    assert lines_of(root / "resume.log") == [str(number) for number in range(1, 9)]


def test_a_second_connection_takes_the_session_over(server: Server, root: Path) -> None:
    name = session()
    first = v2.Client(server.connect_unix())
    first.open(name, "over.log")
    first.send(1, v2.line("1"), v2.line("2"))
    first.wait_written(2)
    second = v2.Client(server.connect_unix())
    assert second.open(name, "over.log")["written_seq"] == 2
    with pytest.raises((EOFError, OSError, AssertionError)):
        while True:
            first.send(3, v2.line("from the grave"))
            first.receive()
    second.send(3, v2.line("3"))
    second.wait_written(3)
    assert lines_of(root / "over.log")[:2] == ["1", "2"]
    assert lines_of(root / "over.log").count("3") == 1
    assert "from the grave" not in lines_of(root / "over.log")


def test_a_gap_in_the_numbers_is_an_error(server: Server) -> None:
    client = v2.Client(server.connect_unix())
    client.open(session(), "gap.log")
    client.send(1, v2.line("1"))
    client.wait_written(1)
    client.send(3, v2.line("3"))
    told = client.error()
    assert told["expected"]
    assert told["received"]


def test_flush_and_rollover_are_done_in_order(server: Server, root: Path) -> None:
    client = v2.Client(server.connect_unix())
    client.open(session(), "roll.log", arguments={"maxBytes": 1_000_000, "backupCount": 3})
    client.send(1, v2.line("old"))
    assert client.rollover(7)
    client.send(2, v2.line("new"))
    assert client.flush(8)
    assert client.written == 2
    assert (lines_of(root / "roll.log.1"), lines_of(root / "roll.log")) == (["old"], ["new"])
    assert client.flush(9, v2.SYNCED)


@pytest.mark.parametrize(
    "frame",
    [
        v2.frame(99, b""),
        struct.pack("<I", 1 << 30),
        v2.frame(v2.BATCH, struct.pack("<QII", 1, 1, 0) + v2.line("x").encode()),
        v2.frame(v2.FLUSH, struct.pack("<QB", 1, 9)),
        v2.batch(1, [v2.line("x")])[:-1] + b"\xff",
    ],
    ids=["type", "length", "checksum", "level", "flipped"],
)
def test_what_2_0_does_not_allow_is_an_error_and_writes_nothing(
    server: Server, root: Path, frame: bytes
) -> None:
    client = v2.Client(server.connect_tcp())
    client.open(session(), "wrong.log")
    client.link.sendall(frame)
    assert client.error()["expected"]
    assert lines_of(root / "wrong.log") == []


def test_frames_of_the_future_are_skipped(server: Server, root: Path) -> None:
    client = v2.Client(server.connect_unix())
    client.open(session(), "future.log", from_the_future={"a": 1})
    client.link.sendall(v2.frame(200, b"whatever"))
    record = v2.line("still read")
    record.unknown.append((250, b"a field"))
    client.send(1, record)
    client.wait_written(1)
    assert lines_of(root / "future.log") == ["still read"]


@pytest.mark.parametrize(
    ("filename", "options", "part"),
    [
        ("../up.log", {}, "root"),
        ("/etc/absolute.log", {}, "root"),
        ("a/.hidden/x.log", {}, ""),
        ("x.log", {"arguments": {"maxBytes": "many"}}, "maxBytes"),
        ("x.log", {"arguments": {"maxBite": 1}}, "maxBite"),
        ("x.log", {"handler": "logging.handlers.SMTPHandler"}, "SMTPHandler"),
        ("no/such/directory/x.log", {}, "directory"),
    ],
)
def test_an_open_that_is_not_granted_is_told(
    server: Server, root: Path, filename: str, options: dict[str, Any], part: str
) -> None:
    client = v2.Client(server.connect_unix())
    with pytest.raises(AssertionError):
        client.open(session(), filename, **options)
    other = v2.Client(server.connect_unix())
    other.hello()
    request = {
        "session": session(),
        "handler": options.get("handler", "logging.FileHandler"),
        "arguments": {"filename": filename, **options.get("arguments", {})},
        "configured_at_s": 0,
    }
    other.link.sendall(v2.json_frame(v2.OPEN, request))
    told = other.error()
    assert part in told["expected"] + told["received"]
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\xff" * 100,
        b"\0\xff\xff\xff" + b"x" * 100,
        b"\n",
    ],
    ids=["http", "tls", "ssh", "ff", "length", "newline"],
)
def test_noise_is_answered_and_closed_and_disturbs_nobody(server: Server, root: Path, noise: bytes) -> None:
    good = v2.Client(server.connect_unix())
    good.open(session(), "good.log")
    with server.connect_tcp() as link:
        link.sendall(noise)
        link.shutdown(1)
        while link.recv(4096):
            pass
    good.send(1, v2.line("undisturbed"))
    good.wait_written(1)
    assert lines_of(root / "good.log") == ["undisturbed"]
