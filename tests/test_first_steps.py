"""What somebody meets who uses logserv for the first time: the snippets of 2013, and the usual mistakes, told at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import oracle
import pytest
from running import Server, free_port, wait_for

# As the README of 2013 has them; `...` filled in, and the path of the socket.
SERVER_INET = """
import asyncore
from logserv import server
s = server.LogServer(("localhost", 9876))
asyncore.loop(map=server.LogServer.logging_map)
"""
SERVER_UNIX = """
import asyncore, socket
from logserv import server
server.LogServer.socket_family = socket.AF_UNIX
s = server.LogServer('/full/path/to/test.sock')
asyncore.loop(map=server.LogServer.logging_map)
"""
CLIENT = """
LOGGING = {"version": 1,
     "formatters": {"old": {"format": "%(levelname)s from %(name)s: %(message)s"}},
     "handlers": {
         "old_rotating_file_handler_1": {
             "class": "logserv.client.SocketForwarder",
             "host": "localhost",
             "port": 9876,
             "formatter": "old",
             # all the other parameters stay the same
             "filename": "first.log",
             "maxBytes": 2000,
             "backupCount": 100,
         }
     },
     "root": {"handlers": ["old_rotating_file_handler_1"], "level": "INFO"},
}
import logging, logging.config
logging.config.dictConfig(LOGGING)
for number in range(100):
    logging.getLogger("app").info("record %d", number)
"""


@contextlib.contextmanager
def running_snippet(snippet: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs `snippet` in `directory`, as somebody would who pasted it into a file."""
    script = directory / "serve.py"
    script.write_text(snippet)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", script], cwd=directory, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        _out, err = process.communicate()
        print(err)


def run(snippet: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(snippet)],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def accepts(connect: socket.socket, address: object) -> bool:
    with connect:
        return connect.connect_ex(address) == 0  # type: ignore[arg-type]


@pytest.fixture
def port_9876() -> Iterator[None]:
    """The port of the snippet, for one test at a time on this machine."""
    with Path("/tmp/logserv-tests-9876.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_first_log(directory: Path) -> None:
    def lines() -> list[str]:
        return [
            line for path in oracle.chain(directory / "first.log") for line in path.read_text().splitlines()
        ]

    wait_for(lambda: len(lines()) == 100, "100 lines")
    assert lines() == [f"INFO from app: record {number}" for number in range(100)]
    assert (directory / "first.log.1").exists()


def test_the_snippets_of_2013_work_to_the_letter(tmp_path: Path, port_9876: None) -> None:
    with running_snippet(SERVER_INET, tmp_path) as process:
        wait_for(lambda: accepts(socket.socket(), ("localhost", 9876)), "the server", 20)
        client = run(CLIENT, tmp_path)
        assert (client.returncode, client.stderr) == (0, "")
        check_first_log(tmp_path)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        # The server watches over its parent, and leaves with it.
        wait_for(lambda: not accepts(socket.socket(), ("localhost", 9876)), "the server to leave")


def test_the_snippets_of_2013_work_over_a_unix_socket(tmp_path: Path, socket_dir: Path) -> None:
    path = str(socket_dir / "test.sock")
    with running_snippet(SERVER_UNIX.replace("/full/path/to/test.sock", path), tmp_path):
        wait_for(lambda: accepts(socket.socket(socket.AF_UNIX), path), "the server", 20)
        snippet = CLIENT.replace("SocketForwarder", "UnixClient").replace('"localhost"', repr(path))
        client = run(snippet.replace('"port": 9876,', ""), tmp_path)
        assert (client.returncode, client.stderr) == (0, "")
        check_first_log(tmp_path)


def client_of(class_name: str, arguments: str, body: str) -> str:
    return f"""
        import logging
        from logserv.client import {class_name}
        handler = {class_name}({arguments})
        logging.getLogger().addHandler(handler)
        logging.getLogger().setLevel("INFO")
        {body}
    """


def test_a_server_that_was_not_started_is_named_with_the_command_that_starts_it(tmp_path: Path) -> None:
    port = free_port()
    arguments = f"'127.0.0.1', {port}, filename='app.log'"
    body = "for _ in range(12): logging.info('x')\n        import time; time.sleep(4)"
    done = run(client_of("SocketForwarder", arguments, body), tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith(
        f"logserv: cannot reach 127.0.0.1:{port} (connection refused); 12 records waiting"
    )
    assert f"logserv serve --tcp 127.0.0.1:{port}" in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_short_script_is_told_too_and_leaves_within_its_second(tmp_path: Path, socket_dir: Path) -> None:
    path = socket_dir / "none.sock"
    done = run(client_of("UnixClient", f"{str(path)!r}, filename='app.log'", "logging.info('x')"), tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith("logserv: ")
    assert "1 record" in done.stderr
    assert f"logserv serve --unix {path}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_is_printed_when_logging_is_told_not_to_raise(tmp_path: Path) -> None:
    body = "logging.raiseExceptions = False; logging.info('x')"
    done = run(
        client_of("SocketForwarder", f"'127.0.0.1', {free_port()}, filename='app.log'", body), tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_outside_of_the_roots_is_refused_and_the_option_named(server: Server, tmp_path: Path) -> None:
    outside = tmp_path / "outside.log"
    arguments = f"{str(server.unix)!r}, filename={str(outside)!r}"
    done = run(client_of("UnixClient", arguments, "logging.info('x'); handler.flush()"), tmp_path)
    assert done.returncode == 0
    assert "ProtocolError" in done.stderr
    assert str(server.root) in done.stderr
    assert "--root" in done.stderr
    assert not outside.exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ("'localhost', 9876", "filename"),
        ("'localhost', 9876, filename='x', maxByte=1", "maxByte"),
        ("'localhost', 9876, filename='x', maxBytes='1'", "maxBytes"),
        ("'localhost', 9876, filename='x', formatters='plain'", "did you mean formatter?"),
        ("'localhost', 9876, filename='x', handler_class='logging.StreamHandler'", "StreamHandler"),
        ("'localhost', 9876, filename='x', when_full='wait'", "drop_newest"),
    ],
)
def test_a_mistyped_argument_is_an_error_of_the_constructor(
    tmp_path: Path, arguments: str, part: str
) -> None:
    done = run(f"from logserv.client import SocketForwarder\nSocketForwarder({arguments})", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(("TypeError: ", "ValueError: "))
    assert part in done.stderr.splitlines()[-1]


def test_a_port_for_a_unix_socket_is_a_type_error(tmp_path: Path) -> None:
    done = run(
        "from logserv.client import UnixClient\nUnixClient('/tmp/x.sock', 9876, filename='x')", tmp_path
    )
    assert done.stderr.splitlines()[-1].startswith("TypeError: ")


def program_says(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=False)


def test_a_server_without_a_listener_is_a_usage_error(program: Path) -> None:
    done = program_says(program, "serve")
    assert done.returncode == 2
    assert "--unix" in done.stderr
    assert "--tcp" in done.stderr


def test_a_mistyped_option_is_a_usage_error(program: Path) -> None:
    assert program_says(program, "serve", "--unx", "/tmp/x").returncode == 2


def test_an_address_of_the_world_needs_a_word(program: Path, tmp_path: Path) -> None:
    done = program_says(program, "serve", "--tcp", f"0.0.0.0:{free_port()}", "--root", str(tmp_path))
    assert done.returncode in (1, 2)
    assert "--allow-remote-plain" in done.stderr


def test_a_second_server_names_the_first(server: Server, program: Path, tmp_path: Path) -> None:
    done = program_says(program, "serve", "--unix", str(server.unix), "--root", str(tmp_path))
    assert done.returncode == 1
    assert str(server.process.pid) in done.stderr


def test_status_without_a_server_says_how_to_start_one(program: Path, socket_dir: Path) -> None:
    done = program_says(program, "status", "--unix", str(socket_dir / "none.sock"))
    assert done.returncode == 1
    assert "none.sock" in done.stderr


def test_the_module_is_the_program(program: Path) -> None:
    module = subprocess.run(
        [sys.executable, "-m", "logserv", "--version"], capture_output=True, text=True, timeout=30, check=True
    )
    assert module.stdout == program_says(program, "--version").stdout
    assert module.stdout.startswith("logserv ")
