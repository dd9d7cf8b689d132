"""The whole product: unrelated processes, one file, both transports, every kind of client at the same time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import client_1_0 as v1
import oracle
from running import Producers, Server, StartServer, dict_config, wait_for

PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
OLD_PRODUCER = Path(__file__).parent / "old_pythons/socket_producer.py"


def pythons() -> dict[str, Path]:
    """One interpreter of each version of Python on this machine."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": Path(sys.executable)}
    for path in sorted(PYENV.glob("*/bin/python")):
        found.setdefault(".".join(path.parent.parent.name.split(".")[:2]), path)
    return found


def jobs(
    server: Server, filename: str, producers: int, records: int, **more: object
) -> list[dict[str, object]]:
    """Jobs for producers of one file, by turns over the Unix socket and over TCP."""
    return [
        {
            "config": dict_config(
                server.handler(("unix", "tcp")[number % 2], filename, maxBytes=200_000, backupCount=200),
                oracle.FORMAT,
            ),
            "producer": number,
            "records": records,
            **more,
        }
        for number in range(producers)
    ]


def test_eight_processes_over_both_transports_write_one_rotating_file(
    server: Server, root: Path, produce: Producers
) -> None:
    start_at = time.time() + 1
    for job in jobs(server, "app.log", 8, 10_000, exceptions=100, start_at=start_at):
        produce.start(job)
    produce.finish()
    report = oracle.check(root / "app.log", {(p, 0): 10_000 for p in range(8)}, max_bytes=200_000)
    assert report.perfect, report
    assert (report.sent, report.found) == (80_000, 80_000)
    assert report.files > 10, report


def test_threads_keep_their_order(server: Server, root: Path, produce: Producers) -> None:
    for job in jobs(server, "threads.log", 3, 1_000, threads=4, exceptions=7):
        produce.start(job)
    produce.finish()
    sent = {(p, t): 1_000 for p in range(3) for t in range(4)}
    report = oracle.check(root / "threads.log", sent, max_bytes=200_000)
    assert report.perfect, report
    assert report.inversion_max_ms < 1_000, report


def test_a_restart_of_the_server_under_load_loses_and_doubles_nothing(
    server: Server, root: Path, produce: Producers
) -> None:
    # At least 6 s of load, as fast as the machine may be.
    for job in jobs(server, "restart.log", 4, 6_000, pause_s=0.001):
        produce.start(job)
    for _ in range(3):
        time.sleep(0.7)
        assert server.stop() == 0
        server.restart()
    assert any(process.poll() is None for process in produce.processes), (
        "the load ended before the last restart"
    )
    for process in produce.processes:  # what they complain of is expected here
        _out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    produce.processes.clear()
    report = oracle.check(root / "restart.log", {(p, 0): 6_000 for p in range(4)}, max_bytes=200_000)
    assert report.perfect, report


def test_a_chain_that_the_standard_library_left_is_carried_on(
    server: Server, root: Path, produce: Producers
) -> None:
    arguments = {"filename": str(root / "app.log"), "maxBytes": 200_000, "backupCount": 200}
    standard = {"class": "logging.handlers.RotatingFileHandler", **arguments}
    produce.start({"config": dict_config(standard, oracle.FORMAT), "producer": 0, "records": 2_500})
    produce.finish()
    left = len(oracle.chain(root / "app.log"))
    assert left > 1
    (job,) = jobs(server, "app.log", 1, 2_500)
    produce.start({**job, "producer": 1})
    produce.finish()
    report = oracle.check(root / "app.log", {(0, 0): 2_500, (1, 0): 2_500}, max_bytes=200_000)
    assert report.perfect, report
    assert report.files > left


def test_every_kind_of_client_feeds_the_same_server_at_the_same_time(
    start_server: StartServer, root: Path, produce: Producers
) -> None:
    server = start_server(
        "--socket-handler-file", "plain.log", "--socket-handler-format", "%(levelname)s|%(message)s"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    found = pythons()
    assert len(found) >= 1
    print("SocketHandler of", ", ".join(found))
    old = [
        subprocess.Popen(
            [python, OLD_PRODUCER, server.host, str(server.port), version, "200"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for version, python in found.items()
    ]
    for job in jobs(server, "app.log", 4, 1_000):
        produce.start(job)
    clients = [
        v1.Client(server.connect_unix() if number % 2 else server.connect_tcp()) for number in range(4)
    ]
    for number, client in enumerate(clients):
        client.open(0, filename="app.log", maxBytes=200_000, backupCount=200)
        client.set_format(oracle.FORMAT)
        for count in range(500):
            message = oracle.make_message(100 + number, 0, count, time.time_ns(), "from 2013", False)
            client.send(v1.record(message, name="old"))
    for client in clients:
        client.quit()
    for process in old:
        _out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    produce.finish()

    sent = {(p, 0): 1_000 for p in range(4)} | {(100 + number, 0): 500 for number in range(4)}
    report = oracle.check(root / "app.log", sent, max_bytes=200_000)
    assert report.perfect, report

    def heads() -> list[str]:
        text = (root / "plain.log").read_text("utf-8") if (root / "plain.log").exists() else ""
        return re.findall(r"^(?:INFO|ERROR)\|(\S+ \d+) of 200: ", text, re.MULTILINE)

    wait_for(lambda: len(heads()) == 200 * len(found), "all records of the old handlers")
    for version in found:
        mine = [head for head in heads() if head.split(" ")[0] == version]
        assert mine == [f"{version} {number}" for number in range(200)]
    text = (root / "plain.log").read_text("utf-8")
    for version in found:
        assert len(re.findall(rf"^KeyError: u?'{re.escape(version)}/\d+'$", text, re.MULTILINE)) == 20


def test_status_tells_of_the_server(server: Server, root: Path, produce: Producers) -> None:
    (job,) = jobs(server, "status.log", 1, 100)
    produce.start(job)
    produce.finish()
    shown = server.command_line("status")
    assert shown.returncode == 0, shown.stderr
    assert "status.log" in shown.stdout
    assert server.command_line("status", "--json").stdout.startswith("{")


def test_stop_drains_and_ends_the_server(start_server: StartServer, root: Path, produce: Producers) -> None:
    server = start_server()
    (job,) = jobs(server, "stop.log", 1, 500)
    produce.start(job)
    produce.finish()
    assert server.command_line("stop").returncode == 0
    assert server.process.wait(10) == 0
    assert oracle.check(root / "stop.log", {(0, 0): 500}).perfect
    assert server.command_line("status").returncode == 1
