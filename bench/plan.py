"""What is measured with whom: the scenarios, and the contenders of each.

In: how much is asked for (the usual, everything, a tiny bit). Out: a list of :class:`Part`. The usual plan ends in minutes on two cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench import contenders as who
from bench.contenders import Contender
from bench.measure import Scenario

MAX_BYTES = 10_000_000
ONE = Scenario("1 process")
FOUR_ROTATING = Scenario("4 processes, one rotating file", processes=4, max_bytes=MAX_BYTES)
FOUR_THREADS = Scenario("4 threads of one process", threads=4)
MIXED = Scenario("1 process, mixed calls", "mixed")
EXCEPTIONS = Scenario("1 process, exceptions", "exceptions")
KILLED = Scenario("4 processes, 2 of them killed", processes=4, max_bytes=MAX_BYTES, kind="kill")
PACED = Scenario("10,000 records/s of 4 processes", processes=4, kind="paced", per_second=2500)
VISIBLE = Scenario("from the call to the line in the file", kind="visible")
STREAM = Scenario("SocketHandler's stream, 4 connections", kind="stream")
SIXTEEN = Scenario("16 processes, one rotating file", processes=16, max_bytes=MAX_BYTES)
FORKED = Scenario("4 forked processes, one rotating file", processes=4, max_bytes=MAX_BYTES, is_forked=True)
SHORT = Scenario("1 process, short records", "short")
LONG = Scenario("4 processes, records of 4 KB, one rotating file", "long", processes=4, max_bytes=MAX_BYTES)
FOUR_MIXED = Scenario(
    "4 processes, mixed calls, one rotating file", "mixed", processes=4, max_bytes=MAX_BYTES
)


@dataclass(frozen=True)
class Part:
    """One scenario with its contenders."""

    scenario: Scenario
    contenders: tuple[Contender, ...]


RINGS = (who.RING, who.FACTORY, who.NATIVE)
BASE = (who.NOOP, who.FILE)
USUAL = (
    Part(ONE, (*BASE, *RINGS, who.UNIX, who.TCP)),
    Part(
        FOUR_ROTATING,
        (*BASE, who.ROTATING, *RINGS, who.RING_TCP, who.UNIX, who.TCP, who.SOCKET_COOKBOOK, who.SOCKET_OURS),
    ),
    Part(KILLED, (who.FILE, who.ROTATING, who.RING, who.NATIVE, who.TCP)),
    Part(FOUR_THREADS, (*BASE, who.RING, who.NATIVE)),
    Part(MIXED, (*BASE, *RINGS)),
    Part(EXCEPTIONS, (*BASE, who.RING, who.NATIVE)),
    Part(PACED, (who.FILE, who.RING, who.NATIVE)),
    Part(VISIBLE, (who.FILE, who.RING, who.TCP)),
    Part(STREAM, (who.SOCKET_COOKBOOK, who.SOCKET_OURS)),
)
EVERYONE = (*who.STANDARD, *who.OURS)
MORE = (
    Part(SHORT, (*BASE, *RINGS, who.UNIX, who.TCP)),
    Part(LONG, EVERYONE),
    Part(SIXTEEN, EVERYONE),
    Part(FORKED, (*BASE, who.ROTATING, who.QUEUE, *RINGS)),
    Part(FOUR_MIXED, (*BASE, who.ROTATING, *RINGS, who.TCP, who.NATIVE_TCP)),
)


def usual() -> list[Part]:
    """What `make bench` measures."""
    return list(USUAL)


def everything() -> list[Part]:
    """All scenarios, with all contenders that fit them."""
    widened = [replace(part, contenders=_all_for(part)) for part in USUAL]
    return widened + list(MORE)


def _all_for(part: Part) -> tuple[Contender, ...]:
    match part.scenario.kind:
        case "rate":
            rotating = bool(part.scenario.max_bytes)
            return tuple(each for each in EVERYONE if rotating or each is not who.ROTATING)
        case "kill":
            return tuple(each for each in EVERYONE if each.writes)
        case _:
            return part.contenders


def tiny() -> list[Part]:
    """That everything works: every kind of run, the contenders that have a server of their own kind."""
    return [
        Part(ONE, (who.NOOP, who.FILE, who.RING, who.NATIVE)),
        Part(Scenario("2 processes, one rotating file", processes=2, max_bytes=20_000),
             (who.FILE, who.RING, who.TCP, who.UNIX, who.SOCKET_COOKBOOK, who.SOCKET_OURS, who.QUEUE)),
        Part(replace(EXCEPTIONS, threads=2), (who.FILE, who.RING)),
        Part(MIXED, (who.FILE, who.RING)),
        Part(replace(KILLED, processes=2), (who.RING,)),
        Part(replace(PACED, processes=1, per_second=500), (who.RING,)),
        Part(VISIBLE, (who.RING,)),
        Part(STREAM, (who.SOCKET_OURS,)),
    ]  # fmt: skip


def with_peers(parts: Sequence[Part], peers: Sequence[Contender]) -> list[Part]:
    """The same with other people's packages in the scenarios about processes, threads and exceptions."""
    joined = []
    for part in parts:
        if part.scenario.kind in ("rate", "kill"):
            part = replace(part, contenders=part.contenders + tuple(peers))
        joined.append(part)
    return joined
