"""A process that changes its user, as the workers of a gunicorn that was started by root with ``user=``: docs/frameworks/gunicorn.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from running import Server, StartServer, wait_for

USER = 61_003  # one that no machine has
MEMORY = Path("/dev/shm") / f"logserv-{USER}"

#: Each step waits for a line of input and answers with what `flush` says. After the change nothing can be imported where
#: only root may read the interpreter.
SCRIPT = """
import encodings.idna, json, logging, os, sys
from logserv.client import UnixClient
log = logging.getLogger()
handler = UnixClient(sys.argv[1], filename="app.log", maxBytes=1_000_000, backupCount=3)
handler.setFormatter(logging.Formatter("%(message)s"))
log.addHandler(handler)
log.warning("master")
handler.flush(30)
if (pid := os.fork()) == 0:
    is_connected = sys.stdin.readline().strip() == "connect"
    log.warning("booting")  # as gunicorn does, still as root
    print(not is_connected or handler.flush(30), flush=True)
    sys.stdin.readline()
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
    print("changed", flush=True)
    for line in sys.stdin:
        log.warning("worker %d %s", os.getuid(), line.strip())
        print(handler.flush(30), flush=True)
    logging.shutdown()
    os._exit(0)
sys.exit(os.waitpid(pid, 0)[1])
"""


@pytest.mark.newest
@pytest.mark.parametrize("connects_as", ["root", "the user"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_that_change_their_user_log_to_one_server_for_all_also_after_its_restart(
    start_server: StartServer, socket_dir: Path, root: Path, connects_as: str
) -> None:
    """The first record makes the ring, as root. Who the process is when it connects is a matter of milliseconds."""
    socket_dir.chmod(0o755)
    server: Server = start_server("--unix-mode", "0666")

    def lines() -> list[str]:
        path = root / "app.log"
        return path.read_text().splitlines() if path.exists() else []

    try:
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SCRIPT), str(server.unix), str(USER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None

            def step(name: str) -> str:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(f"{name}\n")
                process.stdin.flush()
                return process.stdout.readline().strip()

            wait_for(lambda: lines() == ["master"], "the master's line", 30)
            if connects_as == "root":
                assert step("connect") == "True"
            else:
                server.kill()
                assert step("do not") == "True"
            assert step("change") == "changed"
            if connects_as != "root":
                server.restart()
            assert step("at work") == "True"
            server.kill()
            server.restart()
            assert step("goes on") == "True"
            process.stdin.close()
            assert process.wait(60) == 0
    finally:
        shutil.rmtree(MEMORY, ignore_errors=True)
    assert lines() == ["master", "booting", f"worker {USER} at work", f"worker {USER} goes on"]
    assert (root / "app.log").stat().st_uid == 0
