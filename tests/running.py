"""Runs the processes that the tests are about: servers and producers.

In: arguments and jobs. Out: :class:`Server` and :class:`Producers`, which know where the process listens, what it
has printed, and how it ended. Not here: fixtures (``conftest.py``), what a record is (``oracle.py``).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 20.0  # generous: a loaded machine with two cores
STOP_TIMEOUT_S = 20.0
WAIT_TIMEOUT_S = 30.0
PRODUCER = Path(__file__).with_name("producer.py")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_TIMEOUT_S) -> None:
    """Waits until `condition` holds; fails, saying `what` was waited for, when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain for {what}")
        time.sleep(0.01)


def open_files(pid: int) -> dict[Path, str]:
    """The descriptors that a process has open, and what they lead to; what it closes meanwhile is left out."""
    found = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[descriptor] = str(descriptor.readlink())
    return found


def signal_program(process: subprocess.Popen[bytes], number: int) -> None:
    """Signals a program that was started directly, or that a tracer has started and would leave alone if it ended."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    except FileNotFoundError:
        children = []
    for pid in map(int, children or [str(process.pid)]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_program(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to such a program; returns when it is gone."""
    while process.poll() is None:
        signal_program(process, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)


class Server:
    """One `logserv serve`, with a Unix socket, a TCP port and a root."""

    def __init__(
        self,
        program: Path,
        unix: Path,
        root: Path,
        arguments: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        roots: Sequence[Path] | None = None,
        prefix: Sequence[str] = (),
        stop_checked: bool = True,
    ) -> None:
        self.program = program
        self.unix = unix
        self.root = root
        self.host = "127.0.0.1"
        self.port = port or free_port()
        self.stop_checked = stop_checked
        self.stderr_path = unix.with_suffix(".stderr")
        self.command = [
            *prefix,
            *(str(program), "serve", "--unix", str(unix), "--tcp", f"{self.host}:{self.port}"),
            *(part for path in (roots or [root]) for part in ("--root", str(path))),
            *arguments,
        ]
        self.env = {**os.environ, **(env or {})}
        self.process = self.start()

    def start(self, *more: str, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Starts the command, with `more` behind it and `prefix` before it, and waits for nothing."""
        with self.stderr_path.open("ab") as stderr:
            return subprocess.Popen(
                [*prefix, *self.command, *more],
                cwd=self.root,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )

    def wait_until_ready(self) -> None:
        """Returns when both sockets accept."""

        def accepts() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the server left with {self.process.returncode}: {self.stderr}")
            try:
                self.connect_unix().close()
                self.connect_tcp().close()
            except OSError:
                return False
            return True

        wait_for(accepts, "the server to accept", START_TIMEOUT_S)

    def restart(self, *more: str, prefix: Sequence[str] = ()) -> float:
        """Starts the same command again, after :meth:`stop` or :meth:`kill`; returns the seconds until it accepts."""
        started = time.monotonic()
        self.process = self.start(*more, prefix=prefix)
        self.wait_until_ready()
        return time.monotonic() - started

    @property
    def stderr(self) -> str:
        """What the server has printed so far."""
        return self.stderr_path.read_text("utf-8", "replace")

    def connect_unix(self, timeout_s: float = 10.0) -> socket.socket:
        """A plain connection to the Unix socket."""
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(timeout_s)
        try:
            link.connect(str(self.unix))
        except OSError:
            link.close()
            raise
        return link

    def connect_tcp(self, timeout_s: float = 10.0) -> socket.socket:
        """A plain connection to the TCP port."""
        return socket.create_connection((self.host, self.port), timeout_s)

    def command_line(self, *arguments: str, timeout_s: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Runs the program with other arguments, such as ``status`` or ``stop``, on this server's Unix socket."""
        return subprocess.run(
            [self.program, arguments[0], "--unix", self.unix, *arguments[1:]],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def stop(self) -> int:
        """SIGTERM: drains and leaves. Returns the exit code."""
        if self.process.poll() is None:
            signal_program(self.process, signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """SIGKILL."""
        kill_program(self.process)

    def end(self) -> str:
        """Stops the server at the end of its test; returns what was wrong with it, or nothing."""
        killed = self.process.returncode is not None and self.process.returncode < 0
        try:
            code = self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            code = -9
        print(f"--- server {self.unix.name} printed:\n{self.stderr}")
        if "panicked at" in self.stderr:
            return f"the server panicked:\n{self.stderr}"
        if self.stop_checked and not killed and code != 0:
            return f"the server left with {code} on SIGTERM:\n{self.stderr}"
        return ""

    def handler(self, transport: str, filename: str, **arguments: Any) -> dict[str, Any]:
        """A handler for ``dictConfig`` that logs to this server over ``"unix"`` or ``"tcp"``."""
        if transport == "unix":
            return {
                "class": "logserv.client.UnixClient",
                "host": str(self.unix),
                "filename": filename,
                **arguments,
            }
        return {
            "class": "logserv.client.SocketForwarder",
            "host": self.host,
            "port": self.port,
            "filename": filename,
            **arguments,
        }


StartServer = Callable[..., Server]


def dict_config(handler: Mapping[str, Any], fmt: str, level: str = "DEBUG") -> dict[str, Any]:
    """A configuration with one handler at the root."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": fmt}},
        "handlers": {"file": {**handler, "formatter": "line"}},
        "root": {"level": level, "handlers": ["file"]},
    }


class Producers:
    """Producer processes, started independently of each other."""

    def __init__(self, python: str = sys.executable) -> None:
        self.python = python
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, job: Mapping[str, Any], env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Starts one producer; see ``producer.py`` for the job."""
        process = subprocess.Popen(
            [self.python, str(PRODUCER), json.dumps(job)],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def finish(self, timeout_s: float = 100.0) -> list[dict[str, Any]]:
        """Waits for all; each must leave with 0 and print nothing but its result. Returns the results."""
        deadline = time.monotonic() + timeout_s
        results = []
        for process in self.processes:
            out, err = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
            if process.returncode != 0 or err:
                raise AssertionError(f"a producer left with {process.returncode} and printed: {err}")
            results.append(json.loads(out))
        self.processes.clear()
        return results

    def kill(self) -> None:
        """Ends those that still run."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.communicate()
