"""The personal server: ``logserv serve --personal``, as ``logserv.handlers`` starts it.

Started by any number at once there is one; it owes its starter nothing; it leaves when nobody needs it, and its socket stays
where clients look for it, or it makes room. What clients of ours do with it stands in other files; here speak the clients that
are written from the protocol's text alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_2_0 import Client, line
from running import open_files, wait_for

ALICE = 61_001  # a user that no machine has
PLAIN = "logging.FileHandler"


class Personal:
    """The personal server of a user with a runtime directory and a state directory of his own."""

    def __init__(self, program: Path, base: Path) -> None:
        self.program = program
        self.runtime = base / "run"
        self.state = base / "state"
        self.logs = base / "logs"
        for directory in (self.runtime, self.state, self.logs):
            directory.mkdir(mode=0o700)
        namespace = Path("/proc/self/ns/mnt").stat().st_ino
        self.socket = self.runtime / "logserv" / f"logserv-{namespace}.sock"
        self.own_log = self.state / "logserv" / "server.log"
        self.env = {
            **{name: value for name, value in os.environ.items() if name != "LOGSERV_SOCKET"},
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_STATE_HOME": str(self.state),
        }

    def command(self, *arguments: str) -> list[str]:
        return [str(self.program), *arguments]

    def launch(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Starts it in the background, and waits for nothing."""
        return subprocess.Popen(
            self.command("serve", "--personal", "--detach", *arguments),
            **{
                "env": self.env,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                **options,
            },
        )

    def start(self, *arguments: str, **options: Any) -> int:
        """Starts it in the background; returns its pid."""
        launched = self.launch(*arguments, **options)
        out, error = launched.communicate(timeout=30)
        assert (launched.returncode, out, error) == (0, "", "")
        return int(self.status()["pid"])

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.env, capture_output=True, text=True, timeout=30, check=False
        )

    def status(self) -> dict[str, Any]:
        asked = self.run("status", "--json")
        assert asked.returncode == 0, asked.stderr
        status: dict[str, Any] = json.loads(asked.stdout)
        return status

    def accepts(self) -> bool:
        """Whether somebody listens."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def connect(self, path: Path | None = None) -> Client:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(20)
        try:
            link.connect(str(path or self.socket))
        except OSError:
            link.close()
            raise
        return Client(link)

    def pids(self) -> list[int]:
        """Those that run with this socket."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
                if os.fsencode(self.socket) in arguments and b"serve" in arguments:
                    found.append(int(entry.name))
        return found

    def end(self) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped by its new parent or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def open_file(client: Client, path: Path | str, session: int = 1, **options: Any) -> dict[str, Any]:
    return client.open(f"{session:032x}", str(path), handler=PLAIN, **options)


def nobody_holds_a_file(personal: Personal) -> None:
    wait_for(
        lambda: all(file["sessions"] == 0 for file in personal.status()["files"]), "the clients to be gone"
    )


@pytest.fixture
def personal(program: Path, socket_dir: Path) -> Iterator[Personal]:
    server = Personal(program, socket_dir)
    yield server
    log = server.own_log.read_text() if server.own_log.exists() else ""
    server.end()
    print(f"--- the personal server logged:\n{log}")
    assert "panicked" not in log


def test_sixteen_starts_at_once_make_one_server_and_all_of_them_succeed(personal: Personal) -> None:
    for _ in range(5):
        launched = [personal.launch() for _ in range(16)]
        for one in launched:
            out, error = one.communicate(timeout=60)
            assert (one.returncode, out, error) == (0, "", "")
        pid = personal.status()["pid"]
        wait_for(lambda pid=pid: personal.pids() == [pid], "the others to leave")  # type: ignore[misc]
        assert personal.run("stop").returncode == 0
        assert not personal.socket.exists()


def test_it_owes_its_starter_nothing(personal: Personal, socket_dir: Path) -> None:
    def prepare() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
        os.umask(0o177)

    with (socket_dir / "inherited").open("w") as inherited:
        os.set_inheritable(inherited.fileno(), True)
        notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notified.bind(str(socket_dir / "notify"))
        notified.setblocking(False)
        pid = personal.start(
            close_fds=False,
            preexec_fn=prepare,
            cwd=socket_dir,
            env={**personal.env, "NOTIFY_SOCKET": str(socket_dir / "notify"), "KEPT": "yes"},
        )
        process = Path(f"/proc/{pid}")
        assert str(socket_dir / "inherited") not in open_files(pid).values()
        assert [str((process / "fd" / number).readlink()) for number in "012"] == ["/dev/null"] * 3
        with pytest.raises(BlockingIOError):  # the starter's manager takes it for nobody
            notified.recv(100)
        notified.close()
    assert (process / "cwd").readlink() == Path("/")
    assert b"KEPT=yes" in (process / "environ").read_bytes().split(b"\0")
    _, session, terminal = (
        int(field) for field in (process / "stat").read_text().rsplit(")", 1)[1].split()[2:5]
    )
    assert (session, terminal) == (pid, 0)
    lines = dict(
        line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line
    )
    assert lines["Umask"] == "0022"
    assert int(lines["SigBlk"], 16) == 0
    assert int(lines["SigIgn"], 16) & (1 << (signal.SIGHUP - 1) | 1 << (signal.SIGQUIT - 1)) == 0
    shown = subprocess.run(
        ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True
    ).stdout
    assert shown.startswith("logserv serve --personal ")
    assert personal.socket.parent.stat().st_mode & 0o7777 == 0o700
    assert personal.socket.stat().st_mode & 0o7777 == 0o600


def test_it_leaves_when_idle_and_not_before(personal: Personal) -> None:
    pid = personal.start("--idle-exit-s", "3")
    client = personal.connect()
    open_file(client, personal.logs / "a.log")
    time.sleep(4)
    assert "personal    in use, leaves after 3 s" in personal.run("status").stdout
    status = personal.status()
    assert (status["pid"], status["personal"], status["idle_exit_s"], status["idle_for_s"]) == (
        pid,
        True,
        3.0,
        None,
    )
    client.link.close()
    began = time.monotonic()
    wait_for(lambda: personal.status()["idle_for_s"] is not None, "the client to be gone")
    while not is_gone(pid):
        if time.monotonic() - began < 1:
            assert personal.status()["idle_for_s"] is not None, "asked for its status it stays no longer"
        assert time.monotonic() - began < 30
        time.sleep(0.05)
    assert time.monotonic() - began > 2.5
    assert not personal.socket.exists()
    assert "leaving: nobody has logged for 3" in personal.own_log.read_text()


def test_a_client_that_comes_as_it_leaves_is_served_by_it_or_by_the_next(personal: Personal) -> None:
    sessions = 0
    served_by: set[int] = set()
    until = time.monotonic() + 8
    while time.monotonic() < until or len(served_by) < 3:
        assert time.monotonic() < until + 60
        sessions += 1
        while True:  # what a client does: whoever is gone is started again
            try:
                client = personal.connect()
                open_file(client, personal.logs / "a.log", sessions)
                client.send(1, line(f"record {sessions}"))
                client.wait_written(1)
                break
            except (OSError, EOFError):
                assert personal.launch("--idle-exit-s", "0.2").wait(30) == 0
        with contextlib.suppress(AssertionError):
            served_by.add(personal.status()["pid"])
        client.link.close()
        time.sleep(0.2 + 0.02 * (sessions % 5 - 2))  # about its idle time
    written = (personal.logs / "a.log").read_text().splitlines()
    # Unacknowledged ones are sent again under another session here: doubled they may be, lost not.
    assert list(dict.fromkeys(written)) == [f"record {number}" for number in range(1, sessions + 1)]


def test_stopped_or_killed_it_is_started_again(personal: Personal) -> None:
    first = personal.start()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: is_gone(first), "the kill")
    assert personal.socket.exists(), "nobody has removed it"
    # Its descriptors go after its name has: until then somebody seems to listen, and nobody would be started.
    wait_for(lambda: not personal.accepts(), "the socket to be nobody's")
    second = personal.start()
    assert second != first
    assert personal.run("stop").returncode == 0
    assert is_gone(second)
    assert personal.run("status").returncode == 1
    assert personal.start() != second


def test_a_socket_that_vanishes_is_there_again(personal: Personal) -> None:
    pid = personal.start()
    client = personal.connect()
    open_file(client, personal.logs / "a.log")
    for is_directory_gone in (False, True):
        personal.socket.unlink()
        if is_directory_gone:
            personal.socket.parent.rmdir()
        wait_for(personal.socket.exists, "the socket")
        assert personal.status()["pid"] == pid
    client.send(1, line("still here"))
    client.wait_written(1)
    assert personal.run("stop").returncode == 0


def test_without_its_runtime_directory_it_leaves_and_its_files_are_free(personal: Personal) -> None:
    pid = personal.start()
    client = personal.connect()
    open_file(client, personal.logs / "a.log")
    client.send(1, line("before"))
    client.wait_written(1)
    shutil.rmtree(personal.runtime)  # what logind does after the last log-out
    wait_for(lambda: is_gone(pid), "it to leave", 15)
    elsewhere = personal.logs / "s.sock"
    assert personal.launch("--unix", str(elsewhere)).wait(30) == 0
    client = personal.connect(elsewhere)
    open_file(client, personal.logs / "a.log", 2)
    client.send(1, line("after"))
    client.wait_written(1)
    assert (personal.logs / "a.log").read_text() == "before\nafter\n"
    assert personal.run("stop", "--unix", str(elsewhere)).returncode == 0


def test_two_that_meet_by_a_deleted_socket_become_one(personal: Personal) -> None:
    first = personal.start()
    client = personal.connect()
    open_file(client, personal.logs / "a.log")
    personal.socket.unlink()
    assert personal.launch().wait(30) == 0
    wait_for(lambda: len(personal.pids()) == 1, "one of them to leave", 15)
    if is_gone(first):
        client = personal.connect()
        open_file(client, personal.logs / "a.log", 2)
    client.send(1, line("whole"))
    client.wait_written(1)
    assert (personal.logs / "a.log").read_text() == "whole\n"


def test_its_own_log_is_where_it_can_be_written(personal: Personal, socket_dir: Path) -> None:
    pid = personal.start()
    assert personal.status()["own_log"] == str(personal.own_log)
    assert f"pid {pid}, listens on unix:{personal.socket}" in personal.own_log.read_text()
    assert personal.own_log.stat().st_mode & 0o7777 == 0o600
    personal.run("stop")
    beside = personal.socket.with_name("server.log")
    (socket_dir / "file").write_text("")
    for home in ({"XDG_STATE_HOME": "", "HOME": str(socket_dir / "file")}, {"XDG_STATE_HOME": "/proc/1"}):
        personal.env = {**personal.env, **home}
        personal.start()
        assert personal.status()["own_log"] == str(beside), home
        personal.run("stop")


def test_a_place_that_others_could_change_is_refused_and_named(personal: Personal, tmp_path: Path) -> None:
    def refused(**env: str) -> str:
        launched = personal.launch(env={**personal.env, **env})
        error = launched.communicate(timeout=30)[1]
        assert launched.returncode == 1
        assert personal.pids() == []
        return error

    trap = personal.socket.parent
    trap.mkdir(mode=0o700)
    trap.chmod(0o770)
    assert f"expected {trap} to be of mode 0700, received 0770" in refused()
    trap.rmdir()
    trap.symlink_to(tmp_path)
    assert "to be a directory, received a symbolic link" in refused()
    trap.unlink()
    error = refused(LOGSERV_SOCKET="/tmp/logserv-test.sock")
    assert "expected /tmp to be writable by its owner only" in error
    assert "name a socket in a directory of your own in LOGSERV_SOCKET" in error
    assert "change that" not in error, "not /tmp"
    assert not personal.socket.parent.exists(), "a socket that was named is not replaced by another"
    assert "at most 107 bytes" in refused(LOGSERV_SOCKET=str(personal.runtime / ("x" * 120)))
    wrong = personal.run("serve", "--personal", "--tcp", "127.0.0.1:0")
    assert wrong.returncode == 2
    assert "--personal" in wrong.stderr


@pytest.fixture
def alice(socket_dir: Path) -> list[str]:
    if os.geteuid() != 0:
        pytest.skip("only root can become other users")
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv; install it with: apt-get install util-linux")
    return ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups", "--"]


SPEAK = """
import socket, sys
link = socket.socket(socket.AF_UNIX)
link.settimeout(20)
link.connect(sys.argv[1])
link.sendall(b"HELLO 2.0\\n")
sys.stdout.write(link.makefile().read())
"""


def test_other_users_are_refused_and_their_directories_passed_over(
    personal: Personal, socket_dir: Path, alice: list[str]
) -> None:
    personal.start("--unix-mode", "0666")
    for directory in (socket_dir, personal.runtime, personal.socket.parent):
        directory.chmod(0o755)
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else "python3"
    heard = subprocess.run(
        [*alice, python, "-c", SPEAK, str(personal.socket)], capture_output=True, text=True, check=False
    )
    assert heard.stdout.startswith("ERROR EXPECTED a connection from uid 0, whose personal server this is"), (
        heard
    )
    # As under `sudo -u alice`: the runtime directory of another user is not hers.
    copy = socket_dir / "logserv"
    shutil.copy(personal.program, copy)
    asked = subprocess.run(
        [*alice, str(copy), "status"], env=personal.env, capture_output=True, text=True, check=False
    )
    assert f"no server on /tmp/logserv-{ALICE}/logserv-" in asked.stderr
    # A trap of hers at our place is refused.
    personal.run("stop")
    personal.runtime.chmod(0o700)
    os.chown(personal.socket.parent, ALICE, ALICE)
    launched = personal.launch()
    assert "owned by uid 0, received owner 61001" in launched.communicate(timeout=30)[1]
    assert launched.returncode == 1


def test_a_file_that_another_server_holds_says_where_that_one_listens(
    personal: Personal, start_server: Callable[..., Any], root: Path
) -> None:
    other = start_server()
    holder = Client(other.connect_unix())
    holder.open("0" * 32, "a.log")
    personal.start()
    (root / "link.log").symlink_to("a.log")
    os.link(root / "a.log", root / "hard.log")
    for name in ("a.log", "link.log", "hard.log"):
        client = personal.connect()
        with pytest.raises(AssertionError) as caught:
            open_file(client, root / name)
        error = json.loads(caught.value.args[0][1])
        assert error["held_at"] == f"unix:{other.unix}", name
        assert error["retry"] is True
        client.link.close()
    (root / "hard.log").unlink()


def test_what_is_no_file_is_refused_for_good_in_words_that_fit_this_server(personal: Personal) -> None:
    personal.start()
    os.mkfifo(personal.logs / "fifo")
    (personal.logs / "file").write_text("")
    for name, received in (("fifo", "a FIFO"), ("/dev/null", "a device")):
        client = personal.connect()
        with pytest.raises(AssertionError) as caught:
            open_file(client, personal.logs / name)
        error = json.loads(caught.value.args[0][1])
        path = personal.logs / name
        assert (error["expected"], error["received"]) == (f"a regular file, or none, at {path}", received)
        assert error["retry"] is False, "somebody has to change it"
        client.link.close()
    client = personal.connect()
    with pytest.raises(AssertionError) as caught:
        open_file(client, personal.logs / "file/a.log")
    error = json.loads(caught.value.args[0][1])
    assert error["expected"] == f"a directory {personal.logs}/file"
    assert "--root" not in str(error)
    client.link.close()


def test_its_status_has_permissions_in_octal(personal: Personal) -> None:
    personal.start()
    client = personal.connect()
    open_file(client, personal.logs / "a.log", arguments={"umask": 0o22, "file_mode": 0o640})
    (file,) = personal.status()["files"]
    for text in (file["settings"], personal.run("status").stdout):
        assert 'umask="0022"' in text
        assert 'file_mode="0640"' in text
    client.link.close()


def test_links_lead_to_one_writer_and_rotation_renames_the_name_that_was_given(personal: Personal) -> None:
    personal.start()
    logs = personal.logs
    (logs / "real.log").write_text("")
    (logs / "link.log").symlink_to("real.log")
    os.link(logs / "real.log", logs / "hard.log")
    (logs / ".dots").mkdir()
    (logs / "new.log").symlink_to(".dots/made.log")
    names = ["real.log", "link.log", "hard.log", ".dots/../real.log", "new.log"]
    clients = []
    for number, name in enumerate(names):
        client = personal.connect()
        open_file(client, logs / name, number)
        client.send(1, line(name))
        client.wait_written(1)
        clients.append(client)
    assert (logs / "real.log").read_text().splitlines() == names[:4]
    assert (logs / ".dots/made.log").read_text() == "new.log\n"
    assert len(personal.status()["files"]) == 2
    for client in clients:
        client.link.close()
    nobody_holds_a_file(personal)

    client = personal.connect()
    arguments = {"maxBytes": 1000, "backupCount": 3}
    client.open(f"{99:032x}", str(logs / ".dots/made.log"), arguments=arguments)
    client.rollover()
    assert (logs / ".dots/made.log.1").read_text() == "new.log\n"
    client.link.close()
    personal.run("stop")
    personal.start()
    for number in (1, 2):
        client = personal.connect()
        client.open(f"{number:032x}", str(logs / "link.log"), arguments=arguments)
        client.send(1, line(f"through the link {number}"))
        assert client.rollover()
        client.link.close()
        nobody_holds_a_file(personal)
    # As in the standard library: the link is renamed, and a file has its name.
    assert (logs / "link.log").read_text() == ""
    assert (logs / "link.log.1").read_text() == "through the link 2\n"
    assert (logs / "link.log.2").readlink() == Path("real.log")
    assert (logs / "real.log").read_text().splitlines()[-1] == "through the link 1"
    # Missing directories are not made.
    client = personal.connect()
    with pytest.raises(AssertionError, match="directories are never made"):
        open_file(client, logs / "missing" / "a.log", 100)
    assert not (logs / "missing").exists()
