"""`JsonFormatter`: the server's line is that of Python byte for byte, always one line and always JSON, and python-json-logger's fields.

`json_cases.py` makes formatters and records; ``LOGSERV_TEST_SEED`` replays a run, ``LOGSERV_TEST_CASES`` says how many.
"""

from __future__ import annotations

import copy
import inspect
import json
import logging
import logging.config
import math
import os
import pickle
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from client_2_0 import FIELDS, LINE, Record
from json_cases import JsonGenerator
from logserv import _native
from logserv.client import SocketForwarder, UnixClient
from logserv.formatters import RESERVED_ATTRS, JsonFormatter
from pythonjsonlogger.json import JsonFormatter as TheirFormatter
from running import Server, StartServer, wait_for
from server_2013 import Server2013

SEED = int(os.environ.get("LOGSERV_TEST_SEED") or random.randrange(2**32))
CASES = int(os.environ.get("LOGSERV_TEST_CASES") or 6000)
#: Records that go through one formatter; a session knows a limited number of those.
RECORDS = 10
MIB = 1 << 20


class Counting(UnixClient):
    """Counts what it could not render."""

    failures = 0

    def handleError(self, record: logging.LogRecord) -> None:
        self.failures += 1


def make(msg: object = "hello %s", args: Any = ("world",), **attributes: Any) -> logging.LogRecord:
    record = logging.LogRecord("app.db", logging.WARNING, "/srv/app/db.py", 42, msg, args, None, "connect")
    record.created, record.msecs = 1_700_000_000.25, 250.0
    record.__dict__.update(attributes)
    return record


def failed(error: Exception) -> tuple[type[BaseException], BaseException, Any]:
    try:
        raise error
    except Exception as raised:
        return type(raised), raised, raised.__traceback__


def parsed(line: str) -> Any:
    """The line as JSON: one line, with nothing in it that only Python takes."""
    assert len(line.splitlines()) == 1, line
    line.encode()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON: {line}")

    return json.loads(line, parse_constant=refuse)


def formatted(record: logging.LogRecord, **arguments: Any) -> Any:
    return parsed(JsonFormatter(**arguments).format(record))


def kind_of(formatter: logging.Formatter, record: logging.LogRecord) -> int:
    """Who renders the line: FIELDS the server, LINE this process, which then gives what the formatter gives."""
    handler = logging.Handler()
    handler.setFormatter(formatter)
    expected = handler.format(copy.copy(record))
    sent, rest = Record.decode(_native.encode(handler, record, MIB))
    assert rest == b""
    assert sent.kind == FIELDS or sent.texts["message"] == expected
    return sent.kind


@pytest.mark.parametrize("mainstream", [True, False], ids=["mainstream", "wild"])
@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns", "Australia/Lord_Howe"])
def test_every_line_in_the_file_is_that_of_the_formatter(
    zone: str, mainstream: bool, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"LOGSERV_TEST_SEED={SEED}")
    server = start_server(env={"TZ": "Asia/Kathmandu", "LC_ALL": "C"})
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    generator = JsonGenerator(SEED)
    expected: list[tuple[str, dict[str, Any]]] = []
    failures, rendered, emitted = 0, 0, 0
    try:
        # As many formatters as a session knows, then another file.
        for number in range(CASES // 6 // (RECORDS * 20)):
            handler = Counting(str(server.unix), filename=f"truth{number}.log", ring_bytes=4 << 20)
            lines = []
            for _ in range(20):
                arguments = {**generator.arguments(mainstream), **generator.our_arguments()}
                handler.setFormatter(JsonFormatter(**arguments))
                for _ in range(RECORDS):
                    record = generator.log_record(mainstream)
                    try:
                        line = handler.format(copy.copy(record))
                    except Exception:
                        failures += 1
                    else:
                        lines.append((line, arguments))
                    handler.emit(record)
            wait_for(handler.flush, "the lines of one file", 30)  # one may be too early for the connection
            stats = handler.stats()
            handler.close()
            rendered, emitted = rendered + stats["records_rendered"], emitted + stats["emitted"]
            failures -= handler.failures
            written = (server.root / f"truth{number}.log").read_bytes().decode().split("\n")
            for line, (wanted, arguments) in zip(written, lines, strict=False):
                assert line == wanted, (SEED, arguments)
            assert len(written) == len(lines) + 1
            expected += lines
    finally:
        monkeypatch.undo()
        time.tzset()
    assert failures == 0
    for line, arguments in expected:
        parsed(line.removeprefix(arguments.get("prefix", "")))
    print(f"{zone}: {emitted} records, {rendered} of them rendered in the client")
    # Neither was nothing compared, nor did Python do what the server can do.
    assert emitted >= CASES // 6 * 0.8
    assert rendered == 0 if mainstream else emitted * 0.1 < rendered < emitted * 0.9


def test_the_fields_are_those_of_python_json_logger() -> None:
    print(f"LOGSERV_TEST_SEED={SEED}")
    generator = JsonGenerator(SEED)
    compared = 0
    for number in range(CASES // 2):
        arguments = generator.arguments(mainstream=number % 2 == 0)
        try:
            theirs = TheirFormatter(**arguments)
        except ValueError:
            with pytest.raises(ValueError):
                JsonFormatter(**arguments)
            continue
        record = generator.log_record(mainstream=number % 2 == 0)
        if sys.version_info < (3, 12):
            vars(record).pop("taskName", None)  # reserved here, on every version
        if record.exc_text and not record.exc_info and arguments["exc_info_as_array"]:
            continue  # ours is a list here, too
        if "request" in arguments.get("defaults", {}):
            continue  # a field that has a default is not null here
        try:
            text = theirs.format(copy.copy(record)).removeprefix(theirs.prefix)
        except (TypeError, ValueError, OSError, OverflowError):
            continue  # keys that JSON does not have, a time that nobody has
        wanted = json.loads(text, parse_constant=lambda _: None)
        ours = JsonFormatter(**arguments)
        got = parsed(ours.format(copy.copy(record)).removeprefix(theirs.prefix))
        assert list(got.items()) == list(wanted.items()), (SEED, arguments)
        compared += 1
    assert compared > CASES // 4


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (float("nan"), None),
        ([float("inf"), -math.inf], [None, None]),
        (b"\xfb\xff", "-_8="),
        ({(1, 2): 3, 4: 5, None: 6}, {"(1, 2)": 3, "4": 5, "null": 6}),
        ("\ud800", "\ud800"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_a_value_that_json_does_not_have_is_json_all_the_same(
    value: object, wanted: object, ensure_ascii: bool
) -> None:
    assert formatted(make(value=value), json_ensure_ascii=ensure_ascii)["value"] == wanted


def test_an_integer_that_python_does_not_print_is_hexadecimal() -> None:
    assert formatted(make(value=10**5000))["value"] == hex(10**5000)


def test_a_value_that_contains_itself_or_raises_does_not_cost_the_line() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __str__

    loop: list[object] = [1]
    loop += [loop, {"loop": loop}, Hostile()]
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    line = formatted(make(loop=loop, deep=deep))
    assert line["loop"] == [1, "[...]", {"loop": "[...]"}, "__could_not_encode__"]


def test_an_exception_is_a_text_or_a_list_or_an_object() -> None:
    def shown(**arguments: Any) -> Any:
        return formatted(make(exc_info=failed(KeyError("naïve"))), **arguments)["exc_info"]

    text = shown()
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("KeyError: 'naïve'")
    assert shown(exc_info_as_array=True) == text.splitlines()
    assert shown(exc_info_as_object=True) == {"type": "KeyError", "message": "'naïve'", "traceback": text}
    both = shown(exc_info_as_object=True, exc_info_as_array=True)
    assert both["traceback"] == text.splitlines()
    queued = formatted(make(exc_text="as text"), exc_info_as_object=True)
    assert queued["exc_info"] == {"type": None, "message": None, "traceback": "as text"}


def test_the_time_is_written_as_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/St_Johns")
    time.tzset()
    try:
        times = {
            kind: formatted(make(), timestamp="at", timestamp_format=kind)["at"]
            for kind in ("iso_utc", "iso_local", "iso_z", "epoch_s", "epoch_ms")
        }
    finally:
        monkeypatch.undo()
        time.tzset()
    assert times == {
        "iso_utc": "2023-11-14T22:13:20.250000+00:00",
        "iso_local": "2023-11-14T18:43:20.250000-03:30",
        "iso_z": "2023-11-14T22:13:20.250Z",
        "epoch_s": 1_700_000_000.25,
        "epoch_ms": 1_700_000_000_250,
    }


def test_the_attributes_of_extra_stand_beside_the_fields_or_under_one_name() -> None:
    record = make(user="zoë", n=1, _own="hidden")
    assert formatted(record) == {"message": "hello world", "user": "zoë", "n": 1}
    nested = formatted(record, extra_key="context", rename_fields={"user": "who"})
    assert nested == {"message": "hello world", "context": {"who": "zoë", "n": 1}}
    assert formatted(make(), extra_key="context") == {"message": "hello world"}


def test_a_width_or_conversion_in_a_brace_format_is_no_part_of_the_name() -> None:
    assert formatted(make(), fmt="{levelname:<8} {message!r}", style="{") == {
        "levelname": "WARNING",
        "message": "hello world",
    }


def test_a_field_that_the_record_lacks_has_its_default_or_is_null() -> None:
    line = formatted(make(), fmt=["user", "tenant"], defaults={"user": "-"})
    assert line == {"user": "-", "tenant": None}


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"json_indent": 2}),
        (ValueError, {"prefix": "a\nb"}),
        (ValueError, {"prefix": "a\u2028"}),
        (ValueError, {"timestamp_format": "rfc822"}),
        (ValueError, {"style": "?"}),
        (ValueError, {"fmt": "no field"}),
        (TypeError, {"fmt": 3}),
        (TypeError, {"fmt": [3]}),
        (TypeError, {"reserved_attrs": "user"}),
        (TypeError, {"rename_fields": {"a": 1}}),
        (TypeError, {"unknown": 1}),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused(
    error: type[Exception], arguments: dict[str, Any]
) -> None:
    with pytest.raises(error):
        JsonFormatter(**arguments)


def test_the_arguments_hold_for_good() -> None:
    fields = {"service": {"name": "shop"}}
    formatter = JsonFormatter(static_fields=fields)
    fields["service"]["name"] = "other"
    assert parsed(formatter.format(make()))["service"] == {"name": "shop"}
    for name in ARGUMENTS:
        with pytest.raises(
            AttributeError, match=f"^{name} of a JsonFormatter cannot be changed; make another"
        ):
            setattr(formatter, name, {})
    assert parsed(formatter.format(make()))["service"] == {"name": "shop"}


#: What can be read of a formatter: all of the constructor's arguments but `fmt`, `datefmt`, `style` and `validate`.
ARGUMENTS = [
    name
    for name, parameter in inspect.signature(JsonFormatter).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
]


def test_the_arguments_can_be_read() -> None:
    assert len(ARGUMENTS) == 17
    given: dict[str, Any] = {
        "prefix": "@cee: ",
        "rename_fields": {"levelname": "severity"},
        "rename_fields_keep_missing": True,
        "static_fields": {"service": {"name": "shop"}},
        "reserved_attrs": (*RESERVED_ATTRS, "user"),
        "timestamp": "at",
        "timestamp_format": "epoch_ms",
        "defaults": {"tenant": "none"},
        "extra_key": "extra",
        "exc_info_as_array": True,
        "exc_info_as_object": True,
        "stack_info_as_array": True,
        "json_default": str,
        "json_encoder": json.JSONEncoder,
        "json_serializer": json.dumps,
        "json_indent": None,
        "json_ensure_ascii": False,
    }
    formatter = JsonFormatter(**given)
    assert {name: getattr(formatter, name) for name in ARGUMENTS} == given
    # Nor by what has been read: a top level that cannot be changed, below it a copy.
    with pytest.raises(TypeError):
        formatter.static_fields["service"] = "other"  # type: ignore[index]
    formatter.static_fields["service"]["name"] = "other"
    assert formatter.static_fields == given["static_fields"]

    plain = JsonFormatter()
    assert (plain.timestamp, plain.reserved_attrs, plain.rename_fields) == (None, RESERVED_ATTRS, {})
    assert JsonFormatter(timestamp=True).timestamp == "timestamp"
    assert all(getattr(JsonFormatter, name).__doc__ for name in ARGUMENTS)


def test_a_subclass_may_read_the_format_in_its_own_way() -> None:
    class Semicolons(JsonFormatter):
        def parse(self) -> list[str]:
            assert self._fmt is not None
            return self._fmt.split(";")

    class Theirs(TheirFormatter):
        def parse(self) -> list[str]:
            return str(self._fmt).split(";")

    class More(JsonFormatter):
        def parse(self) -> list[str]:
            return [*super().parse(), "process"]

    formatter = Semicolons("levelname;message", validate=False)
    record = make(process=7)
    assert parsed(formatter.format(record)) == {"levelname": "WARNING", "message": "hello world"}
    assert parsed(Theirs("levelname;message", validate=False).format(make())) == parsed(
        formatter.format(record)
    )
    assert kind_of(formatter, make()) == LINE
    several: tuple[dict[str, Any], ...] = (
        {"fmt": "%(name)s"},
        {"fmt": "name", "style": ","},
        {"fmt": "{name}", "style": "{"},
    )
    for arguments in several:
        assert list(parsed(More(**arguments).format(record))) == ["name", "process"]
    assert list(parsed(More().format(record))) == ["message", "process"]
    # A sequence is no format: there is nothing to read, as in python-json-logger.
    assert list(parsed(More(["name"]).format(record))) == ["name"]
    assert JsonFormatter("%(name)s %(message)s").parse() == ["name", "message"]

    class NoNames(JsonFormatter):
        def parse(self) -> Any:
            return "levelname"

    with pytest.raises(TypeError, match="sequence of names of fields, received str: 'levelname'"):
        NoNames()


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_formats_as_the_original(how: Any) -> None:
    formatter = JsonFormatter("%(asctime)s %(message)s", timestamp=True, static_fields={"a": [1]})
    other = how(formatter)
    assert other.format(make(x=float("nan"))) == formatter.format(make(x=float("nan")))
    assert kind_of(other, make()) == FIELDS


def test_what_the_formatter_is_decides_who_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shouting(JsonFormatter):
        def process_log_record(self, log_data: dict[Any, Any]) -> dict[Any, Any]:
            return {name: str(value).upper() for name, value in log_data.items()}

    class Same(JsonFormatter):
        pass

    assert kind_of(JsonFormatter(), make()) == FIELDS
    for formatter in (
        Shouting(),
        Same(),
        JsonFormatter(json_default=str),
        JsonFormatter(json_encoder=json.JSONEncoder),
        JsonFormatter(json_serializer=lambda data, **_: json.dumps(data, indent=1)),
        JsonFormatter(static_fields={"of": object}),
        JsonFormatter(reserved_attrs=["message"]),
        JsonFormatter("%(asctime)s", "%H %Z"),
    ):
        assert kind_of(formatter, make()) == LINE
        assert len(formatter.format(make()).splitlines()) == 1
    patched = JsonFormatter()
    patched.format = lambda record: "mine"  # type: ignore[method-assign]
    assert kind_of(patched, make()) == LINE
    monkeypatch.setattr(JsonFormatter, "add_fields", lambda *_: None)
    assert kind_of(JsonFormatter(), make()) == LINE


def test_what_the_record_has_decides_who_renders() -> None:
    formatter = JsonFormatter(timestamp=True, exc_info_as_object=True)
    for record in (
        make(user="zoë", items=[1, (2.5, None)], raw=b"x", names={"a": {1: True}}),
        make({"event": "login", "user": {"id": 1}}, None),
        make(exc_info=failed(ValueError("boom")), stack_info="Stack\n  here"),
        make(_private=object()),
    ):
        assert kind_of(formatter, record) == FIELDS
    for record in (
        make(when=object()),
        make(text="\udc80"),
        make("\udc80", None),
        make(exc_text="\udc80"),
        make(stack_info="\udc80"),
        make({"event": object()}, None),
        make({"event": "\udc80"}, None),
        make({1: 1}, None),
        make(type("Items", (dict,), {})(a=1), None),
        make(exc_info=failed(ValueError("\udc80"))),
        make(keys={float("nan"): 1}),
        make(large="x" * (MIB // 2)),
        make(created=-1.0),
        make(name=5),
    ):
        got = kind_of(formatter, record)
        assert got == LINE or record.name == 5  # type: ignore[comparison-overlap]


def test_a_message_that_is_too_long_is_cut_and_the_line_is_json(server: Server) -> None:
    handler = UnixClient(str(server.unix), filename="long.log", record_max_bytes=4096)
    handler.setFormatter(JsonFormatter(timestamp=True))
    handler.emit(make("é\n" * 10_000, None))
    handler.emit(make("é\n" * 10_000, None, when=object()))
    assert handler.flush(10)
    handler.close()
    lines = (server.root / "long.log").read_text("utf-8").splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "[cut: " in parsed(line)["message"]


def test_a_server_of_2013_gets_finished_lines(root: Path) -> None:
    old = Server2013(root)
    handler = SocketForwarder("127.0.0.1", old.port, filename="old.log")
    handler.setFormatter(JsonFormatter(timestamp=True, exc_info_as_array=True))
    records = [make(user="zoë"), make({"event": "x"}, None), make(exc_info=failed(ValueError("boom")))]
    expected = "".join(handler.format(copy.copy(record)) + "\n" for record in records)
    for record in records:
        handler.emit(record)
    handler.flush(10)
    wait_for(
        lambda: (root / "old.log").exists() and (root / "old.log").read_text() == expected, "the lines", 10
    )
    handler.close()
    old.close()


def test_dict_config_makes_one_and_any_handler_takes_it(server: Server, tmp_path: Path) -> None:
    formatter = {
        "()": "logserv.formatters.JsonFormatter",
        "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
        "rename_fields": {"levelname": "severity"},
        "static_fields": {"service": "shop"},
        "timestamp": True,
        "exc_info_as_object": True,
    }
    ours = {
        "class": "logserv.client.UnixClient",
        "host": str(server.unix),
        "filename": "json.log",
        "formatter": "json",
    }
    theirs = {"class": "logging.FileHandler", "filename": str(tmp_path / "theirs.log"), "formatter": "json"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": formatter},
            "handlers": {"ours": ours, "theirs": theirs},
            "loggers": {"test.json": {"level": "INFO", "handlers": ["ours", "theirs"], "propagate": False}},
        }
    )
    log = logging.getLogger("test.json")
    handler = log.handlers[0]
    assert isinstance(handler, UnixClient)
    try:
        log.info("hello %s", "wörld", extra={"user": "zoë", "tags": ["a", None]})
        log.info({"event": "login", "ok": True})
        try:
            raise ValueError("two\nlines")
        except ValueError:
            log.exception("failed", stack_info=True)
        assert handler.flush(10)
        stats = handler.stats()
    finally:
        for each in list(log.handlers):
            log.removeHandler(each)
            each.close()
    assert stats["records_rendered"] == 0
    assert (server.root / "json.log").read_bytes() == (tmp_path / "theirs.log").read_bytes()
    for line in (server.root / "json.log").read_text().splitlines():
        assert parsed(line)["service"] == "shop"


def test_every_standard_attribute_is_reserved() -> None:
    record = make()
    record.message = record.asctime = ""
    assert set(vars(record)) <= set(RESERVED_ATTRS)
