"""One run of one contender: its server, its producers, the stages, the files; and what came of it.

In: a contender, a scenario, how many records. Out: a dict of figures, among them the verdict over the files; or a :class:`RunError`.
Each run has fresh processes in a fresh directory. Throughput counts from the moment at which all producers begin, which have warmed up
before, until the last byte is in a file, by the files' own time of change. Not here: repetition and order of runs (`run.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ledger

from bench import check, servers
from bench.contenders import Contender
from bench.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target/bench/work"
BACKUP_COUNT = 1000  # nothing is deleted: what is missing was lost
HELLO_TIMEOUT_S = 20.0  # and a tenth of a second for each producer
QUIET_S = 2.0  # a file that has not grown for so long will not grow any more
START_DELAY_S = 0.05  # from telling the producers until they begin
CLOCK_STEP_S = 0.001  # the times of files go in steps; less than one is none
Figures = dict[str, Any]


class RunError(Exception):
    """A run did not come to its end; the message says what happened."""


@dataclass(frozen=True)
class Scenario:
    """What is run: how many producers log what, into a file of which size."""

    name: str
    workload: str = "plain"
    processes: int = 1
    threads: int = 1
    max_bytes: int = 0  # 0: no rotation
    is_forked: bool = False
    kind: str = "rate"  # or "kill", "paced", "visible", "stream"
    per_second: int = 0  # by each thread, of "paced"

    @property
    def writers(self) -> int:
        return self.processes * self.threads


class Run:
    """The processes of one run, from start to end."""

    def __init__(self, contender: Contender, scenario: Scenario, stage_timeout_s: float = 120.0) -> None:
        self.contender = contender
        self.scenario = scenario
        self.stage_timeout_s = stage_timeout_s
        self.is_forked = scenario.is_forked or bool(contender.leader)
        WORK.mkdir(parents=True, exist_ok=True)
        self.directory = Path(tempfile.mkdtemp(prefix="run-", dir=WORK))
        self.sockets = Path(tempfile.mkdtemp(prefix="ls-", dir="/tmp"))
        self.active = self.directory / "bench.log"
        self.server: servers.Server | None = None
        self.pids: dict[int, int] = {}
        self.next: dict[tuple[int, int], int] = {}
        self.rss_kib: dict[int, int] = {}
        self.facts: Figures = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._links: dict[int, Any] = {}
        self._is_over = False
        self._start_cpu_ns = 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean()

    def _start(self) -> None:
        job: dict[str, Any] = {
            "way": self.contender.way,
            "leader": self.contender.leader,
            "options": dict(self.contender.options),
            "workload": self.scenario.workload,
            "format": WORKLOADS[self.scenario.workload].format,
            "threads": self.scenario.threads,
            "file": str(self.active),
            "rotation": {"maxBytes": self.scenario.max_bytes, "backupCount": BACKUP_COUNT}
            if self.scenario.max_bytes
            else None,
            "fork": self.scenario.processes if self.is_forked else 0,
            "control": str(self.sockets / "control"),
            "address": {},
        }
        if self.contender.server not in ("", "leader"):
            self.server = servers.start(self.contender.server, self.directory, self.sockets, job)
            job["address"] = self.server.address
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(job["control"])
        listener.listen(self.scenario.processes + 1)
        listener.settimeout(0.2)
        for producer in range(1 if self.is_forked else self.scenario.processes):
            self._start_producer({**job, "producer": producer})
        self._accept(listener, self.scenario.processes + (1 if self.is_forked else 0))
        if self.contender.server == "leader":
            self.server = servers.Server(self._processes[0], {})

    def _start_producer(self, job: dict[str, Any]) -> None:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        command = [*self.contender.prefix, sys.executable, "-m", "bench.producer", json.dumps(job)]
        with (self.directory / "producers.stderr").open("ab") as stderr:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
        self._processes.append(process)

    def _accept(self, listener: socket.socket, count: int) -> None:
        deadline = time.monotonic() + HELLO_TIMEOUT_S + 0.1 * count
        with listener:
            while len(self._links) < count:
                self._check_alive()
                if time.monotonic() > deadline:
                    raise RunError(
                        f"{count - len(self._links)} of {count} producers did not start: {self.complaints()}"
                    )
                with contextlib.suppress(TimeoutError):
                    link, _ = listener.accept()
                    link.settimeout(self.stage_timeout_s)
                    stream = link.makefile("rwb")
                    link.close()  # the stream keeps it
                    hello = json.loads(stream.readline() or b"{}")
                    if not hello:
                        raise RunError(f"a producer left at its start: {self.complaints()}")
                    self._links[hello["producer"]] = stream
                    self.pids[hello["producer"]] = hello["pid"]

    def _check_alive(self) -> None:
        codes = [process.poll() for process in self._processes]
        if any(code not in (None, 0) for code in codes):
            raise RunError(f"producers left with {codes}: {self.complaints()}")

    def complaints(self) -> str:
        """The last lines that the producers printed."""
        text = (self.directory / "producers.stderr").read_text("utf-8", "replace")
        return " / ".join(line.strip() for line in text.strip().splitlines()[-3:])[-500:]

    def tell(self, do: str, **command: Any) -> float:
        """Tells all producers to do something at the same moment; returns it."""
        if self.server is not None:
            self._start_cpu_ns = self.server.cpu_ns()
        start_at = time.time() + START_DELAY_S
        for producer, link in self._links.items():
            if producer >= 0:
                samples = {"samples": str(self.directory / f"samples.{producer}")}
                ledgers = {"ledger": str(self.directory / f"ledger.{producer}")}
                message = {"do": do, "start_at": start_at, **samples, **ledgers, **command}
                link.write(json.dumps(message).encode() + b"\n")
                link.flush()
        return start_at

    def answers(self, without: frozenset[int] = frozenset()) -> list[Figures]:
        """What the producers answer when they are done."""
        answers = []
        for producer, link in self._links.items():
            if producer < 0 or producer in without:
                continue
            try:
                line = link.readline()
            except TimeoutError:
                raise RunError(
                    f"a producer hung for {self.stage_timeout_s:.0f} s: {self.complaints()}"
                ) from None
            if not line:
                raise RunError(f"a producer left: {self.complaints()}")
            answer = json.loads(line)
            for thread, number in enumerate(answer["next"]):
                self.next[producer, thread] = number
            self.rss_kib[producer] = answer["rss_kib"]
            self.facts = {key: answer[key] for key in ("ring_bytes", "dropped", "protocol") if key in answer}
            answers.append(answer)
        return answers

    def server_cpu_ns(self) -> int | None:
        """What the server has used since the producers were told something."""
        return self.server.cpu_ns() - self._start_cpu_ns if self.server is not None else None

    def settle(self, expected: int) -> float:
        """Waits until everything is in the files, or nothing more comes; returns when the last byte came."""
        size, since = -1, time.monotonic()
        while True:
            now_size = sum(path.stat().st_size for path in self._chain())
            if now_size != size:
                size, since = now_size, time.monotonic()
            if self.contender.is_direct or check.count(self.active) >= expected:
                break
            if time.monotonic() - since > QUIET_S:
                break
            time.sleep(0.02)
        times = [path.stat().st_mtime_ns for path in self._chain()]
        return max(times, default=0) / 1e9

    def _chain(self) -> list[Path]:
        for _ in range(100):
            with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
                return check.chain(self.active)
        return []

    def samples(self) -> list[int]:
        """The times of single calls, in nanoseconds, of all producers, ascending."""
        found = array("q")
        for path in self.directory.glob("samples.*"):
            found.frombytes(path.read_bytes())
        return sorted(found)

    def end(self, without: frozenset[int] = frozenset()) -> None:
        """Lets producers and server leave as they do; whoever does not is named in the error."""
        for producer, link in self._links.items():
            if producer in without:
                continue
            link.write(b"x" if producer < 0 else b'{"do": "exit"}\n')
            link.flush()
        try:
            codes = [process.wait(self.stage_timeout_s) for process in self._processes]
        except subprocess.TimeoutExpired:
            raise RunError(f"a producer did not leave: {self.complaints()}") from None
        allowed = (0, -signal.SIGKILL) if without else (0,)
        if any(code not in allowed for code in codes):
            raise RunError(f"producers left with {codes}: {self.complaints()}")
        if self.server is not None and self.contender.server != "leader":
            code = self.server.stop()
            if self.contender.is_ours and code != 0:
                raise RunError(f"the server left with {code} on SIGTERM")
        self._is_over = True

    def _clean(self) -> None:
        for link in self._links.values():
            with contextlib.suppress(OSError):
                link.close()
        for pid in self.pids.values() if not self._is_over else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in [*self._processes, *([self.server.process] if self.server else [])]:
            if process.poll() is None:
                process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def verdict(self, sent: check.Sent | None = None) -> check.Verdict:
        """Reads the files. Without `sent`, every record of every stage must be there."""
        expected = sent or {thread: (number, number) for thread, number in self.next.items()}
        max_bytes = self.scenario.max_bytes if self.contender.rotates else 0
        workload = WORKLOADS[self.scenario.workload]
        return check.check(self.active, workload, expected, max_bytes, self.contender.is_bare)


def rate(contender: Contender, scenario: Scenario, records: int, singles: int) -> Figures:
    """`records` of each thread as fast as it goes, then `singles` timed one by one, then a normal stop."""
    with Run(contender, scenario) as run:
        start_at = run.tell("rate", records=records)
        answers = run.answers()
        logged = sum(run.next.values())
        ended_at = max(answer["ended_at"] for answer in answers)
        if contender.writes:
            written_at = run.settle(logged)
            if not contender.is_direct:  # else the calls tell it, more exactly than a file does
                ended_at = max(written_at, start_at + CLOCK_STEP_S)
        server_cpu = run.server_cpu_ns()
        total = records * scenario.writers
        cpu = sum(answer["cpu_ns"] for answer in answers)
        figures: Figures = {
            "records": total,
            "rate": total / max(ended_at - start_at, 1e-6),
            "call_us": sum(answer["call_ns"] for answer in answers) / len(answers) / 1e3,
            "cpu_producers_s": cpu / total / 1e3,  # per million records
            "cpu_server_s": None if server_cpu is None else server_cpu / total / 1e3,
        }
        if singles:
            run.tell("single", records=singles)
            clock_ns = min(answer["clock_ns"] for answer in run.answers())
            figures.update(percentiles(run.samples(), clock_ns))
        figures["rss_producer_mib"] = max(run.rss_kib.values()) / 1024
        figures["rss_server_mib"] = run.server.rss_kib() / 1024 if run.server else None
        figures["facts"] = run.facts
        if contender.writes:
            run.settle(sum(run.next.values()))
        run.end()
        if contender.writes:
            figures["verdict"] = run.verdict().as_json()
        figures["complaints"] = run.complaints()
        return figures


def percentiles(samples: list[int], clock_ns: int) -> Figures:
    """Of single calls, in microseconds, without what reading the clock costs."""

    def at(share: float) -> float:
        return max(0, samples[min(int(len(samples) * share), len(samples) - 1)] - clock_ns) / 1e3

    if not samples:
        return {}
    return {"p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999), "max_us": at(1.0)}


def kill(contender: Contender, scenario: Scenario, records: int) -> Figures:
    """Half of the producers are killed with SIGKILL somewhere on their way; what their calls had returned must be there."""
    victims = frozenset(range(scenario.processes // 2))
    with Run(contender, scenario, stage_timeout_s=30.0) as run:
        run.tell("doomed", records=records)
        goals = {victim: int(records * random.uniform(0.2, 0.8)) for victim in victims}
        deadline = time.monotonic() + 30.0
        while goals:
            for victim in list(goals):
                if ledger.Account(run.directory / f"ledger.{victim}").returned > goals[victim]:
                    os.kill(run.pids[victim], signal.SIGKILL)
                    del goals[victim]
            if time.monotonic() > deadline:
                raise RunError("the producers did not come so far that they could be killed")
            time.sleep(0.0005)
        hung = ""
        try:
            run.answers(without=victims)
        except RunError as error:
            hung = str(error)
        sent = dict(_accounts(run, scenario))
        run.settle(sum(must for must, _ in sent.values()))
        if not hung:
            run.end(without=victims)
        verdict = run.verdict(sent)
        struck = sum(1 for victim in victims if sent[victim, 0][0] < records)
        lost = {str(producer): count for producer, count in verdict.lost_by_producer.items()}
        return {
            "verdict": verdict.as_json(),
            "kills": len(victims),
            "struck": struck,
            "hung": hung,
            "lost_of_killed": sum(count for who, count in lost.items() if int(who) in victims),
        }


def _accounts(run: Run, scenario: Scenario) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for producer in range(scenario.processes):
        account = ledger.Account(run.directory / f"ledger.{producer}")
        for thread, (attempted, returned, _, _) in account.threads.items():
            yield (producer, thread), (returned, attempted)


def paced(contender: Contender, scenario: Scenario, seconds: float) -> Figures:
    """A steady load; and before it an idle server with the same clients connected."""
    with Run(contender, scenario) as run:
        idle_s = seconds / 2
        time.sleep(min(2.5, 4 * seconds))  # until everything has gone to sleep
        before = run.server.cpu_ns() if run.server else 0
        time.sleep(idle_s)
        idle = (run.server.cpu_ns() - before) / idle_s / 1e9 if run.server else None
        records = int(scenario.per_second * seconds)
        run.tell("single", records=records, per_second=scenario.per_second)
        answers = run.answers()
        server_cpu = run.server_cpu_ns()
        took_s = max(answer["took_s"] for answer in answers)
        figures = {
            "idle_server_cpu": idle,
            "server_cpu": None if server_cpu is None else server_cpu / took_s / 1e9,
            "producers_cpu": sum(answer["cpu_ns"] for answer in answers) / took_s / 1e9,
            "per_second": records * scenario.writers / took_s,
            **percentiles(run.samples(), min(answer["clock_ns"] for answer in answers)),
        }
        if contender.writes:
            run.settle(sum(run.next.values()))
        run.end()
        if contender.writes:
            figures["verdict"] = run.verdict().as_json()
        return figures


def visible(contender: Contender, scenario: Scenario, records: int) -> Figures:
    """From the call to the line in the file, of one producer that pauses after each."""
    with Run(contender, scenario) as run:
        run.tell("visible", records=records, pause_s=0.01)
        run.answers()
        figures = percentiles(run.samples(), 0)
        run.settle(sum(run.next.values()))
        run.end()
        return {**figures, "verdict": run.verdict().as_json()}
