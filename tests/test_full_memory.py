"""Memory that is full, and servers that stand still: smaller rings, the socket, or counted drops; never a dead application.

The full memory is a ``/dev/shm`` of 1 MiB or less in a mount namespace of its own, which only root can make.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ledger
import pytest
from kills import MIXED, PATIENT, Crew, Tally, amount, ring_key
from running import Server, StartServer, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.newest, pytest.mark.timeout(amount(120, 600))]

SmallMemory = Callable[[str], list[str]]


@pytest.fixture
def small_memory() -> Iterator[SmallMemory]:
    """``small_memory("1m")`` gives the command that goes before all that is to live with so little."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small /dev/shm")
    holders: list[subprocess.Popen[bytes]] = []

    def make(size: str) -> list[str]:
        script = f"mount -t tmpfs -o size={size},mode=1777 tmpfs /dev/shm && echo ready && exec sleep 1000"
        holder = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE)
        holders.append(holder)
        assert holder.stdout is not None
        if holder.stdout.readline() != b"ready\n":
            pytest.skip("cannot mount a small /dev/shm")
        return ["nsenter", "-t", str(holder.pid), "-m", "--"]

    yield make
    for holder in holders:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()


def ring_sizes(prefix: list[str], server: Server) -> list[int]:
    """The sizes of the rings in that small memory."""
    key = ring_key(f"unix:{os.path.realpath(server.unix)}")
    listed = subprocess.run(
        [*prefix, "sh", "-c", f"stat -c %s /dev/shm/logserv-*/{key}-* 2>/dev/null; true"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(size) for size in listed.stdout.split()]


@pytest.mark.parametrize(("size", "clients"), [("1m", 6), ("64k", 3), ("4k", 2)])
def test_full_memory_means_smaller_rings_or_the_socket_and_no_sigbus(
    start_server: StartServer, small_memory: SmallMemory, root: Path, crew: Crew, size: str, clients: int
) -> None:
    prefix = small_memory(size)
    server = start_server(prefix=prefix)
    for number in range(clients):
        crew.start(
            server.handler("unix", "small.log", **PATIENT),
            prefix=prefix,
            threads=1 + number % 2,
            pause_s=0.002,
            pause_every=20,
            **MIXED,
        )
    for member in crew.members:
        member.wait_until_it_logs(500)
    sizes = ring_sizes(prefix, server)
    shown = subprocess.run(
        [*prefix, "df", "--output=size,avail", "/dev/shm"], capture_output=True, text=True, check=True
    ).stdout.split()
    # Restarted, the server finds what it needs in the same memory, or does without.
    server.kill()
    time.sleep(0.1)
    server.restart()
    crew.leave()  # fails if one has died, of SIGBUS for example
    tally = Tally()
    report = tally.add(crew.settled(root / "small.log", max_bytes=200_000))
    assert report.perfect, report
    assert len(sizes) <= clients
    assert sum(sizes) <= int(shown[2]) * 1024
    assert len(sizes) < clients or max(sizes) < (1 << 20), f"the memory was not full: {sizes}"
    if size == "1m":
        assert sizes, "nobody has made a ring"
    tally.keep(f"/dev/shm of {size}", kills=1, struck=1, clients=clients, rings=len(sizes))


def stopped(server: Server) -> None:
    """SIGSTOP, and it has come."""
    os.kill(server.process.pid, signal.SIGSTOP)
    stat = Path(f"/proc/{server.process.pid}/stat")
    wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the server to stand still")


def test_the_application_runs_on_while_the_server_stands_still_and_nothing_is_lost(
    server: Server, root: Path, crew: Crew
) -> None:
    # Room for all that is logged meanwhile, some 300 bytes a record: it is not to be the space that a call waits for.
    handler = server.handler("unix", "still.log", **{**PATIENT, "ring_bytes": 8 << 20})
    member = crew.start(handler, pause_s=0.001, last_flush_s=30)
    member.wait_until_it_logs(50)
    stopped(server)
    time.sleep(0.2)  # what it had taken before has been written or never will be
    before, started = member.account.returned, time.monotonic()
    time.sleep(amount(2, 10))
    logged = member.account.returned - before
    seconds = time.monotonic() - started
    os.kill(server.process.pid, signal.SIGCONT)
    result = member.leave()
    tally = Tally()
    report = tally.add(crew.settled(root / "still.log"))
    assert report.perfect, report
    # It would be none at all, and a wait of seconds, if its calls had to do with the server.
    assert logged > 50 * seconds, f"only {logged} records in {seconds:.1f} s"
    assert result["longest_call_s"] < 0.9, result
    tally.keep(
        "server stands still",
        kills=1,
        struck=1,
        stood_s=round(seconds, 1),
        longest_call_ms=round(result["longest_call_s"] * 1e3, 1),
    )


FULL: dict[str, dict[str, Any]] = {
    "block": {"when_full": "block", "block_timeout_s": 0.3},
    "drop_newest": {"when_full": "drop_newest"},
}


@pytest.mark.parametrize("when_full", FULL)
def test_a_full_ring_drops_what_it_says_and_counts_it(
    server: Server, root: Path, crew: Crew, when_full: str
) -> None:
    """Every record is accounted for: in the file, or dropped, counted, and told in the file."""
    handler = server.handler("unix", "full.log", ring_bytes=64 << 10, **FULL[when_full])
    member = crew.start(handler, records=6_000, hold_at=10, last_flush_s=30, payload=60)
    # The first records find a server, the rest one that does not read.
    wait_for(lambda: member.account.returned == 10, "the first records", 30)
    wait_for(lambda: crew.report(root / "full.log").found == 10, "the first records in their file")
    stopped(server)
    ledger.let_go(member.book)
    wait_for(lambda: member.account.attempted >= 6_000, "the application to go through all its records", 60)
    time.sleep(0.1)
    os.kill(server.process.pid, signal.SIGCONT)
    result = member.finish()
    statistics = result["at_the_end"]
    assert result["flushed"]
    tally = Tally()
    report = tally.add(crew.report(root / "full.log"))
    assert statistics["emitted"] == 6_000
    assert statistics["dropped"] > 1_000, "the ring was not full"
    # All of it adds up; what may still be under way is a line that tells of drops.
    accounted = statistics["written"] + statistics["dropped"] + statistics["pending_records"]
    assert statistics["emitted"] + statistics["announced"] == accounted, statistics
    assert statistics["pending_records"] <= statistics["announced"], statistics
    assert report.found == 6_000 - statistics["dropped"], (report, statistics)
    assert report.lost == statistics["dropped"] == report.dropped, (report, statistics)
    assert (report.doubled, report.torn, report.reordered, report.invented) == (0, 0, 0, 0), report
    # Less than the second that a call waits by default.
    limit_s = FULL[when_full].get("block_timeout_s", 0.0) + 0.6
    assert result["longest_call_s"] < limit_s, result
    if when_full == "block":
        assert result["longest_call_s"] > 0.25, "no call has waited"
        assert result["logging_s"] < 5, "more than one call has waited for its whole time"
    tally.lost -= statistics["dropped"]  # a counted drop is no loss
    tally.keep(
        f"full ring, {when_full}",
        emitted=6_000,
        dropped=statistics["dropped"],
        told=report.dropped,
        unaccounted=6_000 - report.found - statistics["dropped"],
        longest_call_ms=round(result["longest_call_s"] * 1e3, 1),
    )


def test_blocking_with_a_server_that_comes_back_in_time_drops_nothing(
    server: Server, root: Path, crew: Crew
) -> None:
    handler = server.handler("unix", "patient.log", ring_bytes=64 << 10, block_timeout_s=30.0)
    member = crew.start(handler, records=6_000, hold_at=10, payload=60, last_flush_s=30)
    wait_for(lambda: crew.report(root / "patient.log").found == 10, "the first records in their file", 30)
    stopped(server)
    ledger.let_go(member.book)

    def waits() -> bool:
        before = member.account.returned
        time.sleep(0.5)
        return before == member.account.returned > 10 and member.account.in_call == 1

    wait_for(waits, "a call to wait")
    os.kill(server.process.pid, signal.SIGCONT)
    result = member.finish()
    assert result["at_the_end"]["dropped"] == 0
    assert result["longest_call_s"] > 0.4
    report = crew.settled(root / "patient.log")
    assert report.perfect, report
