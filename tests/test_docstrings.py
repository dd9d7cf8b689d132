"""Every public name of the package has a docstring and complete annotations; what it raises and waits for is docs/python.md's."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import logserv
import pytest

MODULES = [
    "logserv",
    *(f"logserv.{module.name}" for module in pkgutil.iter_modules(logserv.__path__) if module.name[0] != "_"),
]


def members_of(of: type) -> dict[str, Any]:
    """What a class has of this package's own, from its private bases, too."""
    made: dict[str, Any] = {}
    for each in reversed(of.__mro__):
        if each.__module__.startswith("logserv"):
            made.update(vars(each))
    return made


def public_names() -> Iterator[tuple[str, Any]]:
    """Every public class, function and method, each by its full name."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value):
                yield f"{module_name}.{name}", value
                for own, member in members_of(value).items():
                    is_code = isinstance(member, (FunctionType, classmethod, staticmethod, property))
                    if is_code and (not own.startswith("_") or own == "__init__"):
                        yield f"{module_name}.{name}.{own}", member
            elif inspect.isfunction(value):
                yield f"{module_name}.{name}", value


NAMES = dict(public_names())


def function_of(value: Any) -> FunctionType | None:
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "__func__", value)
    return value if isinstance(value, FunctionType) else None


def test_the_public_names_are_found() -> None:
    assert {
        "logserv.client.UnixClient.flush",
        "logserv.server.LogServer.close",
        "logserv.ProtocolError",
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_a_docstring(name: str) -> None:
    # A constructor is described by its class.
    described = NAMES[name.removesuffix(".__init__")]
    text = (getattr(described, "__doc__", None) or "").strip()
    assert len(text.split()) >= 3, f"{name} has no docstring that says something"


@pytest.mark.parametrize("name", [name for name, value in NAMES.items() if function_of(value)])
def test_a_public_function_is_annotated_in_full(name: str) -> None:
    function = function_of(NAMES[name])
    assert function is not None
    signature = inspect.signature(function)
    parameters = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    missing = [each.name for each in parameters if each.annotation is each.empty]
    if signature.return_annotation is signature.empty:
        missing.append("return")
    assert missing == [], f"{name} lacks annotations"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is(name: str) -> None:
    assert len((importlib.import_module(name).__doc__ or "").split()) >= 5
