"""Puts the wheel into environments of a test's own, and takes it out again.

In: the one wheel in ``dist/``. Out: a Python that has it. Not here: the environment that the tests themselves run in.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def the_wheel() -> Path:
    wheels = sorted((ROOT / "dist").glob("logserv-*.whl"))
    if len(wheels) != 1:
        pytest.fail(f"expected one wheel in dist/, found {len(wheels)}; run: make wheel")
    return wheels[0]


def install(wheel: Path, *options: str | Path, python: str | Path = sys.executable) -> None:
    _pip(python, "install", "--no-index", "--no-deps", *options, wheel)


def uninstall(python: str | Path) -> None:
    _pip(python, "uninstall", "--yes", "logserv")


def _pip(python: str | Path, *arguments: str | Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python]
    done = subprocess.run([*pip, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def empty_environment(directory: Path) -> Path:
    """A virtual environment with nothing in it; its Python."""
    venv.create(directory, with_pip=False, symlinks=True)
    return directory / "bin/python"
