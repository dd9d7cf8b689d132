"""Runs the programs of ``examples/`` as their users would: with other people's frameworks, and a server that nobody started.

In: command lines, and records as lines of their standard input or as requests over HTTP (:class:`Visitors`). Out: an
:class:`Example`, which knows its files, its processes, and what the oracle says of them.
Not here: fixtures and what each framework is to be tested for (``test_frameworks_*.py``).
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

import oracle
from running import wait_for
from self_start import Personal

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TIMEOUT_S = 60.0
MAX_BYTES = 100_000  # as the examples have it
# What the examples' format puts before the message.
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
HEAD = TIME + r" (?P<process>\d+) [A-Z]+ "
SHIPPED = HEAD + "(?:shop|MainThread|Thread-[0-9]+ \\(ship\\)): shipped "
PAYLOAD = "an order of nothing in particular, by ship and by train"


def messages(producer: int, count: int, thread: int = 0) -> list[str]:
    """The numbered records of one thread."""
    return [
        oracle.make_message(producer, thread, number, time.time_ns(), PAYLOAD, False)
        for number in range(count)
    ]


class Example:
    """One directory of ``examples/``, run in a working directory of its own."""

    def __init__(self, name: str, directory: Path, own: Personal) -> None:
        self.own = own
        self.source = EXAMPLES / name
        self.directory = directory
        self.log = directory / "app.log"
        self.output = directory / "output.txt"
        self.env = {**os.environ, **own.env, "PYTHONPATH": str(self.source)}
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *command: str, orders: Iterable[str] = (), **env: str) -> subprocess.Popen[str]:
        """Starts one program, in a process group of its own, with `orders` as its input; a first part that ends in ``.py`` is of the example."""
        program, *arguments = command
        words = (
            [sys.executable, str(self.source / program)]
            if program.endswith(".py")
            else [sys.executable, "-m", program]
        )
        given = self.directory / f"orders-{len(self.processes)}.txt"
        given.write_text("".join(f"{order}\n" for order in orders))
        with given.open() as stdin, self.output.open("a") as out:
            process = subprocess.Popen(
                [*words, *arguments],
                cwd=self.directory,
                env={**self.env, **env},
                stdin=stdin,
                stdout=out,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def finish(self) -> None:
        """Waits for all programs; each must leave with 0."""
        codes = [process.wait(TIMEOUT_S) for process in self.processes]
        assert codes == [0] * len(codes), (codes, self.printed)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Signals each program that still runs, and waits for its end."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)
        for process in self.processes:
            process.wait(TIMEOUT_S)

    def kill(self) -> None:
        """Ends what is left of a failed test."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def printed(self) -> str:
        """What the programs have printed."""
        return self.output.read_text("utf-8", "replace") if self.output.exists() else ""

    def text(self) -> str:
        """The whole chain's contents, oldest first."""
        return "".join(path.read_text("utf-8") for path in oracle.chain(self.log))

    def wait_for_text(self, pattern: str, count: int = 1) -> list[str]:
        """Waits until the chain holds `pattern` so often; returns what matched."""
        found: list[str] = []

        def is_there() -> bool:
            with contextlib.suppress(FileNotFoundError):  # it was rotated meanwhile
                found[:] = re.findall(pattern, self.text())
            return len(found) >= count

        try:
            wait_for(is_there, f"{count} of {pattern!r}", TIMEOUT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; found {len(found)}; printed: {self.printed[-4000:]}") from None
        return found

    def report(
        self, sent: Mapping[oracle.Thread, int | tuple[int, int]], prefix: str = SHIPPED, others: str = ""
    ) -> oracle.Report:
        """What became of the records; fails unless it is perfect and the files were rotated."""

        def check() -> oracle.Report:
            with contextlib.suppress(FileNotFoundError):
                return oracle.check(self.log, sent, prefix=prefix, others=others, max_bytes=MAX_BYTES)
            return oracle.Report(lost=1)

        # Whoever was not asked to flush may have left its last records for the server to fetch.
        deadline = time.monotonic() + 10
        while (report := check()).lost and time.monotonic() < deadline:
            time.sleep(0.05)
        assert report.perfect, f"{report}\nprinted: {self.printed[-4000:]}"
        return report


RunExample = Callable[[str], Example]


class Visitors:
    """Threads that send numbered records as requests, each waiting for its answer before the next."""

    def __init__(self, port: int, count: int = 4) -> None:
        self.port = port
        self.sent: dict[oracle.Thread, tuple[int, int]] = {}
        self.failures = 0
        self._asked_to_stop = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(number,)) for number in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._asked_to_stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    @property
    def answered(self) -> int:
        """How many requests have been answered so far: their records must be in the file."""
        return sum(must for must, _ in list(self.sent.values()))

    def wait_for_more(self, count: int) -> None:
        """Returns when so many more requests have been answered."""
        enough = self.answered + count
        wait_for(lambda: self.answered >= enough, f"{count} answers", TIMEOUT_S)

    def _visit(self, producer: int) -> None:
        thread = number = 0
        while not self._asked_to_stop.is_set():
            self.sent[producer, thread] = (number, number + 1)
            message = oracle.make_message(producer, thread, number, time.time_ns(), PAYLOAD, False)
            if self.ask(message):
                number += 1
                self.sent[producer, thread] = (number, number)
            elif self.failures < 1000:
                # It may have been logged or not: as a number after it would claim that it was, another thread begins.
                self.failures += 1
                thread, number = thread + 1, 0
                time.sleep(0.01)

    def ask(self, message: str) -> bool:
        """Sends one request; whether it was answered."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            link.request("GET", "/" + urllib.parse.quote(message), headers={"Connection": "close"})
            return link.getresponse().read() == b"shipped\n"
        except (OSError, http.client.HTTPException):
            return False
        finally:
            link.close()


def children(pid: int) -> set[int]:
    """The living children of a process, of all of its threads."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found |= {int(word) for word in (task / "children").read_text().split()}
    return found
