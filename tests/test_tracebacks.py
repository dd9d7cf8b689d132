"""The remembered text of an exception is Python's own, byte for byte, also when it is asked for again."""

from __future__ import annotations

import importlib
import linecache
import logging
import random
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import pytest
from logserv import _tracebacks

ExcInfo = tuple[Any, Any, Any]


def python(exc_info: ExcInfo) -> str:
    return logging.Formatter().formatException(exc_info)


def caught(function: Callable[[], object]) -> ExcInfo:
    try:
        function()
    except BaseException:
        return sys.exc_info()
    raise AssertionError("nothing was raised")


class OwnError(Exception):
    class Inner(ValueError):
        pass


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raised(error: BaseException, cause: BaseException | None = None) -> object:
    if cause is None:
        raise error
    raise error from cause


def within(first: BaseException, then: BaseException) -> object:
    try:
        raise first
    except BaseException:
        raise then  # noqa: B904 -- the context is what is wanted


def deep(depth: int, seed: random.Random) -> object:
    if depth == 0:
        return {"a": 1}["b"] + [1, 2, 3][seed.randrange(4)]
    if depth % 2:
        return deep(depth - 1, seed)
    return 1 + deep(  # type: ignore[operator]
        depth - 1,
        seed,
    )


def recursive(depth: int) -> object:
    return recursive(depth - 1) if depth else 1 / 0


def noted() -> object:
    error = ValueError("with a note")
    error.add_note("the note")
    raise error


def circular() -> object:
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    raise first


CASES: list[Callable[[], object]] = [
    lambda: raised(ValueError("plain")),
    lambda: raised(ValueError()),
    lambda: raised(OwnError("own")),
    lambda: raised(OwnError.Inner("inner\nof two lines")),
    lambda: raised(Unspeakable()),
    lambda: raised(KeyError("key")),
    lambda: raised(ValueError("ümlaut \udc80")),
    lambda: raised(ValueError("effect"), OwnError("cause without a traceback")),
    lambda: raised(ValueError("effect"), caught(lambda: raised(OwnError("cause")))[1]),
    lambda: within(ValueError("first"), OwnError("then")),
    lambda: within(OwnError("first"), SystemExit(3)),
    lambda: raised(ExceptionGroup("group", [ValueError(1), OwnError(2)])),
    lambda: undefined_name,  # type: ignore[name-defined]  # noqa: F821
    lambda: sys.no_such_thing,  # type: ignore[attr-defined]
    lambda: importlib.import_module("no_such_module_at_all"),
    lambda: compile("a b", "<text>", "exec"),
    lambda: eval("1 / 0"),  # noqa: S307
    lambda: recursive(3),
    lambda: recursive(30),
    noted,
    circular,
    *(lambda depth=depth: deep(depth, random.Random(depth)) for depth in range(8)),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_it_is_pythons(case: int) -> None:
    exc_info = caught(CASES[case])
    for _ in range(3):
        assert _tracebacks.format_exception(exc_info) == python(exc_info)


def test_what_is_no_exception_is_pythons_affair() -> None:
    for exc_info in ((None, None, None), (ValueError, ValueError("no traceback"), None)):
        assert _tracebacks.format_exception(exc_info) == python(exc_info)


def made_module(path: Path, text: str) -> ModuleType:
    path.write_text(text)
    sys.modules.pop(path.stem, None)
    importlib.invalidate_caches()
    return importlib.import_module(path.stem)


def test_a_source_that_changes_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "changing_source.py"
    module = made_module(path, "def fail():\n    return 1 / 0\n")
    exc_info = caught(module.fail)
    before = _tracebacks.format_exception(exc_info)
    assert "return 1 / 0" in before
    path.write_text("def fail():\n    return 'another text of another length'\n")
    after = _tracebacks.format_exception(exc_info)
    assert after == python(exc_info)
    assert "another text" in after
    path.unlink()
    linecache.checkcache()
    assert _tracebacks.format_exception(exc_info) == python(exc_info)


def test_a_limit_and_a_replaced_function_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    exc_info = caught(lambda: deep(6, random.Random(1)))
    monkeypatch.setattr(sys, "tracebacklimit", 2, raising=False)
    assert _tracebacks.format_exception(exc_info) == python(exc_info)
    monkeypatch.undo()

    def replaced(*arguments: Any, file: Any = None, **_keywords: object) -> None:
        (file or arguments[4]).write("replaced\n")

    monkeypatch.setattr(traceback, "print_exception", replaced)
    assert _tracebacks.format_exception(exc_info) == "replaced"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tracebacks, "PLACES_MAX", 4)
    monkeypatch.setattr(_tracebacks, "_places", {})
    for number in range(20):
        scope: dict[str, Any] = {}
        exec(f"def fail():\n    raise ValueError({number})", scope)  # noqa: S102
        exc_info = caught(scope["fail"])
        assert _tracebacks.format_exception(exc_info) == python(exc_info)
        assert len(_tracebacks._places) <= 4


def test_a_second_look_makes_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    exc_info = caught(lambda: deep(6, random.Random(1)))
    _tracebacks.format_exception(exc_info)
    looked: list[TracebackType] = []
    monkeypatch.setattr(_tracebacks, "_look", looked.append)
    assert _tracebacks.format_exception(exc_info) == python(exc_info)
    assert looked == []
