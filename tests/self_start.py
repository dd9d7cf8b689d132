"""A user's own server as a test sees it: a socket of its own, the server's processes, and their end.

In: a directory and the program. Out: the environment for processes that log, and which servers run. Nothing here starts a
server; that is what the tests are about. Not here: servers that a test starts itself (``running.py``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from running import wait_for


def command_line(pid: int) -> list[str]:
    """What a process was started with; nothing when it has gone, or is a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").split("\0")[:-1]
    return []


def processes() -> list[int]:
    """All that are visible."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


class Personal:
    """The place of one personal server."""

    def __init__(self, program: Path, directory: Path, idle_exit_s: float = 60.0) -> None:
        self.program = program
        self.socket = directory / "own" / "s.sock"
        self.env = {
            "LOGSERV_SOCKET": str(self.socket),
            "LOGSERV_IDLE_EXIT_S": str(idle_exit_s),
            "LOGSERV_PROGRAM": str(program),
            "XDG_STATE_HOME": str(directory / "state"),
        }
        (directory / "state").mkdir()

    def servers(self) -> list[int]:
        """The servers that run on the socket; not the programs that start one."""
        return [
            pid
            for pid in processes()
            if (line := command_line(pid))[1:2] == ["serve"]
            and str(self.socket) in line
            and "--detach" not in line
        ]

    def kill(self) -> int:
        """SIGKILL to the server; returns how many there were."""
        running = self.servers()
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not set(self.servers()) & set(running), "the killed server to be gone")
        return len(running)

    def wait_until_gone(self, timeout_s: float) -> float:
        """Returns after how many seconds no server was left."""
        started = time.monotonic()
        wait_for(lambda: not self.servers(), "the server to leave", timeout_s)
        return time.monotonic() - started

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the program about this server, such as ``stop``."""
        return subprocess.run(
            [self.program, arguments[0], "--unix", self.socket, *arguments[1:]],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    @property
    def said(self) -> str:
        """The servers' own log."""
        path = Path(self.env["XDG_STATE_HOME"], "logserv/server.log")
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def end(self) -> None:
        """Nothing outlives the test, whatever has come of it."""
        for _ in range(3):
            self.kill()


@dataclass
class Script:
    """How a script went."""

    code: int
    out: str
    err: str
    seconds: float


PREAMBLE = """
import logging, os, signal, sys, threading, time
from logserv import handlers

def make(filename="app.log", name="RotatingFileHandler", **arguments):
    handler = getattr(handlers, name)(filename, **arguments)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler

log = logging.getLogger("app")
log.setLevel(logging.DEBUG)
log.propagate = False
"""


def start_script(
    own: Personal,
    cwd: Path,
    script: str,
    env: Mapping[str, str] | None = None,
    python: str | Path = sys.executable,
) -> subprocess.Popen[str]:
    """Starts a Python script that begins with :data:`PREAMBLE`, in the directory `cwd`."""
    return subprocess.Popen(
        [python, "-c", PREAMBLE + textwrap.dedent(script)],
        cwd=cwd,
        env={**os.environ, **own.env, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(
    own: Personal, cwd: Path, script: str, env: Mapping[str, str] | None = None, timeout_s: float = 60.0
) -> Script:
    """Runs one to its end."""
    started = time.monotonic()
    process = start_script(own, cwd, script, env)
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"a script did not end; it printed:\n{out}\n{err}") from None
    return Script(process.returncode, out, err, time.monotonic() - started)
