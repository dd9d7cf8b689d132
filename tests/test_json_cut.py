"""Records of a `JsonFormatter` that are too long: all fields stay, the longest texts in them are cut, and the line is JSON."""

from __future__ import annotations

import importlib.util
import json
import logging
import random
import re
import types
from typing import Any

import pytest
from client_2_0 import LINE, Record
from logserv import _binding, _json_cut, _native
from logserv.client import UnixClient
from logserv.formatters import JsonFormatter
from running import Server

CUT = re.compile(r"^(.*)…\[cut: (\d+) bytes\]$", re.DOTALL)
LIMIT = 4096


def make(message: str, **extra: Any) -> logging.LogRecord:
    record = logging.LogRecord("app.db", logging.WARNING, "/srv/db.py", 42, message, None, None, "connect")
    record.__dict__.update(extra)
    return record


def encoded(formatter: logging.Formatter, record: logging.LogRecord, limit: int = LIMIT) -> Record:
    handler = logging.Handler()
    handler.setFormatter(formatter)
    data = _native.encode(handler, record, limit)
    assert len(data) <= limit
    return Record.decode(data)[0]


def assert_cut(text: str, original: str) -> None:
    """It is the head of the original, and tells how much is missing."""
    found = CUT.match(text)
    assert found, text
    assert original.startswith(found[1])
    assert len(original.encode()) - len(found[1].encode()) == int(found[2])


def full_formatter(kind: type[JsonFormatter] = JsonFormatter, **more: Any) -> JsonFormatter:
    return kind(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "severity"},
        static_fields={"service": "shop"},
        timestamp=True,
        **more,
    )


class Own(JsonFormatter):
    """A subclass: all its lines are rendered in the client."""


@pytest.mark.parametrize("kind", [JsonFormatter, Own])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_all_fields_stay_and_the_longest_texts_are_cut(kind: type[JsonFormatter], ascii_only: bool) -> None:
    long, odd = 'é\n"\\\u2028' * 3000, "z" * 9000
    formatter = full_formatter(kind, json_ensure_ascii=ascii_only, prefix="@cee: ")
    record = make("a message", payload=long, deep={"list": [1, {"odd": odd}]}, user="zoë", opaque=object())
    got = encoded(formatter, record)
    assert got.kind == LINE
    line = got.texts["message"]
    assert len(line.splitlines()) == 1
    assert line.startswith("@cee: ")
    fields = json.loads(line.removeprefix("@cee: "))
    whole = json.loads(formatter.format(record).removeprefix("@cee: "))
    assert list(fields) == list(whole)
    assert_cut(fields.pop("payload"), long)
    assert_cut(fields["deep"]["list"][1].pop("odd"), odd)
    del whole["payload"], whole["deep"]["list"][1]["odd"]
    assert fields == whole
    assert len(line.encode()) > LIMIT * 0.8, "no more is cut than must be"


def test_what_is_long_by_its_numbers_becomes_a_text() -> None:
    rows = list(range(100_000))
    got = encoded(full_formatter(), make("a message", rows=rows, small=[1, 2], opaque=object()))
    fields = json.loads(got.texts["message"])
    assert_cut(fields["rows"], json.dumps(rows))
    assert (fields["message"], fields["service"], fields["small"]) == ("a message", "shop", [1, 2])


def test_a_record_of_too_many_fields_is_the_message_of_an_object() -> None:
    many = {f"number_{number}": number for number in range(10_000)}
    fields = json.loads(encoded(JsonFormatter(), make("a message", **many)).texts["message"])
    assert list(fields) == ["message"]
    assert CUT.match(fields["message"])


def test_a_subclass_whose_lines_are_no_objects_is_cut_as_text() -> None:
    class Reversed(JsonFormatter):
        def format(self, record: logging.LogRecord) -> str:
            return super().format(record)[::-1]

    assert CUT.match(encoded(Reversed(), make("x" * 9000)).texts["message"])


def test_every_limit_is_kept_whatever_the_object() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)

    def value(depth: int) -> Any:
        kind = chance.randrange(6 if depth < 4 else 3)
        if kind < 3:
            return [
                chance.random(),
                None,
                chance.choice('aé\n\U0001f600"') * int(2 ** chance.uniform(0, 12)),
            ][kind]
        count = chance.randrange(5)
        return (
            [value(depth + 1) for _ in range(count)]
            if kind == 3
            else {f"key {number}": value(depth + 1) for number in range(count)}
        )

    cut = 0
    for _ in range(300):
        encoder = json.JSONEncoder(ensure_ascii=chance.random() < 0.5)
        data = {f"field {number}": value(0) for number in range(chance.randrange(1, 12))}
        text = encoder.encode(data)
        room = chance.randrange(900, 9000)
        shorter = _json_cut.shorter(text, room, encoder)
        assert shorter is not None, (data, room)
        assert len(shorter.encode()) <= room or len(text.encode()) <= room
        assert list(json.loads(shorter)) == list(data)
        cut += shorter != text
    assert cut > 30


def test_what_the_server_writes_is_one_object_and_counted(server: Server) -> None:
    handler = UnixClient(str(server.unix), filename="long.log", record_max_bytes=LIMIT)
    handler.setFormatter(full_formatter())
    payload = {"items": ["é" * 5000] * 3}
    handler.emit(make("short", payload=payload))
    handler.emit(make("x" * 9000))
    assert handler.flush(30)
    assert handler.stats()["records_cut"] == 2
    handler.close()
    lines = (server.root / "long.log").read_text("utf-8").splitlines()
    first, second = map(json.loads, lines)
    assert (first["message"], first["service"], first["severity"]) == ("short", "shop", "WARNING")
    assert len(first["payload"]["items"]) == 3
    for text in first["payload"]["items"]:
        assert_cut(text, "é" * 5000)
    assert_cut(second["message"], "x" * 9000)
    assert list(second) == ["severity", "name", "message", "service", "timestamp"]


def test_the_pure_form_does_the_same(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_binding, "missing", "a test says so")
    monkeypatch.setattr(_binding, "_has_warned", True)
    spec = importlib.util.find_spec("logserv.client")
    assert spec is not None
    assert spec.loader is not None
    module: types.ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.UnixClient(str(server.unix), filename="long.log", record_max_bytes=LIMIT)
    handler.setFormatter(full_formatter())
    handler.emit(make("short", payload="é" * 5000))
    assert handler.flush(30)
    assert handler.stats()["records_cut"] == 1
    handler.close()
    (line,) = (server.root / "long.log").read_text("utf-8").splitlines()
    assert len(line) <= LIMIT
    fields = json.loads(line)
    assert_cut(fields.pop("payload"), "é" * 5000)
    assert (fields["message"], fields["service"]) == ("short", "shop")
