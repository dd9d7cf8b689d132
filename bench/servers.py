"""The servers that contenders need, each with a file of its own to write.

In: a contender, the directory and settings of a run. Out: a :class:`Server`: its process, where it listens, how it ends. A fresh one for each run.
Not here: the leader of contenders that fork; that is a producer's process (`producer.py`).
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import running

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 60.0  # a backlog is written first
RSYSLOG_CONFIG = """\
global(workDirectory="{directory}" maxMessageSize="128k" parser.escapeControlCharactersOnReceive="off")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" RateLimit.Interval="0" UseSpecialParser="off" ParseHostname="off")
template(name="line" type="string" string="%rawmsg-after-pri%\\n")
action(type="omfile" file="{file}" template="line" asyncWriting="off" flushOnTXEnd="on")
"""


class Server:
    """A running server; `address` goes into the producers' jobs."""

    def __init__(self, process: subprocess.Popen[bytes], address: dict[str, Any]) -> None:
        self.process = process
        self.address = address

    @property
    def pid(self) -> int:
        return self.process.pid

    def rss_kib(self) -> int:
        """The most memory that the process has had."""
        return rss_kib(self.pid)

    def cpu_ns(self) -> int:
        """Processor time of the process with all its threads, ended ones too."""
        return cpu_ns(self.pid)

    def stop(self) -> int:
        """Ends it as its users would. Returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return -9


def cpu_ns(pid: int) -> int:
    """The processor time of any process, to the nanosecond: the clock that `clock_getcpuclockid` names."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def rss_kib(pid: int) -> int:
    """The most memory that a process has had, without what its parent had before `exec`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def start(kind: str, directory: Path, sockets: Path, job: dict[str, Any]) -> Server:
    """Starts a server and returns when it accepts."""
    with (directory / "server.stderr").open("ab") as stderr:
        return {"logserv": _logserv, "cookbook": _cookbook, "rsyslog": _rsyslog}[kind](
            directory, sockets, job, stderr
        )


def program() -> Path:
    """The `logserv` program of this environment."""
    return Path(sysconfig.get_path("scripts")) / "logserv"


def _logserv(directory: Path, sockets: Path, job: dict[str, Any], stderr: Any) -> Server:
    unix, port = sockets / "s.sock", running.free_port()
    command: list[str | Path] = [
        *(program(), "serve", "--unix", unix, "--tcp", f"127.0.0.1:{port}", "--root", directory)
    ]
    if job["options"].get("plain"):
        command += ["--socket-handler-file", "bench.log", "--socket-handler-format", job["format"]]
    process = subprocess.Popen(command, cwd=directory, stdout=stderr, stderr=stderr)
    running.wait_for(lambda: unix.exists() and _accepts(port), "logserv to accept", START_TIMEOUT_S)
    return Server(process, {"unix": str(unix), "tcp": ["127.0.0.1", port]})


def _cookbook(directory: Path, sockets: Path, job: dict[str, Any], stderr: Any) -> Server:
    port = running.free_port()
    rotation = job["rotation"] or {"maxBytes": 0, "backupCount": 0}
    script = Path(__file__).with_name("cookbook.py")
    command: list[Any] = [sys.executable, script, "127.0.0.1", port, job["file"], job["format"]]
    command += [rotation["maxBytes"], rotation["backupCount"]]
    process = subprocess.Popen([str(part) for part in command], stdout=stderr, stderr=stderr)
    running.wait_for(lambda: _accepts(port), "the cookbook's server to accept", START_TIMEOUT_S)
    return Server(process, {"tcp": ["127.0.0.1", port]})


def _rsyslog(directory: Path, sockets: Path, job: dict[str, Any], stderr: Any) -> Server:
    unix, config = sockets / "log", directory / "rsyslog.conf"
    config.write_text(RSYSLOG_CONFIG.format(directory=directory, socket=unix, file=job["file"]))
    found = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
    command: list[str | Path] = [found, "-n", "-f", config, "-i", directory / "rsyslog.pid"]
    process = subprocess.Popen(command, stdout=stderr, stderr=stderr)
    running.wait_for(unix.exists, "rsyslogd's socket", START_TIMEOUT_S)
    return Server(process, {"unix": str(unix)})


def _accepts(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
