"""A process that logs, in stages, as it is told over a Unix socket: `python -m bench.producer JOB`.

In: a job (JSON: the contender's way, the workload, who it is), then one command a line. Out: one JSON object a line in answer.
Records are numbered through all stages, from 0 for each thread. Throughput and the time of single calls are different stages:
reading the clock twice costs as much as a call of a fast contender.
With ``fork`` in the job the process logs nothing: it is the leader, and forks the producers.
"""

from __future__ import annotations

import json
import multiprocessing.queues
import os
import socket
import sys
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ledger

from bench import servers, ways
from bench.workloads import WORKLOADS, make_calls

WARM_UP = 200  # records before the first stage: connections, caches, first looks
POLL_S = 20e-6  # between two looks whether a line is in its file
VISIBLE_TIMEOUT_S = 20.0


class Producer:
    """One producer with its threads."""

    def __init__(self, job: ways.Job, way: ways.Way) -> None:
        self.job = job
        self.threads: int = job["threads"]
        self.next = [0] * self.threads  # the number of each thread's next record
        self.way = way
        workload = WORKLOADS[job["workload"]]
        self.calls = make_calls(workload, job["producer"], self.way.get_logger, self.way.takes_arguments)
        self.control = socket.socket(socket.AF_UNIX)
        self.control.connect(job["control"])

    def serve(self) -> None:
        """Warms up, says hello, and does what it is told until it is told to leave."""
        self._in_threads(self.calls.loop, WARM_UP)
        self.way.finish()
        self._say({"producer": self.job["producer"], "pid": os.getpid()})
        for line in self.control.makefile("r", encoding="utf-8"):
            command = json.loads(line)
            if command["do"] == "exit":
                break
            stage: Callable[[dict[str, Any]], dict[str, Any]] = getattr(self, command["do"])
            answer = stage(command)
            self._say(
                {**answer, "next": self.next, "rss_kib": servers.rss_kib(os.getpid()), **self.way.facts()}
            )

    def rate(self, command: dict[str, Any]) -> dict[str, Any]:
        """As fast as it goes; the clock is read at the beginning and at the end only."""
        records: int = command["records"]
        _sleep_until(command["start_at"])
        cpu, began = time.process_time_ns(), time.perf_counter_ns()
        self._in_threads(self.calls.loop, records)
        ended_at, ended = time.time(), time.perf_counter_ns()
        self.way.finish()
        cpu = time.process_time_ns() - cpu
        empty_began = time.perf_counter_ns()
        self.calls.empty(0, min(records, 100_000))
        empty = (time.perf_counter_ns() - empty_began) / min(records, 100_000)
        # Threads of one process take turns: the time of a call is the share of its thread.
        loop_ns = (ended - began) / records
        call_ns = loop_ns - (empty * self.threads)
        return {"ended_at": ended_at, "call_ns": call_ns, "cpu_ns": cpu}

    def single(self, command: dict[str, Any]) -> dict[str, Any]:
        """The time of each call, `per_second` of them each second and thread, or without a pause."""
        samples = [array("q") for _ in range(self.threads)]
        pause_s = 1 / command["per_second"] if command.get("per_second") else 0.0
        _sleep_until(command["start_at"])
        cpu, began = time.process_time_ns(), time.monotonic()

        def measure(thread: int, first: int, last: int) -> None:
            one, keep, clock = self.calls.one, samples[thread].append, time.perf_counter_ns
            for number in range(first, last):
                if pause_s:
                    time.sleep(max(0.0, began + (number - first) * pause_s - time.monotonic()))
                before = clock()
                one(thread, number)
                keep(clock() - before)

        self._in_threads(measure, command["records"])
        self.way.finish()
        took_s = time.monotonic() - began
        path = Path(command["samples"])
        path.write_bytes(b"".join(each.tobytes() for each in samples))
        return {"cpu_ns": time.process_time_ns() - cpu, "took_s": took_s, "clock_ns": _clock_ns()}

    def visible(self, command: dict[str, Any]) -> dict[str, Any]:
        """The time from a call to its line in the file, a pause after each: as somebody with `tail -f` has it."""
        samples = array("q")
        path = self.job["file"]

        def watch(thread: int, first: int, last: int) -> None:
            for number in range(first, last):
                size = os.stat(path).st_size  # noqa: PTH116 -- the quickest way to look
                before = time.perf_counter_ns()
                self.calls.one(thread, number)
                while os.stat(path).st_size == size:  # noqa: PTH116
                    if time.perf_counter_ns() - before > VISIBLE_TIMEOUT_S * 1e9:
                        raise TimeoutError(f"no line within {VISIBLE_TIMEOUT_S} s")
                    time.sleep(POLL_S)
                samples.append(time.perf_counter_ns() - before)
                time.sleep(command["pause_s"])

        self._in_threads(watch, command["records"])
        Path(command["samples"]).write_bytes(samples.tobytes())
        return {}

    def doomed(self, command: dict[str, Any]) -> dict[str, Any]:
        """Keeps a ledger, for it may be killed at any moment."""
        book = ledger.Ledger(command["ledger"], self.threads)
        for thread, number in enumerate(self.next):  # what was logged before counts, too
            if number:
                book.attempt(thread, number - 1)
                book.returned(thread, number - 1)
        _sleep_until(command["start_at"])

        def log(thread: int, first: int, last: int) -> None:
            for number in range(first, last):
                book.attempt(thread, number)
                self.calls.one(thread, number)
                book.returned(thread, number)

        self._in_threads(log, command["records"])
        self.way.finish()
        return {}

    def _in_threads(self, run: Callable[[int, int, int], None], records: int) -> None:
        """Runs `run(thread, first, last)` in each thread; raises what one of them raised."""
        errors: list[BaseException] = []

        def guarded(thread: int) -> None:
            first = self.next[thread]
            self.next[thread] = first + records
            try:
                run(thread, first, first + records)
            except BaseException as error:
                errors.append(error)

        others = [threading.Thread(target=guarded, args=(number,)) for number in range(1, self.threads)]
        for thread in others:
            thread.start()
        guarded(0)
        for thread in others:
            thread.join()
        if errors:
            raise errors[0]

    def _say(self, what: dict[str, Any]) -> None:
        self.control.sendall(json.dumps(what).encode() + b"\n")


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def _clock_ns() -> int:
    """What reading the clock twice costs, to be taken off each sample."""
    clock = time.perf_counter_ns
    return sorted(-(clock() - clock()) for _ in range(1001))[500]


def lead(job: ways.Job) -> None:
    """Forks the producers, waits until all of them have left, and lets the contender's own end run."""
    leader = ways.find(job["leader"])(job) if job.get("leader") else None
    shared = leader.shared if leader else None
    way = ways.find(job["way"])({**job, "shared": shared})  # inherited, as by the workers of a pool
    children = []
    for number in range(job["fork"]):
        child = os.fork()
        if not child:
            Producer({**job, "producer": number}, way).serve()
            if isinstance(shared, multiprocessing.queues.Queue):
                shared.close()
                shared.join_thread()
            raise SystemExit(0)
        children.append(child)
    control = socket.socket(socket.AF_UNIX)
    control.connect(job["control"])
    control.sendall(json.dumps({"producer": -1, "pid": os.getpid()}).encode() + b"\n")
    control.recv(1)  # told to leave
    for child in children:
        os.waitpid(child, 0)
    if leader is not None:
        leader.close()


def main() -> None:
    job = json.loads(sys.argv[1])
    if job["fork"]:
        lead(job)
    else:
        Producer(job, ways.find(job["way"])(job)).serve()


if __name__ == "__main__":
    main()
