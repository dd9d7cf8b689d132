"""A `SocketHandler`'s stream as fast as a server takes it: the pickles are made beforehand, so that the server alone is measured.

In: a contender whose server takes such streams, how many records over how many connections. Out: the figures and the verdict, as of any run.
"""

from __future__ import annotations

import logging
import logging.handlers
import socket
import threading
import time
from typing import Any

from bench import check, servers
from bench.measure import Figures, Run, Scenario
from bench.workloads import LOGGERS, WORKLOADS, tail

CONNECTIONS = 4
CHUNK_BYTES = 64 << 10


def frames(workload_name: str, producer: int, records: int) -> list[bytes]:
    """What a `SocketHandler` sends of so many records: 4 bytes of length and a pickle each."""
    workload = WORKLOADS[workload_name]
    payloads = workload.payloads()
    maker = logging.handlers.SocketHandler("nowhere", 1)
    made = []
    for number in range(records):
        arguments = (producer, 0, number, tail(workload, payloads, number))
        record = logging.LogRecord(
            LOGGERS[0], logging.INFO, __file__, 57, "p=%d t=%d n=%d %s", arguments, None, "frames"
        )
        made.append(maker.makePickle(record))
    return made


class Stream(Run):
    """A run whose producers are threads of this process, which only send bytes."""

    address: tuple[str, int]

    def _start_producer(self, job: dict[str, Any]) -> None:
        host, port = job["address"]["tcp"]
        self.address = (host, port)

    def _accept(self, listener: socket.socket, count: int) -> None:
        listener.close()


def stream(contender: Any, scenario: Scenario, records: int) -> Figures:
    """Sends `records` over each connection at the same time."""
    blobs = [b"".join(frames(scenario.workload, producer, records)) for producer in range(CONNECTIONS)]
    with Stream(contender, scenario) as run:
        assert isinstance(run.server, servers.Server)
        links = [socket.create_connection(run.address) for _ in blobs]
        before = run.server.cpu_ns()
        started_at = time.time()
        threads = [
            threading.Thread(target=_send, args=(link, blob)) for link, blob in zip(links, blobs, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        total = records * CONNECTIONS
        ended_at = run.settle(total)
        cpu = run.server.cpu_ns() - before
        rss_kib = run.server.rss_kib()
        run.end()
        sent: check.Sent = {(producer, 0): (records, records) for producer in range(CONNECTIONS)}
        return {
            "records": total,
            "rate": total / max(ended_at - started_at, 1e-6),
            "bytes_per_record": len(blobs[0]) / records,
            "cpu_server_s": cpu / total / 1e3,
            "rss_server_mib": rss_kib / 1024,
            "verdict": run.verdict(sent).as_json(),
        }


def _send(link: socket.socket, blob: bytes) -> None:
    view = memoryview(blob)
    for at in range(0, len(blob), CHUNK_BYTES):
        link.sendall(view[at : at + CHUNK_BYTES])
    link.close()
