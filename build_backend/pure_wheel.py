"""Makes the wheel that has no machine code: what other systems than Linux get, and free-threaded or foreign interpreters.

In: the sources below ``python/`` and pyproject.toml. Out: ``logserv-VERSION-py3-none-any.whl``, the same bytes from the same sources.
Needs no Rust: on a laptop there may be none. What the package does without its extension: docs/install.md.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SETTING = "pure"
TAG = "py3-none-any"
SUFFIXES = (".py", ".pyi", ".typed")


def is_wanted(settings: Mapping[str, Any] | None) -> bool:
    """Whether this wheel is asked for (``--config-settings=pure=true``), or is the only one that this Python can use."""
    return (
        str((settings or {}).get(SETTING, "")).lower() in ("1", "true", "yes")
        or sys.platform != "linux"
        or sys.implementation.name != "cpython"
        or bool(sysconfig.get_config_var("Py_GIL_DISABLED"))  # abi3 has no meaning there yet
    )


def build(directory: str, *, editable: bool = False) -> str:
    """Makes the wheel in `directory`; returns its name. An editable one only names the sources."""
    if editable:
        files = {"logserv.pth": f"{ROOT / 'python'}\n".encode()}
    else:
        package = ROOT / "python" / "logserv"
        files = {
            f"logserv/{path.relative_to(package).as_posix()}": path.read_bytes()
            for path in sorted(package.rglob("*"))
            if path.suffix in SUFFIXES or path.name == "py.typed"
        }
    info = dist_info_name()
    files |= {f"{info}/{name}": content for name, content in dist_info().items()}
    rows = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = ("\n".join([*rows, f"{info}/RECORD,,"]) + "\n").encode()
    name = f"{info.removesuffix('.dist-info')}-{TAG}.whl"
    with zipfile.ZipFile(Path(directory) / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path)  # dated 1980
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return name


def prepare_metadata(directory: str) -> str:
    """PEP 517: the metadata alone."""
    target = Path(directory) / dist_info_name()
    for name, content in dist_info().items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return target.name


def dist_info_name() -> str:
    """The name of the directory with the metadata."""
    return f"logserv-{_version()}.dist-info"


def dist_info() -> dict[str, bytes]:
    """The files in it, without RECORD."""
    wheel = f"Wheel-Version: 1.0\nGenerator: logserv\nRoot-Is-Purelib: true\nTag: {TAG}\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    licenses = {f"licenses/{name}": (ROOT / name).read_bytes() for name in project["license-files"]}
    return {"METADATA": _metadata(project).encode(), "WHEEL": wheel.encode(), **licenses}


def _metadata(project: Mapping[str, Any]) -> str:
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {_version()}",
        *(f"Classifier: {classifier}" for classifier in project["classifiers"]),
        *(f"License-File: {name}" for name in project["license-files"]),
        f"Summary: {project['description']}",
        f"Keywords: {','.join(project['keywords'])}",
        f"Author: {', '.join(author['name'] for author in project['authors'])}",
        f"License-Expression: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
        "Description-Content-Type: text/markdown; charset=UTF-8; variant=GFM",
    ]
    text: str = (ROOT / project["readme"]).read_text("utf-8")
    return "\n".join(lines) + "\n\n" + text


def _version() -> str:
    return str(tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["workspace"]["package"]["version"])


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
