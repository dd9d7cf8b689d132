"""A producer that does something to itself in the middle of logging: forks, closes descriptors, crashes, becomes another program.

Run as ``producer.py`` is, with one key more in its job: ``life``, the name of a function below. Half of the records are logged
before, the rest, where there is an after, behind it. A child that logs is a producer of its own, with the next number and a
ledger beside that of its parent.
Not here: what must be left of it all; that is ``test_lives.py``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import platform
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ledger
import producer

CHILD_RECORDS = 20
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}


class Life:
    """One producer, half way."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        book = producer.prepare(job)
        assert book is not None
        self.book = book
        self.children = 0

    def log(self, first: int, end: int, thread: int = 0) -> None:
        producer.produce(self.job, thread, self.book, first, end)

    def log_as_child(self) -> None:
        """In a child of any kind: logs as a producer of its own."""
        number = self.job["producer"] + self.children
        path = Path(self.job["ledger"]).with_name(f"{number}.ledger")
        job = {**self.job, "producer": number, "records": CHILD_RECORDS}
        producer.produce(job, 0, ledger.Ledger(path, 1))

    def wait_for_child(self, pid: int, expected: int) -> None:
        """A child that hangs is a failure, not a reason to hang as well."""
        deadline = time.monotonic() + 20
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise SystemExit(f"child {self.children} hangs")
            time.sleep(0.002)
        code = os.waitstatus_to_exitcode(status)
        if code != expected:
            raise SystemExit(f"child {self.children} left with {code}, not {expected}")


def leave_at_once(life: Life) -> None:
    os._exit(0)


def segfault(life: Life) -> None:
    ctypes.string_at(0)


def abort(life: Life) -> None:
    os.abort()


def die_of_sigterm(life: Life) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)


def raise_out_of_main(life: Life) -> None:
    raise RuntimeError("nobody catches this")


def become_another_program(life: Life) -> None:
    os.execv("/bin/true", ["true"])


def exit_in_a_thread(life: Life) -> None:
    threading.Thread(target=os._exit, args=(0,)).start()
    time.sleep(10)


def close_what_is_not_mine(life: Life) -> None:
    """As a program does that turns into a daemon; the files that come next get the numbers of what was closed."""
    os.closerange(3, 1_024)
    for number in range(20):
        os.open(f"{life.job['ledger']}.innocent{number}", os.O_RDWR | os.O_CREAT)
    life.log(life.job["records"] // 2, life.job["records"] - 1)
    time.sleep(0.3)  # for whatever happens by itself
    life.log(life.job["records"] - 1, life.job["records"])


def close_over_and_over(life: Life) -> None:
    """Again and again, with pauses in which the sender goes to sleep and is woken by what is no longer its own."""
    records = life.job["records"]
    for turn in range(5):
        os.closerange(3, 1_024)
        for number in range(20):
            os.open(f"{life.job['ledger']}.innocent{turn}-{number}", os.O_RDWR | os.O_CREAT)
        life.log(records // 2 + turn * 10, records // 2 + turn * 10 + 10)
        time.sleep(0.15)
    life.log(records // 2 + 50, records)


def _busy(life: Life, gate: threading.Lock | None = None) -> tuple[list[threading.Thread], threading.Event]:
    """Three threads that log all the while; through the gate, if there is one."""
    done = threading.Event()

    def run(thread: int) -> None:
        first = 0
        while not done.is_set():
            with gate or contextlib.nullcontext():
                life.log(first, first + 10, thread)
            first += 10

    threads = [threading.Thread(target=run, args=(thread,)) for thread in (1, 2, 3)]
    for thread in threads:
        thread.start()
    return threads, done


def fork_while_threads_log(life: Life) -> None:
    """Children end in every way, and none takes anything from its parent, or leaves anything to it."""
    threads, done = _busy(life)
    ends: list[tuple[Callable[[], None], int]] = [
        (lambda: os._exit(0), 0),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -signal.SIGKILL),
        (lambda: os.execv("/bin/true", ["true"]), 0),
        (lambda: sys.exit(0), 0),
    ]
    for number in range(life.job["forks"]):
        end, expected = ends[number % len(ends)]
        life.children += 1
        pid = os.fork()
        if pid == 0:
            life.log_as_child()
            end()
        life.wait_for_child(pid, expected)
    done.set()
    for thread in threads:
        thread.join()
    life.log(life.job["records"] // 2, life.job["records"])


def fork_in_c(life: Life) -> None:
    """As a library does that knows nothing of Python: no hooks run, and the interpreter does not notice."""
    fork = ctypes.PyDLL(None).fork
    gate = threading.Lock()
    threads, done = _busy(life, gate)
    for _ in range(life.job["forks"]):
        life.children += 1
        # Locks and the interpreter's own are Python's affair: who waits here holds none of them, nor waits for the
        # interpreter, whose lock would keep the child waiting for threads that it does not have.
        with gate, logging._lock:  # type: ignore[attr-defined]
            pid = fork()
        if pid == 0:
            life.log_as_child()
            os._exit(0)
        life.wait_for_child(pid, 0)
    done.set()
    for thread in threads:
        thread.join()
    life.log(life.job["records"] // 2, life.job["records"])


def clone_raw(life: Life) -> None:
    """Past the C library as well: nobody is told."""
    system_call = ctypes.PyDLL(None).syscall
    for _ in range(life.job["forks"]):
        life.children += 1
        pid = system_call(_SYS_CLONE[platform.machine()], int(signal.SIGCHLD), 0, 0, 0, 0)
        if pid == 0:
            life.log_as_child()
            os._exit(0)
        life.wait_for_child(pid, 0)
    life.log(life.job["records"] // 2, life.job["records"])


def daemonise(life: Life) -> None:
    """Forks twice, begins a session, goes to the root directory; parent and child leave, the grandchild logs on."""
    for _ in range(2):
        if os.fork():
            os._exit(0)
        os.setsid()
    os.chdir("/")
    os.closerange(3, 1_024)
    life.children += 1
    life.log_as_child()


def log_from_a_signal_handler(life: Life) -> None:
    """The signal comes at any moment of a logging call, also in the middle of it."""
    logged, is_inside = 0, False

    def handle(number: int, frame: object) -> None:
        nonlocal logged, is_inside
        if is_inside:  # one inside the other would be no order to check
            return
        is_inside = True
        life.log(logged, logged + 1, 1)
        logged += 1
        is_inside = False

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    life.log(life.job["records"] // 2, life.job["records"])
    signal.setitimer(signal.ITIMER_REAL, 0)


def main(job: dict[str, Any]) -> None:
    """Lives as told."""
    life = Life(job)
    life.log(0, job["records"] // 2)
    globals()[job["life"]](life)
    print(json.dumps({"children": life.children}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
