"""Libraries beside our handlers and in front of them: pytest, sentry-sdk, OpenTelemetry, loguru, the library's own buffers.

The one changed line is `logserv.handlers.RotatingFileHandler`; nobody starts a server.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from frameworks import EXAMPLES, HEAD, TIME, RunExample, messages
from logserv import handlers

pytestmark = pytest.mark.newest
COUNT = 1200


@pytest.mark.parametrize("script", ["listener.py", "memory.py"])
def test_buffers_of_the_library_in_front_of_ours_lose_nothing(run_example: RunExample, script: str) -> None:
    example = run_example("queue")
    for producer in range(4):
        example.start(script, orders=messages(producer, COUNT))
    example.finish()
    report = example.report({(producer, 0): COUNT for producer in range(4)})
    assert report.files > 4
    assert sorted(report.processes.values()) == [COUNT] * 4


def test_loguru_has_our_handler_as_its_sink_in_a_parent_and_its_children(run_example: RunExample) -> None:
    example = run_example("loguru")
    lines = zip(*(messages(producer, COUNT) for producer in range(4)), strict=True)
    example.start("shop.py", orders=[line for each in lines for line in each])
    example.finish()
    prefix = HEAD + "(__main__|__mp_main__): shipped "
    report = example.report(
        {(producer, 0): COUNT for producer in range(4)}, prefix, TIME + r" \d+ INFO __main__: started"
    )
    assert report.files > 4
    assert report.others == 1
    assert sorted(report.processes.values()) == [COUNT] * 4


def test_opentelemetry_puts_the_span_of_each_record_into_its_line(run_example: RunExample) -> None:
    example = run_example("opentelemetry")
    for producer in range(2):
        example.start("shop.py", orders=messages(producer, COUNT))
    example.finish()
    ids = "trace=([0-9a-f]{32}) span=([0-9a-f]{16})"
    prefix = HEAD + f"shop {ids.replace('(', '(?:')}: shipped "
    report = example.report({(producer, 0): COUNT for producer in range(2)}, prefix)
    assert report.files > 1
    spans = re.findall(ids, example.text())
    assert len(set(spans)) == len(spans) == 2 * COUNT


@pytest.fixture
def sentry() -> Iterator[ThreadingHTTPServer]:
    """A Sentry that counts the events it is sent."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(body)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    received: list[bytes] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.received = received  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_sentry_has_its_events_and_the_file_all_its_lines(
    run_example: RunExample, sentry: ThreadingHTTPServer
) -> None:
    example = run_example("sentry")
    dsn = f"http://key@127.0.0.1:{sentry.server_port}/1"
    for producer in range(2):
        example.start("shop.py", orders=messages(producer, COUNT), SENTRY_DSN=dsn)
    example.finish()
    report = example.report({(producer, 0): COUNT for producer in range(2)})
    assert report.files > 1
    assert example.text().count(" ERROR ") == 2 * COUNT // 100
    assert len(sentry.received) > 0  # type: ignore[attr-defined]


def test_pytest_with_caplog_tmp_path_and_xdist(run_example: RunExample) -> None:
    example = run_example("pytest")
    (example.directory / "orders.txt").write_text("\n".join(messages(0, 200)))
    (example.directory / "pytest.ini").write_text("[pytest]\n")
    options = ("-p", "no:cacheprovider", "-p", "xdist", "-q", "-n", "2", "-W", "error", "-c", "pytest.ini")
    example.start("pytest", *options, str(example.source), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    example.finish()
    assert "204 passed" in example.printed
    report = example.report({(0, 0): 200})
    assert len(report.processes) == 2


FORMATTERS = """
import logging, logging.handlers, time

from celery.app.log import TaskFormatter
from celery.utils.log import ColorFormatter
from django.utils.log import ServerFormatter
from loguru import logger
from uvicorn.logging import AccessFormatter, DefaultFormatter

from logserv import handlers

both = [kind.RotatingFileHandler(f"{kind.__name__}.log", encoding="utf-8") for kind in (handlers, logging.handlers)]
log = logging.getLogger("shop")
log.setLevel(logging.DEBUG)
log.propagate = False
for handler in both:
    log.addHandler(handler)


def use(formatter):
    for handler in both:
        handler.setFormatter(formatter)


def fail(report):
    try:
        1 / 0
    except ZeroDivisionError:
        report()


for formatter in (
    TaskFormatter("[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"),
    ColorFormatter("%(levelname)s %(message)s", use_color=True),
    DefaultFormatter("%(levelprefix)s %(message)s", use_colors=True),
):
    use(formatter)
    log.info("one of %d", 3)
    log.error("é and %s", "中文")
    fail(lambda: log.exception("failed"))
use(ServerFormatter("[{server_time}] {message}", style="{"))
log.info("%s", "GET /", extra={"status_code": 404, "server_time": "now"})
use(AccessFormatter('%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s', use_colors=False))
log.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", "/a", "1.1", 200)

use(None)
logger.remove()
for options in ({"format": "{time} {level} {message}"}, {"serialize": True}, {"format": "{message}", "colorize": True}):
    sinks = [logger.add(handler, **options) for handler in both]
    logger.info("one of {}", 3)
    fail(lambda: logger.exception("failed"))
    for sink in sinks:
        logger.remove(sink)
"""


def test_lines_of_the_frameworks_own_formatters_are_those_of_the_librarys_handler(
    run_example: RunExample,
) -> None:
    example = run_example("loguru")
    (example.directory / "formatters.py").write_text(FORMATTERS)
    example.start("formatters")
    example.finish()
    ours = (example.directory / "logserv.handlers.log").read_bytes()
    theirs = (example.directory / "logging.handlers.log").read_bytes()
    assert ours == theirs
    assert theirs.count(b"division by zero") > 6
    assert b"\x1b[" in theirs


def test_the_arguments_that_the_guides_name_exist(tmp_path: Path) -> None:
    guides = (EXAMPLES.parent / "docs/migrating.md").read_text("utf-8")
    arguments: dict[str, Any] = {
        "maxBytes": 100_000,
        "compress": "gzip",
        "file_mode": 0o640,
        "file_owner": "user",
        "file_group": "group",
        "retain_age_s": 864_000,
        "retain_bytes": 1,
        "errors": "ignore",
    }
    assert [name for name in arguments if f"`{name}=" not in guides and f", {name}=" not in guides] == []
    handlers.RotatingFileHandler(tmp_path / "a.log", backupCount=20, **arguments).close()
    handlers.TimedRotatingFileHandler(tmp_path / "b.log", when="midnight", **arguments).close()
    assert handlers.RotatingFileHandler(tmp_path / "c.log").terminator == "\n"
