"""Somebody else renames, truncates, deletes or appends to a log file, under load and while the server is dead.

Whoever does that takes lines away, or puts some in; the server notices, writes on, and neither cuts what others wrote nor
writes anything twice into the files that are left. The lines that went with a deleted file are saved by the test
beforehand and counted as found.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import oracle
import pytest
from kills import Crew, Tally, amount, chance
from running import Server, StartServer, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.newest, pytest.mark.timeout(amount(120, 1_200))]

STRANGE = b"appended by somebody else\n"


class Meddler:
    """Does one thing to the active file, over and over, and remembers which files hold what was in it."""

    def __init__(self, active: Path, store: Path) -> None:
        self.active = active
        self.store = store
        self.times = 0
        self.strange_lines = 0

    def _saved(self) -> Path:
        self.times += 1
        return self.store / f"{self.active.name}.saved{self.times:03}"

    def create(self) -> None:
        """logrotate's `create`: renamed, and an empty one in its place."""
        renamed = self.active.with_name(f"{self.active.name}-{self.times:03}")
        self.active.rename(renamed)
        self.active.touch()
        self.times += 1

    def rename(self) -> None:
        """logrotate's `nocreate`."""
        self.active.rename(self.active.with_name(f"{self.active.name}-{self.times:03}"))
        self.times += 1

    def copytruncate(self) -> None:
        """logrotate's; what comes between the copy and the cut is lost with every program."""
        shutil.copy(self.active, self._saved())
        with self.active.open("r+b") as file:
            file.truncate(0)

    def delete(self) -> None:
        saved = self._saved()
        saved.hardlink_to(self.active)  # what is written after the copy would be seen as well
        self.active.unlink()

    def append(self) -> None:
        with self.active.open("ab", buffering=0) as file:
            file.write(STRANGE)
        self.times += 1
        self.strange_lines += 1

    @property
    def files(self) -> list[Path]:
        """Everything that was ever the active file, the oldest first."""
        renamed = sorted(self.active.parent.glob(f"{self.active.name}-*"))
        saved = sorted(self.store.glob("*.saved*"))
        return [*saved, *renamed, *([self.active] if self.active.exists() else [])]


DEEDS: dict[str, Callable[[Meddler], None]] = {
    "create": Meddler.create,
    "rename": Meddler.rename,
    "copytruncate": Meddler.copytruncate,
    "delete": Meddler.delete,
    "append": Meddler.append,
}


def load(crew: Crew, server: Server, name: str) -> None:
    """Two clients that log without rotation by the server: that is somebody else's affair here."""
    for transport in ("unix", "tcp"):
        crew.start(
            server.handler(
                transport, name, handler_class="logging.handlers.WatchedFileHandler", block_timeout_s=60.0
            ),
            pause_s=0.002,
            pause_every=10,
            payload=100,
        )
    for member in crew.members:
        member.wait_until_it_logs(50)
    wait_for(lambda: (server.root / name).exists(), "the file")


def pause(crew: Crew, generator: random.Random) -> None:
    """Lets some more records come."""
    time.sleep(generator.uniform(0.02, 0.1))
    member = generator.choice(crew.members)
    member.wait_until_it_logs(member.account.attempted + 20)


@pytest.mark.parametrize("deed", DEEDS)
def test_a_file_that_others_change_under_load_goes_on_whole(
    server: Server, root: Path, crew: Crew, tmp_path: Path, seed: int, deed: str
) -> None:
    generator = chance(f"meddling/{deed}", seed)
    meddler = Meddler(root / "live.log", tmp_path)
    load(crew, server, "live.log")
    for _ in range(amount(6, 60)):
        DEEDS[deed](meddler)
        pause(crew, generator)
        wait_for(meddler.active.exists, "the file to be made again")
    crew.leave()
    sent = oracle.sent_by(crew.ledgers)

    def report() -> oracle.Report:
        return oracle.check(meddler.active, sent, files=meddler.files)

    if deed in ("create", "rename", "append"):
        wait_for(lambda: not report().lost, "all records")
    tally = Tally()
    final = tally.add(report())
    assert b"\0" not in meddler.active.read_bytes(), "a hole"
    assert (final.doubled, final.invented, final.dropped) == (0, 0, 0), final
    # A copy may end in the middle of a line; a file that was cut begins where a whole line begins.
    torn_max = {"append": meddler.strange_lines, "copytruncate": 2 * meddler.times}.get(deed, 0)
    assert final.torn <= torn_max, final
    if deed in ("create", "rename"):
        assert final.perfect, final
    if deed == "append":
        assert final.unharmed, final
        assert meddler.active.read_bytes().count(STRANGE) == meddler.strange_lines
    # A file that is cut or unlinked between two looks at it takes along what was written there at that moment.
    assert final.lost <= 400 * meddler.times, final
    tally.lost, tally.torn = 0, 0  # what went with a cut, and what others wrote, is not ours
    tally.keep(f"others, {deed}", kills=meddler.times, struck=meddler.times, cut_off=final.lost, seed=seed)


@pytest.mark.parametrize("deed", DEEDS)
def test_a_file_that_others_change_while_the_server_is_dead_goes_on_whole(
    start_server: StartServer, root: Path, crew: Crew, tmp_path: Path, seed: int, deed: str
) -> None:
    generator = chance(f"dead/{deed}", seed)
    server = start_server(stop_checked=False)
    meddler = Meddler(root / "dead.log", tmp_path)
    load(crew, server, "dead.log")
    rounds = amount(4, 40)
    for _ in range(rounds):
        pause(crew, generator)
        server.kill()
        DEEDS[deed](meddler)
        before = {path: path.read_bytes() for path in meddler.files}
        server.restart()
        pause(crew, generator)
        for path, text in before.items():
            if path.exists():
                assert path.read_bytes().startswith(text), f"{path.name}: bytes were cut"
    crew.leave()
    sent = oracle.sent_by(crew.ledgers)

    def report() -> oracle.Report:
        return oracle.check(meddler.active, sent, files=meddler.files)

    wait_for(lambda: not report().lost, "all records")
    tally = Tally()
    final = tally.add(report())
    if deed in ("copytruncate", "delete"):
        # The batch that was on its way when the server died is in what was taken away, and once more in what is left.
        left = oracle.check(meddler.active, sent, files=[meddler.active])
        assert left.doubled == 0, left
        tally.doubled = left.doubled
        assert (final.invented, final.dropped) == (0, 0), final
    else:
        assert final.unharmed, final
    torn_max = (
        meddler.strange_lines + rounds
    )  # what a kill in the middle of a write has left is told as a fragment
    assert final.torn <= torn_max, final
    if deed == "append":
        found = meddler.active.read_bytes().count(STRANGE)
        assert found == meddler.strange_lines
    assert all(member.account.returned > 50 * rounds for member in crew.members)
    tally.torn -= final.torn  # each has been accounted for
    tally.keep(f"others while the server is dead, {deed}", kills=rounds, struck=rounds, seed=seed)
