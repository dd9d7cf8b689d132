"""The server is killed at each system call that changes a file: while it writes, rotates, and recovers from the kill before.

``strace`` delivers SIGKILL at the N-th call, for N = 1, 11, 21 … in ``make test`` and for every N in ``make faults``, until a run
ends without having been struck. The kill comes before the call; what a kill in the middle of a write leaves, a part of
the bytes, is put into the file by the test. The seed is printed; ``LOGSERV_TEST_SEED`` replays it.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import oracle
import pytest
import strace
from kills import OWN_MEMORY, Crew, Member, Tally, amount, assert_no_ring_is_left, chance, remove_chain
from running import Server, StartServer, kill_program, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.newest, pytest.mark.timeout(amount(120, 7_200))]

STEP = amount(10, 1)
POINTS_MAX = 5_000  # a run that has so many calls is not the one that is meant
PLANTED = 15  # files of an older chain, so that rotation deletes, too
PLANTER = 1_000_000  # the producer of their records
LOAD: dict[str, Any] = {"records": 120, "flush_every": 5, "exceptions": 10, "payload": 100}
SMALL_FILES: dict[str, Any] = {"maxBytes": 2_000, "backupCount": 20, "block_timeout_s": 60.0}


@dataclass
class Run:
    """One run of a server that is to be struck, with one client."""

    server: Server
    crew: Crew
    active: Path
    tally: Tally = field(default_factory=Tally)
    recoveries_struck: int = 0

    def plant(self) -> None:
        """An old chain, of which the eldest will be deleted."""
        for age in range(1, PLANTED + 1):
            message = oracle.make_message(PLANTER, 0, PLANTED - age, 1, "planted", False)
            self.active.with_name(f"{self.active.name}.{age}").write_text(
                f"2026-11-22 10:00:00,123 INFO app: {message}\n"
            )

    def strike(self, number: int, member: Member) -> bool:
        """Waits until the server has been struck, or its client has left; True: it was struck."""
        process = self.server.process
        while process.poll() is None and member.process.poll() is None:
            time.sleep(0.005)
        if process.poll() is None:
            self.server.command_line("stop")
            process.wait(20)
        assert process.returncode in (0, -9), f"call {number}: {process.returncode}: {self.server.stderr}"
        return process.returncode == -9

    def recover(self, generator: random.Random, again: int) -> None:
        """Starts the server again; `again` times it is struck on the way, at some call of its start."""
        for _ in range(again):
            process = self.server.start(prefix=strace.strike_at(generator.randrange(1, 40)))
            with contextlib.suppress(Exception):
                process.wait(0.3)
            self.recoveries_struck += process.poll() == -9
            kill_program(process)
        self.server.restart()

    def check(self, number: int) -> None:
        """Everything that was logged is there, and nothing of the older chain is anything but whole."""
        sent: dict[oracle.Thread, int | tuple[int, int]] = {(PLANTER, 0): (0, PLANTED)}
        deadline = time.monotonic() + 10
        while True:
            sent.update(oracle.sent_by(self.crew.ledgers))
            report = oracle.check(self.active, sent, max_bytes=SMALL_FILES["maxBytes"])
            if report.perfect or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        assert report.perfect, f"struck at call {number}: {report}"
        self.tally.add(report)

    def clear(self) -> None:
        self.crew.forget()
        remove_chain(self.active)


@pytest.fixture
def idle_server(start_server: StartServer) -> Server:
    """A server that has been stopped: each run starts its own."""
    strace.required()
    server = start_server(stop_checked=False)
    server.stop()
    return server


@pytest.mark.parametrize(("memory", "compress"), [("shared", None), ("passed", None), ("shared", "gzip")])
def test_a_server_killed_at_a_system_call_loses_and_doubles_nothing(
    idle_server: Server, root: Path, crew: Crew, seed: int, memory: str, compress: str | None
) -> None:
    """`passed`: the client has a /dev/shm of its own, so that its ring does not survive both deaths."""
    files = {**SMALL_FILES, "compress": compress}
    prefix: tuple[str, ...] = ()
    if memory == "passed":
        if os.geteuid() != 0:
            pytest.skip("only root can make another mount namespace")
        prefix = OWN_MEMORY
    generator = chance(f"points/{memory}", seed)
    run = Run(idle_server, crew, root / "points.log")
    struck = clients_killed = 0
    deleted = False
    for number in range(1, POINTS_MAX, STEP):
        run.plant()
        idle_server.process = idle_server.start(prefix=strace.strike_at(number))
        member = crew.start(idle_server.handler("unix", "points.log", **files), prefix=prefix, **LOAD)
        if not run.strike(number, member):
            break
        struck += 1
        if not prefix and generator.random() < 0.3 and member.account.attempted:
            clients_killed += member.process.poll() is None
            member.kill()
        run.recover(generator, generator.randrange(0, amount(2, 4)))
        if member.process.poll() != -9:
            member.finish()
        run.check(number)
        deleted |= f"p={PLANTER} t=0 n=0 " not in oracle.contents(oracle.chain(run.active)[0]).decode()
        idle_server.kill()
        run.clear()
    else:
        pytest.fail(f"{POINTS_MAX} calls and no end")
    run.server.restart()
    run.check(0)  # the run that was not struck
    assert struck >= amount(6, 60), f"only {struck} runs were struck"
    assert deleted, "no rotation has come to the point of deleting a file"
    assert run.recoveries_struck or not struck, "no recovery was struck"
    assert_no_ring_is_left(idle_server)
    run.tally.keep(
        "crash points"
        + (", the ring passed" if memory == "passed" else "")
        + (", compressing" if compress else ""),
        kills=struck,
        struck=struck,
        clients_killed=clients_killed,
        recoveries_struck=run.recoveries_struck,
        step=STEP,
        seed=seed,
    )


def part(data: bytes, number: int, generator: random.Random) -> int:
    """How much of a write is done: up to within a line, up to anywhere, all of it, up to the end of a line."""
    anywhere = [length for length in range(1, len(data)) if data[length - 1 : length] != b"\n"]
    match number % 4:
        case 1:
            return generator.choice(anywhere)
        case 2:
            return generator.randrange(len(data))
        case 3:
            return len(data)
    return data.rfind(b"\n", 0, -1) + 1


FOREIGN = {"nothing": b"", "a line": b"a line of somebody else\n", "no end": b"somebody else, without an end"}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_write_cut_in_the_middle_is_completed_and_nobody_elses_bytes_are_cut(
    idle_server: Server, root: Path, crew: Crew, tmp_path: Path, seed: int, foreign: str
) -> None:
    generator = chance(f"cut/{foreign}", seed)
    active = root / "cut.log"
    tally = Tally()
    cuts = in_a_line = 0
    for number in range(1, amount(4, 40) + 1):
        trace = tmp_path / f"{number}.trace"
        # The first write to a file, or a later one: batches that follow each other closely are large.
        idle_server.process = idle_server.start(
            prefix=strace.strike_at_write(generator.randrange(1, 6), active, trace)
        )
        member = crew.start(
            idle_server.handler("unix", "cut.log", maxBytes=50_000, backupCount=500, block_timeout_s=60.0),
            payload=100,
            pause_s=0.002,
            pause_every=generator.choice([1, 20, 200]),
        )
        idle_server.process.wait(60)
        if generator.random() < 0.5:
            member.kill()
        cut = strace.Cut.read(trace)
        assert cut is not None, trace.read_bytes()[:2_000]
        assert cut.file == active
        length = part(cut.data, number, generator)
        if foreign == "no end" and length == len(cut.data):  # nothing was torn, and nothing is ours to mend
            length = part(cut.data, 4, generator)
        cut.write_part(length)
        cuts += length < len(cut.data)
        torn = cut.data[:length][-1:] not in (b"\n", b"")
        in_a_line += torn
        with active.open("ab") as file:
            file.write(FOREIGN[foreign])
        before = b"".join(path.read_bytes() for path in oracle.chain(active))

        idle_server.restart()
        if member.process.poll() is None:
            member.wait_until_it_logs(member.account.attempted + 20)
            member.leave()
        wait_for(
            lambda: not crew.report(active).lost, f"all records, after {length} of {len(cut.data)} bytes"
        )
        report = tally.add(crew.report(active))
        assert report.unharmed, report
        after = b"".join(path.read_bytes() for path in oracle.chain(active))
        assert after.startswith(before), "bytes that were in the file are not there any more"
        strange_lines = bool(FOREIGN[foreign]) * (1 + torn) - (torn and foreign == "no end")
        expected = [strange_lines] if foreign != "nothing" else [0]
        if torn and foreign == "a line":
            expected = [
                1,
                2,
            ]  # whether the foreign bytes stand behind the fragment, or on a line of their own
        assert report.torn in expected, f"{length} of {len(cut.data)} bytes: {report}"
        idle_server.kill()
        crew.forget()
        remove_chain(active)
    idle_server.restart()
    assert cuts >= 1
    assert in_a_line >= 1, "no write was cut within a line"
    tally.keep(f"torn writes, behind them {foreign}", kills=cuts, struck=in_a_line, seed=seed)
