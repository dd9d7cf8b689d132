"""What others see beside the native logger is what they saw before: sentry-sdk, OpenTelemetry's instrumentation, pytest's caplog."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from running import Server

pytestmark = pytest.mark.newest
ORDERS = ["never", "before", "after"]  # when the native logger is installed, if at all

PREAMBLE = """
import json, logging, sys
import logserv, logserv.client
handler = logserv.client.UnixClient(sys.argv[1], filename=sys.argv[2] + ".log")
handler.setFormatter(logging.Formatter(FORMAT))
logging.root.addHandler(handler)
logging.root.setLevel(logging.INFO)
log = logging.getLogger("shop.cart")
def install(order):
    if order == sys.argv[2]:
        logserv.install()
        assert type(log) is logserv.Logger
log.info("first")
assert handler.flush(20)
"""

SENTRY = """
import sentry_sdk
from sentry_sdk.transport import Transport
events = []
class Kept(Transport):
    def capture_envelope(self, envelope):
        event = envelope.get_event()
        if event:
            events.append(event)
install("before")
sentry_sdk.init(dsn="https://key@127.0.0.1/1", transport=Kept)
install("after")
log.info("a crumb %d", 1)
try:
    raise ValueError("broken")
except ValueError:
    log.exception("failed with %s", "a reason", extra={"user": "zoë"})
sentry_sdk.flush()
assert handler.flush(20)
(event,) = events
crumbs = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
kind = event["exception"]["values"][0]["type"]
print(json.dumps([event["logentry"]["message"], event["logger"], event["level"], event["extra"]["user"], kind, crumbs]))
"""

OPENTELEMETRY = """
from opentelemetry import trace
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.sdk.trace import TracerProvider
install("before")
LoggingInstrumentor().instrument(inject_trace_context=True)
install("after")
trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("shop")
with tracer.start_as_current_span("order") as span:
    log.info("inside %s", "a span")
    identity = format(span.get_span_context().trace_id, "032x")
assert handler.flush(20)
print(json.dumps([identity]))
"""


def run(script: str, fmt: str, order: str, server: Server, tmp_path: Path) -> list[object]:
    path = tmp_path / f"{order}.py"
    path.write_text(f"FORMAT = {fmt!r}\n" + PREAMBLE + script)
    done = subprocess.run(
        [sys.executable, path, str(server.unix), order],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    seen: list[object] = json.loads(done.stdout)
    return seen


def test_sentry_sees_the_same(server: Server, root: Path, tmp_path: Path) -> None:
    seen = {order: run(SENTRY, "%(name)s %(message)s", order, server, tmp_path) for order in ORDERS}
    assert seen["never"][:2] == ["failed with %s", "shop.cart"]
    assert seen["before"] == seen["after"] == seen["never"]
    texts = {order: (root / f"{order}.log").read_text().replace(f"{order}.py", "x.py") for order in ORDERS}
    assert texts["before"] == texts["after"] == texts["never"]
    assert "ValueError: broken" in texts["never"]


def test_opentelemetry_sees_the_same(server: Server, root: Path, tmp_path: Path) -> None:
    fmt = "%(name)s %(message)s"
    for order in ORDERS:
        run(OPENTELEMETRY, fmt, order, server, tmp_path)
        assert (root / f"{order}.log").read_text().splitlines() == [
            "shop.cart first",
            "shop.cart inside a span",
        ]
    with_ids = OPENTELEMETRY.replace(
        "tracer = ", 'handler.setFormatter(logging.Formatter("%(otelTraceID)s %(message)s"))\ntracer = '
    )
    for order in ORDERS:
        (identity,) = run(with_ids, fmt, order, server, tmp_path)
        assert (root / f"{order}.log").read_text().splitlines()[-1] == f"{identity} inside a span"


def test_caplog_sees_the_same(server: Server, tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(
        textwrap.dedent(f"""
            import logging
            import logserv, logserv.client
            log = logging.getLogger("shop")
            handler = logserv.client.UnixClient({str(server.unix)!r}, filename="caplog.log")
            logging.root.addHandler(handler)

            def log_all(caplog):
                caplog.clear()
                with caplog.at_level(logging.INFO):
                    log.info("one %d", 1)
                    log.warning("two")
                    try:
                        raise ValueError("three")
                    except ValueError:
                        log.exception("three")
                return [(r.name, r.levelno, r.getMessage(), r.funcName, r.exc_info is None) for r in caplog.records]

            def test_the_same(caplog):
                before = log_all(caplog)
                logserv.install()
                try:
                    assert log_all(caplog) == before
                finally:
                    logserv.uninstall()
                assert len(before) == 3
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
