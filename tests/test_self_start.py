"""Handlers that need no server: the first process starts the user's own, and it is there whenever it is needed.

Each test has a socket of its own, and so a server of its own, which must be gone when it has been idle.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oracle
import pytest
from running import Producers, StartServer, dict_config, open_files, wait_for
from self_start import Personal, Script, command_line, run_script, start_script

FMT = "%(created).6f %(name)s %(message)s"
PREFIX = r"(?P<created>[\d.]+) \S+ "


@pytest.fixture
def run(own: Personal, root: Path) -> Callable[..., Script]:
    """Runs a script in the directory of the logs."""

    def run_here(script: str, **options: Any) -> Script:
        return run_script(own, root, script, **options)

    return run_here


def handler(root: Path, **arguments: Any) -> dict[str, Any]:
    """The entry of a `dictConfig`."""
    return {
        "class": "logserv.handlers.RotatingFileHandler",
        "filename": str(root / "app.log"),
        **arguments,
    }


def key_of(socket: str) -> int:
    """What the names of the rings for the server at this socket begin with (LAYOUT.md)."""
    key = 0xCBF29CE484222325
    for byte in f"unix:{socket}".encode():
        key = (key ^ byte) * 0x100000001B3 % (1 << 64)
    return key


def wait_for_lines(path: Path, count: int, timeout_s: float = 15.0) -> list[str]:
    def lines() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    wait_for(lambda: len(lines()) >= count, f"{count} lines in {path.name}", timeout_s)
    return lines()


# Many processes, one server.


def test_eight_processes_lose_nothing_while_their_server_is_killed_four_times(
    own: Personal, root: Path, produce: Producers
) -> None:
    records, max_bytes = 10_000, 500_000
    config = dict_config(handler(root, maxBytes=max_bytes, backupCount=200), FMT)
    start_at = time.time() + 3.0
    for number in range(8):
        job = {"producer": number, "records": records, "config": config, "start_at": start_at}
        job |= {"exceptions": 500, "pause_s": 0.02, "pause_every": 50, "last_flush_s": 30}
        produce.start(job, own.env)
    killed = most = 0
    for moment in (0.4, 1.4, 2.4, 3.4):
        wait_for(lambda at=moment: time.time() > start_at + at, "the moment")  # type: ignore[misc]
        wait_for(lambda: bool(own.servers()), "a server")
        most = max(most, len(own.servers()))
        killed += own.kill()
    results = produce.finish()
    assert all(result["flushed"] for result in results)
    assert killed == 4
    assert most == 1
    assert len(own.servers()) == 1
    sent = {(number, 0): records for number in range(8)}
    report = oracle.check(root / "app.log", sent, prefix=PREFIX, max_bytes=max_bytes)
    assert report.perfect, report
    assert report.files > 10
    assert own.wait_until_gone(40.0) < 20.0


def test_fifty_processes_at_once_have_one_server_and_every_record(own: Personal, root: Path) -> None:
    script = """
        time.sleep(max(0, float(os.environ["AT"]) - time.time()))
        log.addHandler(make())
        log.info("of %d", os.getpid())
        """
    at = {"AT": str(time.time() + 6.0)}
    processes = [start_script(own, root, script, at) for _ in range(50)]
    said = {process.communicate(timeout=60)[1] for process in processes}
    assert len(own.servers()) == 1
    lines = wait_for_lines(root / "app.log", 50)
    assert sorted(lines) == sorted(f"of {process.pid}" for process in processes)
    assert said == {""}


def test_a_short_script_has_its_line_in_the_file_without_anybody_elses_help(
    own: Personal, run: Callable[..., Script], root: Path
) -> None:
    done = run('log.addHandler(make()); log.info("short")')
    assert (done.code, done.err) == (0, "")
    assert (root / "app.log").read_text() == "short\n"
    (server,) = own.servers()
    assert command_line(server)[:2] == ["logserv", "serve"]
    assert own.wait_until_gone(40.0) > 0.5


def test_a_handler_that_logs_nothing_starts_nothing(own: Personal, run: Callable[..., Script]) -> None:
    done = run("log.addHandler(make()); print(threading.active_count(), len(os.listdir('/proc/self/task')))")
    assert (done.code, done.out, done.err) == (0, "1 1\n", "")
    assert own.servers() == []
    assert not own.socket.parent.exists()


# What the application sees of it.


def test_the_application_sees_no_child_no_signal_and_no_descriptor(
    own: Personal, run: Callable[..., Script]
) -> None:
    done = run("""
        seen = []
        signal.signal(signal.SIGCHLD, lambda *_: seen.append("SIGCHLD"))
        before = set(os.listdir("/proc/self/fd"))
        handler = make()
        log.addHandler(handler)
        for number in range(30):
            log.info("%d", number)
            time.sleep(0.01)
        assert handler.flush(30)
        time.sleep(0.2)
        try:
            seen.append(os.waitpid(-1, os.WNOHANG))
        except ChildProcessError:
            pass
        print(seen, len(set(os.listdir("/proc/self/fd")) - before))
        """)
    assert (done.code, done.out, done.err) == (0, "[] 1\n", "")  # the connection


@pytest.mark.parametrize("disposition", ["SIG_DFL", "SIG_IGN"])
def test_an_application_that_waits_for_any_child_gets_its_own_only(
    own: Personal, run: Callable[..., Script], disposition: str
) -> None:
    done = run(f"""
        import warnings
        warnings.simplefilter("ignore")  # of forks with threads
        own, got = set(), []
        log.addHandler(make())
        log.info("first")
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline or len(got) < 40:
            if not (pid := os.fork()):
                os._exit(3)
            own.add(pid)
            got.append(os.waitpid(-1, 0))
            if len(got) == 20:  # once more, while we wait in vain and in earnest
                signal.signal(signal.SIGCHLD, signal.{disposition})
                os.system("{own.program} stop --unix {own.socket}")
                log.info("second")
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        assert all(pid in own and os.waitstatus_to_exitcode(status) == 3 for pid, status in got), got
        print(log.handlers[0].flush(30), log.handlers[0].stats()["connections"])
        """)
    assert (done.code, done.out) == (0, "True 2\n"), done.err


def test_a_server_has_nothing_of_the_process_that_started_it(
    own: Personal, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "open").write_text("x")
    process = start_script(
        own,
        root,
        f"""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        file = open({str(tmp_path / "open")!r})
        os.set_inheritable(file.fileno(), True)
        log.addHandler(make())
        log.info("x")
        print(log.handlers[0].flush(30), flush=True)
        time.sleep(60)
        """,
        {"MARK": "kept"},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        (server,) = own.servers()
        proc = Path(f"/proc/{server}")
        status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
        assert int(status["SigBlk"], 16) == 0
        assert int(status["SigIgn"], 16) & 1 << (signal.SIGTERM - 1) == 0
        assert str(tmp_path / "open") not in open_files(server).values()
        assert [str((proc / "fd" / str(fd)).readlink()) for fd in range(3)] == ["/dev/null"] * 3
        assert (proc / "cwd").readlink() == Path("/")
        assert os.getsid(server) not in (os.getsid(process.pid), os.getsid(0))
        assert b"\0MARK=kept\0" in b"\0" + (proc / "environ").read_bytes()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert own.servers() == [server]
    finally:
        process.kill()
        process.communicate()


# Deaths.


def test_records_of_a_process_that_was_killed_before_there_was_a_server_are_written_by_the_next_one(
    own: Personal, run: Callable[..., Script], root: Path
) -> None:
    nowhere = {"LOGSERV_PROGRAM": "/nowhere/logserv"}
    script = 'log.addHandler(make()); log.info("last words"); os.kill(os.getpid(), signal.SIGKILL)'
    killed = run(script, env=nowhere)
    assert killed.code == -signal.SIGKILL
    assert not (root / "app.log").exists()
    run('log.addHandler(make("other.log")); log.info("x")')
    assert wait_for_lines(root / "app.log", 1) == ["last words"]


def test_rings_for_a_server_that_is_no_more_are_removed_a_day_after_their_last_record(
    own: Personal, run: Callable[..., Script], socket_dir: Path
) -> None:
    (socket_dir / "gone").mkdir(mode=0o700)
    gone = {"LOGSERV_PROGRAM": "/nowhere/logserv", "LOGSERV_SOCKET": str(socket_dir / "gone/s.sock")}
    script = """
        log.addHandler(make())
        then = time.time() - AGE * 3600
        log.handle(logging.makeLogRecord({"msg": "x", "levelno": 20, "created": then}))
        os.kill(os.getpid(), signal.SIGKILL)
        """
    directory, pattern = Path(f"/dev/shm/logserv-{os.geteuid()}"), f"{key_of(gone['LOGSERV_SOCKET']):016x}-*"
    rings: list[Path] = []
    for age in (25, 23):
        assert run(script.replace("AGE", str(age)), env=gone).code == -signal.SIGKILL
        rings += set(directory.glob(pattern)) - set(rings)
    assert len(rings) == 2
    for ring in rings:  # as if it had lain there since
        os.utime(ring, times=(time.time() - 25 * 3600,) * 2)
    run(
        f"""
        import glob
        log.addHandler(make())
        deadline = time.monotonic() + 60
        while len(glob.glob({str(directory / pattern)!r})) > 1 and time.monotonic() < deadline:
            log.info("here is a server")
            time.sleep(0.2)
        """
    )
    # Whichever server of this user was the first: others may run here.
    assert list(directory.glob(pattern)) == [rings[1]]
    rings[1].unlink()


def test_a_program_that_is_gone_is_told_of_and_its_return_brings_every_record(
    own: Personal, root: Path, tmp_path: Path
) -> None:
    program = tmp_path / "logserv"
    shutil.copy(own.program, program)
    own.env["LOGSERV_PROGRAM"] = str(program)
    process = start_script(
        own,
        root,
        """
        handler = make()
        log.addHandler(handler)
        log.info("0")
        print(handler.flush(30), flush=True)
        for number in range(1, 500):
            log.info("%d", number)
            time.sleep(0.01)
        while not handler.flush():
            time.sleep(0.05)
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    program.rename(tmp_path / "away")
    own.kill()
    assert process.stderr is not None
    err = process.stderr.readline()
    time.sleep(1.0)  # and not a second line
    assert own.servers() == []
    (tmp_path / "away").rename(program)
    err += process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert f"logserv: cannot start the server (expected its program at {program}, found none" in err
    assert len(err.splitlines()) == 1
    assert (root / "app.log").read_text().split() == [str(number) for number in range(500)]


def test_an_exit_without_a_server_to_be_had_is_short_and_tells_that_the_records_are_kept(
    run: Callable[..., Script], own: Personal, root: Path
) -> None:
    script = 'log.addHandler(make()); log.info("kept"); START = time.monotonic()'
    done = run(script, env={"LOGSERV_PROGRAM": "/nowhere/logserv"})
    assert done.code == 0
    assert "1 record unsent to" in done.err
    assert "kept for it; cannot start it (expected its program at /nowhere/logserv" in done.err
    assert done.seconds < 10
    run('log.addHandler(make()); log.info("next")')
    assert sorted(wait_for_lines(root / "app.log", 2)) == ["kept", "next"]


# Places.


@pytest.mark.parametrize(
    ("mode", "says"), [(0o777, "writable by its owner only, received mode 0777"), (None, "cannot make")]
)
def test_a_place_that_cannot_be_used_is_told_with_its_reason(
    own: Personal, root: Path, tmp_path: Path, mode: int | None, says: str
) -> None:
    place = tmp_path / "place"
    if mode is not None:
        place.mkdir()
        place.chmod(mode)
    socket = place / "s.sock" if mode is not None else place / "deeper" / "s.sock"
    script = """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        log.addHandler(make())
        log.info("x")
        time.sleep(60)
        """
    process = start_script(own, root, script, {"LOGSERV_SOCKET": str(socket)})
    assert process.stderr is not None
    told = ""
    while "logserv: cannot start the server (" not in told and (line := process.stderr.readline()):
        told += line
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert "logserv: cannot start the server (" in told
    assert says in told
    assert own.servers() == []


def test_a_relative_socket_is_that_of_the_directory_where_the_handler_was_made(
    own: Personal, run: Callable[..., Script], root: Path
) -> None:
    done = run(
        """
        log.addHandler(make())
        log.info("one")
        print(log.handlers[0].flush(), os.path.exists("own/s.sock"))
        """,
        env={"LOGSERV_SOCKET": "own/s.sock"},
    )
    assert (done.code, done.out) == (0, "True True\n"), done.err
    subprocess.run([own.program, "stop", "--unix", root / "own/s.sock"], check=True, capture_output=True)


def test_two_servers_of_a_user_share_a_file_through_the_one_that_holds_it(
    own: Personal, program: Path, root: Path, socket_dir: Path, produce: Producers
) -> None:
    (socket_dir / "second").mkdir(mode=0o700)
    other = Personal(program, socket_dir / "second", idle_exit_s=2.0)
    config = dict_config(handler(root, maxBytes=200_000, backupCount=100), FMT)
    start_at = time.time() + 1.5
    for number in range(4):
        job = {"producer": number, "records": 3000, "config": config, "start_at": start_at}
        job |= {"pause_s": 0.01, "pause_every": 50, "last_flush_s": 30}
        produce.start(job, (own, other)[number % 2].env)
    try:
        results = produce.finish()
        assert all(result["flushed"] for result in results)
        report = oracle.check(root / "app.log", {(n, 0): 3000 for n in range(4)}, prefix=PREFIX)
        assert report.perfect, report
    finally:
        other.end()


def test_a_file_that_another_server_holds_is_reached_there_and_here_again_when_that_one_is_gone(
    own: Personal, root: Path, start_server: StartServer, produce: Producers
) -> None:
    server = start_server(stop_checked=False)
    keeper = server.handler("unix", "app.log", maxBytes=300_000, backupCount=100)
    job: dict[str, Any] = {"producer": 9, "records": 300, "config": dict_config(keeper, FMT)}
    produce.start(job | {"pause_s": 0.01, "last_flush_s": 30})
    wait_for((root / "app.log").exists, "the file")
    config = dict_config(handler(root, maxBytes=300_000, backupCount=100), FMT)
    for number in range(2):
        job = {"producer": number, "records": 4000, "config": config}
        produce.start(job | {"pause_s": 0.002, "last_flush_s": 30}, own.env)

    def has_all() -> bool:
        text = "".join(path.read_text() for path in oracle.chain(root / "app.log"))
        return all(f"app.producer{number}." in text for number in (0, 1, 9))

    # Only who holds the file can write to it.
    wait_for(has_all, "records of both sides in the file")
    produce.processes.pop(0).communicate(timeout=30)
    server.kill()
    results = produce.finish()
    assert all(result["flushed"] for result in results), results
    assert len(own.servers()) == 1
    sent = {(0, 0): 4000, (1, 0): 4000, (9, 0): 300}
    report = oracle.check(root / "app.log", sent, prefix=PREFIX)
    assert report.perfect, report


# Lives of processes.


def test_children_of_a_fork_log_and_start_servers_too(
    own: Personal, run: Callable[..., Script], root: Path
) -> None:
    done = run("""
        import warnings
        warnings.simplefilter("ignore")  # of forks with threads
        log.addHandler(make())
        log.info("parent")
        children = []
        for number in range(4):
            if not (pid := os.fork()):
                log.info("child %d", number)
                os._exit(0 if log.handlers[0].flush() else 1)
            children.append(pid)
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0
        """)
    assert (done.code, done.err) == (0, "")
    expected = ["parent", *(f"child {number}" for number in range(4))]
    assert sorted(wait_for_lines(root / "app.log", 5)) == sorted(expected)


def test_a_process_that_closes_every_descriptor_starts_its_server_and_hurts_no_file(
    own: Personal, run: Callable[..., Script], root: Path, tmp_path: Path
) -> None:
    done = run(f"""
        log.addHandler(make())
        log.info("before")
        assert log.handlers[0].flush()
        os.system("{own.program} stop --unix {own.socket}")
        os.closerange(3, 256)
        files = [os.open({str(tmp_path)!r} + f"/{{number}}", os.O_CREAT | os.O_RDWR) for number in range(8)]
        log.info("after")
        assert log.handlers[0].flush()
        assert all(os.fstat(fd).st_size == 0 for fd in files)
        """)
    assert (done.code, done.out, done.err) == (0, "", ""), done
    assert (root / "app.log").read_text() == "before\nafter\n"


def run_as_first_process(own: Personal, root: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Runs a script that logs one line as process 1 of a pid namespace, as in a container."""
    enclosed = ["unshare", "--pid", "--fork", "--mount-proc"]
    probe = subprocess.run([*enclosed, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"needs a pid namespace of its own: {probe.stderr.strip()}")
    script = """
        import logging, os
        from logserv import handlers
        assert os.getpid() == 1
        handler = handlers.FileHandler("app.log")
        logging.getLogger().addHandler(handler)
        logging.warning("the only line")
        """
    source = "\n".join(line.strip() for line in script.splitlines())
    return subprocess.run(
        [*enclosed, sys.executable, "-c", source],
        cwd=root,
        env={**os.environ, **own.env, "LOGSERV_PROGRAM": program},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_container_ends_with_its_first_process_and_that_waits_for_the_file(
    own: Personal, root: Path, tmp_path: Path
) -> None:
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\nsleep 2\nexec {own.program} "$@"\n')
    slow.chmod(0o755)
    done = run_as_first_process(own, root, str(slow))
    assert (done.returncode, done.stderr) == (0, "")
    assert (root / "app.log").read_text() == "the only line\n"


def test_a_first_process_that_can_start_no_server_does_not_say_that_its_records_are_kept(
    own: Personal, run: Callable[..., Script], root: Path
) -> None:
    done = run_as_first_process(own, root, "/nowhere/logserv")
    assert done.returncode == 0
    assert "1 record unsent to" in done.stderr
    assert "at exit; cannot start it (expected its program at /nowhere/logserv" in done.stderr
    assert "kept" not in done.stderr, "its memory ends with the container"
    run('log.addHandler(make()); log.info("x")')  # here it does not: the ring is not left lying about


def test_every_record_is_in_the_file_when_its_call_returns_if_a_test_suite_wants_that(
    own: Personal, run: Callable[..., Script]
) -> None:
    done = run(
        """
        log.addHandler(make())
        for number in range(5):
            log.info("%d", number)
            assert open("app.log").read().split()[-1] == str(number)
        """,
        env={"LOGSERV_SYNC": "1"},
    )
    assert (done.code, done.err) == (0, "")


def test_a_runtime_directory_that_vanishes_costs_no_record(
    own: Personal, root: Path, socket_dir: Path
) -> None:
    runtime = socket_dir / "runtime"
    runtime.mkdir(mode=0o700)
    process = start_script(
        own,
        root,
        f"""
        import shutil
        log.addHandler(make())
        log.info("before")
        assert log.handlers[0].flush()
        shutil.rmtree({str(runtime)!r})
        for number in range(300):
            log.info("%d", number)
            time.sleep(0.01)
        print(log.handlers[0].flush())
        """,
        # The next place is one that all servers of this user share; it leaves soon.
        {"LOGSERV_SOCKET": "", "XDG_RUNTIME_DIR": str(runtime)},
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "True\n", "")
    lines = wait_for_lines(root / "app.log", 301)
    assert lines == ["before", *(str(number) for number in range(300))]
