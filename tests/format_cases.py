"""Random formatters and records, and the lines that CPython makes of them: the one side of ``test_format.py``.

Run as ``python format_cases.py SEED CASES`` (``TZ`` and ``LC_ALL`` in the environment), it prints one JSON object per
case: the formatter's specification and the record as a producer would send them, in the form that the Rust example
``render`` reads, and ``expected``, the line, or null and ``raised`` where Python raises. Standard library only.
"""

from __future__ import annotations

import decimal
import enum
import json
import locale
import logging
import random
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

TEXTS = ["name", "message", "levelname", "pathname", "filename", "module", "funcName", "threadName", "processName", "taskName",
         "exc_text", "stack_info"]  # fmt: skip
INTS = {"levelno": (-(2**31), 2**31), "lineno": (0, 2**32), "thread": (0, 2**64), "process": (0, 2**32)}
FLOATS = ("created", "msecs", "relativeCreated")
#: Names whose values are nearly always numbers.
NUMBERS = (*INTS, *FLOATS, "big", "real", "big", "real")
#: What every record has, with a conversion that suits its type.
MAINSTREAM = [
    *((name, "s") for name in ("name", "levelname", "message", "pathname", "filename", "module", "funcName")),
    *((name, "s") for name in ("threadName", "processName", "message", "asctime", "asctime", "levelname")),
    *(
        (name, "d")
        for name in ("levelno", "lineno", "thread", "process", "msecs", "relativeCreated", "created")
    ),
    *((name, "f") for name in ("msecs", "relativeCreated", "created")),
    ("user", "s"),
]
WORDS = ["", "a", "server", "app.db", "naïve", "日本語", "it's", 'say "hi"', "both ' and \"", "tab\tnew\nline", "back\\slash",
         "%s %(name)s {name} $name", "😀", "\x00\x1b\x7f", "x" * 40, "a\u0301", "\u200b", "{}", "line\n"]  # fmt: skip
DIRECTIVES = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%"
MAINSTREAM_DATEFMTS = [None, None, None, "", "%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%d/%b/%Y:%H:%M:%S %z",
                       "%a %d %b %Y", "%x %X", "%c", "%H:%M:%S.%f", "%j", "%I:%M %p"]  # fmt: skip
MSEC_FORMATS = [None, "", "%s,%03d", "%s.%03d", "%s.%03.0f", "%-25s|%5d", "%s %s", "%r%g", "%s", "%s,%03d%%", "%é%s%d", "%(a)s",
                "%s %d %d", "%.4s·%x", "[%s]%+d"]  # fmt: skip


class Loud(enum.IntEnum):
    """An int that is none to look at."""

    VERY = 55


class Text(str):
    """A str that is none to look at."""

    def __str__(self) -> str:
        return "other"


class Thing:
    """An object that only Python can print, with an attribute and items."""

    real = 3

    def __repr__(self) -> str:
        return "<thing>"

    def __getitem__(self, key: object) -> object:
        return key


OTHER = [
    Thing(),
    {1},
    decimal.Decimal("1.50"),
    Loud.VERY,
    Text("text"),
    1j,
    Thing,
    bytearray(b"x"),
    frozenset(),
    range(3),
]


def encode(value: Any) -> list[Any]:
    """A value as a producer tells it: by its exact type, or opaque."""
    kind = type(value)
    if value is None:
        return ["n"]
    if kind is bool:
        return ["b", value]
    if kind is int:
        return ["i", str(value)]
    if kind is float:
        return ["f", f"{struct.unpack('<Q', struct.pack('<d', value))[0]:016x}"]
    if kind is str:
        return ["s", value]
    if kind is bytes:
        return ["y", list(value)]
    if kind in (list, tuple):
        return ["l" if kind is list else "t", [encode(item) for item in value]]
    if kind is dict:
        return ["d", [[encode(key), encode(item)] for key, item in value.items()]]
    return ["o", f"<{kind.__name__}>"]


@dataclass
class Case:
    """One formatter and one record, and whether everybody writes such ones."""

    mainstream: bool
    style: str
    fmt: str | None
    datefmt: str | None = None
    defaults: dict[str, Any] | None = None
    msec_format: str | None = "%s,%03d"
    time_format: str = "%Y-%m-%d %H:%M:%S"
    utc: bool = False
    record: dict[str, Any] = field(default_factory=dict)
    exception: BaseException | None = None

    def formatter(self) -> logging.Formatter:
        made = logging.Formatter(self.fmt, self.datefmt, self.style, validate=False, defaults=self.defaults)  # type: ignore[arg-type]
        made.default_time_format = self.time_format
        made.default_msec_format = self.msec_format
        if self.utc:
            made.converter = time.gmtime
        return made

    def specification(self) -> dict[str, Any]:
        return {
            "fmt": self.fmt,
            "datefmt": self.datefmt,
            "style": self.style,
            "defaults": self.defaults,
            "default_time_format": self.time_format,
            "default_msec_format": self.msec_format,
            "utc": self.utc,
        }

    def log_record(self) -> logging.LogRecord:
        error = self.exception
        info = None if error is None else (type(error), error, error.__traceback__)
        args = (2, "placeholders")
        made = logging.LogRecord("test", 20, "/path/to/dummy.ext", 42, "Message with %d %s", args, info)
        made.__dict__.update(self.record)
        return made


def sent(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Any]:
    """The record as a producer sends it: header numbers, texts, and attributes for all that does not fit."""
    values = dict(record.__dict__)
    fields: dict[str, Any] = {}
    attributes: list[Any] = []
    values["message"] = record.getMessage()
    exc_info = values.pop("exc_info", None)
    if exc_info and not values.get("exc_text"):
        values["exc_text"] = formatter.formatException(exc_info)
    for name, value in values.items():
        low, high = INTS.get(name, (0, 0))
        fits = type(value) is int and low <= value < high
        if fits or (name in TEXTS and (type(value) is str or value is None)):
            fields[name] = value
        elif name in FLOATS and type(value) is float:
            fields[name] = encode(value)[1]
        elif value is None and name in ("thread", "process"):
            pass
        else:
            attributes.append([name, encode(value)])
    try:
        fields["utc_offset_s"] = time.localtime(record.created).tm_gmtoff
    except (OverflowError, OSError, ValueError, TypeError):
        pass
    return {"fields": fields, "attributes": attributes}


class Generator:
    """Makes cases from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        """A value of any JSON-like type, now and then another one."""
        pick = self.random.random
        kind = self.random.choice("nbiiffssssyltdo" if depth < 3 else "nbifsy")
        if kind == "n":
            return None
        if kind == "b":
            return pick() < 0.5
        if kind == "i":
            return self.integer()
        if kind == "f":
            return self.float()
        if kind == "s":
            return self.text()
        if kind == "y":
            return self.random.choice(
                [b"", b"abc", b"it's", b"\x00\xff\n\\", b"'\"", self.random.randbytes(5)]
            )
        if kind == "o":
            return self.random.choice(OTHER)
        items = [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        if kind == "d":
            keys = [0, 1, 7, "a", "k1", "key", "", "it's", None, True, 1.0, (1, "x"), b"k", 2.5]
            return {self.random.choice(keys): item for item in items}
        return items if kind == "l" else tuple(items)

    def integer(self) -> int:
        size = self.random.choice([4, 8, 16, 31, 33, 53, 62, 63, 64, 65, 100, 200, 1100])
        number = self.random.randrange(2**size)
        return self.random.choice([number, -number, 0, 1, 65, 255, 1234567])

    def float(self) -> float:
        pick = self.random.randrange(10)
        if pick == 0:
            return self.random.choice(
                [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324, 1.7976931348623157e308]
            )
        if pick == 1:
            bits = struct.pack("<Q", self.random.randrange(2**64))
            return float(struct.unpack("<d", bits)[0])
        if pick == 2:  # ties, in every decimal
            return (self.random.randrange(-4000, 4000) + 0.5) / self.random.choice([1, 2, 4, 8, 16, 1024])
        if pick == 3:
            return float(10.0 ** self.random.randrange(-12, 24)) * self.random.choice(
                [1.0, -1.0, 9.995, 0.9999995, 1.5]
            )
        if pick == 4:
            return float(self.random.randrange(-(2**54), 2**54))
        return self.random.uniform(-1, 1) * float(10.0 ** self.random.randrange(-6, 12))

    def text(self) -> str:
        if self.random.random() < 0.7:
            return self.random.choice(WORDS)
        alphabet = "ab '\"\\{}%$\n\té€😀\x01"
        return "".join(self.random.choice(alphabet) for _ in range(self.random.randrange(9)))

    def record(self, mainstream: bool) -> dict[str, Any]:
        """Attributes to set on a record."""
        pick = self.random
        created = pick.choice(
            [
                pick.uniform(0, 2.5e9),
                pick.uniform(1.5e9, 1.8e9),
                float(pick.randrange(2**31)),
                1e9 + 0.9999999,
            ]
        )
        values: dict[str, Any] = {
            "created": created,
            "msecs": float(int((created - int(created)) * 1000)),
            "relativeCreated": pick.uniform(0, 1e7),
            "msg": pick.choice(["ready", "all %s of %d", "naïve %r", "two\nlines", "ends\n", "100%%: %s"]),
            "name": pick.choice(["root", "app.db", "über"]),
            "lineno": pick.randrange(5000),
            "thread": pick.randrange(2**48),
            "process": pick.randrange(2**22),
            "funcName": pick.choice([None, "main", "<lambda>", "größe"]),
            "levelno": (level := pick.choice([10, 20, 30, 40, 50, 25])),
            "levelname": logging.getLevelName(level),
            "taskName": pick.choice([None, "Task-1"]),
        }
        values["args"] = ("x", 3)[: values["msg"].count("%") - 2 * values["msg"].count("%%")]
        if pick.random() < 0.2:
            values["stack_info"] = pick.choice(["Stack (most recent call last):\n  File", "", "s\n"])
        if mainstream:
            values["user"] = pick.choice(
                ["zoë", "x", 7, None, True, 2.5, 1e16, [1, "a"], {"id": 5, "tags": ("a",)}, (), b"raw"]
            )
            return values
        for name in ("user", "request", "items", "a b", "n", "width"):
            if pick.random() < 0.7:
                values[name] = pick.randrange(30) if name == "width" else self.value()
        values["big"] = self.integer()
        values["real"] = self.float()
        for name in (*TEXTS, *INTS, *FLOATS):
            if pick.random() < 0.03 and name not in ("message", "exc_text", "stack_info"):
                values[name] = self.value()
        if pick.random() < 0.03:
            values["created"] = pick.choice([-1.5, 1e18, float("nan"), 0, 10**9, -1, 2.6e11, "now", None])
        if pick.random() < 0.03:
            values["exc_text"] = pick.choice(["", "cached", "cached\n", 0, 5])
        if pick.random() < 0.03:
            values["asctime" if pick.random() < 0.5 else "message"] = "stale"
        return values

    def exception(self) -> BaseException | None:
        if self.random.random() < 0.85:
            return None
        try:
            raise self.random.choice([ValueError, KeyError, Exception])(self.text())
        except Exception as error:
            return error

    def case(self) -> Case:
        """One case, six in ten of them as everybody writes them."""
        mainstream = self.random.random() < 0.6
        style = self.random.choice("%%%{{$")
        if mainstream:
            fmt = self.mainstream_format(style)
            case = Case(True, style, fmt, datefmt=self.random.choice(MAINSTREAM_DATEFMTS))
        else:
            fmt = {"%": self.percent_format, "{": self.brace_format, "$": self.dollar_format}[style]()
            case = Case(False, style, fmt, datefmt=self.datefmt())
            case.msec_format = self.random.choice(MSEC_FORMATS)
            if self.random.random() < 0.2:
                case.time_format = self.datefmt() or ""
            case.defaults = self.defaults()
        case.utc = self.random.random() < 0.3
        case.record = self.record(mainstream)
        case.exception = self.exception()
        return case

    def defaults(self) -> dict[str, Any] | None:
        if self.random.random() < 0.5:
            return None
        names = ["user", "missing", "n", "request", "levelname", "asctime", "taskName"]
        made = {name: self.json_value() for name in self.random.sample(names, 3)}
        return made if self.random.random() < 0.9 else {}

    def json_value(self, depth: int = 0) -> Any:
        """A value that JSON can carry, and that is the same when it comes back."""
        kind = self.random.choice("nbifssld" if depth < 2 else "nbifs")
        if kind == "l":
            return [self.json_value(depth + 1) for _ in range(self.random.randrange(3))]
        if kind == "d":
            return {self.text(): self.json_value(depth + 1) for _ in range(self.random.randrange(3))}
        if kind == "f":
            number = self.float()
            return number if abs(number) < float("inf") else 1.5
        if kind == "i":
            return self.random.choice([0, -1, 2**63 - 1, 2**64 - 1, -(2**63), self.random.randrange(10**6)])
        return {"n": None, "b": True, "s": self.text()}[kind]

    def literal(self, style: str) -> str:
        text = self.random.choice([" ", " - ", ":", "[", "]", "| ", "", "→", "100"])
        return text + self.random.choice(["", "", "", {"%": "%%", "{": "{{}}", "$": "$$"}[style]])

    def mainstream_format(self, style: str) -> str:
        pick = self.random
        parts = []
        for name, kind in pick.sample(MAINSTREAM, pick.randrange(1, 7)):
            if style == "%":
                width = pick.choice(["", "", "", "-8", "8", "03", "-5", ".3", "-10.5"])
                parts.append(f"%({name}){width}{pick.choice('sd') if kind == 'd' else kind}")
            elif style == "{":
                number = (
                    ["", "", ":d", ":>8", ":,d", ":05d", ":012,d"]
                    if name in INTS
                    else ["", ":.3f", ":,.1f", ":010.2f", ":g"]
                )
                text = (
                    ["", "", ":<8", ":>10", ":^12", ":.3", "!s:>8"]
                    if name not in ("user", "funcName")
                    else ["", "!s:>8"]
                )
                parts.append("{" + name + pick.choice(text if kind == "s" else number) + "}")
            else:
                parts.append(pick.choice([f"${{{name}}}", f"${name} "]))
            parts.append(self.literal(style))
        return "".join(parts)

    def name(self) -> str:
        names = [
            *TEXTS,
            *INTS,
            *FLOATS,
            "asctime",
            "user",
            "request",
            "items",
            "n",
            "width",
            "a b",
            "args",
            "msg",
            "exc_info",
        ]
        if self.random.random() < 0.3:
            return self.random.choice(NUMBERS)
        if self.random.random() < 0.5:
            return self.random.choice(
                ["user", "request", "items", "n", "message", "levelname", "created", "lineno", "asctime"]
            )
        return self.random.choice([*names, "missing", "a(b)c", ""] if self.random.random() < 0.05 else names)

    def garbage(self, text: str) -> str:
        """The text with a slip of the pen, one time in ten."""
        if self.random.random() < 0.9:
            return text
        at = self.random.randrange(len(text) + 1)
        slip = self.random.choice(
            ["%", "{", "}", "$", "(", ")", "s", "0", ".", "!", ":", "[", "]", "*", "#", "é", "\0", "%s"]
        )
        return text[:at] + slip + text[at + self.random.randrange(2) :]

    def precision(self) -> int:
        return self.random.randrange(20 if self.random.random() < 0.95 else 1500)

    def percent_format(self) -> str:
        pick = self.random
        parts = []
        for _ in range(pick.choice([1, 1, 1, 2, 3])):
            flags = "".join(pick.choice("#0- +") for _ in range(pick.choice([0, 0, 1, 1, 2, 3])))
            width = pick.choice(["", "", str(pick.randrange(30)), "*" if pick.random() < 0.05 else ""])
            precision = pick.choice(["", "", f".{self.precision()}", "."])
            size = pick.choice(["", "", "", "", "l", "h", "L"])
            letter = pick.choice("diouxXeEfFgGcrsassdf" if pick.random() < 0.97 else "bZnp%(é")
            name = self.name()
            if name in NUMBERS:
                letter = pick.choice("diueEfFgGsra" if name in (*FLOATS, "real") else "diouxXeEfFgGsra")
            elif pick.random() < 0.6:
                letter = pick.choice("sra")
            parts.append(f"%({name}){flags}{width}{precision}{size}{letter}{self.literal('%')}")
        return self.garbage("".join(parts))

    def spec(self, is_number: bool, nested: bool) -> str:
        pick = self.random
        align = pick.choice(
            ["", "", pick.choice("<>^="), pick.choice("*0é {"[: 4 if nested else 5]) + pick.choice("<>^=")]
        )
        sign = pick.choice(["", "", "", "+", "-", " "])
        flags = pick.choice(["", "", "", "z", "#"]) + pick.choice(["", "", "0"])
        width = pick.choice(["", str(pick.randrange(30)), "{width}" if nested else "12"])
        grouping = pick.choice(["", "", "", ",", "_"])
        precision = pick.choice(["", "", f".{self.precision()}", ".{width}" if nested else ""])
        letter = pick.choice(["", "", *"sdxXobcneEfFgG%"]) if pick.random() < 0.97 else pick.choice("Zr é")
        if not is_number and pick.random() < 0.8:  # one that suits a text
            sign = flags = grouping = ""
            letter = pick.choice(["", "s"])
            align = align.replace("=", "^")
        elif pick.random() < 0.7:  # one that suits every number
            precision, letter = (
                ("", pick.choice(["", "d", "x", "b"]))
                if precision == ""
                else (precision, pick.choice("eEfFgG%"))
            )
            flags, grouping = flags.replace("z", ""), "" if letter in tuple("xb") else grouping
        return align + sign + flags + width + grouping + precision + letter

    def brace_format(self) -> str:
        pick = self.random
        parts = []
        for _ in range(pick.choice([1, 1, 1, 2, 3])):
            path = "".join(
                pick.choice(["[0]", "[1]", "[a]", "[k1]", "[key]", "[-1]", "[7]", "[]", ".real", "['a']", "[01]", "[0", "[0]x"][: 7 if pick.random() < 0.8 else 13])
                for _ in range(pick.choice([0, 0, 0, 0, 0, 1, 1, 2]))
            )  # fmt: skip
            conversion = pick.choice(["", "", "", "!r", "!s", "!a", "!x" if pick.random() < 0.1 else ""])
            name = self.name()
            is_number = name in NUMBERS and not conversion
            spec = pick.choice(["", ":" + self.spec(is_number, nested=pick.random() < 0.2)])
            parts.append("{" + name + path + conversion + spec + "}" + self.literal("{"))
        return self.garbage("".join(parts))

    def dollar_format(self) -> str:
        pick = self.random
        count = pick.choice([1, 1, 2, 3])
        parts = (
            pick.choice([f"${{{self.name()}}}", f"${self.name()} "]) + self.literal("$") for _ in range(count)
        )
        return self.garbage("".join(parts))

    def datefmt(self) -> str | None:
        pick = self.random
        if pick.random() < 0.4:
            return pick.choice([None, ""])
        parts = []
        for _ in range(pick.randrange(1, 6)):
            modifier = pick.choice(["", "", "", "", "-", "_", "0", "^", "#", "E", "O", "5", "-3", "_^"])
            letter = pick.choice(DIRECTIVES) if pick.random() < 0.97 else pick.choice("fLQNiZs+é.")
            parts.append("%" + modifier + letter + pick.choice(["", " ", ":", "-", "T", "年", "'"]))
        return "".join(parts) + pick.choice(["", "", "", "", "%", "\0"][: 5 if pick.random() < 0.9 else 6])


def examples() -> list[Case]:
    """What CPython's own ``test_logging.FormatterTest`` tries, valid formats and invalid ones."""
    custom = {
        "custom": 1234,
        "foo": 12.5,
        "customfield": {"key": "v", "k1": 1},
        "w": 9,
        "p": 3,
        "bar": "b",
        "random": 1,
    }
    percent = [
        "${%(message)s}", "%(random)s", "%(asctime)s", "%(asctime)-15s", "%(asctime)#15s",
        "%(levelname)-15s - %(message) 5s - %(process)03d - %(module) - %(asctime)*.3s",
        "%(asctime)*s - %(asctime)*.3s - %(process)-34.33o", "%(process)#+027.23X", "%(foo)#.*g", "%(asctime)Z", "%(asctime)b",
        "%(asctime)*", "%(asctime)*3s", "%(asctime)_", "{asctime}", "${message}", "%(foo)#12.3*f", "%(foo)0*.8*f",
        "%(custom)s %(message)s", "%(foo)#.3g", "%(levelname)-15s - %(message) 5s - %(process)03d", "%s", "%(x", "", None,
    ]  # fmt: skip
    brace = [
        "$%{message}%$", "{random}", "{message}", "{asctime}", "{asctime!s:15}", "{asctime:15}",
        "$%{message}%$ - {asctime!a:15} - {customfield['key']}", "$%{message}%$ - {asctime!a:15} - {customfield[key]}",
        "{process:.2f} - {custom.f:.4f}", "{process:.2f} - {foo:.4f}", "{customfield!s:#<30}", "{message!r}", "{message!s}", "{message!a}",
        "{process!r:4.2}", "{process!s:<#30,.12f}- {custom:=+#30,.1d} - {module:^30}", "{process!s:{w},.{p}}", "{process!s:{w}.{p}}",
        "{foo:12.{p}}", "{foo:{w}.6}", "{foo[0].bar[1].baz}", "{foo[k1].bar[k2].baz}", "{12[k1].bar[k2].baz}", "{name-thing}",
        "%(asctime)s", "{asctime!Z:15}", "{asctime!s:#30,15f}", "{asctime!aa:15}", "{process:.2ff}", "{process:.2Z}",
        "{process!s:<##30,12g}", "{process!s:<#30#,12g}", "{process!s:{{w}},{{p}}}", "{process", "process}", "{{foo!r:4.2}", "{{foo!r:4.2}}",
        "{foo/bar}", "{foo:{{w}}.{{p}}}}", "{foo!X:{{w}}.{{p}}}", "{foo!a:random}", "{foo!a:ran{dom}", "{foo!a:ran{d}om}", "{foo.!a:d}",
        "{custom} {message}", "{customfield}", "{customfield[k1]:>5}", "{msecs:03.0f} {message}", "{}", "{0}", "{message:{w}{p}}", "",
    ]  # fmt: skip
    dollar = [
        "${message}", "$message", "$$%${message}%$$", "${random}", "${asctime}", "$asctime", "${asctime}--", "${asctime} - $message",
        "$bar $$", "$bar $$$$", "$bar $$$", "bar $", "foo $.", "{asctime}", "%(asctime)s", "foo", "${asctime", "$custom $message", "${12}", "",
    ]  # fmt: skip
    moment = {"created": 735375780.0, "msecs": 123, "pathname": "path/to/dummy.ext"}
    cases = [
        Case(False, style, fmt, defaults=defaults, utc=True, record=dict(record))
        for style, formats in (("%", percent), ("{", brace), ("$", dollar))
        for fmt in formats
        for record in (moment, {**moment, **custom})
        for defaults in (None, {"custom": "Default"}, {"Non-existing": "Default"})
    ]
    cases.append(Case(True, "%", "%(asctime)s", datefmt="%Y:%d", utc=True, record=dict(moment)))
    cases.append(
        Case(True, "%", "%(asctime)s", msec_format=None, time_format="%d/%m/%Y %H:%M:%S", record=dict(moment))
    )
    cases.append(
        Case(True, "{", "{asctime}.{msecs:03.0f} {message}", datefmt="%Y-%m-%d %H:%M:%S", record=dict(moment))
    )
    return cases


def told(case: Case) -> dict[str, Any] | None:
    """The case as JSON with Python's answer; None for what a producer cannot send at all."""
    formatter = case.formatter()
    try:
        content = sent(case.log_record(), formatter)
    except Exception:
        return None  # getMessage raises: there is no record to send
    answer: dict[str, Any] = {"expected": None, "raised": None, "mainstream": case.mainstream}
    try:
        answer["expected"] = formatter.format(case.log_record())
    except Exception as error:
        answer["raised"] = f"{type(error).__name__}: {error}"
    if not hasattr(case.log_record(), "taskName") and "taskName" in (case.fmt or ""):
        return None  # before 3.12 nothing has it; the producer sees that and renders itself
    return {"spec": case.specification(), **content, **answer}


def main(seed: int, count: int) -> None:
    locale.setlocale(locale.LC_ALL, "")
    generator = Generator(seed)
    cases = examples() + [generator.case() for _ in range(count)]
    for case in cases:
        line = told(case)
        try:
            text = json.dumps(line, ensure_ascii=False, allow_nan=False)
            text.encode()
        except (ValueError, TypeError):
            continue  # a surrogate or a NaN, which the wire and JSON do not have
        if line is not None:
            print(text)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    main(int(sys.argv[1]), int(sys.argv[2]))
