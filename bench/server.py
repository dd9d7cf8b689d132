"""What the server costs and how soon a record is to be seen: processor time, latency, many clients, pickles.

In: an environment with logserv installed, and optionally the program to measure (``LOGSERV_PROGRAM``) and the example
``pickle_speed`` of ``logserv-wire`` (``PICKLE_SPEED``). Out: a line for each figure, with its target. ``server.py NAME …``
measures only those parts.
Everything that is compared is measured in turn, in this run; the figures are medians of ``BENCH_RUNS`` (5).
"""

from __future__ import annotations

import io
import logging
import logging.handlers
import os
import pickle
import shutil
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import running

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))
FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s:%(lineno)d %(message)s"
PROGRAM = Path(os.environ.get("LOGSERV_PROGRAM") or Path(sysconfig.get_path("scripts")) / "logserv")

PRODUCER = """
import logging, sys, time
from logserv.client import UnixClient
handler = UnixClient(sys.argv[1], filename="bench.log", handler_class="logging.FileHandler")
handler.setFormatter(logging.Formatter("%(message)s"))
logger = logging.getLogger("app.db.session")
logger.addHandler(handler); logger.setLevel(logging.INFO); logger.propagate = False
rate, seconds, burst = float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
start = time.perf_counter()
for number in range(int(rate * seconds / burst)):
    for _ in range(burst):
        logger.info("%d %s", time.monotonic_ns(), "x" * 60)
    time.sleep(max(0.0, start + (number + 1) * burst / rate - time.perf_counter()))
handler.close()
"""

# The recipe of Python's logging cookbook, but for its one defect: it gives up where a length arrives in two parts.
COOKBOOK = """
import logging, pickle, socketserver, struct, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            chunk = self.rfile.read(4)
            if len(chunk) < 4:
                break
            record = logging.makeLogRecord(pickle.loads(self.rfile.read(struct.unpack(">L", chunk)[0])))
            logging.getLogger(record.name).handle(record)
logging.basicConfig(filename=sys.argv[1], format=sys.argv[2], level=0)
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextmanager
def served(*arguments: str) -> Iterator[running.Server]:
    """A server with a directory of its own."""
    sockets = Path(tempfile.mkdtemp(prefix="ls-", dir="/tmp"))
    with tempfile.TemporaryDirectory(prefix="ls-bench-") as root:
        server = running.Server(PROGRAM, sockets / "s.sock", Path(root), arguments)
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.process.terminate()
            server.process.wait(30)
            shutil.rmtree(sockets)


def cpu_s(pid: int) -> float:
    """Processor time of all threads, to the nanosecond: `stat` counts hundredths of seconds."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def memory_mib(pid: int) -> float:
    """Resident memory of its own."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def producer(server: running.Server, rate: float, seconds: float, burst: int) -> subprocess.Popen[bytes]:
    """A process that logs at a steady rate."""
    numbers = (str(rate), str(seconds), str(burst))
    return subprocess.Popen([sys.executable, "-c", PRODUCER, str(server.unix), *numbers])


def idle() -> None:
    """Two seconds after the last record, with a client that is connected."""
    with served() as server:
        process = producer(server, 1, SECONDS + 6, int(SECONDS + 6))
        time.sleep(4)
        before = cpu_s(server.process.pid)
        time.sleep(SECONDS)
        share = (cpu_s(server.process.pid) - before) / SECONDS
        process.wait()
    print(f"idle: {share:.4%} of a processor (target 0.0 %)", flush=True)


def steady() -> None:
    """At 10,000 records per second, from one process and from ten."""
    for processes in (1, 10):
        shares = []
        for _ in range(RUNS):
            with served() as server:
                rate = 10_000 / processes
                started = [
                    producer(server, rate, SECONDS + 2, max(1, 10 // processes)) for _ in range(processes)
                ]
                time.sleep(1.5)
                before, start = cpu_s(server.process.pid), time.monotonic()
                time.sleep(SECONDS)
                shares.append((cpu_s(server.process.pid) - before) / (time.monotonic() - start))
                for process in started:
                    process.wait()
        print(
            f"10,000 records/s of {processes} processes: {statistics.median(shares):.2%} of a processor "
            f"({min(shares):.2%}..{max(shares):.2%}; target 1 %)",
            flush=True,
        )


def latency() -> None:
    """From the call until the line can be read from the file."""
    for rate, burst in ((100, 1), (1000, 1), (10_000, 10)):
        with served() as server:
            process = producer(server, rate, SECONDS, burst)
            waits = follow(server.root / "bench.log", process)
        waits.sort()
        at = [waits[int((len(waits) - 1) * part)] / 1e6 for part in (0.5, 0.99, 0.999, 1)]
        print(
            f"call to file at {rate:,} records/s: median {at[0]:.1f} ms, 99 % {at[1]:.1f} ms, 99.9 % {at[2]:.1f} ms, "
            f"longest {at[3]:.1f} ms (targets: 99 % 20 ms, aim 5 ms)",
            flush=True,
        )


def follow(path: Path, process: subprocess.Popen[bytes]) -> list[int]:
    """Reads the file as it grows; nanoseconds from the call of each record."""
    running.wait_for(path.exists, "the file")
    waits: list[int] = []
    rest = b""
    with path.open("rb", buffering=0) as file:
        while True:
            is_over = process.poll() is not None
            part = file.read(1 << 20)
            if not part:
                if is_over:
                    return waits
                time.sleep(0.0002)
                continue
            now = time.monotonic_ns()
            *lines, rest = (rest + part).split(b"\n")
            waits += [now - int(line.split(b" ", 1)[0]) for line in lines]


def frames(count: int) -> list[bytes]:
    """What a SocketHandler sends."""
    handler = logging.handlers.SocketHandler("127.0.0.1", 1)
    made = []
    for number in range(count):
        record = logging.LogRecord(
            "app.db.session",
            logging.INFO,
            "/srv/app/db/session.py",
            142,
            "%s took %d ms",
            ("query", number),
            None,
        )
        record.funcName = "execute"
        made.append(handler.makePickle(record))
    return made


def pickles() -> None:
    """The reader of pickles beside CPython's own, on the same bytes, in turn; of each the fastest of five passes."""
    program = os.environ.get("PICKLE_SPEED", "")
    if not program:
        print("pickles: set PICKLE_SPEED to the example pickle_speed of logserv-wire", flush=True)
        return
    stream = frames(20_000)
    payloads = [frame[4:] for frame in stream]
    ratios, rates = [], []
    for _ in range(RUNS):
        done = subprocess.run([program, "5"], input=b"".join(stream), capture_output=True, check=True)
        passes = []
        for _ in range(5):
            start = time.perf_counter()
            for payload in payloads:
                pickle.loads(payload)
            passes.append(len(payloads) / (time.perf_counter() - start))
        rates.append(float(done.stdout))
        ratios.append(rates[-1] / max(passes))
    print(
        f"pickles: {statistics.median(rates) / 1e6:.2f} M records/s, {statistics.median(ratios):.1f} times pickle.loads "
        f"({min(ratios):.1f}..{max(ratios):.1f}; target 10, aim 25)",
        flush=True,
    )


def stream_s(port: int, data: bytes, file: Path, lines: int) -> float:
    """Seconds from the first byte sent until all lines are in the file."""
    before = count(file)
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(data)
        while count(file) < before + lines:
            time.sleep(0.002)
    return time.perf_counter() - start


def count(file: Path) -> int:
    """Lines in it: all have the same length but for their number, so that the size would not do."""
    try:
        with file.open("rb") as opened:
            return sum(part.count(b"\n") for part in iter(lambda: opened.read(1 << 20), b""))
    except FileNotFoundError:
        return 0


def sockets() -> None:
    """A SocketHandler's stream from the first byte sent to the last line in the file, beside the cookbook's server."""
    few, many = frames(20_000), b"".join(frames(20_000)) * 10
    with tempfile.TemporaryDirectory(prefix="ls-bench-") as directory:
        cookbook_file = Path(directory) / "cookbook.log"
        cookbook = subprocess.Popen(
            [sys.executable, "-c", COOKBOOK, cookbook_file, FORMAT], stdout=subprocess.PIPE
        )
        assert cookbook.stdout is not None
        port = int(cookbook.stdout.readline())
        ratios, rates = [], []
        options = ("--socket-handler-file", "socket.log", "--socket-handler-format", FORMAT)
        try:
            with served(*options) as server:
                for _ in range(RUNS):
                    theirs = 20_000 / stream_s(port, b"".join(few), cookbook_file, 20_000)
                    rates.append(200_000 / stream_s(server.port, many, server.root / "socket.log", 200_000))
                    ratios.append(rates[-1] / theirs)
        finally:
            cookbook.kill()
            cookbook.wait()
    print(
        f"a SocketHandler's stream: {statistics.median(rates):,.0f} records/s, {statistics.median(ratios):.1f} times the "
        f"cookbook's server ({min(ratios):.1f}..{max(ratios):.1f}; target 10)",
        flush=True,
    )


def connections() -> None:
    """Processor time per record from ten connections and from 5,000, and memory for each of those."""
    options = ("--socket-handler-file", "socket.log", "--socket-handler-format", FORMAT)
    parts = frames(20)
    for number in (10, 5000):
        with served(*options) as server:
            pid = server.process.pid
            empty = memory_mib(pid)
            links = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(number)]
            for link in links:
                link.sendall(parts[0])
            file = server.root / "socket.log"
            running.wait_for(lambda: count(file) == number, "the first record of each", 60)  # noqa: B023
            before, kib = cpu_s(pid), (memory_mib(pid) - empty) * 1024 / number
            rounds = 100_000 // number // len(parts) or 1
            for _ in range(rounds):
                for part in parts:
                    for link in links:
                        link.sendall(part)
            total = number * (1 + rounds * len(parts))
            running.wait_for(lambda: count(file) == total, "all records", 60)  # noqa: B023
            used = cpu_s(pid) - before
            for link in links:
                link.close()
        print(
            f"{number:,} connections: {used / (total - number) * 1e6:.2f} µs of processor time a record, sent one by one; "
            f"{kib:.1f} KiB of memory each when idle",
            flush=True,
        )


PARTS: dict[str, Callable[[], None]] = {
    part.__name__: part for part in (idle, steady, latency, pickles, sockets, connections)
}


def main() -> None:
    """Measures what is asked for."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
