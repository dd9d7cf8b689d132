"""`LogServer`: the server of 2013's API, as a child process; and `python -m logserv`."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from logserv import LogServerError, _program
from logserv.client import SocketForwarder, UnixClient
from logserv.server import LogServer
from running import free_port, wait_for


@pytest.fixture(autouse=True)
def program_of_this_test(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers and scripts of this file run the program under test."""
    monkeypatch.setenv("LOGSERV_PROGRAM", str(program))


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """No server outlives its test, and class attributes are as before."""
    yield
    for entry in list(LogServer.logging_map.values()):
        entry.close()
    LogServer.socket_family = socket.AF_INET


def make_record(handler: SocketForwarder, text: str) -> None:
    import logging

    handler.handle(logging.LogRecord("app", 20, "p", 1, text, (), None))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_it_accepts_when_the_constructor_returns_and_has_written_when_close_returns(tmp_path: Path) -> None:
    with LogServer(("localhost", 0), roots=[tmp_path]) as server:
        host, port = server.address[0], server.address[1]
        assert (host, port != 0, server.is_running) == ("localhost", True, True)
        assert isinstance(port, int)
        assert accepts(port)
        handler = SocketForwarder("localhost", port, filename="a.log")
        make_record(handler, "hello")
        assert handler.flush()
        handler.close()
        assert (tmp_path / "a.log").read_text() == "hello\n"
    assert not server.is_running
    assert LogServer.logging_map == {}
    assert not accepts(port)
    server.close()


def test_unix_sockets_are_chosen_by_the_class_attribute(socket_dir: Path, tmp_path: Path) -> None:
    LogServer.socket_family = socket.AF_UNIX
    path = str(socket_dir / "s.sock")
    with LogServer(path, roots=[str(tmp_path)]) as server:
        assert server.address == path
        handler = UnixClient(path, filename="a.log")
        make_record(handler, "hello")
        assert handler.flush()
        handler.close()
    assert (tmp_path / "a.log").read_text() == "hello\n"


def test_the_default_root_is_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with LogServer(("127.0.0.1", 0)) as server:
        handler = SocketForwarder("127.0.0.1", server.address[1], filename="a.log")  # type: ignore[arg-type]
        make_record(handler, "hello")
        assert handler.flush()
        handler.close()
    assert (tmp_path / "a.log").read_text() == "hello\n"


def test_the_error_of_the_bind_is_raised(tmp_path: Path, socket_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="held by") as caught:
        LogServer(taken.getsockname(), roots=[tmp_path])
    assert caught.value.errno == errno.EADDRINUSE
    LogServer.socket_family = socket.AF_UNIX
    with pytest.raises(OSError) as caught:
        LogServer(str(socket_dir / "no" / "s.sock"), roots=[tmp_path])
    assert caught.value.errno == errno.ENOENT
    assert LogServer.logging_map == {}


def test_what_else_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises((LogServerError, OSError), match="missing"):
        LogServer(("127.0.0.1", 0), roots=[tmp_path / "missing"])
    with pytest.raises(OSError, match="allow-remote-plain"):
        LogServer(("", 0), roots=[tmp_path])
    for address in ("localhost", ("localhost", "1"), (1, 1), ("localhost",), None):
        with pytest.raises(TypeError, match="address"):
            LogServer(address)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="port"):
        LogServer(("localhost", 70000))
    with pytest.raises(TypeError, match="roots"):
        LogServer(("localhost", 0), roots="/tmp")
    LogServer.socket_family = socket.AF_UNIX
    with pytest.raises(TypeError, match="address"):
        LogServer(("localhost", 1))


def test_several_share_one_map_and_each_entry_leaves_when_its_server_ends(tmp_path: Path) -> None:
    servers = [LogServer(("127.0.0.1", 0), roots=[tmp_path]) for _ in range(3)]
    assert len(LogServer.logging_map) == 3
    os.kill(servers[0].pid, signal.SIGTERM)
    servers[0].serve_forever()
    assert len(LogServer.logging_map) == 2
    servers[1].close()
    assert [entry._server for entry in LogServer.logging_map.values()] == [servers[2]]
    assert [server.is_running for server in servers] == [False, False, True]


def test_serve_forever_ends_with_close_in_another_thread(tmp_path: Path) -> None:
    server = LogServer(("127.0.0.1", 0), roots=[tmp_path])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    time.sleep(0.05)
    assert thread.is_alive()
    server.close()
    thread.join(30)
    assert not thread.is_alive()


def test_a_subclass_may_have_a_map_of_its_own(tmp_path: Path) -> None:
    class Mine(LogServer):
        logging_map = {}

    with Mine(("127.0.0.1", 0), roots=[tmp_path]):
        assert (len(Mine.logging_map), len(LogServer.logging_map)) == (1, 0)
    assert Mine.logging_map == {}


def test_it_runs_in_a_process_group_of_its_own(tmp_path: Path) -> None:
    with LogServer(("127.0.0.1", 0), roots=[tmp_path]) as server:
        assert os.getpgid(server.pid) == server.pid != os.getpgid(0)


def test_descriptors_do_not_leak(tmp_path: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(3):
        LogServer(("127.0.0.1", 0), roots=[tmp_path]).close()
        with pytest.raises(OSError):
            LogServer(("192.0.2.1", 1), roots=[tmp_path])
    assert count() == before


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_leaves_the_server_alone(tmp_path: Path) -> None:
    with LogServer(("127.0.0.1", 0), roots=[tmp_path]) as server:
        if (child := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                server.close()
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert server.is_running
        assert accepts(server.address[1])  # type: ignore[arg-type]


def run_script(script: str, tmp_path: Path, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_leaves_with_everything_written_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = """
        import logging, time
        from logserv import client, server
        s = server.LogServer(("127.0.0.1", 0))
        handler = client.SocketForwarder("127.0.0.1", s.address[1], filename="a.log")
        handler.handle(logging.LogRecord("app", 20, "p", 1, "hello", (), None))
        handler.flush(level="received")
        print(s.pid, flush=True)
        time.sleep(60)
        """
    parent = run_script(script, tmp_path)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait_for(lambda: not is_alive(pid), "the server to leave")
    assert (tmp_path / "a.log").read_text() == "hello\n"


def test_a_process_that_ends_lets_its_records_in_first(tmp_path: Path) -> None:
    script = """
        import logging
        from logserv import client, server
        s = server.LogServer(("127.0.0.1", 0))
        handler = client.SocketForwarder("127.0.0.1", s.address[1], filename="a.log")
        logging.getLogger().addHandler(handler)
        for number in range(100):
            logging.error("%d", number)
        print(s.pid)
        """
    parent = run_script(script, tmp_path)
    out, err = parent.communicate(timeout=30)
    assert [line for line in err.splitlines() if " INFO " not in line] == []
    wait_for(lambda: not is_alive(int(out)), "the server to leave")
    assert (tmp_path / "a.log").read_text().split() == [str(number) for number in range(100)]


# The README of 2013, to the letter.

CLIENT = """
    import logging, logging.config
    LOGGING = {{"version": 1,
         "handlers": {{
             "old_rotating_file_handler_1": {{
                 "class": "{handler}",
                 {address}
                 "formatter": "f",
                 "filename": "test.log",
                 "maxBytes": 10000,
                 "backupCount": 3,
             }}
         }},
         "formatters": {{"f": {{"format": "%(levelname)s|%(message)s"}}}},
         "root": {{"handlers": ["old_rotating_file_handler_1"], "level": "DEBUG"}},
    }}
    logging.config.dictConfig(LOGGING)
    logging.info("from a client")
    """


def run_snippet(server_script: str, client_script: str, ready: object, tmp_path: Path) -> None:
    """Runs a server's script, then a client's; then ends the server, upon which the loop must return."""
    pytest.importorskip("asyncore", reason="neither the standard library nor pyasyncore has it")
    # The snippet's last line is the loop: what comes behind it shows that it returned.
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(server_script) + "\nprint('returned')"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert callable(ready)
        wait_for(ready, "the server to accept")
        client = run_script(client_script, tmp_path)
        assert client.communicate(timeout=30) == ("", "")
        assert (tmp_path / "test.log").read_text() == "INFO|from a client\n"
        (child,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        assert server.communicate(timeout=40)[0] == "returned\n"
        assert server.returncode == 0
    finally:
        server.kill()
        server.wait()


@pytest.mark.filterwarnings("ignore:The asyncore module:DeprecationWarning")
def test_the_snippet_for_inet_runs_under_asyncore(tmp_path: Path) -> None:
    port = free_port()
    server = f"""
        import asyncore
        from logserv import server
        s = server.LogServer(("localhost", {port}))
        asyncore.loop(map=server.LogServer.logging_map)
        """
    address = f'"host": "localhost",\n                 "port": {port},'
    client = CLIENT.format(handler="logserv.client.SocketForwarder", address=address)
    run_snippet(server, client, lambda: accepts(port), tmp_path)


@pytest.mark.filterwarnings("ignore:The asyncore module:DeprecationWarning")
def test_the_snippet_for_unix_sockets_runs_under_asyncore(tmp_path: Path, socket_dir: Path) -> None:
    path = socket_dir / "test.sock"
    server = f"""
        import asyncore, socket
        from logserv import server
        server.LogServer.socket_family = socket.AF_UNIX
        s = server.LogServer('{path}')
        asyncore.loop(map=server.LogServer.logging_map)
        """
    client = CLIENT.format(handler="logserv.client.UnixClient", address=f'"host": "{path}",')
    run_snippet(server, client, path.exists, tmp_path)


@pytest.mark.filterwarnings("ignore:The asyncore module:DeprecationWarning")
@pytest.mark.parametrize("use_poll", [False, True])
def test_the_loop_returns_when_all_are_closed_in_another_thread(tmp_path: Path, use_poll: bool) -> None:
    asyncore = pytest.importorskip("asyncore")
    servers = [LogServer(("127.0.0.1", 0), roots=[tmp_path]) for _ in range(2)]
    loop = threading.Thread(
        target=asyncore.loop, kwargs={"map": LogServer.logging_map, "use_poll": use_poll, "timeout": 60}
    )
    loop.start()
    time.sleep(0.1)
    for server in servers:
        server.close()
    loop.join(30)
    assert not loop.is_alive()


# The program.


def test_python_m_logserv_is_the_program(program: Path) -> None:
    def run(*command: str) -> tuple[int, str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert run(sys.executable, "-m", "logserv", "--version") == run(str(program), "--version")
    assert run(sys.executable, "-m", "logserv", "serve")[0] == 2


def test_the_program_is_found_by_file_and_never_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoy = tmp_path / "bin" / "logserv"
    decoy.parent.mkdir()
    decoy.write_text("#!/bin/sh\n")
    decoy.chmod(0o755)
    monkeypatch.setenv("PATH", str(decoy.parent))
    monkeypatch.setenv("LOGSERV_PROGRAM", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError, match="LOGSERV_PROGRAM"):
        _program.find_program()
    monkeypatch.delenv("LOGSERV_PROGRAM")
    with contextlib.suppress(FileNotFoundError):
        assert _program.find_program() != str(decoy)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import logserv.__main__ as m; m.find_program = lambda: open('/nope'); m.main()",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.startswith("logserv: ")) == (1, True)


def test_the_program_of_an_installation_is_the_one_its_record_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "lib" / "python3" / "site-packages"
    package = site / "logserv"
    information = site / "logserv-1.0.dist-info"
    for directory in (package, information, tmp_path / "bin"):
        directory.mkdir(parents=True)
    program = tmp_path / "bin" / "logserv"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: logserv\nVersion: 1.0\n")
    (information / "RECORD").write_text("logserv/__init__.py,,\n../../../bin/logserv,,\n")
    monkeypatch.delenv("LOGSERV_PROGRAM")
    monkeypatch.setattr(_program, "__file__", str(package / "_program.py"))
    assert _program.find_program() == str(program)
