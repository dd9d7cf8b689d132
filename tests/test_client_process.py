"""Handlers through the life of a process: imports, exits, forks, children of `multiprocessing`, threads.

Each test runs a script of its own against the real server. What a socket can lose, and when, is stated by the tests that
end in `os._exit`: it is the tail that had not been sent.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from running import Server, wait_for

PREAMBLE = """
import atexit, logging, os, sys, threading, time
START = time.time()
from logserv.client import UnixClient

def make(filename="a.log", **arguments):
    handler = UnixClient({socket!r}, filename=filename, **arguments)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler

log = logging.getLogger("app")
log.setLevel(logging.DEBUG)
handler = make()
log.addHandler(handler)

def end():
    "Tells the parent when the script's own part is over."
    print("END", time.time(), flush=True)
"""


@dataclass
class Ended:
    """How a script ended."""

    code: int
    out: str
    err: str
    exit_s: float

    @property
    def numbers(self) -> list[str]:
        return self.out.split()


def run(
    socket: object, script: str, tmp_path: Path, *options: str, timeout_s: float = 60, **env: str
) -> Ended:
    """Runs a script; `exit_s` is the time between its `end()` and its end."""
    path = tmp_path / "script.py"
    path.write_text(PREAMBLE.format(socket=str(socket)) + textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, *options, path],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **env},
        check=False,
    )
    ended = time.time()
    at = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("END ")]
    return Ended(done.returncode, done.stdout, done.stderr, ended - at[-1] if at else -1.0)


def run_quickly(within_s: float, socket: object, script: str, tmp_path: Path) -> Ended:
    """The same, up to three times until it ends in time: a machine may be busy with something else, a fault shows each time."""
    for _ in range(3):
        ended = run(socket, script, tmp_path)
        if ended.exit_s < within_s:
            break
    return ended


def lines(server: Server, name: str = "a.log") -> list[str]:
    path = server.root / name
    return path.read_text().splitlines() if path.exists() else []


def numbers(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def of(prefix: str, found: list[str]) -> list[str]:
    return [line for line in found if line.startswith(prefix)]


# Import.


def test_importing_is_light_and_patches_nothing(tmp_path: Path) -> None:
    script = """
        import sys
        before = set(sys.modules)
        import logserv
        heavy = {"logserv.client", "logserv.server", "logserv._native", "socket", "subprocess", "importlib.metadata",
                 "multiprocessing", "inspect", "asyncio"}
        assert not heavy & (set(sys.modules) - before), heavy & set(sys.modules)
        import logging, logging.handlers, logging.config
        def picture():
            modules = (logging, logging.handlers, logging.config)
            classes = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
            return [dict(vars(each)) for each in (*modules, *classes)]
        before = picture()
        assert logserv.client.SocketForwarder
        assert logserv.server.LogServer
        import logserv._native
        assert picture() == before
        assert set(sys.modules) & {"multiprocessing", "asyncio"} == set()
        assert set(dir(logserv)) >= {"client", "server", "ProtocolError"}
        try:
            logserv.nothing
        except AttributeError as error:
            assert "nothing" in str(error)
        assert issubclass(logserv.ProtocolError, logserv.LogServerError)
        assert issubclass(logserv.VersionMismatchError, logserv.LogServerError)
        """
    # Coverage measures by importing itself into every process; what this one imports is the question.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# Exit.


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError('end')", 1),
        ("threading.Thread(target=sys.exit).start()", 0),
    ],
)
def test_everything_arrives_before_the_process_ends(
    server: Server, tmp_path: Path, how: str, code: int
) -> None:
    script = f"""
        for number in range(5000):
            log.info("%d", number)
        end()
        {how}
        """
    ended = run(server.unix, script, tmp_path, "-W", "error")
    assert ended.code == code
    assert "logserv" not in ended.err
    assert lines(server) == numbers("", 5000)
    assert ended.exit_s < 5


def test_records_of_other_exit_functions_arrive_too(server: Server, tmp_path: Path) -> None:
    early = """
        import atexit, logging
        atexit.register(lambda: logging.getLogger("app").info("registered first"))
        """
    script = """
        atexit.register(lambda: log.info("registered last"))
        log.info("main")
        """
    path = tmp_path / "early.py"
    path.write_text(
        textwrap.dedent(early) + PREAMBLE.format(socket=str(server.unix)) + textwrap.dedent(script)
    )
    subprocess.run([sys.executable, path], check=True)
    assert lines(server) == ["main", "registered last", "registered first"]


def test_a_handler_that_nobody_holds_any_more_is_drained(server: Server, tmp_path: Path) -> None:
    script = """
        for number in range(1000):
            log.info("%d", number)
        log.removeHandler(handler)
        del handler
        import gc
        gc.collect()
        """
    assert run(server.unix, script, tmp_path).code == 0
    assert lines(server) == numbers("", 1000)


@pytest.mark.parametrize("how", ["", "logging.shutdown()"])
def test_without_a_server_the_whole_process_ends_within_a_second(
    socket_dir: Path, tmp_path: Path, how: str
) -> None:
    script = f"""
        for number in range(12):
            log.addHandler(make(f"{{number}}.log"))
        log.info("x")
        end()
        {how}
        """
    ended = run_quickly(1.6, socket_dir / "nobody.sock", script, tmp_path)
    assert ended.code == 0
    assert 0 <= ended.exit_s < 1.6  # the interpreter's own end, on a busy machine, included
    unsent = [line for line in ended.err.splitlines() if "unsent" in line]
    assert len(unsent) == 13
    assert f"start it with: logserv serve --unix {socket_dir / 'nobody.sock'}" in unsent[0]


def test_a_shutdown_in_the_middle_takes_a_second_for_all_handlers_together(
    socket_dir: Path, tmp_path: Path
) -> None:
    script = """
        for number in range(12):
            log.addHandler(make(f"{number}.log"))
        log.info("x")
        end()
        logging.shutdown()
        os._exit(0)
        """
    ended = run_quickly(1.3, socket_dir / "nobody.sock", script, tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert 0 <= ended.exit_s < 1.3


def test_no_trouble_is_told_when_logging_must_not_raise(socket_dir: Path, tmp_path: Path) -> None:
    ended = run(socket_dir / "nobody.sock", "logging.raiseExceptions = False\nlog.info('x')\n", tmp_path)
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize("logger", ["logging.Logger", "logserv.Logger"])
def test_daemon_threads_that_log_until_the_end_do_no_harm(
    logger: str, server: Server, tmp_path: Path
) -> None:
    script = f"""
        import logserv
        log.__class__ = {logger}
        def work():
            while True:
                log.info("x")
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
        end()
        """
    ended = run(server.unix, script, tmp_path)
    assert ended.code == 0
    assert ended.exit_s < 10
    assert set(lines(server)) == {"x"}


@pytest.mark.parametrize("how", ["handler.flush()", ""])
def test_os_exit_loses_at_most_the_tail_that_was_not_flushed(
    server: Server, tmp_path: Path, how: str
) -> None:
    script = f"""
        for number in range(2000):
            log.info("%d", number)
        {how}
        os._exit(0)
        """
    run(server.unix, script, tmp_path)
    time.sleep(0.2)
    found = lines(server)
    assert found == numbers("", len(found))
    assert len(found) == 2000 or not how


def test_logserv_sync_leaves_nothing_to_lose(server: Server, tmp_path: Path) -> None:
    script = """
        for number in range(50):
            log.info("%d", number)
        os._exit(0)
        """
    run(server.unix, script, tmp_path, LOGSERV_SYNC="1")
    assert lines(server) == numbers("", 50)


# Fork.


@pytest.mark.parametrize("how", ["return", "sys.exit(0)", "os._exit(0)", "handler.flush(); os._exit(0)"])
def test_a_forked_child_sends_its_own_records_and_none_of_its_parents(
    server: Server, tmp_path: Path, how: str
) -> None:
    script = f"""
        def child(name):
            for number in range(100):
                log.info("c%d.%d", name, number)
            {how}

        children = []
        for number in range(300):
            log.info("p%d", number)
            if number % 100 == 50:
                if (pid := os.fork()) == 0:
                    child(number)
                    sys.exit(0)
                children.append(pid)
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0
        """
    # From 3.12 on, CPython warns of any thread in a process that forks, and the sender is one.
    ended = run(server.unix, script, tmp_path, "-W", "ignore::DeprecationWarning")
    assert (ended.code, ended.err) == (0, "")
    found = lines(server)
    assert of("p", found) == numbers("p", 300)
    for name in (50, 150, 250):
        mine = of(f"c{name}.", found)
        assert mine == numbers(f"c{name}.", len(mine))
        # `os._exit` runs nothing of ours: what the sender had not yet sent is gone.
        assert len(mine) == 100 or how == "os._exit(0)"


def test_forking_while_threads_log_blocks_nobody(server: Server, tmp_path: Path) -> None:
    script = """
        stop = False

        def work(name):
            number = 0
            while not stop:
                log.info("t%d.%d", name, number)
                number += 1
                if number % 50 == 0:
                    time.sleep(0.001)  # or whoever forks waits for the interpreter's lock behind four who never do
            print(f"{name} {number}\\n", end="")  # one write: threads print at the same time

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for number in range(40):
            if (pid := os.fork()) == 0:
                import faulthandler
                faulthandler.dump_traceback_later(20, exit=True)
                log.info("c%d.", number)
                code = 0 if handler.flush(15) else 7
                os._exit(code)
            assert os.waitpid(pid, 0)[1] == 0, number
        stop = True
        for thread in threads:
            thread.join()
        """
    ended = run(server.unix, script, tmp_path, "-W", "ignore::DeprecationWarning")
    assert (ended.code, ended.err) == (0, "")
    found = lines(server)
    assert sorted(of("c", found)) == sorted(f"c{number}." for number in range(40))
    for line in ended.out.splitlines():
        name, count = line.split()
        assert of(f"t{name}.", found) == numbers(f"t{name}.", int(count))


def test_no_module_is_loaded_by_a_record(server: Server, tmp_path: Path) -> None:
    """A child that is forked while another thread loads a module waits for that module's lock for ever."""
    script = """
        import pickle, sys
        copied = pickle.dumps(handler)
        before = set(sys.modules)
        log.info("first")
        handler.flush()
        print(*(set(sys.modules) - before))
        before = set(sys.modules)
        other = pickle.loads(copied)
        other.handle(logging.makeLogRecord({"msg": "second"}))
        other.flush()
        print(*(set(sys.modules) - before))
        """
    ended = run(server.unix, script, tmp_path)
    assert (ended.code, ended.err, ended.out.split()) == (0, "", [])
    assert len(lines(server)) == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_drain_by_its_finalizers(
    server: Server, tmp_path: Path, method: str
) -> None:
    script = f"""
        import multiprocessing

        def work(name):
            for number in range(200):
                log.info("c%d.%d", name, number)
            if name == 2:
                sys.exit(0)

        if __name__ == "__main__":
            log.info("parent")
            context = multiprocessing.get_context({method!r})
            children = [context.Process(target=work, args=(name,)) for name in range(4)]
            for child in children:
                child.start()
            for child in children:
                child.join()
                assert child.exitcode == 0
            with context.Pool(2) as pool:
                pool.map(work, range(10, 14))
                pool.close()
                pool.join()
        """
    ended = run(server.unix, script, tmp_path, "-W", "ignore::DeprecationWarning")
    assert (ended.code, ended.err) == (0, "")
    found = lines(server)
    assert of("parent", found) == ["parent"]
    for name in (*range(4), *range(10, 14)):
        assert of(f"c{name}.", found) == numbers(f"c{name}.", 200)


def test_a_process_pool_drains(server: Server, tmp_path: Path) -> None:
    script = """
        import concurrent.futures

        def work(name):
            log.info("c%d.", name)

        if __name__ == "__main__":
            with concurrent.futures.ProcessPoolExecutor(2) as pool:
                list(pool.map(work, range(20)))
        """
    ended = run(server.unix, script, tmp_path, "-W", "ignore::DeprecationWarning")
    assert (ended.code, ended.err) == (0, "")
    assert sorted(lines(server)) == sorted(f"c{number}." for number in range(20))


def test_a_pickled_handler_goes_to_a_spawned_child(server: Server, tmp_path: Path) -> None:
    script = """
        import multiprocessing

        def work(theirs):
            other = logging.getLogger("other")
            other.addHandler(theirs)
            other.error("child")

        if __name__ == "__main__":
            log.info("parent")
            child = multiprocessing.get_context("spawn").Process(target=work, args=(handler,))
            child.start()
            child.join()
            assert child.exitcode == 0
        """
    ended = run(server.unix, script, tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert sorted(lines(server)) == ["child", "parent"]


def test_without_a_server_a_child_of_multiprocessing_ends_within_its_time(
    socket_dir: Path, tmp_path: Path
) -> None:
    script = """
        import multiprocessing

        if __name__ == "__main__":
            child = multiprocessing.get_context("fork").Process(target=log.info, args=("x",))
            child.start()
            end()
            child.join()
            assert child.exitcode == 0
        """
    ended = run_quickly(2, socket_dir / "nobody.sock", script, tmp_path)
    assert ended.code == 0
    assert 0 <= ended.exit_s < 2
    assert "1 record unsent" in ended.err


# A server that goes and comes back.


def test_records_wait_for_a_server_that_comes_later(
    start_server: object, server: Server, tmp_path: Path
) -> None:
    server.stop()
    script = """
        log.info("early")
        print("ready", flush=True)
        deadline = time.monotonic() + 20
        while not handler.flush() and time.monotonic() < deadline:
            pass
        """
    path = tmp_path / "script.py"
    path.write_text(PREAMBLE.format(socket=str(server.unix)) + textwrap.dedent(script))
    with subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        server.restart()
        assert process.wait(30) == 0
    assert lines(server) == ["early"]


def test_many_handlers_threads_and_files_at_once(server: Server, tmp_path: Path) -> None:
    script = """
        log.addHandler(make("b.log", maxBytes=1 << 20, backupCount=2))
        second = logging.getLogger("second")
        second.setLevel(logging.INFO)
        second.addHandler(make("a.log"))

        def work(name):
            for number in range(500):
                (log if number % 2 else second).info("t%d.%d", name, number)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """
    assert run(server.unix, script, tmp_path).code == 0
    for name in range(6):
        assert of(f"t{name}.", lines(server)) == numbers(f"t{name}.", 500)
        odd = [f"t{name}.{number}" for number in range(1, 500, 2)]
        assert of(f"t{name}.", lines(server, "b.log")) == odd


def test_a_file_outside_the_roots_is_told_at_once(server: Server, tmp_path: Path) -> None:
    script = """
        logging.raiseExceptions = True
        log.removeHandler(handler)
        log.addHandler(make("/etc/logserv-test.log"))
        log.info("x")
        """
    ended = run(server.unix, script, tmp_path)
    assert ended.code == 0
    assert "--root" in ended.err
    assert "ProtocolError" in ended.err
    assert not Path("/etc/logserv-test.log").exists()
    wait_for(lambda: ended.exit_s < 5, "nothing")
