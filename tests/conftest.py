"""Fixtures for all tests of the whole product: the program, servers, producers; and the account of what did not run.

``server`` is a running server with one Unix socket and one TCP port, ``start_server`` starts one to measure,
``produce`` runs producers as unrelated processes, ``crew`` such that are killed and keep ledgers. Each server is stopped at the end of its test, and must then have
drained and left with 0. A test that cannot run skips with a reason, which is printed as ``NOT RUN``; a test that is
about other Python versions only is marked ``python("3.12")`` (from that version on) and simply not there elsewhere.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import kills
import pytest
from fake_server import FakeServer
from frameworks import Example, RunExample
from running import Producers, Server, StartServer
from self_start import Personal


@pytest.fixture(scope="session")
def program() -> Path:
    """The `logserv` program: of the wheel in this environment, or the one that ``LOGSERV_PROGRAM`` names."""
    path = os.environ.get("LOGSERV_PROGRAM") or Path(sysconfig.get_path("scripts")) / "logserv"
    if not os.access(path, os.X_OK):
        pytest.fail(f"no program at {path}; run: make wheel, or set LOGSERV_PROGRAM")
    return Path(path)


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """A directory with a short name: the path of a Unix socket has 107 bytes at most."""
    path = Path(tempfile.mkdtemp(prefix="ls-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of the servers of this test."""
    path = tmp_path / "logs"
    path.mkdir()
    return path


@pytest.fixture
def start_server(program: Path, socket_dir: Path, root: Path) -> Iterator[StartServer]:
    """Starts servers: ``start_server("--socket-handler-file", "plain.log", env={"TZ": "UTC"})``."""
    servers: list[Server] = []

    def start(*arguments: str, **options: object) -> Server:
        number = len(servers)
        started = Server(program, socket_dir / f"s{number}.sock", root, arguments, **options)  # type: ignore[arg-type]
        servers.append(started)
        started.wait_until_ready()
        return started

    yield start
    failures = [failure for started in servers if (failure := started.end())]
    if failures:
        pytest.fail("\n".join(failures))


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A running server with one Unix socket and one TCP port."""
    return start_server()


@pytest.fixture
def produce() -> Iterator[Producers]:
    """Runs producers as unrelated processes; none outlives the test."""
    producers = Producers()
    yield producers
    producers.kill()


@pytest.fixture
def seed() -> int:
    """What is random in this test follows from this number; ``LOGSERV_TEST_SEED`` replays it."""
    number = int(os.environ.get("LOGSERV_TEST_SEED", "0")) or secrets.randbelow(1 << 32)
    print(f"LOGSERV_TEST_SEED={number}")
    return number


@pytest.fixture
def own(program: Path, socket_dir: Path) -> Iterator[Personal]:
    """The place of a user's own server, which nobody has started yet, and which leaves after 2 s."""
    place = Personal(program, socket_dir, idle_exit_s=2.0)
    yield place
    place.end()


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[kills.Crew]:
    """Producers with ledgers, to be killed; none outlives the test."""
    with kills.crew(tmp_path) as members:
        yield members


@pytest.fixture
def fake(socket_dir: Path) -> Iterator[FakeServer]:
    """A server of 2.0 on a Unix socket."""
    server = FakeServer(socket_dir / "fake.sock")
    yield server
    server.stop()


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage does not start in the processes of a test in which it could not, and would say so."""
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run_example(program: Path, socket_dir: Path, tmp_path: Path) -> Iterator[RunExample]:
    """Runs programs of ``examples/``; the server that they start is this test's own, and leaves when it is told to."""
    own = Personal(program, socket_dir, idle_exit_s=20.0)
    examples: list[Example] = []

    def example(name: str) -> Example:
        examples.append(Example(name, tmp_path, own))
        return examples[-1]

    yield example
    for each in examples:
        each.kill()
    stopped = own.command("stop")
    left = own.servers()
    own.end()
    print(f"--- the server said:\n{own.said}--- its end: {stopped.stderr}")
    assert stopped.returncode == 0
    assert left == []
    assert "panicked at" not in own.said


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger of its own, outside of the tree: what pytest does to that one is not our subject."""
    logger = logging.Logger("test.client", logging.DEBUG)
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "python(minimum): only on this version of Python and later ones")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    elsewhere = [
        item
        for item in items
        for marker in item.iter_markers("python")
        if tuple(int(part) for part in marker.args[0].split(".")) > sys.version_info[:2]
    ]
    if elsewhere:
        items[:] = [item for item in items if item not in elsewhere]
        config.hook.pytest_deselected(items=elsewhere)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.write_line(f"NOT RUN: {report.nodeid}, {reason.removeprefix('Skipped: ')}")
