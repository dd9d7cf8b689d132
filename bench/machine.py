"""What the figures were measured on: the machine, the versions, the commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

from bench import servers

ROOT = Path(__file__).resolve().parent.parent


def describe(packages: list[str], place: Path) -> dict[str, Any]:
    """One flat table. `packages` are those whose versions matter; `place` is where the log files are."""
    names = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    found = re.search(r"^model name\s*: (.+)$", names, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    load = os.getloadavg()
    return {
        "processor": found[1] if found else platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory[1]) / (1 << 20), 1) if memory else None,
        "kernel": platform.release(),
        "file_system": _output("stat", "-f", "-c", "%T", str(place)),
        "load_before": [round(each, 2) for each in load],
        "python": sys.version.split()[0],
        "python_built": "PGO"
        if "-fprofile-use" in str(sysconfig.get_config_var("PY_CORE_CFLAGS"))
        else "no PGO",
        "logserv": _output(str(servers.program()), "--version"),
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d %H:%M %z"),
        **{name: _version(name) for name in packages},
    }


def _commit() -> str:
    commit = _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return commit + (" with changes" if changed else "")


def _version(name: str) -> str:
    if name == "rsyslog":  # the machine's, of no registry of Python's
        return _output("/usr/sbin/rsyslogd", "-v").partition(" (")[0] or "not installed"
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
