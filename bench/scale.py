"""Many clients at the same time: a thousand processes with a ring each, five thousand connections.

In: an environment with logserv. Out: one row each: rate, memory, processor time. The processes are forked by one, as by a pool, and
set up their sessions themselves; the connections are those of `SocketHandler`, all of one process that only sends bytes.
"""

from __future__ import annotations

import os
import resource
import selectors
import socket
import time
from typing import Any

from bench import check, stream
from bench import contenders as who
from bench.measure import Figures, Run, RunError, Scenario

PROCESSES = 1_000
RECORDS_OF_PROCESS = 500
CONNECTIONS = 5_000
RECORDS_OF_CONNECTION = 40
MAX_BYTES = 50_000_000


def measure() -> list[dict[str, Any]]:
    """All of it; what fails is in its row."""
    rows = []
    for name, run in (("processes", processes), ("connections", connections)):
        try:
            rows.append(run())
        except (RunError, OSError, AssertionError) as error:
            rows.append({**_empty(name), "failure": f"{name}: {error}"})
        print(f"  {rows[-1]}", flush=True)
    return rows


def failures(rows: list[dict[str, Any]]) -> list[str]:
    """What went wrong."""
    return [row["failure"] for row in rows if row["failure"]]


def _empty(name: str) -> Figures:
    columns = ("clients", "records", "records/s", "server MiB", "server KiB a client", "shared KiB a client")
    return {"of": name, **dict.fromkeys((*columns, "server CPU s/M", "lost", "failure"))}


def _row(name: str, clients: int, figures: Figures, verdict: check.Verdict) -> Figures:
    wrong = "" if verdict.is_perfect else f"{name}: {verdict.as_json()}"
    return {**_empty(name), "clients": clients, **figures, "lost": verdict.lost, "failure": wrong}


def processes() -> Figures:
    """A thousand processes, one rotating file."""
    scenario = Scenario("scale", processes=PROCESSES, max_bytes=MAX_BYTES, is_forked=True)
    shared = _shared_kib()
    with Run(who.RING, scenario, stage_timeout_s=300.0) as run:
        assert run.server is not None
        shared = _shared_kib() - shared
        start_at = run.tell("rate", records=RECORDS_OF_PROCESS)
        run.answers()
        total = RECORDS_OF_PROCESS * PROCESSES
        seconds = run.settle(sum(run.next.values())) - start_at
        cpu = run.server_cpu_ns() or 0
        rss_kib = run.server.rss_kib()
        run.end()
        figures = _figures(total, seconds, rss_kib, cpu, PROCESSES)
        return _row(
            "processes", PROCESSES, {**figures, "shared KiB a client": shared / PROCESSES}, run.verdict()
        )


def _figures(total: int, seconds: float, rss_kib: int, cpu_ns: int, clients: int) -> Figures:
    return {
        "records": total,
        "records/s": total / seconds,
        "server MiB": rss_kib / 1024,
        "server KiB a client": rss_kib / clients,
        "server CPU s/M": cpu_ns / total / 1e3,
    }


def _shared_kib() -> int:
    """What lies in /dev/shm, of everybody."""
    usage = os.statvfs("/dev/shm")
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize // 1024


def connections() -> Figures:
    """Five thousand connections, each with some records of a `SocketHandler`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < CONNECTIONS + 100:
        raise OSError(f"needs {CONNECTIONS + 100} descriptors, has {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    blobs = [b"".join(stream.frames("plain", number, RECORDS_OF_CONNECTION)) for number in range(CONNECTIONS)]
    with stream.Stream(who.SOCKET_OURS, Scenario("scale", kind="stream")) as run:
        assert run.server is not None
        links = [socket.create_connection(run.address) for _ in blobs]
        time.sleep(0.5)
        before, started_at = run.server.cpu_ns(), time.time()
        _send_all(links, blobs)
        total = RECORDS_OF_CONNECTION * CONNECTIONS
        seconds = run.settle(total) - started_at
        cpu = run.server.cpu_ns() - before
        rss_kib = run.server.rss_kib()
        for link in links:
            link.close()
        run.end()
        sent = {(number, 0): (RECORDS_OF_CONNECTION, RECORDS_OF_CONNECTION) for number in range(CONNECTIONS)}
        figures = _figures(total, seconds, rss_kib, cpu, CONNECTIONS)
        return _row("connections", CONNECTIONS, figures, run.verdict(sent))


def _send_all(links: list[socket.socket], blobs: list[bytes]) -> None:
    """A part over each in turn, as far as each takes it."""
    selector = selectors.DefaultSelector()
    left = [memoryview(blob) for blob in blobs]
    for number, link in enumerate(links):
        link.setblocking(False)
        selector.register(link, selectors.EVENT_WRITE, number)
    while selector.get_map():
        for key, _ in selector.select():
            number = key.data
            left[number] = left[number][links[number].send(left[number][:4096]) :]
            if not left[number]:
                selector.unregister(links[number])
