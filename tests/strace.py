"""Strikes a program at its N-th system call, and reads what it was about to write.

In: the number of the call, and where to keep the trace. Out: the command that goes before the program's, whether the
call was reached, and the write that the kill cut short. The kill comes before the call is carried out; what a kill in
the middle of it would have left, a part of the bytes, is put there by :meth:`Cut.write_part`.
Not here: which runs are made (``test_crash_points.py``).
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

# All that changes a file or tells somebody of it, and opening, which is what recovery consists of.
CALLS = "/^(write|writev|pwrite64|pwritev2?|rename.*|unlink.*|link.*|openat.*|ftruncate|fallocate|fsync|fdatasync)$"
WRITES = "/^(write|pwrite64|writev|pwritev2?)$"
_TEXT_MAX = 4 << 20
_WRITE = re.compile(
    rb'\d+ +p?write(?:64)?\(\d+<([^>]*)>, "((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?, (\d+)(?:, (\d+))?'
)


def required() -> str:
    """The program; the test is not run where there is none, or it may not trace."""
    path = shutil.which("strace")
    if path is None:
        pytest.skip("no strace; install it with: apt-get install strace")
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if scope.exists() and scope.read_text().strip() == "3":
        pytest.skip("ptrace is switched off on this machine")
    return path


def strike_at(number: int, calls: str = CALLS) -> list[str]:
    """The command that goes before a program's, to have SIGKILL strike at that call (counted in each thread)."""
    return [
        *(required(), "-f", "-qq", "-o", "/dev/null"),
        *("-e", f"trace={calls}", "-e", "signal=none", "-e", f"inject={calls}:signal=SIGKILL:when={number}"),
        "--",
    ]


def strike_at_write(number: int, file: Path, trace: Path) -> list[str]:
    """The same at the N-th write to one file, its bytes kept in `trace`."""
    return [
        *(required(), "-f", "-qq", "-o", str(trace), "-xx", "-y", "-s", str(_TEXT_MAX)),
        *("-P", str(file), "-e", f"trace={WRITES}", "-e", "signal=none"),
        *("-e", f"inject={WRITES}:signal=SIGKILL:when={number}"),
        "--",
    ]


@dataclass
class Cut:
    """A write that was about to happen."""

    file: Path
    data: bytes

    @staticmethod
    def read(trace: Path) -> Cut | None:
        """The last write that is in a trace."""
        last = None
        for line in trace.read_bytes().splitlines():
            found = _WRITE.match(line)
            if found:
                last = found
        if last is None:
            return None
        return Cut(Path(_text(last[1]).decode()), _text(last[2]))

    def write_part(self, length: int) -> None:
        """Puts the first `length` bytes behind what the file holds, as the kernel would have."""
        with self.file.open("ab", buffering=0) as file:
            file.write(self.data[:length])
            os.fsync(file.fileno())


def _text(raw: bytes) -> bytes:
    """What strace shows as hexadecimal with -xx, names of files included."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), raw)
