"""gunicorn, uvicorn and Django, with released packages: what their workers log while they are loaded, replaced and killed.

The one changed line is `logserv.handlers.RotatingFileHandler`; nobody starts a server.
"""

from __future__ import annotations

import os
import re
import signal
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from frameworks import HEAD, TIME, Example, RunExample, Visitors, children
from running import free_port, wait_for

pytestmark = pytest.mark.newest
REQUEST = HEAD + r"shop: GET /"
READY = TIME + r" \d+ INFO shop: (GET /ready|loaded)"
GUNICORN = TIME + r" \d+ [A-Z]+ gunicorn\.error: .+"
UVICORN = TIME + r" \d+ [A-Z]+ uvicorn\.error: .+"


def wait_for_answer(example: Example, visitors: Visitors) -> None:
    """Returns when the server answers."""

    def is_answered() -> bool:
        assert example.processes[0].poll() is None, example.printed
        return visitors.ask("ready")

    wait_for(is_answered, "the first answer", 30)


def workers_that_logged(example: Example) -> list[int]:
    """The processes with a request in the file, by their newest one."""
    pids = [int(pid) for pid in re.findall(rf"^{TIME} (\d+) INFO shop: GET", example.text(), re.MULTILINE)]
    return sorted(set(pids), key=lambda pid: pids[::-1].index(pid))


def kill_one_that_logs(example: Example, visitors: Visitors) -> int:
    """`kill -9` for the worker that logged last, under load; returns when its successors have answered."""
    victim = workers_that_logged(example)[0]
    os.kill(victim, signal.SIGKILL)
    visitors.wait_for_more(100)
    return victim


@pytest.mark.parametrize(
    "options", [(), ("--preload",), ("-k", "gevent")], ids=["plain", "preload", "gevent"]
)
def test_gunicorns_workers_log_while_they_are_reopened_replaced_and_killed(
    run_example: RunExample, options: tuple[str, ...]
) -> None:
    example = run_example("gunicorn")
    visitors = Visitors(free_port())
    command = (
        "-c",
        str(example.source / "config.py"),
        "-b",
        f"127.0.0.1:{visitors.port}",
        *options,
        "--no-control-socket",
        "app:app",
    )
    master = example.start("gunicorn", *command)
    wait_for_answer(example, visitors)
    with visitors:
        visitors.wait_for_more(300)
        master.send_signal(signal.SIGUSR1)
        example.wait_for_text("gunicorn.error: Handling signal: usr1")
        visitors.wait_for_more(200)
        first = children(master.pid)
        assert len(first) == 4
        wait_for(lambda: first <= set(workers_that_logged(example)), "four workers that log", 30)
        master.send_signal(signal.SIGHUP)
        example.wait_for_text("gunicorn.error: Handling signal: hup")
        wait_for(lambda: not first & children(master.pid), "new workers", 30)
        visitors.wait_for_more(300)
        victim = kill_one_that_logs(example, visitors)
        # Each worker has been heard of: gunicorn's gevent workers miss a SIGTERM while they boot.
        wait_for(
            lambda: children(master.pid) <= set(workers_that_logged(example)), "four workers that log", 30
        )
        assert len(children(master.pid)) == 4
    example.stop()
    report = example.report(visitors.sent, REQUEST, f"{GUNICORN}|{READY}")
    assert report.files > 1
    assert report.processes[victim] > 0
    assert victim not in first
    assert first < report.processes.keys()
    assert len(report.processes.keys() - first) > 4  # those after HUP, and the one in the killed one's place
    loaded = example.text().count("shop: loaded")
    assert loaded == 1 if "--preload" in options else loaded >= 9


def test_uvicorns_workers_log_while_they_are_replaced_and_killed(run_example: RunExample) -> None:
    example = run_example("uvicorn")
    visitors = Visitors(free_port())
    config = ("--log-config", str(example.source / "log.json"))
    parent = example.start("uvicorn", "--workers", "4", "--port", str(visitors.port), *config, "app:app")
    wait_for_answer(example, visitors)
    with visitors:
        wait_for(lambda: len(workers_that_logged(example)) == 4, "four workers that log", 30)
        first = set(workers_that_logged(example))
        victim = kill_one_that_logs(example, visitors)
        example.wait_for_text(rf"uvicorn\.error: Child process \[{victim}\] died")
        parent.send_signal(signal.SIGHUP)
        wait_for(lambda: len(set(workers_that_logged(example)) - first) >= 4, "new workers that log", 40)
        visitors.wait_for_more(200)
    example.stop()
    report = example.report(visitors.sent, REQUEST, f"{UVICORN}|{READY}")
    assert report.files > 1
    assert len(report.processes) >= 8


def test_django_logs_in_the_zone_that_it_sets_and_every_process_into_one_file(
    run_example: RunExample,
) -> None:
    example = run_example("django")
    visitors = Visitors(free_port())
    example.start(
        "gunicorn",
        "--workers",
        "2",
        "--threads",
        "4",
        "--no-control-socket",
        "-b",
        f"127.0.0.1:{visitors.port}",
        "urls:application()",
    )
    wait_for_answer(example, visitors)
    script = "import logging; [logging.getLogger('shop').info('GET /ready') for _ in range(500)]"
    settings = {"DJANGO_SETTINGS_MODULE": "settings", "TZ": "Asia/Tokyo"}
    with visitors:
        visitors.wait_for_more(200)
        command = example.start("django", "shell", "--no-imports", "-c", script, **settings)
        assert command.wait(30) == 0, example.printed
        assert example.own.kill() == 1
        visitors.wait_for_more(200)
    example.stop()
    report = example.report(visitors.sent, REQUEST, READY)
    assert report.files > 1
    assert example.own.said.count(" listens on ") == 2  # the second one in place of the killed one
    assert len(report.processes) == 2
    assert report.others >= 501
    zone = ZoneInfo("America/New_York")
    stamps = re.findall(rf"^({TIME}) .* s=(\d+)", example.text(), re.MULTILINE)
    for stamp, sent_ns in stamps:
        logged_s = datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=zone).timestamp()
        assert -0.01 < logged_s - int(sent_ns) / 1e9 < 20, stamp
    assert len(stamps) == report.found
