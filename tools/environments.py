"""Finds the Pythons of this machine and keeps one virtual environment for each, with the wheel in it.

In: the requirements files, and the wheel in ``dist/``. Out: ``.venvs/tools`` (builds, lints) and ``.venvs/3.x`` (tests).
An environment is left alone while nothing it was made from has changed. Standard library only: this runs before
anything is installed.

Usage: environments.py tools | tests | newest | list      (prints one line per environment: its name and its Python)
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / ".venvs"
SUPPORTED_MINORS = (
    11,
    12,
    13,
)  # those that every change is tested on; 3.14 is not on the machines that we have
PROBE = "import sys, venv, ensurepip, zlib, ssl; print('%d.%d' % sys.version_info[:2], sys.executable)"


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


@functools.cache
def interpreters() -> dict[str, Path]:
    """The supported Pythons found on PATH and among pyenv's, by version, the oldest first; the first one found of each."""
    found: dict[str, Path] = {}
    for minor in SUPPORTED_MINORS:
        name = f"python3.{minor}"
        candidates = [Path(directory) / name for directory in os.get_exec_path()]
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
        candidates += sorted(pyenv.glob(f"versions/3.{minor}.*/bin/{name}"), reverse=True)
        for candidate in candidates:
            if not os.access(candidate, os.X_OK):
                continue
            # A shim of pyenv is executable and yet fails where no version is chosen: only running it tells.
            probe = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, check=False)
            version, _, executable = probe.stdout.strip().partition(" ")
            if probe.returncode == 0 and version == f"3.{minor}":
                found[version] = Path(executable).resolve()
                break
    return found


def wheel() -> Path:
    """The one wheel in ``dist/``."""
    wheels = sorted((ROOT / "dist").glob("logserv-*.whl"))
    if len(wheels) != 1:
        raise SetupError(f"expected one wheel in dist/, found {len(wheels)}; run: make wheel")
    return wheels[0]


def tools() -> Path:
    """The Python of the environment that builds and lints; it holds the tests' requirements too, for mypy."""
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    return _environment(
        "tools", base, [ROOT / "tools/requirements.txt", ROOT / "tests/requirements.txt"], None
    )


def tests(version: str, base: Path) -> Path:
    """The Python of the environment that tests the wheel on `version`; the newest one has other people's frameworks, too."""
    requirements = [ROOT / "tests/requirements.txt"]
    if version == list(interpreters())[-1]:
        requirements.append(ROOT / "tests/requirements-frameworks.txt")
    return _environment(version, base, requirements, wheel())


def compare(base: Path) -> Path:
    """The Python of the environment of `make bench-compare`: the wheel, and packages that nothing else needs."""
    return _environment("compare", base, [ROOT / "bench/compare/requirements.txt"], wheel())


def _environment(name: str, base: Path, requirements: list[Path], package: Path | None) -> Path:
    directory = VENVS / name
    python = directory / "bin/python"
    made_from = _digest(str(base).encode(), *(file.read_bytes() for file in requirements))
    stamp = directory / ".made-from"
    if not stamp.exists() or stamp.read_text() != made_from:
        print(f"setting up {directory.relative_to(ROOT)} with {base}", file=sys.stderr, flush=True)
        shutil.rmtree(directory, ignore_errors=True)
        _run([base, "-m", "venv", directory])
        _pip(python, *(f"--requirement={file}" for file in requirements))
        stamp.write_text(made_from)
    if package is not None:
        installed = _digest(package.read_bytes())
        stamp = directory / ".wheel"
        if not stamp.exists() or stamp.read_text() != installed:
            stamp.unlink(missing_ok=True)
            _pip(python, "--force-reinstall", "--no-deps", str(package))
            stamp.write_text(installed)
    return python


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _pip(python: Path, *arguments: str) -> None:
    _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])


def _run(command: list[str | Path]) -> None:
    completed = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if completed.returncode != 0:
        raise SetupError("failed: " + " ".join(str(part) for part in command))


def main(arguments: list[str]) -> int:
    """The command line."""
    try:
        match arguments:
            case ["tools"]:
                print("tools", tools())
            case ["tests"]:
                for version, base in interpreters().items():
                    print(version, tests(version, base))
            case ["newest"]:
                for version, base in list(interpreters().items())[-1:]:
                    print(version, tests(version, base))
            case ["list"]:
                for version, base in interpreters().items():
                    print(version, base)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except SetupError as error:
        print(f"environments: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
