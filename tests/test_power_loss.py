"""The power goes: what the disk has not been made to keep is gone, with all memory; what remains is what the sync policy says.

The disk is ext4 on a loop device, cut off by ``EXT4_IOC_SHUTDOWN`` without a flush of its journal; at the same moment all processes are
killed, and the ``/dev/shm`` that they had in a mount namespace of their own is thrown away. Only root can do that.
At ``sync="always"`` no record is lost that ``flush(level="synced")`` has confirmed; at the others it is measured how much is.
The seed is printed; ``LOGSERV_TEST_SEED`` replays it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import oracle
import pytest
from kills import PATIENT, Crew, Tally, amount, chance
from running import Server, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.newest, pytest.mark.timeout(amount(120, 3_600))]

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH
DISK_BYTES = 96 << 20
FILE_SYSTEM_BLOCK_BYTES = 4096
INTERVAL_S = 0.2
SLACK_S = 2.0  # what a loaded machine may add to an interval

POLICIES: dict[str, dict[str, Any]] = {
    "always": {"sync": "always"},
    "interval": {"sync": "interval", "sync_interval_s": INTERVAL_S},
    "level": {"sync": "level", "sync_level": "ERROR"},
    "never": {"sync": "never"},
}


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{command[0]}: {done.stderr.strip() or done.returncode}"


def is_attached(image: Path) -> bool:
    """Whether some loop device still stands for the image."""
    listed = subprocess.run(["losetup", "-j", str(image)], capture_output=True, text=True, check=False)
    return bool(listed.stdout.strip())


class Machine:
    """A disk, and processes that die with its power."""

    def __init__(self, image: Path, disk: Path) -> None:
        self.image = image
        self.disk = disk
        self.holder: subprocess.Popen[bytes] | None = None
        self.server: Server | None = None
        disk.mkdir()
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        failure = run("mkfs.ext4", "-q", "-F", "-b", str(FILE_SYSTEM_BLOCK_BYTES), image) or self.switch_on()
        if failure:
            pytest.skip(f"cannot make a disk to cut off: {failure}")

    def switch_on(self) -> str:
        """Mounts the disk, replaying its journal; gives the processes to come a memory of their own."""
        failure = run("mount", "-o", "loop", self.image, self.disk)
        if failure:
            return failure
        script = "mount -t tmpfs -o mode=1777 tmpfs /dev/shm && echo ready && exec sleep 1000"
        self.holder = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        ready = self.holder.stdout.readline() == b"ready\n"
        self.holder.stdout.close()
        return "" if ready else "unshare: no memory of its own"

    @property
    def prefix(self) -> list[str]:
        """What goes before the commands of this machine."""
        assert self.holder is not None
        return ["nsenter", "-t", str(self.holder.pid), "-m", "--"]

    def serve(self, program: Path, unix: Path, root: Path) -> Server:
        """Starts a server on this machine."""
        self.server = Server(program, unix, root, prefix=self.prefix)
        self.server.wait_until_ready()
        return self.server

    def lose_power(self, crew: Crew) -> int:
        """Cuts the disk off and kills everything; returns the moment, in nanoseconds since 1970."""
        directory = os.open(self.disk, os.O_RDONLY)
        moment_ns = time.time_ns()
        fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_FLUSH))
        # From here on nothing reaches the disk, so that it does not matter who dies first.
        os.close(directory)
        crew.kill()
        self.switch_off()
        return moment_ns

    def switch_off(self) -> None:
        if self.server is not None:
            self.server.kill()
            self.server = None
        if self.holder is not None:
            self.holder.kill()
            self.holder.wait()
            self.holder = None
        with contextlib.suppress(AssertionError):  # the namespace ends a moment after its last process
            wait_for(lambda: not run("umount", self.disk), "the disk to be free", 5)
        # Mount namespaces of tests beside this one have a copy of the mount, and keep the disk as it is while they live.
        wait_for(lambda: not is_attached(self.image), "other namespaces to let go of the disk", 90)


@pytest.fixture
def machine(tmp_path: Path, root: Path) -> Iterator[Machine]:
    if os.geteuid() != 0:
        pytest.skip("only root can cut off a disk")
    for program in ("mkfs.ext4", "mount", "unshare", "nsenter"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}; install it with: apt-get install e2fsprogs mount util-linux")
    machine = Machine(tmp_path / "disk.img", root / "disk")
    yield machine
    machine.switch_off()
    run("umount", "-l", machine.disk)


@pytest.mark.parametrize("policy", POLICIES)
def test_after_a_power_loss_there_is_what_the_policy_promised(
    program: Path,
    socket_dir: Path,
    machine: Machine,
    crew: Crew,
    seed: int,
    policy: str,
) -> None:
    generator = chance(f"power/{policy}", seed)
    rounds = amount(2 if policy in ("always", "interval") else 1, 25)
    tally = Tally()
    confirmed = missing = rounds_with_loss = tail_bytes = 0
    windows_ms: list[float] = []
    # At `always` one client asks, one does not; a flush at this level would make any policy sync.
    asking: dict[str, Any] = {"flush_every": 20, "flush_level": "synced"} if policy == "always" else {}
    for number in range(rounds):
        logs = machine.disk / f"round{number}"
        logs.mkdir()
        assert run("sync", "-f", logs) == ""
        server = machine.serve(program, socket_dir / f"{number}.sock", logs)
        for each in range(2):
            crew.start(
                server.handler(("unix", "tcp")[each], "power.log", **PATIENT, **POLICIES[policy]),
                prefix=machine.prefix,
                payload=100,
                exceptions=25,
                pause_s=0.001,
                **(asking if each == 0 else {}),
            )
        for member in crew.members:
            member.wait_until_it_logs(100)
        time.sleep(generator.uniform(0.3, 1.0) + (INTERVAL_S if policy == "interval" else 0))
        moment_ns = machine.lose_power(crew)

        accounts = [member.account for member in crew.members]
        returned = sum(account.returned for account in accounts)
        confirmed += sum(account.synced for account in accounts)
        assert machine.switch_on() == ""
        active = logs / "power.log"
        for path in oracle.chain(active):
            raw = path.read_bytes()
            lines = raw.rstrip(b"\0")
            assert b"\0" not in lines, f"{path.name} has a hole where lines were"
            tail_bytes = max(tail_bytes, len(raw) - len(lines))
        # ext4 may keep a file's new length and not yet what was written into its last, already allocated block. That
        # can only be what was never synced, within one block.
        assert tail_bytes < FILE_SYSTEM_BLOCK_BYTES, "more zeros at the end than a block has"
        before = oracle.check(active, oracle.sent_by(crew.ledgers, synced=True))
        # Whole lines, but for one that the cut went through.
        assert before.torn <= 2, before
        assert (before.lost, before.doubled, before.reordered, before.invented) == (0, 0, 0, 0), before
        missing += returned - before.found
        rounds_with_loss += returned > before.found
        windows_ms.append((moment_ns - before.newest_ns) / 1e6 if before.found else float("inf"))

        # The machine is up again: the server goes on behind what is there, and cuts nothing.
        server = machine.serve(program, socket_dir / f"{number}.sock", logs)
        after = crew.start(
            server.handler("unix", "power.log", **PATIENT), prefix=machine.prefix, records=50, last_flush_s=10
        )
        assert after.finish()["flushed"]
        report = tally.add(oracle.check(active, oracle.sent_by(crew.ledgers, synced=True)))
        assert (report.lost, report.doubled, report.reordered, report.invented) == (0, 0, 0, 0), report
        assert report.torn <= before.torn + 1
        assert report.found == before.found + 50
        tally.torn -= report.torn
        crew.forget()
        machine.switch_off()
        assert machine.switch_on() == ""
    if policy == "always":
        assert confirmed >= 40 * rounds, f"only {confirmed} records were confirmed as synced"
    if policy == "interval":
        assert max(windows_ms) < (INTERVAL_S + SLACK_S) * 1e3, windows_ms
    if policy == "level":  # every 25th record is an error
        assert max(windows_ms) < SLACK_S * 1e3, windows_ms
    if policy == "never":
        assert rounds_with_loss, "the power loss took nothing: nothing was shown"
    tally.keep(
        f"power loss, sync={policy}",
        kills=rounds,
        struck=rounds,
        confirmed=confirmed,
        returned_and_gone=missing,
        zeros_at_end_max_bytes=tail_bytes,
        window_max_ms=round(max(windows_ms)) if max(windows_ms) < float("inf") else "all",
        seed=seed,
    )
