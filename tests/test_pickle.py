"""The pickle reader and writer of logserv-wire against CPython itself, in every version of it that is at hand.

Each Python makes random values and log records (``old_pythons/pickle_samples.py``), pickles them in all its protocols
and says what it unpickles itself; ``examples/pickle_to_json.rs`` of the crate must say the same. The seed is printed;
``LOGSERV_TEST_SEED`` replays it.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SAMPLES = Path(__file__).parent / "old_pythons" / "pickle_samples.py"
VERSIONS = ["2.7", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
COUNT = 50  # values per Python, each in all protocols
HEADER_NUMBERS = {"levelno": 32, "lineno": 32, "thread": 63, "process": 32}
HEADER_FLOATS = ["created", "msecs", "relativeCreated"]
TEXTS = ["name", "levelname", "pathname", "filename", "module", "funcName", "threadName", "processName"]
TEXTS += ["taskName", "exc_text", "stack_info"]
Decoder = Callable[[str, Sequence[bytes]], list[Any]]


@pytest.fixture(scope="module")
def decode() -> Decoder:
    """Runs `pickle_to_json` in a mode over frames."""
    if shutil.which("cargo") is None:
        pytest.skip("no cargo on PATH")
    command = ["cargo", "build", "--quiet", "--locked", "-p", "logserv-wire", "--example", "pickle_to_json"]
    built = subprocess.run(
        [*command, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout
    messages = (json.loads(line) for line in built.splitlines())
    program = next(found for message in messages if (found := message.get("executable")))

    def run(mode: str, frames: Sequence[bytes]) -> list[Any]:
        done = subprocess.run([program, mode], input=framed(frames), stdout=subprocess.PIPE, check=True)
        if mode == "pickle":
            return list(unframed(done.stdout))
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> str:
    """Each Python in turn."""
    version: str = request.param
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    path = str(found[-1]) if found else shutil.which(f"python{version}")
    if path is None:
        pytest.skip(f"no Python {version} below ~/.pyenv or on PATH")
    return path


@pytest.fixture
def seed() -> int:
    number = int(os.environ.get("LOGSERV_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"LOGSERV_TEST_SEED={number}")
    return number


def framed(frames: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


def unframed(data: bytes) -> Iterable[bytes]:
    while data:
        (length,) = struct.unpack(">I", data[:4])
        yield data[4 : 4 + length]
        data = data[4 + length :]


def samples(python: str, mode: str, seed: int, path: Path, count: int = COUNT) -> list[tuple[bytes, Any]]:
    """Pickles made by `python`, each with what that Python reads from it."""
    made = subprocess.run(
        [python, str(SAMPLES), mode, str(seed), str(count), str(path)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": str(seed % 4294967295), "PYTHONIOENCODING": "utf-8"},
    ).stdout.decode()
    frames = list(unframed(path.read_bytes()))
    expected = [json.loads(line) for line in made.splitlines()]
    assert len(frames) == len(expected) > count
    return list(zip(frames, expected, strict=True))


def load(python: str, frames: Sequence[bytes], path: Path) -> list[Any]:
    """What `pickle.loads` and `makeLogRecord` of `python` take from frames."""
    path.write_bytes(framed(frames))
    done = subprocess.run([python, str(SAMPLES), "load", str(path)], stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def escaped(data: bytes) -> str:
    """UTF-8 with lone surrogates, as `backslashreplace` shows it."""
    return data.decode("utf-8", "surrogatepass").encode("utf-8", "backslashreplace").decode()


def wire(value: Any) -> Any:
    """What the wire must hold for a value that a Python has read."""
    kind, *rest = value
    if kind == "str":
        return ["str", escaped(bytes.fromhex(rest[0]))]
    if kind == "old":
        return ["str", bytes.fromhex(rest[0]).decode("utf-8", "backslashreplace")]
    if kind in ("list", "tuple"):
        return [kind, [wire(item) for item in rest[0]]]
    if kind == "dict":
        return [kind, [[wire(key), wire(item)] for key, item in rest[0]]]
    return value


def unordered(value: Any) -> Any:
    """The same with dicts sorted: Python 2 unpickles them in another order than it pickled them."""
    kind, *rest = value
    if kind in ("list", "tuple"):
        return [kind, [unordered(item) for item in rest[0]]]
    if kind == "dict":
        return [kind, sorted(([unordered(key), unordered(item)] for key, item in rest[0]), key=json.dumps)]
    return value


def attributes_of(expected: Any) -> dict[str, Any]:
    """A record's dict by name, with wire values."""
    kind, pairs = unordered(wire(expected))
    assert kind == "dict"
    return {key[1]: value for key, value in pairs}


def check_record(expected: Any, received: Any) -> None:
    """Every attribute of the record is where it belongs."""
    assert "error" not in received, received
    expected = attributes_of(expected)
    attributes = {name: unordered(value) for name, value in received["attributes"]}
    assert len(attributes) == len(received["attributes"])
    assert received["message"] == expected.pop("msg")[1]
    # Python 2's makePickle leaves `message` in; every formatter makes it anew.
    expected.pop("message", None)
    for name in ("args", "exc_info"):
        assert expected.pop(name) == ["none"]
    for name, bits in HEADER_NUMBERS.items():
        kind, *rest = expected.pop(name)
        lowest = -(1 << 31) if name == "levelno" else 0
        if kind == "int" and lowest <= int(rest[0]) < (1 << bits if lowest == 0 else 1 << 31):
            assert str(received[name]) == rest[0]
        elif kind == "none" and name in ("thread", "process"):
            assert received[name] is None
        else:
            assert attributes.pop(name) == [kind, *rest]
    for name in HEADER_FLOATS:
        value = expected.pop(name)
        if value[0] == "float":
            assert received[name] == value[1]
        else:
            assert attributes.pop(name) == value
    for name in TEXTS:
        kind, *rest = expected.pop(name, ["none"])
        if kind == "str":
            assert received[name] == rest[0]
        else:
            assert received[name] is None
            assert kind == "none" or attributes.pop(name) == [kind, *rest]
    assert attributes == expected
    assert (received["cut_bytes"], received["elided"]) == (0, 0)


def test_every_value_of_every_python_is_read_as_that_python_reads_it(
    decode: Decoder, python: str, seed: int, tmp_path: Path
) -> None:
    made = samples(python, "values", seed, tmp_path / "frames")
    for (frame, expected), received in zip(made, decode("value", [frame for frame, _ in made]), strict=True):
        assert unordered(received) == unordered(wire(expected)), frame


def test_every_record_of_every_python_keeps_all_its_attributes(
    decode: Decoder, python: str, seed: int, tmp_path: Path
) -> None:
    made = samples(python, "records", seed, tmp_path / "frames")
    for (frame, expected), received in zip(made, decode("record", [frame for frame, _ in made]), strict=True):
        try:
            check_record(expected, received)
        except AssertionError as error:
            raise AssertionError(f"{frame!r}: {error}") from error


def test_every_python_reads_the_pickles_that_are_written(
    decode: Decoder, python: str, seed: int, tmp_path: Path
) -> None:
    made = samples(sys.executable, "records", seed, tmp_path / "frames", 60)
    pickled = decode("pickle", [frame for frame, _ in made])
    assert all(pickled)
    for (_, expected), loaded in zip(made, load(python, pickled, tmp_path / "again"), strict=True):
        before, after = attributes_of(expected), attributes_of(loaded)
        before.setdefault("taskName", ["none"])
        for name in [name for name in after if after[name] != before[name]]:
            # Python 2 has no bytes of their own.
            assert python.find("/2.7") > 0
            assert textual(after[name]) == textual(before[name])
        assert after.keys() == before.keys()


def textual(value: Any) -> Any:
    """Bytes as the text that they are taken for in Python 2."""
    kind, *rest = value
    if kind == "bytes":
        return ["str", bytes.fromhex(rest[0]).decode("utf-8", "backslashreplace")]
    if kind in ("list", "tuple"):
        return [kind, [textual(item) for item in rest[0]]]
    if kind == "dict":
        return [kind, sorted(([textual(key), textual(item)] for key, item in rest[0]), key=json.dumps)]
    return value


MESSAGES: list[tuple[object, object]] = [
    ("%s and %r", ("é'", "a'\"\n\x00")),
    ("%d %i %u %5d|%-5d|%05d|%+d|% d", (1, -2, True, 42, 42, -42, 7, 7)),
    ("%x %X %o %c %.3d %%", (255, 255, 8, 8364, 7)),
    (
        "%f %.2f %8.3f|%-8.1f|%08.2f %e %E %g %G",
        (1.5, 2.005, -3.14159, 2.25, -1.5, 12345.678, 1e-7, 1e-5, 1e20),
    ),
    ("%g %g %g %g %.3g %f", (0.0, 100000.0, 1000000.0, 1.5, 123456.0, float("inf"))),
    ("%10s|%-10s|%.2s|%*d", ("ab", "ab", "abcdef", 6, 42)),
    ("%(user)s has %(n)d", {"user": "zoë", "n": 3, "unused": None}),
    ("%s", ([1, 2.5, (3,), {"a": None}, b"\xff"],)),
    ("%s %s %s", (1e16, 1e-5, 123456789.125)),
    ("plain", None),
    ("100 %", ()),
    (["no", "text"], None),
    (None, None),
    (42, None),
    ("%d", 3.99),
    ("%s", "single"),
]


@pytest.mark.parametrize(("msg", "args"), MESSAGES)
def test_a_record_pickled_as_it_is_gets_the_message_that_python_makes(
    decode: Decoder, msg: object, args: object
) -> None:
    record = logging.makeLogRecord({"msg": msg, "args": args})
    (received,) = decode("record", [pickle.dumps(record.__dict__)])
    assert received["message"] == record.getMessage()


@pytest.mark.parametrize(
    ("msg", "args"), [("%d", ("x",)), ("%s %s", (1,)), ("%q", (1,)), ("no", (1,)), ("%", (1,))]
)
def test_a_message_that_python_could_not_make_is_kept_with_its_arguments(
    decode: Decoder, msg: str, args: tuple[object, ...]
) -> None:
    (received,) = decode("record", [pickle.dumps({"msg": msg, "args": args})])
    assert received["message"] == f"{msg} {args!r}"


def test_what_is_missing_is_as_in_make_log_record(decode: Decoder) -> None:
    (received,) = decode("record", [pickle.dumps({"message": "old", "asctime": "then"})])
    made = logging.makeLogRecord({})
    for name in ["name", "levelname", "pathname", "filename", "module", "funcName", "exc_text", "stack_info"]:
        assert received[name] == getattr(made, name), name
    assert (received["message"], received["attributes"]) == ("", [])
    assert struct.unpack(">d", bytes.fromhex(received["created"])) == (1_700_000_000.5,)
    assert struct.unpack(">d", bytes.fromhex(received["msecs"])) == (500.0,)


def test_what_is_no_record_is_refused_by_name(decode: Decoder) -> None:
    values = [[1], None, 5, "x", (), {1}, int]
    received = decode("record", [pickle.dumps(value) for value in values])
    for error, name in zip(received, ["list", "None", "int", "str", "tuple", "set", "a class"], strict=True):
        assert f"expected a dict, received {name}" in error["error"]


class Marked:
    """An object whose unpickling makes a file."""

    def __init__(self, function: Any, *args: object) -> None:
        self.reduced = (function, args)

    def __reduce__(self) -> Any:
        return self.reduced


def text(data: bytes) -> bytes:
    """BINUNICODE."""
    return b"X" + struct.pack("<I", len(data)) + data


def gadgets(marker: Path) -> dict[str, bytes]:
    """Pickles that make `marker` when they are loaded, by every opcode that can run code."""
    path = str(marker).encode()
    command = b"touch " + path
    python = b"__import__('os').mkdir('" + path + b"')"
    made = {
        "REDUCE": b"cos\nsystem\n(" + text(command) + b"tR.",
        "REDUCE, protocol 0": b"cposix\nsystem\n(S'" + command + b"'\ntR.",
        "INST": b"(S'" + command + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + text(command) + b"o.",
        "OBJ of a class": b"(csubprocess\nPopen\n](" + text(b"touch") + text(path) + b"eo.",
        "NEWOBJ": b"csubprocess\ngetoutput\n(" + text(command) + b"t\x81.",
        "NEWOBJ_EX": b"csubprocess\nPopen\n(" + text(command) + b"t}" + text(b"shell") + b"\x88s\x92.",
        "STACK_GLOBAL": text(b"os") + text(b"system") + b"\x93" + text(command) + b"\x85R.",
        "STACK_GLOBAL, put together": text(b"posix")
        + text(b"system")
        + b"\x94\x93"
        + text(command)
        + b"\x85R.",
        "eval": b"c__builtin__\neval\n(V" + python + b"\ntR.",
        "exec": b"cbuiltins\nexec\n" + text(python) + b"\x85R.",
        "BUILD": b"c__main__\n__dict__\n" + text(command) + b"b.",
        "through getattr": b"cbuiltins\ngetattr\n(cos\nsys\n"
        + text(b"exit")
        + b"tR("
        + text(command)
        + b"tR.",
        "runpy": b"crunpy\nrun_path\n" + text(path) + b"\x85R.",
        "the last byte a newline": b"cos\nsystem\n(V" + command + b"\n\ntR.",
    }
    for protocol in range(6):
        for function, argument in [
            (os.system, command.decode()),
            (eval, python.decode()),
            (os.mkdir, str(marker)),
        ]:
            made[f"{function.__name__}, protocol {protocol}"] = pickle.dumps(
                Marked(function, argument), protocol
            )
    return made


def falls_for(frame: bytes, marker: Path) -> bool:
    """Whether CPython makes the marker when it unpickles `frame`, in a process of its own."""
    script = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", script], input=frame, stderr=subprocess.DEVNULL, check=False)
    if not marker.exists():
        return False
    if marker.is_dir():
        marker.rmdir()
    else:
        marker.unlink()
    return True


def test_no_gadget_runs(decode: Decoder, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    made = gadgets(marker)
    bare = {
        name: frame.removeprefix(frame[:2] if frame[:1] == b"\x80" else b"") for name, frame in made.items()
    }
    within = [b"}" + text(b"msg") + frame[:-1] + b"s." for frame in bare.values() if frame[:1] != b"\x95"]
    for mode in ("value", "record", "pickle"):
        decode(mode, [*made.values(), *within])
    for received in decode("record", within):
        assert "error" in received or "<" in received["message"], received
    assert not marker.exists()
    # They are no blanks: CPython falls for most of them.
    fell = [name for name, frame in made.items() if falls_for(frame, marker)]
    assert len(fell) >= 24, sorted(set(made) - set(fell))
