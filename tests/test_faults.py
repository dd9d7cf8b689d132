"""Links, disks and peers that fail on purpose. Each test proves that its fault has bitten, or fails.

The seed of what is random is printed; ``LOGSERV_TEST_SEED`` replays it.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import random
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import client_2_0 as v2
import oracle
import pytest
from proxy import Proxy
from running import Producers, Server, dict_config, wait_for
from server_2013 import Server2013

pytestmark = pytest.mark.faults


@contextlib.contextmanager
def proxied(proxy: Proxy) -> Iterator[Proxy]:
    try:
        yield proxy
    finally:
        proxy.close()


def forwarder(port: int, filename: str, **arguments: object) -> dict[str, object]:
    return {
        "class": "logserv.client.SocketForwarder",
        "host": "127.0.0.1",
        "port": port,
        "filename": filename,
        **arguments,
    }


def finish_quietly(produce: Producers) -> None:
    """Producers that may complain of what was done to them."""
    for process in produce.processes:
        _out, err = process.communicate(timeout=90)
        print(f"--- a producer printed:\n{err}")
        assert process.returncode == 0
    produce.processes.clear()


def test_a_link_cut_in_the_middle_of_batches_loses_and_doubles_nothing(
    server: Server, root: Path, produce: Producers, seed: int
) -> None:
    generator = random.Random(seed)
    cuts = [generator.randrange(300, 60_000) for _ in range(12)]
    with proxied(Proxy(server.connect_unix, cuts)) as proxy:
        handler = forwarder(proxy.port, "cut.log", maxBytes=200_000, backupCount=200, block_timeout_s=30)
        produce.start(
            {
                "config": dict_config(handler, oracle.FORMAT),
                "producer": 0,
                "records": 20_000,
                "exceptions": 50,
            }
        )
        finish_quietly(produce)
    report = oracle.check(root / "cut.log", {(0, 0): 20_000}, max_bytes=200_000)
    assert report.perfect, report
    assert proxy.cuts_made >= 5, f"only {proxy.cuts_made} cuts"
    assert proxy.bytes_lost > 0


def test_a_link_cut_before_every_acknowledgement_doubles_nothing(
    server: Server, root: Path, produce: Producers
) -> None:
    with proxied(Proxy(server.connect_unix)) as proxy:
        handler = forwarder(proxy.port, "unacknowledged.log", block_timeout_s=30)
        job = {
            "config": dict_config(handler, oracle.FORMAT),
            "producer": 0,
            "records": 6_000,
            "pause_s": 0.0005,
        }
        process = produce.start(job)
        cuts = 0
        while cuts < 8 and process.poll() is None:
            if not proxy.links:
                time.sleep(0.01)  # not there yet, or again
                continue
            time.sleep(0.1)
            proxy.answers_held.set()  # records get through, acknowledgements do not
            time.sleep(0.1)
            proxy.cut_all()
            proxy.answers_held.clear()
            cuts += 1
        finish_quietly(produce)
    report = oracle.check(root / "unacknowledged.log", {(0, 0): 6_000})
    assert report.perfect, report
    assert cuts >= 3, f"only {cuts} cuts"
    assert proxy.connections > cuts
    assert proxy.answers_lost > 0


def test_one_connection_cut_at_every_byte_of_its_opening_is_opened_in_the_end(
    server: Server, root: Path
) -> None:
    """The 2.0 client of the tests stands in for a peer; the server must neither keep nor write anything of the halves."""
    stream = b"HELLO 2.0\n" + v2.json_frame(
        v2.OPEN,
        {"session": "0" * 32, "handler": "logging.FileHandler", "arguments": {"filename": "bytes.log"}},
    )
    stream += v2.batch(1, [v2.line("whole")])
    for end in range(0, len(stream), 3):
        with server.connect_tcp() as link:
            link.sendall(stream[:end])
    client = v2.Client(server.connect_tcp())
    welcome = client.open("0" * 32, "bytes.log", handler="logging.FileHandler")
    assert welcome["written_seq"] == 0
    client.send(1, v2.line("whole"))
    client.wait_written(1)
    assert (root / "bytes.log").read_text() == "whole\n"


def test_slow_peers_cost_the_others_nothing(server: Server, root: Path) -> None:
    """Half-said sentences on 60 connections, a byte now and then, beside one client that wants to work."""
    client = v2.Client(server.connect_unix())
    client.open(secrets.token_hex(16), "good.log", handler="logging.FileHandler")

    def rate(first: int, count: int = 300) -> float:
        started = time.monotonic()
        for number in range(first, first + count):
            client.send(number, v2.line(f"{number}"))
            client.wait_written(number)
        return count / (time.monotonic() - started)

    alone = max(rate(1 + 300 * turn) for turn in range(3))
    slow = [server.connect_tcp() if number % 2 else server.connect_unix() for number in range(60)]
    stop = threading.Event()

    def drip() -> None:
        at = 0
        stream = b"HELLO 2.0\n" + b"\xff\xff\x03\0\x01" + b"{" * 1000
        while not stop.wait(0.05):
            for link in slow:
                with contextlib.suppress(OSError):
                    link.sendall(stream[at : at + 1])
            at += 1

    dripping = threading.Thread(target=drip)
    dripping.start()
    beside = max(rate(901 + 300 * turn) for turn in range(3))
    stop.set()
    dripping.join()
    for link in slow:
        link.close()
    assert len((root / "good.log").read_text().splitlines()) == 1_800
    # The drip takes a share of this process; what must not be is that anybody waits for a slow peer.
    assert beside > alone / 5, f"{beside:.0f} records/s beside the slow ones, {alone:.0f} alone"


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    """A disk of one megabyte below the root."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = root / "small"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=False)


def test_a_full_disk_stops_its_own_file_only_and_heals(server: Server, root: Path, small_disk: Path) -> None:
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    stuck = v2.Client(server.connect_unix())
    stuck.open(secrets.token_hex(16), "small/stuck.log", handler="logging.FileHandler")
    free = v2.Client(server.connect_unix())
    free.open(secrets.token_hex(16), "free.log", handler="logging.FileHandler")
    stuck.send(1, *(v2.line(f"stuck {number}") for number in range(100)))
    for number in range(1, 201):
        free.send(number, v2.line(f"free {number}"))
        free.wait_written(number)
    stuck.link.settimeout(0.5)
    with pytest.raises(TimeoutError):
        stuck.wait_written(1)
    assert (small_disk / "stuck.log").stat().st_size == 0, "the disk was not full"
    filler.unlink()
    stuck.link.settimeout(10.0)  # within 10 s of the fault's end, records are in their file
    stuck.wait_written(100)
    assert (small_disk / "stuck.log").read_text() == "".join(f"stuck {number}\n" for number in range(100))


def test_a_directory_that_is_gone_and_comes_back_stops_nobody_else(server: Server, root: Path) -> None:
    (root / "there").mkdir()
    lost = v2.Client(server.connect_unix())
    lost.open(secrets.token_hex(16), "there/x.log", handler="logging.handlers.WatchedFileHandler")
    lost.send(1, v2.line("1"))
    lost.wait_written(1)
    (root / "there/x.log").rename(root / "moved.log")
    (root / "there").rmdir()
    lost.send(2, v2.line("2"))
    free = v2.Client(server.connect_unix())
    free.open(secrets.token_hex(16), "free.log", handler="logging.FileHandler")
    free.send(1, v2.line("free"))
    free.wait_written(1)
    (root / "there").mkdir()
    lost.send(3, v2.line("3"))
    lost.link.settimeout(15.0)
    lost.wait_written(3)
    path = root / "there/x.log"
    text = (root / "moved.log").read_text() + (path.read_text() if path.exists() else "")
    assert text == "1\n2\n3\n"


def test_our_client_falls_back_to_the_server_of_2013(tmp_path: Path, root: Path, produce: Producers) -> None:
    old = Server2013(root)
    handler = forwarder(old.port, "old.log", maxBytes=50_000, backupCount=100)
    job = {"config": dict_config(handler, oracle.FORMAT), "producer": 0, "records": 1_000, "exceptions": 20}
    produce.start(job)
    produce.finish()

    def report() -> oracle.Report:
        return oracle.check(root / "old.log", {(0, 0): 1_000})

    wait_for(lambda: report().found == 1_000, "1,000 records", 20)
    old.close()
    assert report().perfect, report()
    # It has tried FORMAT, found out that records do not follow it here, and renders the lines itself.
    assert old.formats >= 1
    assert old.connections >= 2


def test_a_socket_handler_that_dies_in_the_middle_of_a_record_leaves_the_others_whole(
    server: Server, root: Path
) -> None:
    record = logging.makeLogRecord({"msg": "x" * 5_000})
    handler = logging.handlers.SocketHandler("127.0.0.1", server.port)
    pickled = handler.makePickle(record)
    for end in (1, 3, 4, 5, 100, len(pickled) - 1):
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            link.sendall(pickled[:end])
    client = v2.Client(server.connect_tcp())
    client.open(secrets.token_hex(16), "whole.log", handler="logging.FileHandler")
    client.send(1, v2.line("whole"))
    client.wait_written(1)
    assert server.process.poll() is None
