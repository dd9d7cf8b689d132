"""Builds logserv's wheel and sdist: the program first, then the extension, both into one wheel (PEP 517).

maturin builds either an extension or a program per wheel. We want both, so the program is built here with cargo,
laid into ``logserv.data/scripts``, and maturin, told in pyproject.toml that this is the data directory, does the rest.
The sdist is made here too: it holds the whole workspace and its lock file, so that what is built from it is the same.

Not here: which Rust and which Python; ``make`` and ``tools/prerequisites.sh`` check those. The wheel without machine code: ``pure_wheel.py``.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import maturin
import pure_wheel

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "logserv.data"
RUST_MISSING = (
    "logserv's program and extension are built with Rust, and `cargo` was not found. Install it with:\n"
    "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
)

# glibc versions that manylinux tags exist for and that maturin knows; ours is the lowest that both halves run on.
MANYLINUX_GLIBC_MINORS = (17, 24, 26, 27, 28, 31, 34, 35, 36, 37, 38, 39, 40)

# What the sdist holds. A list of what is in, not of what is out: nothing of a developer's directory leaks into it.
SDIST = (
    "Cargo.toml",
    "Cargo.lock",
    "pyproject.toml",
    "Makefile",
    "clippy.toml",
    "rustfmt.toml",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE.md",
    "bench",
    "build_backend",
    "crates",
    "docs",
    "examples",
    "fuzz",
    "python",
    "tests",
    "tools",
    ".ci",
)
NOT_IN_SDIST = re.compile(
    r"(^|/)(__pycache__|target|\.[^/]*_cache|\.hypothesis)(/|$)|\.(so|pyc|pyo)$|\.profraw$"
)

Settings = Mapping[str, Any] | None


def _cargo() -> str:
    cargo = os.environ.get("CARGO") or shutil.which("cargo")
    if cargo is None:
        sys.exit(RUST_MISSING)
    return cargo


def _target_directory() -> Path:
    return ROOT / Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def _build_program(cargo: str) -> Path:
    """Builds ``logserv`` in the release profile and lays it where maturin takes a wheel's scripts from."""
    arguments = ["--release", "--locked", "--package", "logserv", "--message-format", "short"]
    command = [cargo, "build", *arguments]
    print("Running `" + " ".join(command) + "`", flush=True)
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        sys.exit("building the program failed; the reason stands above")
    program = _target_directory() / "release" / "logserv"
    scripts = DATA / "scripts"
    shutil.rmtree(DATA, ignore_errors=True)
    scripts.mkdir(parents=True)
    shutil.copy2(program, scripts / "logserv")
    return program


def _glibc_minor(binary: Path) -> int | None:
    """The minor version of the glibc 2.x that `binary` needs, read from its symbol versions; None without glibc."""
    found = re.findall(rb"\0GLIBC_2\.(\d+)(?:\.\d+)?(?=\0)", binary.read_bytes())
    return max(int(minor) for minor in found) if found else None


def _compatibility(program: Path) -> list[str]:
    """The manylinux tags to try, lowest first. maturin looks at the extension alone, so the program is looked at here."""
    needed = _glibc_minor(program)
    if needed is None:
        return ["off"]
    return [f"manylinux_2_{minor}" for minor in MANYLINUX_GLIBC_MINORS if minor >= needed][:3] + ["off"]


def _build(kind: str, wheel_directory: str, settings: Settings, metadata_directory: str | None) -> str:
    cargo = _cargo()
    program = _build_program(cargo)
    build = {"wheel": maturin.build_wheel, "editable": maturin.build_editable}[kind]
    tags = _compatibility(program)
    for tag in tags:
        arguments = [
            "--compatibility",
            tag,
            *maturin.get_maturin_pep517_args(settings),
        ]
        try:
            return str(build(wheel_directory, {"maturin.build-args": arguments}, metadata_directory))
        except SystemExit:
            if tag == tags[-1]:
                raise
            print(f"the extension does not fit {tag}; trying the next tag", flush=True)
    raise AssertionError("unreachable: `off` is always tried last")


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """PEP 517: one wheel for CPython 3.11 and later, with the extension and the program; elsewhere one with neither."""
    if pure_wheel.is_wanted(config_settings):
        return pure_wheel.build(wheel_directory)
    return _build("wheel", wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """PEP 660: `pip install --editable .`; the Rust parts are as of the time of the call."""
    if pure_wheel.is_wanted(config_settings):
        return pure_wheel.build(wheel_directory, editable=True)
    return _build("editable", wheel_directory, config_settings, metadata_directory)


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    """PEP 517: the metadata alone."""
    if pure_wheel.is_wanted(config_settings):
        return pure_wheel.prepare_metadata(metadata_directory)
    DATA.mkdir(exist_ok=True)  # maturin wants the data directory that pyproject.toml names
    return str(maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings))


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """PEP 517: nothing beyond pyproject.toml. Rust is not fetched behind the user's back; its absence is told."""
    return []


get_requires_for_build_editable = get_requires_for_build_wheel
get_requires_for_build_sdist = get_requires_for_build_wheel


def _sdist_files() -> Iterator[Path]:
    for name in SDIST:
        path = ROOT / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and not NOT_IN_SDIST.search(file.relative_to(ROOT).as_posix()):
                yield file


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """PEP 517: all sources, the lock file and the tests; the same bytes from the same sources."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["workspace"]["package"]["version"]
    base = f"logserv-{version}"
    with tempfile.TemporaryDirectory() as directory:
        dist_info = prepare_metadata_for_build_wheel(directory, config_settings)
        metadata = (Path(directory) / dist_info / "METADATA").read_bytes()
    target = Path(sdist_directory) / f"{base}.tar.gz"
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        _add(archive, f"{base}/PKG-INFO", metadata, 0o644)
        for file in _sdist_files():
            mode = 0o755 if os.access(file, os.X_OK) else 0o644
            _add(archive, f"{base}/{file.relative_to(ROOT).as_posix()}", file.read_bytes(), mode)
    return target.name


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    archive.addfile(entry, io.BytesIO(content))
