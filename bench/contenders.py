"""Who is measured: ours and the standard library's. Others join in `compare/peers.py`.

A contender names how a producer is set up for it (`ways.py`), what server it needs (`servers.py`), and why it cannot run here.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def _always() -> str:
    return ""


@dataclass(frozen=True)
class Contender:
    """One row of the tables."""

    name: str
    way: str  # module:function
    server: str = ""  # "", "logserv", "cookbook", "leader", "rsyslog"
    options: Mapping[str, Any] = field(default_factory=dict)
    leader: str = ""  # module:function of the process that forks the producers
    rotates: bool = True
    writes: bool = True
    is_ours: bool = False
    has_ring: bool = False  # of ours: records travel through shared memory
    survives_kill: bool = False  # promises that what was logged outlives its process
    is_buffered: bool = False  # without a server, and yet a line may come to its file after the call
    is_bare: bool = False  # writes messages without a time before them
    prefix: tuple[str, ...] = ()  # before the producer's command
    missing: Callable[[], str] = _always  # why it cannot run, or nothing

    @property
    def is_direct(self) -> bool:
        """Its lines are in the file when the call returns, or never."""
        return not (self.server or self.is_buffered)


def _native() -> str:
    if importlib.util.find_spec("logserv") is None:
        return "logserv is not installed"
    import logserv

    names = [name for name in ("LogRecord", "Logger", "install") if not hasattr(logserv, name)]
    return f"this logserv has no {' and no '.join(names)}" if names else ""


def _no_memory() -> str:
    if os.geteuid() or shutil.which("unshare") is None:
        return "hiding /dev/shm from a process needs root and unshare"
    return ""


NOOP = Contender("handler that does nothing", "bench.ways:noop", writes=False)
FILE = Contender("logging.FileHandler", "bench.ways:file_handler", rotates=False, survives_kill=True)
ROTATING = Contender("RotatingFileHandler (unsafe)", "bench.ways:rotating")
RING = Contender(
    *("logserv, ring", "bench.ways:logserv", "logserv", {"transport": "unix"}),
    is_ours=True,
    has_ring=True,
    survives_kill=True,
)
RING_TCP = Contender(
    *("logserv, ring (TCP address)", "bench.ways:logserv", "logserv", {"transport": "tcp"}),
    is_ours=True,
    has_ring=True,
    survives_kill=True,
)
# Without its memory a client falls back to the socket: a tmpfs too small for any ring stands for a machine that has none.
UNIX = Contender(
    *("logserv, Unix socket without a ring", "bench.ways:logserv", "logserv", {"transport": "unix"}),
    is_ours=True,
    prefix=("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=4k none /dev/shm && exec "$0" "$@"'),
    missing=_no_memory,
)
TCP = Contender(
    "logserv, TCP without a ring", "bench.ways:logserv", "logserv", {"transport": "remote"}, is_ours=True
)
FACTORY = Contender(
    *("logserv, ring, native records", "bench.ways:logserv", "logserv"),
    {"transport": "unix", "native": "factory"},
    is_ours=True,
    has_ring=True,
    survives_kill=True,
    missing=_native,
)
NATIVE = Contender(
    *("logserv, ring, native logger", "bench.ways:logserv", "logserv"),
    {"transport": "unix", "native": "logger"},
    is_ours=True,
    has_ring=True,
    survives_kill=True,
    missing=_native,
)
NATIVE_TCP = Contender(
    *("logserv, TCP without a ring, native logger", "bench.ways:logserv", "logserv"),
    {"transport": "remote", "native": "logger"},
    is_ours=True,
    missing=_native,
)
SOCKET_OURS = Contender(
    *("SocketHandler to logserv", "bench.ways:socket_handler", "logserv", {"plain": True}),
    is_ours=True,
    rotates=False,
)
SOCKET_COOKBOOK = Contender("SocketHandler to the cookbook's server", "bench.ways:socket_handler", "cookbook")
QUEUE = Contender(
    "QueueHandler, QueueListener", "bench.ways:queue_handler", "leader", leader="bench.ways:queue_listener"
)

STANDARD = (NOOP, FILE, ROTATING, QUEUE, SOCKET_COOKBOOK)
OURS = (RING, RING_TCP, UNIX, TCP, FACTORY, NATIVE, NATIVE_TCP, SOCKET_OURS)
