"""Handlers in the life of their process: forks, the end of the interpreter, and what is told then."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import FakeServer


@pytest.fixture
def fake(socket_dir: Path) -> Iterator[FakeServer]:
    """A server of 2.0 on a Unix socket."""
    server = FakeServer(socket_dir / "fake.sock")
    yield server
    server.stop()


def run(
    script: str, *arguments: object, timeout_s: float = 30.0
) -> tuple[subprocess.CompletedProcess[str], float]:
    """Runs a script in a process of its own. Returns how it ended and how long it took in seconds."""
    start = time.monotonic()
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=os.environ)
    return ended, time.monotonic() - start


def test_a_child_forked_while_other_threads_open_and_close_handlers_finds_no_lock_taken() -> None:
    ended, _ = run("""
        import os, signal, threading
        from logserv import _native

        def open_and_close(count=1):
            for _ in range(count):
                sender = _native.Sender(
                    "/nowhere.sock", None, "logging.FileHandler", '{"filename": "a"}', configured_at_s=1.0,
                    record_max_bytes=4096, ring_bytes=4096, when_full="block", block_timeout_s=1.0,
                    connect_timeout_s=None, announce_drops=True, level=0, program="")
                sender.leave()

        over = False

        def run():
            while not over:
                open_and_close(50)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        hung = 0
        for _ in range(300):
            pid = os.fork()
            if pid == 0:
                signal.alarm(5)
                open_and_close()
                os._exit(0)
            hung += os.waitpid(pid, 0)[1] != 0
            if hung:
                break
        over = True
        for thread in threads:
            thread.join()
        print(hung)
    """)
    assert (ended.stdout, ended.returncode) == ("0\n", 0), ended.stderr


def test_the_last_line_names_what_really_kept_the_records_back(fake: FakeServer, socket_dir: Path) -> None:
    script = """
        import logging, sys
        from logserv.client import UnixClient
        log = logging.Logger("x")
        log.addHandler(UnixClient(sys.argv[1], filename="a.log"))
        logging.raiseExceptions = True
        log.info("x")
    """
    ended, _ = run(script, socket_dir / "nobody.sock")
    assert "1 record unsent" in ended.stderr
    assert "; start it with: logserv serve --unix" in ended.stderr
    fake.refusal = {"expected": "a file below /logs", "received": "a.log", "retry": False}
    ended, _ = run(script, fake.unix)
    assert "1 record unsent" in ended.stderr
    assert "it refuses them: expected a file below /logs" in ended.stderr
    assert "start it with" not in ended.stderr


def test_a_thread_that_waits_for_space_does_not_keep_the_process(socket_dir: Path) -> None:
    ended, took_s = run(
        """
        import logging, sys, threading, time
        from logserv.client import UnixClient
        log = logging.Logger("x")
        for name in ("a.log", "b.log"):
            log.addHandler(UnixClient(sys.argv[1], filename=name, ring_bytes=4096, block_timeout_s=20.0))

        def run():
            while True:
                log.info("y" * 500)

        threading.Thread(target=run, daemon=True).start()
        time.sleep(0.3)
        """,
        socket_dir / "nobody.sock",
    )
    assert ended.returncode == 0
    assert took_s < 15, f"the process needed {took_s:.1f} s"
    assert ended.stderr.count("unsent to") == 2, ended.stderr  # once for each file


def test_records_after_logging_shutdown_arrive(fake: FakeServer) -> None:
    ended, _ = run(
        """
        import atexit, sys

        def late():
            for n in range(20):
                log.info("late %d", n)

        atexit.register(late)  # comes after those of `logging` and of the handlers
        import logging
        from logserv.client import UnixClient
        log = logging.Logger("x")
        log.addHandler(UnixClient(sys.argv[1], filename="a.log"))
        log.info("in time")
        """,
        fake.unix,
    )
    assert ended.returncode == 0, ended.stderr
    assert fake.messages == ["in time", *(f"late {n}" for n in range(20))]


def test_records_between_the_handlers_exit_and_that_of_logging_arrive(fake: FakeServer) -> None:
    ended, _ = run(
        """
        import atexit, logging, sys
        atexit.register(lambda: [log.info("late %d", n) for n in range(20)])
        from logserv.client import UnixClient
        log = logging.Logger("x")
        first = UnixClient(sys.argv[1], filename="a.log")
        log.addHandler(first)
        log.info("first")
        log.removeHandler(first)
        first.close()
        del first  # the handler with the process's first record is gone
        log.addHandler(UnixClient(sys.argv[1], filename="a.log"))
        log.info("second")
        """,
        fake.unix,
    )
    assert ended.returncode == 0, ended.stderr
    assert fake.messages == ["first", "second", *(f"late {n}" for n in range(20))]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_child_of_multiprocessing_may_leave_a_thread_behind_that_logs(
    fake: FakeServer, tmp_path: Path, method: str
) -> None:
    script = tmp_path / "main.py"
    script.write_text(
        textwrap.dedent("""
        import logging, multiprocessing, sys, threading, time
        from logserv.client import UnixClient

        def work(path):
            log = logging.Logger("x")
            log.addHandler(UnixClient(path, filename="a.log"))
            log.info("main")
            def late():
                time.sleep(0.3)
                for n in range(20):
                    log.info("late %d", n)
            threading.Thread(target=late).start()

        if __name__ == "__main__":
            child = multiprocessing.get_context(sys.argv[2]).Process(target=work, args=(sys.argv[1],))
            child.start()
            child.join()
            sys.exit(child.exitcode)
        """)
    )
    subprocess.run([sys.executable, str(script), str(fake.unix), method], check=True, timeout=30)
    assert fake.messages == ["main", *(f"late {n}" for n in range(20))]
