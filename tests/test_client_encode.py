"""What the binding makes of a `LogRecord`: every attribute, who renders the line, and what is cut."""

from __future__ import annotations

import datetime
import decimal
import enum
import io
import locale
import logging
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_2_0 import FIELDS, LINE, Opaque, Record
from logserv import _native

MIB = 1 << 20
LONE = "\udc80"


class Plain(logging.Handler):
    """A handler that overrides nothing."""


class Shouting(logging.Handler):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).upper()


def make(msg: object = "hello %s", *args: object, **attributes: Any) -> logging.LogRecord:
    record = logging.LogRecord(
        "app.db", logging.WARNING, "/srv/app/db.py", 42, msg, args, None, "connect", None
    )
    record.__dict__.update(attributes)
    return record


def handler_for(
    fmt: str | None = None, handler: logging.Handler | None = None, **options: Any
) -> logging.Handler:
    handler = handler or Plain()
    if fmt is not None or options:
        handler.setFormatter(logging.Formatter(fmt, **options))
    return handler


def sent(handler: logging.Handler, record: logging.LogRecord, record_max_bytes: int = MIB) -> Record:
    """What goes over the wire, read by the test's own decoder."""
    decoded, rest = Record.decode(_native.encode(handler, record, record_max_bytes))
    assert rest == b""
    return decoded


def line_of(handler: logging.Handler, record: logging.LogRecord) -> str:
    """The line of a record that must have been rendered here, and be Python's."""
    got = sent(handler, record)
    assert got.kind == LINE
    expected = handler.format(record).encode("utf-8", "backslashreplace").decode()
    assert got.texts["message"] == expected
    return expected


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """A test that patches a class undoes it; this one makes sure."""
    before = dict(vars(logging.Formatter)), dict(vars(logging.PercentStyle))
    yield
    assert (dict(vars(logging.Formatter)), dict(vars(logging.PercentStyle))) == before


def test_every_attribute_of_a_record_equals_the_original() -> None:
    record = make(
        "hello %s", "world", user="zoë", count=3, big=-(1 << 80), ratio=0.1, gone=None, raw=b"\x00\xff"
    )
    record.__dict__.update(flags=[True, False, None], pair=(1, "a"), nested={"a": [1, (2.5,)], 3: None})
    got = sent(handler_for("%(message)s"), record)
    original = dict(record.__dict__)
    assert got.kind == FIELDS
    assert got.texts.pop("message") == "hello world" == original.pop("message")
    for name in ("msg", "args", "exc_info", "exc_text", "stack_info"):
        original.pop(name)
    for name in ("levelno", "created", "msecs", "relativeCreated", "lineno", "thread", "process"):
        assert (type(getattr(got, name)), getattr(got, name)) == (type(original[name]), original.pop(name))
    assert got.attributes == {name: original.pop(name) for name in list(got.attributes)}
    assert type(got.attributes["flags"][0]) is bool
    assert type(got.attributes["pair"]) is tuple
    assert got.texts == {name: value for name, value in original.items() if value is not None}


def test_msg_and_args_travel_where_a_format_names_them() -> None:
    got = sent(handler_for("%(msg)s|%(args)s"), make("%s and %s", 1, "b"))
    assert got.kind == FIELDS
    assert got.attributes == {"msg": "%s and %s", "args": (1, "b")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", None),
        ("name", 5),
        ("levelno", "20"),
        ("levelno", True),
        ("levelno", 1 << 40),
        ("lineno", -1),
        ("lineno", None),
        ("created", 5),
        ("msecs", 3),
        ("thread", -1),
        ("thread", None),
        ("process", "x"),
        ("process", 1 << 40),
        ("levelname", ["L"]),
        ("threadName", None),
        ("relativeCreated", None),
    ],
)
def test_a_standard_attribute_of_an_odd_type_keeps_its_type(name: str, value: object) -> None:
    fmt = f"%({name})s %({name})r"
    record = make("x", **{name: value})
    got = sent(handler_for(fmt), record)
    if got.kind == LINE:
        assert got.texts["message"] == handler_for(fmt).format(record)
        return
    for place in (got.attributes, got.texts):
        if name in place:
            assert (type(place[name]), place[name]) == (type(value), value)
            return
    assert getattr(got, name, None) is None or value is not None


class Text(str):
    def __str__(self) -> str:
        return "other"


class Level(enum.IntEnum):
    HIGH = 5


class Real(float):
    pass


class Stateful:
    calls = 0

    def __str__(self) -> str:
        Stateful.calls += 1
        return f"call {Stateful.calls}"


@pytest.mark.parametrize(
    "value", [Text("a"), Level.HIGH, Real(1.5), decimal.Decimal("1.10"), {1, 2}, object, [Text("b")]]
)
def test_a_value_that_only_python_can_print_is_opaque_and_rendered_here(value: object) -> None:
    record = make("x", user=value)
    assert type(sent(handler_for("%(message)s"), record).attributes["user"]) is Opaque
    line_of(handler_for("%(message)s %(user)s"), record)
    line_of(handler_for("{message} {user!r}", style="{"), record)


def test_a_value_too_deep_or_cyclic_or_large_is_opaque() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    got = sent(handler_for(), make("x", cyclic=cyclic, deep=deep, large="y" * MIB, small=1))
    assert [type(got.attributes[name]) for name in ("cyclic", "deep", "large")] == [Opaque] * 3
    assert got.attributes["small"] == 1
    line_of(handler_for("%(cyclic)s"), make("x", cyclic=cyclic))


def test_attributes_have_a_share_of_the_record_and_the_rest_is_left_out() -> None:
    extra = {f"key{number}": "v" * 50 for number in range(1000)}
    encoded = _native.encode(handler_for(), make("x", **extra), 4096)
    assert len(encoded) <= 4096
    assert 5 < len(Record.decode(encoded)[0].attributes) < 40
    encoded = _native.encode(handler_for("%(key999)s"), make("x", **extra), 4096)
    assert Record.decode(encoded)[0].texts["message"] == "v" * 50


def test_an_overridden_get_message_is_honoured() -> None:
    class Braces(logging.LogRecord):
        def getMessage(self) -> str:
            return str(self.msg).format(*self.args)  # type: ignore[misc]

    record = Braces("n", 10, "p", 1, "a {} b", (3,), None)
    got = sent(handler_for("%(message)s"), record)
    assert (got.kind, got.texts["message"], record.message) == (FIELDS, "a 3 b", "a 3 b")


def test_a_patched_get_message_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.LogRecord, "getMessage", lambda self: "patched")
    assert sent(handler_for(), make("x")).texts["message"] == "patched"


def test_a_get_message_that_gives_no_str_keeps_its_type() -> None:
    class Odd(logging.LogRecord):
        def getMessage(self) -> Any:
            return 7

    record = Odd("n", 10, "p", 1, "a", (), None)
    got = sent(handler_for("%(message)s"), record)
    assert "message" not in got.texts or got.kind == LINE
    assert got.kind == LINE or got.attributes["message"] == 7


def test_a_record_class_with_properties_is_rendered_here() -> None:
    class Redacted(logging.LogRecord):
        @property
        def exc_text(self) -> str:
            return "redacted"

        @exc_text.setter
        def exc_text(self, value: object) -> None:
            pass

    assert line_of(handler_for("%(name)s"), Redacted("n", 10, "p", 1, "a", (), None)) == "n\nredacted"


def test_get_message_raising_is_raised() -> None:
    with pytest.raises(TypeError):
        _native.encode(handler_for(), make("%d", "x"), MIB)


@pytest.mark.parametrize("fmt", ["%(nope)s", "%(message)d", "%(exc_info).1f"])
def test_what_raises_in_python_raises_here(fmt: str) -> None:
    handler = handler_for(fmt)
    with pytest.raises((ValueError, TypeError)) as expected:
        handler.format(make("x"))
    with pytest.raises(type(expected.value)) as got:
        _native.encode(handler, make("x"), MIB)
    assert str(got.value) == str(expected.value)


def test_an_attribute_that_the_record_lacks_raises_as_in_python() -> None:
    record = make("x")
    del record.__dict__["threadName"]
    with pytest.raises(ValueError, match="threadName"):
        _native.encode(handler_for("%(threadName)s"), record, MIB)
    assert line_of(handler_for("%(threadName)s", defaults={"threadName": "none"}), record) == "none"


def test_lone_surrogates_never_raise_and_become_escapes() -> None:
    for record in (make(f"a{LONE}b"), make("a", user=LONE), make("a", **{LONE: 1}), make("a", name=LONE)):
        assert sent(handler_for("%(message)s %(name)s"), record).texts["message"].startswith("a")
    assert line_of(handler_for("%(message)-8s|"), make(f"a{LONE}b")) == "a\\udc80b     |"
    assert line_of(handler_for(f"%(message)s{LONE}"), make("a")) == "a\\udc80"


def test_the_message_is_set_as_format_does() -> None:
    record = make("hello %s", "you")
    _native.encode(handler_for(), record, MIB)
    assert record.message == "hello you"


def raised(text: str = "boom") -> Any:
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


def test_the_traceback_is_made_once_and_kept_in_the_record() -> None:
    record = make("x", exc_info=raised())
    got = sent(handler_for("%(message)s"), record)
    assert got.kind == FIELDS
    assert got.texts["exc_text"] == record.exc_text
    assert "ValueError: boom" in (record.exc_text or "")
    record.exc_text = "cached"
    assert sent(handler_for("%(message)s"), record).texts["exc_text"] == "cached"


def test_no_exception_and_exc_info_true_is_what_python_prints() -> None:
    record = make("x", exc_info=(None, None, None))
    assert sent(handler_for(), record).texts["exc_text"] == "NoneType: None"


def test_a_format_that_shows_exc_text_sees_it_as_it_was_before() -> None:
    handler = handler_for("%(message)s %(exc_text)s")
    record = make("x", exc_info=raised())
    expected = handler.format(make("x", exc_info=record.exc_info))
    got = sent(handler, record)
    assert (got.kind, got.texts["message"]) == (LINE, expected)
    assert expected.startswith("x None\n")


def test_an_empty_text_is_not_none() -> None:
    assert line_of(handler_for("%(exc_text)r"), make("x", exc_text="")) == "''"
    for name in ("stack_info", "name", "threadName"):
        got = sent(handler_for(f"%({name})r"), make("x", **{name: ""}))
        assert (got.kind, got.texts[name]) == (FIELDS, "")
    got = sent(handler_for("%(message)s"), make("x", exc_text="", exc_info=raised()))
    assert "boom" in got.texts["exc_text"]


def test_stack_info_travels() -> None:
    assert sent(handler_for(), make("x", stack_info="Stack:\n  here")).texts["stack_info"] == "Stack:\n  here"
    with pytest.raises(TypeError):
        _native.encode(handler_for(), make("x", stack_info=5), MIB)


def test_the_offset_from_utc_follows_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        for zone, winter, summer in (
            ("UTC", 0, 0),
            ("Europe/Berlin", 3600, 7200),
            ("Asia/Kolkata", 19800, 19800),
        ):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            for created, offset_s in ((1_700_000_000.0, winter), (1_690_000_000.0, summer)):
                assert sent(handler_for(), make("x", created=created)).utc_offset_s == offset_s
    finally:
        monkeypatch.undo()
        time.tzset()


# Who renders.


def is_rendered_here(handler: logging.Handler) -> bool:
    return sent(handler, make("x", created=1_700_000_000.0)).kind == LINE


@pytest.mark.parametrize(
    ("fmt", "options"),
    [
        (None, {}),
        ("%(asctime)s %(levelname)-8s %(name)s %(message)s", {}),
        ("%(asctime)s", {"datefmt": "%H:%M:%S"}),
        ("{asctime} {levelname:>8} {message!r}", {"style": "{"}),
        ("$asctime ${message}", {"style": "$"}),
        ("%(message)s %(user)s", {"defaults": {"user": "nobody", "n": 1, "f": 1.5, "b": True, "none": None}}),
    ],
)
def test_the_server_renders_what_it_can(fmt: str | None, options: dict[str, Any]) -> None:
    assert not is_rendered_here(handler_for(fmt, **options))


def test_a_converter_of_time_is_described_and_any_other_rendered_here() -> None:
    handler = handler_for("%(asctime)s")
    formatter = handler.formatter
    assert formatter is not None
    formatter.converter = time.gmtime
    assert not is_rendered_here(handler)
    formatter.converter = lambda *_: time.gmtime(0)
    assert line_of(handler, make("x")).startswith("1970-01-01")


class Subclass(logging.Formatter):
    pass


@pytest.mark.parametrize(
    ("fmt", "options"),
    [
        ("%(asctime)s", {"datefmt": "%Z"}),
        (f"{LONE}%(message)s", {}),
        ("%(message)s", {"defaults": {"user": [1]}}),
        ("%(message)s", {"defaults": {"user": (1,)}}),
        ("%(message)s", {"defaults": {"user": float("nan")}}),
        ("%(message)s", {"defaults": {"user": b"x"}}),
    ],
)
def test_what_the_server_cannot_know_is_rendered_here(fmt: str, options: dict[str, Any]) -> None:
    assert is_rendered_here(handler_for(fmt, **options))


def test_a_subclass_of_formatter_or_an_overridden_format_is_rendered_here() -> None:
    handler: logging.Handler = Plain()
    handler.setFormatter(Subclass("%(message)s"))
    assert is_rendered_here(handler)
    assert line_of(Shouting(), make("quiet")) == "QUIET"
    handler = handler_for("%(message)s")
    handler.format = lambda record: "mine"  # type: ignore[method-assign]
    assert line_of(handler, make("x")) == "mine"


@pytest.mark.parametrize(
    "method", ["format", "formatTime", "formatException", "formatStack", "formatMessage", "usesTime"]
)
def test_a_patched_method_of_the_formatter_is_rendered_here(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = handler_for("%(asctime)s %(message)s")
    assert not is_rendered_here(handler)
    original = getattr(logging.Formatter, method)
    monkeypatch.setattr(logging.Formatter, method, lambda *args: original(*args))
    assert is_rendered_here(handler)
    monkeypatch.undo()
    assert not is_rendered_here(handler)
    monkeypatch.setattr(handler.formatter, method, lambda *args: original(handler.formatter, *args))
    assert is_rendered_here(handler)


@pytest.mark.parametrize("name", ["format", "_format", "usesTime"])
def test_a_patched_style_is_rendered_here(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = handler_for("%(asctime)s %(message)s")
    original = getattr(logging.PercentStyle, name)
    monkeypatch.setattr(logging.PercentStyle, name, lambda *args: original(*args))
    assert is_rendered_here(handler)


def test_a_patched_handler_format_is_rendered_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.Handler, "format", lambda self, record: "patched")
    assert line_of(handler_for(), make("x")) == "patched"


def test_a_changed_template_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = handler_for("$message", style="$")
    assert handler.formatter is not None
    handler.formatter._style._tpl = string.Template("other $message")  # type: ignore[attr-defined]
    assert line_of(handler, make("x")) == "other x"


@pytest.fixture
def german(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process with a German LC_TIME: the system's, or one compiled for this test."""
    before = locale.setlocale(locale.LC_TIME)
    try:
        locale.setlocale(locale.LC_TIME, "de_DE.UTF-8")
    except locale.Error:
        command = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "de_DE.UTF-8")]
        try:
            subprocess.run(command, capture_output=True, check=False)
            monkeypatch.setenv("LOCPATH", str(tmp_path))
            locale.setlocale(locale.LC_TIME, "de_DE.UTF-8")
        except (OSError, locale.Error) as error:
            pytest.skip(f"no German locale, and none can be made ({error}; package locales)")
    yield
    locale.setlocale(locale.LC_TIME, before)


def test_locale_names_are_rendered_here_outside_the_c_locale(german: None) -> None:
    assert is_rendered_here(handler_for("%(asctime)s", datefmt="%a %d %b"))
    assert is_rendered_here(handler_for("%(asctime)s", datefmt="%c"))
    assert not is_rendered_here(handler_for("%(asctime)s", datefmt="%Y-%m-%d"))


def test_locale_names_are_the_servers_in_the_c_locale() -> None:
    assert not is_rendered_here(handler_for("%(asctime)s", datefmt="%a %d %b"))


def test_a_format_that_gives_no_str_is_an_error() -> None:
    handler = handler_for()
    handler.format = lambda record: None  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(TypeError, match="format"):
        _native.encode(handler, make("x"), MIB)


# Length.


@pytest.mark.parametrize("limit", [1024, 5000, MIB])
@pytest.mark.parametrize("text", ["x", "€", "🎈"])
def test_a_long_message_is_cut_at_a_character_and_says_how_much_is_missing(limit: int, text: str) -> None:
    message = text * (2 * MIB)
    encoded = _native.encode(handler_for(), make(message), limit)
    assert limit - 200 <= len(encoded) <= limit
    got = Record.decode(encoded)[0].texts["message"]
    head, _, tail = got.partition("…")
    missing = int(tail.removeprefix("[cut: ").removesuffix(" bytes]"))
    assert tail == f"[cut: {missing} bytes]"
    assert head == message[: len(head)]
    assert len(head.encode()) + missing == len(message.encode())


def test_everything_long_together_still_obeys_the_limit() -> None:
    attributes = {
        name: name * MIB for name in ("name", "pathname", "module", "funcName", "threadName", "user")
    }
    record = make("m" * MIB, exc_text="e" * MIB, stack_info="s" * MIB, **attributes)
    for limit in (1024, 4096, 65536):
        encoded = _native.encode(handler_for("%(message)s"), record, limit)
        assert len(encoded) <= limit
        got = Record.decode(encoded)[0]
        assert all(got.texts[name].startswith(name[0]) for name in ("message", "exc_text", "stack_info"))


def test_a_short_message_is_kept_beside_a_long_traceback() -> None:
    got = sent(handler_for(), make("short", exc_text="e" * MIB), 4096)
    assert got.texts["message"] == "short"
    assert got.texts["exc_text"].endswith(" bytes]")


def test_a_long_line_rendered_here_is_cut_too() -> None:
    handler = handler_for("%(message)s", handler=Shouting())
    encoded = _native.encode(handler, make("x" * MIB), 4096)
    assert len(encoded) <= 4096
    assert Record.decode(encoded)[0].texts["message"].startswith("XXX")


# What runs user code.


def test_a_str_that_logs_finds_everything_free() -> None:
    inner = handler_for()
    seen = []

    class Logs:
        def __str__(self) -> str:
            seen.append(sent(inner, make("inner")).texts["message"])
            return "outer"

    assert sent(inner, make("%s", Logs())).texts["message"] == "outer"
    assert seen == ["inner"]


def test_the_message_is_made_once_where_the_server_renders() -> None:
    Stateful.calls = 0
    assert sent(handler_for("%(message)s"), make("%s", Stateful())).texts["message"] == "call 1"
    assert sent(Shouting(), make("%s", Stateful())).texts["message"] == "CALL 2"
    opaque = make("%s", Stateful(), when=datetime.date(2020, 1, 1))
    assert sent(handler_for("%(message)s %(when)s"), opaque).texts["message"] == "call 3 2020-01-01"


def test_other_handlers_of_the_library_are_not_disturbed() -> None:
    stream = io.StringIO()
    other = logging.StreamHandler(stream)
    record = make("hello %s", "you")
    _native.encode(handler_for("%(asctime)s"), record, MIB)
    other.handle(record)
    assert stream.getvalue() == "hello you\n"
