"""Other people's contenders: what `compare/requirements.txt` installs, and rsyslog where the machine has it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from functools import partial

from bench.contenders import Contender

RSYSLOG_LINE = "apt-get install -y --no-install-recommends rsyslog"


def _package(module: str, name: str) -> str:
    if importlib.util.find_spec(module) is None:
        return f"{name} is not installed: no release of it for this Python"
    return ""


def _rsyslogd() -> str:
    if shutil.which("rsyslogd", path=os.environ["PATH"] + ":/usr/sbin") is None:
        return f"no rsyslogd; install it with: {RSYSLOG_LINE}"
    return ""


def _of(module: str, name: str) -> Callable[[], str]:
    return partial(_package, module, name)


WAYS = "bench.compare.ways"
PEERS = (
    Contender("concurrent-log-handler", f"{WAYS}:clh", missing=_of("concurrent_log_handler", "concurrent-log-handler")),
    Contender("loguru, enqueue", f"{WAYS}:loguru", "leader", leader=f"{WAYS}:loguru_leader", missing=_of("loguru", "loguru")),
    Contender("logxide", f"{WAYS}:logxide", is_buffered=True, is_bare=True, missing=_of("logxide", "logxide")),
    Contender("logust", f"{WAYS}:logust", is_buffered=True, missing=_of("logust", "logust")),
    Contender("logly", f"{WAYS}:logly", is_buffered=True, missing=_of("logly", "logly")),
    Contender("picologging", f"{WAYS}:picologging", missing=_of("picologging", "picologging")),
    Contender("SysLogHandler to rsyslog", f"{WAYS}:syslog", "rsyslog", rotates=False, missing=_rsyslogd),
)  # fmt: skip


def packages() -> list[str]:
    """The names of the packages, for the report's versions."""
    return ["concurrent-log-handler", "loguru", "logxide", "logust", "logly", "picologging", "rsyslog"]
