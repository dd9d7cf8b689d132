"""Processes are killed at random moments; what had been logged is in the files, once, in order, whole.

Of a client everything counts whose logging call had returned, be the server there or not; a server is killed under load,
while it is replaced, and together with its clients. Each test proves that its kills struck, and prints its seed
(``LOGSERV_TEST_SEED`` replays it). ``make test`` runs a part, ``LOGSERV_FAULTS=all``, as in ``make faults``, all of it.
Not here: kills at a chosen system call (``test_crash_points.py``), what a client does to itself (``test_lives.py``).
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import oracle
import pytest
from kills import (
    MIXED,
    PATIENT,
    Crew,
    Tally,
    amount,
    assert_no_ring_is_left,
    chance,
    ends_in_the_middle,
    remove_chain,
    strike_both,
)
from running import Server, StartServer, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.newest, pytest.mark.timeout(amount(120, 3_600))]


def moment_s(generator: random.Random) -> float:
    """Seconds from a producer's first call to its death: while it is still connecting, soon, or when all is in full swing."""
    return generator.choice(
        [generator.uniform(0, 0.003), generator.uniform(0, 0.06), generator.uniform(0, 0.3)]
    )


def transport(number: int) -> str:
    return ("unix", "tcp")[number % 2]


def test_clients_killed_at_random_moments_lose_and_double_nothing(
    server: Server, root: Path, crew: Crew, seed: int
) -> None:
    generator = chance("clients", seed)
    kills, at_once, per_file = amount(50, 1_000), 5, 25
    done = in_call = 0
    tally = Tally()
    slowest_s = 0.0
    while done < kills:
        name = f"clients-{done}.log"
        for _ in range(per_file // at_once):
            victims = [
                crew.start(
                    server.handler(transport(number), name, **PATIENT),
                    threads=(1, 8)[number % 2],
                    **MIXED,
                )
                for number in range(done, done + at_once)
            ]
            for victim in victims:
                victim.wait_until_it_logs()
                time.sleep(moment_s(generator))
                in_call += victim.kill()
                assert victim.process.returncode == -9, victim.said
            done += at_once
        struck = time.monotonic()
        report = tally.add(crew.settled(root / name, max_bytes=200_000))
        slowest_s = max(slowest_s, time.monotonic() - struck)
        assert report.perfect, report
        assert report.files > 1, "no rotation took place"
        crew.forget()
        remove_chain(root / name)
    assert in_call >= kills // 10, f"only {in_call} of {kills} kills struck in the middle of a logging call"
    assert_no_ring_is_left(server)
    tally.keep(
        "client kills",
        kills=done,
        struck=in_call,
        settled_s=round(slowest_s, 2),
        seed=seed,
    )


def replace_and_strike(server: Server, generator: random.Random) -> str:
    """Starts the successor of a server that lives and kills one of the two on the way; returns which."""
    old, new = server.process, server.start("--replace")
    time.sleep(generator.uniform(0, 0.15))
    victim = generator.choice(["old", "new"])
    struck, other = (old, new) if victim == "old" else (new, old)
    struck.kill()
    struck.wait()
    server.process = other
    # The one that is left serves, or, where it had already handed over to the one that was killed, leaves.
    deadline = time.monotonic() + 20
    while other.poll() is None and time.monotonic() < deadline:
        try:
            server.connect_unix().close()
            server.connect_tcp().close()
            time.sleep(0.05)  # long enough for an old one that is about to leave
            if other.poll() is None:
                return victim
        except OSError:
            time.sleep(0.01)
    if other.poll() is None:
        other.kill()
        other.wait()
    server.restart()
    return victim


def test_a_server_killed_under_load_loses_and_doubles_nothing(
    start_server: StartServer, root: Path, crew: Crew, seed: int
) -> None:
    generator = chance("server", seed)
    server = start_server(stop_checked=False)
    kills, per_file = amount(20, 200), 20
    struck_under_load = torn_seen = replacements = 0
    tally = Tally()
    recovery_s: list[float] = []
    for first in range(0, kills, per_file):
        name = f"server-{first}.log"
        for number in range(4):
            crew.start(
                server.handler(transport(number), name, **PATIENT),
                threads=(1, 4)[number // 2],
                pause_s=0.002,
                pause_every=(40, 5)[number // 2],
                **MIXED,
            )
        for member in crew.members:
            member.wait_until_it_logs()
        for number in range(per_file):
            before = sum(member.account.returned for member in crew.members)
            time.sleep(generator.uniform(0.02, 0.25))
            if number % 4 == 3:
                replace_and_strike(server, generator)
                replacements += 1
            else:
                server.kill()
                torn_seen += ends_in_the_middle(root / name)
                if number % 4 == 1:  # it does not always come back at once
                    time.sleep(generator.uniform(0, 0.3))
                recovery_s.append(server.restart("--replace") if number % 4 == 2 else server.restart())
            struck_under_load += sum(member.account.returned for member in crew.members) > before
        time.sleep(0.2)
        if server.process.poll() is not None:  # it had promised its place to a successor that was killed
            server.restart()
        crew.leave()
        report = tally.add(crew.settled(root / name, max_bytes=200_000))
        assert report.perfect, report
        assert report.files > 1, "no rotation took place"
        crew.forget()
        remove_chain(root / name)
    assert struck_under_load >= kills * 3 // 4, f"only {struck_under_load} of {kills} kills struck under load"
    assert_no_ring_is_left(server)
    recovery_s.sort()
    tally.keep(
        "server kills",
        kills=kills,
        struck=struck_under_load,
        replaced=replacements,
        torn_before_repair=torn_seen,
        recovery_median_s=round(recovery_s[len(recovery_s) // 2], 3),
        recovery_max_s=round(recovery_s[-1], 3),
        seed=seed,
    )


def test_both_killed_within_a_millisecond_lose_and_double_nothing(
    start_server: StartServer, root: Path, crew: Crew, seed: int
) -> None:
    generator = chance("both", seed)
    server = start_server(stop_checked=False)
    rounds = amount(8, 100)
    in_call = close = torn_seen = 0
    tally = Tally()
    for number in range(rounds):
        name = f"both-{number}.log"
        victims = [
            crew.start(server.handler(transport(each), name, **PATIENT), threads=(1, 4)[each], **MIXED)
            for each in range(2)
        ]
        for victim in victims:
            victim.wait_until_it_logs()
        time.sleep(moment_s(generator))
        order = [server.process.pid, victims[number % 2].process.pid]
        generator.shuffle(order)
        close += strike_both(*order) < 0.001
        server.process.wait()
        in_call += sum(victim.kill() for victim in victims)
        torn_seen += ends_in_the_middle(root / name)
        server.restart()
        # Nobody asks for this file any more: what lies in the rings is all the server has to go by.
        report = tally.add(crew.settled(root / name, max_bytes=200_000))
        assert report.perfect, report
        crew.forget()
        remove_chain(root / name)
    assert close >= rounds // 2, f"only {close} of {rounds} pairs were killed within a millisecond"
    assert in_call >= 1, "no kill struck in the middle of a logging call"
    assert_no_ring_is_left(server)
    tally.keep(
        "both killed",
        kills=rounds,
        struck=close,
        torn_before_repair=torn_seen,
        seed=seed,
    )


def test_clients_that_log_and_die_while_the_server_is_down_are_written_once_when_it_is_back(
    start_server: StartServer, root: Path, crew: Crew, seed: int
) -> None:
    generator = chance("down", seed)
    server = start_server(stop_checked=False)
    rounds = amount(4, 40)
    struck = 0
    tally = Tally()
    for number in range(rounds):
        name = f"down-{number}.log"
        acquainted = [
            crew.start(server.handler(transport(each), name, **PATIENT), pause_s=0.001) for each in range(2)
        ]
        for member in acquainted:
            member.wait_until_it_logs(5)
        server.kill()
        before = [member.account.returned for member in acquainted]
        strangers = [
            crew.start(server.handler(transport(each), name, **PATIENT), threads=each + 1, pause_s=0.0005)
            for each in range(3)
        ]
        for member in strangers:
            member.wait_until_it_logs(20)
        time.sleep(generator.uniform(0, 0.1))
        for member in crew.members:
            member.kill()
        logged_alone = [member.account.returned - had for member, had in zip(acquainted, before, strict=True)]
        struck += all(logged_alone) and all(member.account.returned for member in strangers)
        server.restart()
        report = tally.add(crew.settled(root / name, max_bytes=200_000))
        assert report.perfect, report
        server.kill()  # and what it has written it does not write again
        server.restart()
        time.sleep(0.2)
        report = crew.report(root / name, max_bytes=200_000)
        assert report.perfect, report
        crew.forget()
        remove_chain(root / name)
    assert struck == rounds, f"in {rounds - struck} rounds somebody logged nothing while the server was down"
    assert_no_ring_is_left(server)
    tally.keep(
        "client kills, server down",
        kills=rounds * 5,
        struck=rounds * 5,
        seed=seed,
    )


def test_a_server_of_another_host_path_does_not_take_what_is_not_its_own(
    start_server: StartServer, root: Path, crew: Crew
) -> None:
    """Two servers of one user: the rings of a dead client go to the one that it logged to."""
    mine, other = start_server(stop_checked=False), start_server(stop_checked=False)
    mine.kill()
    member = crew.start(mine.handler("unix", "mine.log", **PATIENT))
    member.wait_until_it_logs(50)
    member.kill()
    time.sleep(0.3)
    assert not (root / "mine.log").exists(), f"{other.unix} has taken it"
    mine.restart()
    report = crew.settled(root / "mine.log")
    assert report.perfect, report


@pytest.mark.parametrize("clients", [1, 3])
def test_a_restart_that_goes_on_failing_recovers_in_the_end(
    start_server: StartServer, root: Path, crew: Crew, seed: int, clients: int
) -> None:
    """The restarted server is struck again while it recovers, up to three times."""
    generator = chance(f"again/{clients}", seed)
    server = start_server(stop_checked=False)
    rounds = amount(3, 30)
    struck_again = 0
    tally = Tally()
    for number in range(rounds):
        name = f"again-{number}.log"
        for each in range(clients):
            crew.start(server.handler(transport(each), name, **PATIENT), threads=2, **MIXED)
        for member in crew.members:
            member.wait_until_it_logs(50)
        server.kill()
        for _ in range(generator.randrange(1, 4)):
            server.process = server.start()
            time.sleep(generator.uniform(0.002, 0.05))
            server.kill()
            struck_again += 1
        for member in crew.members[: clients // 2]:
            member.kill()
        server.restart()
        crew.leave()
        report = tally.add(crew.settled(root / name, max_bytes=200_000))
        assert report.perfect, report
        crew.forget()
        remove_chain(root / name)
    assert struck_again >= rounds
    tally.keep(
        f"server kills in recovery, {clients} clients",
        kills=struck_again,
        struck=struck_again,
        seed=seed,
    )


def test_the_harness_would_notice(server: Server, root: Path, crew: Crew) -> None:
    """A record taken out of a file of ours, and one put in twice, are told; else the tests above could not fail."""
    member = crew.start(server.handler("unix", "honest.log", **PATIENT))
    member.wait_until_it_logs(200)
    member.leave()
    active = root / "honest.log"
    wait_for(lambda: crew.report(active).perfect, "all records")
    files = oracle.chain(active)
    lines = files[0].read_bytes().splitlines(keepends=True)
    files[0].write_bytes(b"".join([lines[1], *lines[1:]]))
    report = crew.report(active)
    assert (report.lost, report.doubled) == (1, 1), report
    os.truncate(files[0], files[0].stat().st_size - 3)
    assert crew.report(active).torn > 0
