"""What a client does to itself: it crashes, forks, closes descriptors, is stopped; its records are safe and nobody is hurt.

What a busy and an idle client cost in system calls and processor time is measured here as well.
The seed is printed; ``LOGSERV_TEST_SEED`` replays it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ledger
import oracle
import pytest
import strace
from kills import (
    LIVES,
    MIXED,
    PATIENT,
    Crew,
    Tally,
    amount,
    assert_no_ring_is_left,
    chance,
    clean_environment,
    cpu_ticks,
)
from running import Server, StartServer, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.newest, pytest.mark.timeout(amount(120, 900))]

DEATHS = {
    "leave_at_once": 0,
    "exit_in_a_thread": 0,
    "segfault": -signal.SIGSEGV,
    "abort": -signal.SIGABRT,
    "die_of_sigterm": -signal.SIGTERM,
    "raise_out_of_main": 1,
    "become_another_program": 0,
}


@pytest.mark.parametrize("server_is", ["there", "down"])
def test_a_client_that_ends_in_any_way_has_lost_nothing(
    start_server: StartServer, root: Path, crew: Crew, server_is: str
) -> None:
    server = start_server(stop_checked=False)
    if server_is == "down":
        server.kill()
    for life in DEATHS:
        crew.start(server.handler("unix", "deaths.log", **PATIENT), script=LIVES, life=life, records=600)
    for member, expected in zip(crew.members, DEATHS.values(), strict=True):
        assert member.process.wait(60) == expected, member.said
    if server_is == "down":
        server.restart()
    tally = Tally()
    report = tally.add(crew.settled(root / "deaths.log", max_bytes=200_000))
    assert report.perfect, report
    assert report.found == 300 * len(DEATHS)
    assert_no_ring_is_left(server)
    tally.keep(f"client ends, server {server_is}", kills=len(DEATHS), struck=len(DEATHS))


@pytest.mark.parametrize("transport", ["unix", "tcp"])
@pytest.mark.parametrize("life", ["close_what_is_not_mine", "close_over_and_over"])
def test_closed_descriptors_are_not_missed_and_innocent_files_stay_empty(
    server: Server, root: Path, crew: Crew, life: str, transport: str
) -> None:
    member = crew.start(
        server.handler(transport, "closed.log", **PATIENT), script=LIVES, life=life, records=400
    )
    member.finish()
    report = crew.settled(root / "closed.log")
    assert report.perfect, report
    assert report.found == 400
    innocent = list(crew.directory.glob("*.innocent*"))
    assert len(innocent) >= 20
    assert {path.name: path.stat().st_size for path in innocent if path.stat().st_size} == {}


@pytest.mark.parametrize("life", ["fork_while_threads_log", "fork_in_c", "clone_raw"])
def test_children_of_every_kind_log_for_themselves(server: Server, root: Path, crew: Crew, life: str) -> None:
    forks = amount(12, 100)
    member = crew.start(
        server.handler("unix", "forks.log", **PATIENT),
        script=LIVES,
        life=life,
        threads=4,
        records=400,
        forks=forks,
        numbers=forks + 1,
    )
    assert member.finish(100)["children"] == forks
    tally = Tally()
    report = tally.add(crew.settled(root / "forks.log", max_bytes=200_000))
    assert report.perfect, report
    accounts = [ledger.Account(path) for number, path in crew.ledgers if number > member.number]
    assert [account.returned for account in accounts] == [20] * forks
    assert member.account.threads[0][1] == 400
    assert_no_ring_is_left(server)
    tally.keep(f"children: {life.replace('_', ' ')}", kills=forks, struck=forks)


def test_a_daemon_logs_on(server: Server, root: Path, crew: Crew) -> None:
    member = crew.start(
        server.handler("unix", "daemon.log", **PATIENT),
        script=LIVES,
        life="daemonise",
        records=100,
        numbers=2,
    )
    assert member.process.wait(30) == 0

    def logged() -> bool:
        report = crew.report(root / "daemon.log")
        return report.perfect and report.found == 50 + 20

    wait_for(logged, "the records of the parent and of the daemon")


def test_a_signal_handler_that_logs_never_blocks(server: Server, root: Path, crew: Crew) -> None:
    member = crew.start(
        server.handler("unix", "signals.log", **PATIENT),
        script=LIVES,
        life="log_from_a_signal_handler",
        threads=2,
        records=20_000,
    )
    member.finish(60)
    report = crew.settled(root / "signals.log", max_bytes=200_000)
    assert report.perfect, report
    assert member.account.threads[1][1] > 20, "hardly a signal has struck"


def test_a_client_that_is_stopped_disturbs_nobody(server: Server, root: Path, crew: Crew, seed: int) -> None:
    generator = chance("stopped", seed)
    handler = server.handler("unix", "stops.log", **PATIENT)
    steady = crew.start(handler, pause_s=0.001, flush_every=1)
    stopped = crew.start(handler, threads=2, **MIXED)
    for member in crew.members:
        member.wait_until_it_logs(20)
    rounds = amount(8, 60)
    slowest_s = 0.0
    in_call = 0
    for _ in range(rounds):
        time.sleep(generator.uniform(0, 0.05))
        os.kill(stopped.process.pid, signal.SIGSTOP)
        in_call += stopped.account.in_call > 0
        # Logged and flushed by the other one, record by record, as if nothing had happened.
        began = time.monotonic()
        steady.wait_until_it_logs(steady.account.attempted + 20)
        slowest_s = max(slowest_s, time.monotonic() - began)
        os.kill(stopped.process.pid, signal.SIGCONT)
    crew.leave()
    tally = Tally()
    report = tally.add(crew.settled(root / "stops.log", max_bytes=200_000))
    assert report.perfect, report
    assert slowest_s < 3.0, f"20 flushed records took {slowest_s:.2f} s beside a client that stood still"
    tally.keep(
        "client stands still",
        kills=rounds,
        struck=rounds,
        in_call=in_call,
        others_20_records_s=round(slowest_s, 3),
        seed=seed,
    )


NOT_OURS = re.compile(r"getpid\(|<\.\.\. (getpid|access) resumed>")
COUNTED = """
import gc, logging, os, sys
from logserv.client import SocketForwarder, UnixClient
handler = eval(sys.argv[1])
handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
log = logging.getLogger("app")
log.addHandler(handler)
log.setLevel(logging.DEBUG)
gc.disable()
for number in range(3_000):
    log.info("warming up %d %s", number, "x" * 50)
assert handler.flush()
for turn in range(3):
    for number in range(500):
        log.info("running %d %s", number, "x" * 50)
    os.access(f"/begin-{turn}", os.F_OK)
    for number in range(1_000):
        log.info("counted %d %s", number, "x" * 50)
    os.access(f"/end-{turn}", os.F_OK)
assert handler.flush()
print(handler.stats()["written"])
"""


def calls_between(trace: str, turn: int) -> list[str]:
    """The system calls of the thread that made the marks, between them."""
    lines = trace.splitlines()
    (begin,) = (number for number, line in enumerate(lines) if f'"/begin-{turn}"' in line)
    (end,) = (number for number, line in enumerate(lines) if f'"/end-{turn}"' in line)
    thread = lines[begin].split(maxsplit=1)[0]
    return [line.split(maxsplit=1)[1] for line in lines[begin + 1 : end] if line.split()[0] == thread]


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_a_busy_client_makes_no_system_call(server: Server, tmp_path: Path, transport: str) -> None:
    trace = tmp_path / "trace"
    handler = {
        "unix": f"UnixClient({str(server.unix)!r}, filename='quiet.log')",
        "tcp": f"SocketForwarder('127.0.0.1', {server.port}, filename='quiet.log')",
    }[transport]
    ran = subprocess.run(
        [
            *(strace.required(), "-f", "-qq", "-o", trace, "-e", "signal=none", "--"),
            *(sys.executable, "-c", COUNTED, handler),
        ],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "7500\n"), ran.stderr
    calls = [calls_between(trace.read_text(), turn) for turn in range(3)]
    # `logging` asks for the number of the process for each record; it is no call of ours.
    assert all(sum(call.startswith("getpid(") for call in turn) >= 1_000 for turn in calls), "nothing counted"
    ours = [[call for call in turn if not NOT_OURS.match(call)] for turn in calls]
    fewest = min(ours, key=len)
    assert fewest == [], f"{len(fewest)} in 1,000 logging calls: {fewest[:5]}"
    Tally().keep(f"system calls, {transport}", calls=1_000, system_calls=len(fewest))


@pytest.fixture
def idle_client(server: Server, crew: Crew) -> Iterator[int]:
    """The process id of a client that has logged, and now sleeps."""
    member = crew.start(server.handler("unix", "idle.log", **PATIENT), pause_s=60, pause_every=100)
    member.wait_until_it_logs(100)
    time.sleep(3.0)  # the adaptive polling of both sides has come to an end by then
    yield member.process.pid
    member.kill()


def test_idle_client_and_server_use_no_processor_time(server: Server, idle_client: int) -> None:
    processes = {"client": idle_client, "server": server.process.pid}
    for _ in range(4):  # on a busy machine the polling may end later; what goes on would do so each time
        before = {name: cpu_ticks(pid) for name, pid in processes.items()}
        time.sleep(3.0)
        used = {name: cpu_ticks(pid) - before[name] for name, pid in processes.items()}
        if max(used.values()) <= 1:
            break
    Tally().keep("idle for 3 s", **{f"{name}_ticks": ticks for name, ticks in used.items()})
    assert max(used.values()) <= 1, used


def test_an_idle_client_wakes_and_is_written(server: Server, root: Path, crew: Crew) -> None:
    """After a deep sleep of both sides the next record is in its file as soon as ever."""
    member = crew.start(server.handler("unix", "wakes.log", **PATIENT), pause_s=2.5, pause_every=10)
    member.wait_until_it_logs(11)
    wait_for(lambda: crew.report(root / "wakes.log").found >= 11, "the first record after a pause", 2.0)
    member.kill()
    report = crew.settled(root / "wakes.log")
    assert report.perfect, report
    assert oracle.chain(root / "wakes.log")
