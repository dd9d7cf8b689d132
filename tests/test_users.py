"""Clients of several users, and servers that are not root: killed, nobody loses anything, whoever may open whose memory.

A server that is root takes the rings of every user; one that is not opens those of its own user, and others are passed to it
over the Unix socket, as from another mount namespace. Over TCP such clients use the socket, which is safe over a kill of the
server, but not over one of the client. Only root can play several users.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import kills
import pytest
from kills import (
    MEMORY,
    MIXED,
    OWN_MEMORY,
    PATIENT,
    Crew,
    Tally,
    amount,
    assert_no_ring_is_left,
    chance,
    remove_chain,
)
from running import Server, open_files, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.newest, pytest.mark.timeout(amount(120, 1_800))]

ALICE, BOB = 61_001, 61_002  # users that no machine has
RING = re.compile(r"[/:]([0-9a-f]{16}-[0-9a-f]{32})(?: \(deleted\))?$")


@pytest.fixture
def house(socket_dir: Path) -> Iterator[Path]:
    """A directory that every user may pass through, unlike those of pytest."""
    if os.geteuid() != 0:
        pytest.skip("only root can become other users")
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv; install it with: apt-get install util-linux")
    socket_dir.chmod(0o755)
    yield socket_dir
    for uid in (ALICE, BOB):
        shutil.rmtree(MEMORY / f"logserv-{uid}", ignore_errors=True)


@pytest.fixture
def members(house: Path) -> Iterator[Crew]:
    with kills.crew(house) as members:
        yield members


@pytest.fixture
def serve_as(program: Path, house: Path) -> Iterator[Callable[[int], Server]]:
    """Starts a server that runs as that user, its program where that user may read it."""
    servers: list[Server] = []

    def start(uid: int) -> Server:
        copy, logs, sockets = house / "logserv", house / "logs", house / "sockets"
        shutil.copy(program, copy)
        copy.chmod(0o755)
        for directory in (logs, sockets):
            directory.mkdir()
            os.chown(directory, uid, uid)
        sockets.chmod(0o755)
        prefix = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"] if uid else []
        server = Server(copy, sockets / "s.sock", logs, ["--unix-mode", "0666"], prefix=prefix)
        servers.append(server)
        server.wait_until_ready()
        return server

    yield start
    failures = [failure for server in servers if (failure := server.end())]
    assert failures == []


def is_enough(rounds: int, struck: int) -> bool:
    """Whether so many rounds are due, and more where the machine is too busy for a kill to strike in one of those."""
    due = amount(4, 40)
    return rounds >= due and (struck > 0 or rounds >= 10 * due)


def log_as(
    crew: Crew,
    server: Server,
    filename: str,
    uids: list[int],
    threads: int = 1,
    *,
    transports: tuple[str, ...] = ("unix", "tcp"),
    prefix: tuple[str, ...] = (),
) -> None:
    for number, uid in enumerate(uids):
        crew.start(
            server.handler(transports[number % len(transports)], filename, **PATIENT),
            prefix=prefix,
            uid=uid,
            threads=threads,
            pause_s=0.002,
            pause_every=10,
            **MIXED,
        )
    for member in crew.members:
        member.wait_until_it_logs()


@pytest.mark.parametrize(
    ("server_uid", "client_uids"),
    [(0, [ALICE, BOB, 0]), (ALICE, [ALICE, ALICE])],
    ids=["root serves two users", "a user serves itself"],
)
def test_clients_and_server_are_killed(
    serve_as: Callable[[int], Server], members: Crew, seed: int, server_uid: int, client_uids: list[int]
) -> None:
    generator = chance(f"users/{server_uid}", seed)
    server = serve_as(server_uid)
    tally = Tally()
    in_call = seen = rounds = 0
    while not is_enough(rounds, in_call):
        number, rounds = rounds, rounds + 1
        name = f"users-{number}.log"
        log_as(members, server, name, client_uids, threads=1 + number % 2)
        owners = {path.stat().st_uid for path in kills.rings(server)}
        seen += owners == set(client_uids)
        time.sleep(generator.uniform(0, 0.15))
        if number % 2:
            server.kill()
        in_call += sum(member.kill() for member in members.members)
        if number % 2:
            server.restart()
        report = tally.add(members.settled(server.root / name, max_bytes=200_000))
        assert report.perfect, report
        assert (server.root / name).stat().st_uid == server_uid
        members.forget()
        remove_chain(server.root / name)
    assert seen == rounds, f"in {rounds - seen} rounds somebody had no ring of its own"
    assert in_call >= 1, "no kill struck in the middle of a logging call"
    assert_no_ring_is_left(server)
    tally.keep(
        f"users: server {'root' if server_uid == 0 else 'a user'}, clients {len(set(client_uids))} users",
        kills=rounds * len(client_uids),
        struck=in_call,
        seed=seed,
    )


def open_rings(pid: int) -> dict[Path, str]:
    """Descriptors of rings that a process has open, wherever these lie, and the rings' names."""
    return {link: named[1] for link, file in open_files(pid).items() if (named := RING.search(file))}


def rings_read(server: Server) -> set[str]:
    """The rings that the server has open."""
    return set(open_rings(server.process.pid).values())


def wait_until_passed(server: Server, of_before: set[str], count: int) -> None:
    """Returns when the server reads so many rings beside those."""
    wait_for(lambda: len(rings_read(server) - of_before) >= count, "the rings to be passed")


STRANGERS: dict[str, tuple[int, list[int], tuple[str, ...]]] = {
    "another user": (ALICE, [BOB, BOB, 0], ()),
    "another mount namespace": (0, [BOB, 0], OWN_MEMORY),
    "another of both": (ALICE, [BOB, BOB], OWN_MEMORY),
}


@pytest.mark.parametrize("strangers", STRANGERS)
def test_a_server_that_cannot_open_rings_is_passed_them_and_one_death_loses_nothing(
    serve_as: Callable[[int], Server], members: Crew, seed: int, strangers: str
) -> None:
    """By turns the server is killed, and all of its clients."""
    server_uid, client_uids, prefix = STRANGERS[strangers]
    generator = chance(strangers, seed)
    server = serve_as(server_uid)
    tally = Tally()
    in_call = server_kills = client_kills = rounds = 0
    while not is_enough(rounds, in_call):
        number, rounds = rounds, rounds + 1
        name = f"strangers-{number}.log"
        of_before = rings_read(server)  # it does not know at once that those are of no more use
        log_as(members, server, name, client_uids, 1 + number % 2, transports=("unix",), prefix=prefix)
        wait_until_passed(server, of_before, len(client_uids))
        if number % 2:
            time.sleep(generator.uniform(0, 0.15))
            in_call += sum(member.kill() for member in members.members)
            client_kills += len(members.members)
        else:
            for _ in range(3):
                time.sleep(generator.uniform(0.02, 0.2))
                server.kill()
                server.restart()
                server_kills += 1
            wait_until_passed(server, of_before, len(client_uids))
            members.leave()
        report = tally.add(members.settled(server.root / name, max_bytes=200_000))
        assert report.perfect, report
        members.forget()
        remove_chain(server.root / name)
    assert in_call >= 1, "no kill struck in the middle of a logging call"
    tally.keep(
        f"rings passed: {strangers}",
        kills=server_kills + client_kills,
        struck=server_kills + in_call,
        seed=seed,
    )


def test_passed_rings_do_not_survive_both_deaths_and_nothing_is_doubled_or_torn(
    serve_as: Callable[[int], Server], members: Crew, seed: int
) -> None:
    generator = chance("both strangers", seed)
    server = serve_as(ALICE)
    tally = Tally()
    rounds = amount(2, 20)
    for number in range(rounds):
        name = f"both-{number}.log"
        log_as(members, server, name, [BOB], transports=("unix",))
        wait_until_passed(server, set(), 1)
        time.sleep(generator.uniform(0, 0.1))
        kills.strike_both(server.process.pid, members.members[0].process.pid)
        members.members[0].process.wait()
        server.kill()
        server.restart()
        report = tally.add(members.settled(server.root / name, timeout_s=0.5, max_bytes=200_000))
        assert (report.doubled, report.torn, report.reordered, report.invented) == (0, 0, 0, 0), report
        assert report.lost * 100 < 2 << 20, f"more than a ring holds: {report}"
        members.forget()
        remove_chain(server.root / name)
    tally.keep("rings passed: both killed", kills=2 * rounds, struck=2 * rounds, seed=seed)


def test_a_passed_ring_is_gone_with_its_client_when_the_server_has_let_go_of_it(
    serve_as: Callable[[int], Server], members: Crew
) -> None:
    server = serve_as(ALICE)
    log_as(members, server, "next.log", [BOB, BOB], transports=("unix",))
    wait_until_passed(server, set(), 2)
    members.kill()
    assert kills.rings(server) == [], "a ring that is passed has no name that would stay"
    wait_for(lambda: not rings_read(server), "the rings to be let go of", 15)
    assert members.settled(server.root / "next.log", max_bytes=200_000).perfect


def test_who_is_passed_a_ring_cannot_end_its_client_by_it(
    serve_as: Callable[[int], Server], members: Crew
) -> None:
    """Cutting off pages that a process has mapped would be its death by SIGBUS."""
    server = serve_as(ALICE)
    log_as(members, server, "sealed.log", [BOB], transports=("unix",))
    wait_for(lambda: len(rings_read(server)) == 1, "the ring to be passed")
    (link,) = open_rings(server.process.pid)
    size = link.stat().st_size
    for other in (0, 4096, size - 1, size + 1):
        with pytest.raises(PermissionError):
            os.truncate(link, other)
    assert link.stat().st_size == size
    members.leave()
    assert members.settled(server.root / "sealed.log", max_bytes=200_000).perfect


def test_a_server_of_another_user_is_served_through_the_socket_over_tcp(
    serve_as: Callable[[int], Server], members: Crew, seed: int
) -> None:
    """It cannot open its clients' memory. Killed, it loses nothing as long as they live."""
    generator = chance("strangers over TCP", seed)
    server = serve_as(ALICE)
    tally = Tally()
    rounds = amount(2, 20)
    log_as(members, server, "tcp.log", [BOB, 0], transports=("tcp",))
    for _ in range(rounds):
        time.sleep(generator.uniform(0.02, 0.2))
        server.kill()
        server.restart()
    wait_for(lambda: not kills.rings(server), "the clients to do without rings", 10)
    members.leave()
    report = tally.add(members.settled(server.root / "tcp.log", max_bytes=200_000))
    assert report.perfect, report
    tally.keep("users: server a user, clients others over TCP", kills=rounds, struck=rounds, seed=seed)


def test_nobody_reads_or_writes_the_memory_of_another_user(
    serve_as: Callable[[int], Server], members: Crew
) -> None:
    server = serve_as(0)
    log_as(members, server, "private.log", [ALICE, BOB])
    rings = kills.rings(server)
    assert len(rings) == 2
    for ring in rings:
        assert ring.stat().st_mode & 0o7777 == 0o600
        assert ring.parent.stat().st_mode & 0o7777 == 0o700
        assert ring.parent.name == f"logserv-{ring.stat().st_uid}"
        assert ring.parent.stat().st_uid == ring.stat().st_uid
    members.leave()
