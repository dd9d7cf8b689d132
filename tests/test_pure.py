"""The clients where the extension cannot load: protocol 1.0 from pure Python, with the same arguments and the same lines."""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import logserv
import pytest
from logserv import _arguments, _binding, _conversation, _native
from running import Server, StartServer, free_port, wait_for
from server_2013 import Server2013

FORMAT = "%(asctime)s %(levelname)s %(name)s %(process)d %(message)s"


@pytest.fixture
def pure(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """`logserv.client` as it is where the extension is missing; the one of this process stays as it was."""
    monkeypatch.setattr(_binding, "missing", "a test says so")
    monkeypatch.setattr(_binding, "_has_warned", True)
    spec = importlib.util.find_spec("logserv.client")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def open_handlers() -> Iterator[list[logging.Handler]]:
    handlers: list[logging.Handler] = []
    yield handlers
    for handler in handlers:
        handler.close()


def run(script: str, directory: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(script)],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lines_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_each_line_is_that_of_the_formatter(
    pure: types.ModuleType, server: Server, log: logging.Logger, transport: str
) -> None:
    arguments = server.handler(transport, "app.log", maxBytes=10_000_000, backupCount=3)
    handler = getattr(pure, arguments.pop("class").rpartition(".")[2])(**arguments)
    expected: list[str] = []

    class Keeping(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            expected.append(super().format(record))
            return expected[-1]

    handler.setFormatter(Keeping(FORMAT))
    log.addHandler(handler)
    for number in range(500):
        log.info("record %d of Zoë, 100 %%", number)
    log.error("an object that cannot be pickled", extra={"lock": log.handlers})
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("with a traceback", stack_info=True)
    assert handler.flush()
    assert (server.root / "app.log").read_text("utf-8") == "".join(f"{line}\n" for line in expected)
    stats = handler.stats()
    assert (stats["emitted"], stats["written"], stats["pending_records"], stats["protocol"]) == (
        502,
        502,
        0,
        "1.0",
    )
    assert handler.flush(level="synced") is False
    handler.close()


def test_an_import_that_fails_is_told_once_and_logs_all_the_same(server: Server, tmp_path: Path) -> None:
    done = run(
        f"""
        import sys, warnings
        class Refusing:
            def find_spec(self, name, path=None, target=None):
                if name == "logserv._native":
                    raise ImportError("/lib/libc.so.6: version `GLIBC_2.99' not found")
        sys.meta_path.insert(0, Refusing())
        import logging, logserv
        from logserv.client import SocketForwarder
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for name in ("a.log", "a.log"):
                logging.getLogger().addHandler(SocketForwarder("127.0.0.1", {server.port}, filename=name))
        (warning,) = told
        assert warning.category is RuntimeWarning
        assert "GLIBC_2.99" in str(warning.message), warning.message
        assert warning.filename == "<string>", warning.filename
        logging.warning("from pure Python")
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert lines_of(server.root / "a.log") == ["from pure Python"] * 2


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize("is_isolated", [True, False])
def test_a_second_interpreter_of_the_process_logs_in_pure_python(
    server: Server, tmp_path: Path, is_isolated: bool
) -> None:
    if sys.version_info < (3, 12) and is_isolated:
        is_isolated = False  # what they are called since 3.12; they share what they share
    inner = f"""
import logging, warnings
warnings.simplefilter("ignore")
from logserv import _binding
from logserv.client import SocketForwarder
assert _binding.missing and "interpreter" in _binding.missing, _binding.missing
logging.getLogger().addHandler(SocketForwarder("127.0.0.1", {server.port}, filename="inner.log"))
logging.warning("from the second interpreter")
logging.shutdown()
"""
    done = run(
        f"""
        import sys
        import logserv.client
        assert logserv._binding.missing is None
        if sys.version_info >= (3, 13):
            import _interpreters as interpreters
            number = interpreters.create({"'isolated'" if is_isolated else "'legacy'"})
        else:
            import _xxsubinterpreters as interpreters
            number = interpreters.create(isolated={is_isolated})
        failure = interpreters.run_string(number, {inner!r})
        assert failure is None, failure
        interpreters.destroy(number)
        """,
        tmp_path,
        "-W",
        "ignore",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert lines_of(server.root / "inner.log") == ["from the second interpreter"]


def test_a_restart_of_the_server_loses_and_doubles_nothing(
    pure: types.ModuleType, server: Server, log: logging.Logger
) -> None:
    handler = pure.SocketForwarder(server.host, server.port, filename="app.log")
    log.addHandler(handler)
    for number in range(300):
        if number == 100:
            server.stop()  # it drains
        if number == 200:
            server.restart()
        log.info("%d", number)
    wait_for(handler.flush, "the server to have all")
    assert lines_of(server.root / "app.log") == [str(number) for number in range(300)]
    assert handler.stats()["connections"] >= 2


def test_flush_says_no_once_where_a_connection_broke_before_it(
    pure: types.ModuleType, server: Server, log: logging.Logger
) -> None:
    handler = pure.SocketForwarder(server.host, server.port, filename="app.log")
    log.addHandler(handler)
    log.info("taken by the kernel, and who knows")
    server.kill()
    assert handler.flush() is False
    server.restart()
    log.info("after it")
    assert handler.flush() is True


def test_a_full_buffer_drops_the_newest_counts_them_and_tells_of_them_in_the_file(
    pure: types.ModuleType, start_server: StartServer, log: logging.Logger
) -> None:
    server = start_server()
    server.stop()
    handler = pure.SocketForwarder(
        server.host, server.port, filename="app.log", ring_bytes=4096, block_timeout_s=0.1
    )
    log.addHandler(handler)
    started = time.monotonic()
    for number in range(200):
        log.info("%d", number)
    assert time.monotonic() - started < 10  # one call waited, and not each
    stats = handler.stats()
    assert stats["dropped"] > 100
    assert stats["pending_bytes"] <= 4096
    assert stats["emitted"] == stats["pending_records"] + stats["dropped"]
    assert handler.flush() is False
    server.restart()
    wait_for(handler.flush, "the server to have all")
    written = lines_of(server.root / "app.log")
    kept = stats["pending_records"]
    assert written[:kept] == [str(number) for number in range(kept)]
    assert written[kept].startswith(f"dropped {stats['dropped']} records (queue full) between 20")
    assert len(written) == kept + 1
    stats = handler.stats()
    assert stats["emitted"] + stats["announced"] == stats["written"] + stats["dropped"]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_sends_nothing_of_its_parents(server: Server, tmp_path: Path) -> None:
    done = run(
        f"""
        import logging, os, warnings
        from logserv.client import UnixClient
        handler = UnixClient({str(server.unix)!r}, filename="fork.log")
        logging.getLogger().addHandler(handler)
        logging.warning("parent before")
        handler._queue.append(b"what waits is the parent's to send")
        pid = os.fork()
        if pid:
            handler._queue.clear()
            os.waitpid(pid, 0)
            logging.warning("parent after")
        else:
            logging.warning("child")
        """,
        tmp_path,
        LOGSERV_PURE="1",
        PYTHONWARNINGS="ignore",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(lines_of(server.root / "fork.log")) == ["child", "parent after", "parent before"]


def test_a_refusal_is_told_to_handle_error_once(
    pure: types.ModuleType, server: Server, log: logging.Logger, tmp_path: Path
) -> None:
    errors: list[BaseException | None] = []

    class Telling(pure.SocketForwarder):  # type: ignore[misc,name-defined]
        def handleError(self, record: logging.LogRecord) -> None:
            errors.append(sys.exc_info()[1])

    handler = Telling(server.host, server.port, filename=str(tmp_path / "outside.log"))
    log.addHandler(handler)
    for number in range(20):
        log.info("%d", number)
    assert handler.flush() is False
    (error,) = errors
    assert isinstance(error, logserv.ProtocolError)
    assert "--root" in f"{error.expected} {error.actual}"
    assert handler.stats()["pending_records"] == 20
    assert not (tmp_path / "outside.log").exists()


def test_a_server_of_2013_is_served(pure: types.ModuleType, root: Path, log: logging.Logger) -> None:
    old = Server2013(root)
    handler = pure.SocketForwarder("127.0.0.1", old.port, filename="app.log", maxBytes=10_000, backupCount=1)
    handler.setFormatter(logging.Formatter("{levelname} {message}", style="{"))
    log.addHandler(handler)
    for number in range(20):
        log.info("%d", number)
    handler.flush()
    handler.close()
    wait_for(lambda: len(lines_of(root / "app.log")) == 20, "the old server to write")
    assert lines_of(root / "app.log") == [f"INFO {number}" for number in range(20)]
    assert old.errors == []
    old.close()


def test_a_lower_level_acts_at_once(pure: types.ModuleType, server: Server, log: logging.Logger) -> None:
    handler = pure.UnixClient(str(server.unix), filename="app.log")
    handler.setLevel(logging.WARNING)
    log.addHandler(handler)
    log.info("too low")
    log.warning("high enough")
    handler.setLevel(logging.DEBUG)
    log.debug("now, too")
    assert handler.flush()
    assert lines_of(server.root / "app.log") == ["high enough", "now, too"]


def test_a_record_that_is_too_long_is_cut_and_counted(
    pure: types.ModuleType, server: Server, log: logging.Logger
) -> None:
    handler = pure.UnixClient(str(server.unix), filename="app.log", record_max_bytes=2000)
    log.addHandler(handler)
    log.info("ö" * 5000)
    assert handler.flush()
    (line,) = lines_of(server.root / "app.log")
    kept, _, rest = line.partition("…")
    assert set(kept) == {"ö"}
    assert rest == f"[cut: {10_000 - len(kept) * 2} bytes]"
    assert len(line.encode()) <= 2000
    assert handler.stats()["records_cut"] == 1


def test_a_handler_is_copied_and_pickled_without_its_connection(server: Server, tmp_path: Path) -> None:
    done = run(
        f"""
        import copy, logging, pickle
        from logserv.client import UnixClient
        handler = UnixClient({str(server.unix)!r}, filename="copies.log")
        record = logging.LogRecord("x", 20, "x.py", 1, "copied", None, None)
        handler.handle(record)
        for each in (copy.copy(handler), copy.deepcopy(handler), pickle.loads(pickle.dumps(handler))):
            each.handle(record)
            assert each.flush() and each.stats()["emitted"] == 1
        """,
        tmp_path,
        LOGSERV_PURE="1",
        PYTHONWARNINGS="ignore",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert lines_of(server.root / "copies.log") == ["copied"] * 4


def test_without_a_server_a_script_leaves_soon_and_tells_how_to_start_one(tmp_path: Path) -> None:
    port = free_port()
    done = run(
        f"""
        import logging
        from logserv.client import SocketForwarder
        logging.getLogger().addHandler(SocketForwarder("127.0.0.1", {port}, filename="x.log"))
        for number in range(12): logging.warning("x")
        """,
        tmp_path,
        LOGSERV_PURE="1",
        PYTHONWARNINGS="ignore",
    )
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"logserv: cannot reach 127.0.0.1:{port} (Connection refused); 12 records stay unsent; "
    )
    assert line.endswith(f"logserv serve --tcp 127.0.0.1:{port}")


def test_a_system_without_unix_sockets_loads_the_settings_and_says_so(
    pure: types.ModuleType,
    log: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    windows = types.SimpleNamespace(**{k: v for k, v in vars(socket).items() if k != "AF_UNIX"})
    monkeypatch.setattr(_conversation, "socket", windows)
    handler = pure.UnixClient("/run/logserv.sock", filename="app.log")
    log.addHandler(handler)
    log.warning("lost")
    handler.close()
    assert "(this system has no Unix sockets); 1 records stay unsent" in capsys.readouterr().err


def test_the_methods_take_what_those_of_the_extension_take(
    pure: types.ModuleType, server: Server, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[object] = []
    handler = pure.UnixClient(str(server.unix), filename="app.log")
    monkeypatch.setattr(handler, "handleError", lambda record: errors.append(sys.exc_info()[1]))
    log.addHandler(handler)
    log.info("x")
    handler.sendFormat()
    assert handler.doRollover() is False
    assert handler.flush(level="wrtten") is False
    assert handler.flush(timeout_s="long") is False
    assert [type(error) for error in errors] == [ValueError, TypeError]
    assert handler.flush(1.0, "received") is True
    assert set(handler.stats()) == set(logserv.client.Statistics.__annotations__)
    from_extension = logserv.client.UnixClient(str(server.unix), filename="app.log")
    assert set(from_extension.stats()) == set(handler.stats())


def test_the_limits_are_those_of_the_extension() -> None:
    for name in ("RECORD_MAX_BYTES_DEFAULT", "RECORD_MAX_BYTES_LIMITS", "RING_BYTES_DEFAULT"):
        assert getattr(_arguments, name) == getattr(_native, name)


def test_arguments_are_checked_as_ever(pure: types.ModuleType) -> None:
    given: list[dict[str, Any]] = [
        {"filename": "x", "maxByte": 1},
        {"filename": "x", "when_full": "wait"},
        {},
    ]
    for arguments in given:
        with pytest.raises((TypeError, ValueError)) as ours:
            pure.SocketForwarder("localhost", 1, **arguments)
        with pytest.raises((TypeError, ValueError)) as theirs:
            logserv.client.SocketForwarder("localhost", 1, **arguments)
        assert str(ours.value) == str(theirs.value)


def test_what_travels_is_a_pickle_of_plain_values(pure: types.ModuleType) -> None:
    handler = pure.SocketForwarder("localhost", 1, filename="x")
    record = logging.LogRecord("x", 20, __file__, 1, "%s", ({"a": object()},), None)
    frame = handler._frame(record, handler.format(record))
    values = pickle.loads(frame[4:])
    assert values["msg"].startswith("{'a': <object object at")
    assert {type(value) for value in values.values()} <= {str, int, float, type(None)}
