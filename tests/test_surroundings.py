"""What goes on around processes that log without a server of their own: an upgrade, an uninstallation, another user."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from installing import empty_environment, install, the_wheel, uninstall
from running import wait_for
from self_start import Personal, run_script, start_script

pytestmark = pytest.mark.newest

ALICE, BOB = 61_003, 61_004  # users that no machine has


def test_an_upgrade_and_an_uninstallation_under_load_lose_nothing(
    own: Personal, root: Path, tmp_path: Path
) -> None:
    python = empty_environment(tmp_path / "venv")
    install(the_wheel(), python=python)
    del own.env["LOGSERV_PROGRAM"]
    script = """
        log.addHandler(make())
        number = 0
        while number < 1_000 or not os.path.exists("enough"):
            log.info("%d %d", os.getpid(), number)
            number += 1
            time.sleep(0.001)
        print(number)
        """
    processes = [start_script(own, root, script, python=python) for _ in range(3)]
    wait_for(lambda: bool(own.servers()), "a server")

    install(the_wheel(), "--force-reinstall", python=python)
    assert own.kill() == 1
    wait_for(lambda: bool(own.servers()), "a server of the new installation")
    running = own.servers()

    uninstall(python)
    assert own.servers() == running, "a server outlives its file"
    assert own.kill() == 1
    time.sleep(0.2)  # of load without a server
    (root / "enough").touch()
    logged: dict[int, int] = {}
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        logged[process.pid] = int(out)
        # While it still tries, or at its end: whichever came first.
        assert "cannot start" in err, err
        assert "expected its program at" in err, err
    assert own.servers() == []

    # What they could not get rid of is written as soon as there is a server again.
    install(the_wheel(), python=python)
    last = start_script(own, root, 'log.addHandler(make("other.log")); log.info("x")', python=python)
    last.communicate(timeout=60)

    def numbers() -> dict[int, list[int]]:
        found: dict[int, list[int]] = {pid: [] for pid in logged}
        for line in (root / "app.log").read_text().splitlines():
            pid, number = map(int, line.split())
            found[pid].append(number)
        return found

    wait_for(lambda: all(len(each) >= logged[pid] for pid, each in numbers().items()), "all records")
    assert numbers() == {pid: list(range(count)) for pid, count in logged.items()}


@pytest.fixture
def place_of(program: Path, socket_dir: Path) -> Iterator[Callable[[int], Personal]]:
    """The place of a user's server, which that user may reach and nobody else."""
    if os.geteuid() != 0:
        pytest.skip("only root can become other users")
    socket_dir.chmod(0o755)
    copy = socket_dir / "logserv"
    shutil.copy(program, copy)
    copy.chmod(0o755)
    places: list[Personal] = []

    def make(uid: int) -> Personal:
        directory = socket_dir / str(uid)
        directory.mkdir()
        place = Personal(copy, directory, idle_exit_s=60.0)
        for path in (directory, directory / "state"):
            os.chown(path, uid, uid)
        places.append(place)
        return place

    yield make
    for place in places:
        place.end()
    for uid in (ALICE, BOB):
        shutil.rmtree(f"/dev/shm/logserv-{uid}", ignore_errors=True)


@pytest.mark.usefixtures("uncounted")
def test_two_users_with_one_file_are_told_and_the_second_ones_records_wait(
    place_of: Callable[[int], Personal], socket_dir: Path
) -> None:
    shared = socket_dir / "shared"
    shared.mkdir()
    shared.chmod(0o777)

    def script(uid: int, text: str) -> str:
        return f"""
            import json  # where the library is, this user may not be able to look
            os.setgroups([]); os.setgid({uid}); os.setuid({uid}); os.umask(0)
            handler = make("app.log")
            log.addHandler(handler)
            log.info("{text}")
            print(handler.flush(10.0))
            """

    alices, bobs = place_of(ALICE), place_of(BOB)
    first = run_script(alices, shared, script(ALICE, "of alice"))
    assert (first.code, first.out, first.err) == (0, "True\n", "")
    second = run_script(bobs, shared, script(BOB, "of bob"))
    assert (second.code, second.out) == (0, "False\n")
    [holder] = alices.servers()
    assert f"held by process {holder}" in second.err, second.err
    assert (shared / "app.log").read_text() == "of alice\n"

    os.kill(holder, signal.SIGTERM)
    wait_for(lambda: "of bob" in (shared / "app.log").read_text(), "the second one's record")
    assert (shared / "app.log").read_text() == "of alice\nof bob\n"
    assert (shared / "app.log").stat().st_uid == ALICE
