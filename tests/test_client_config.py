"""How handlers are constructed and configured: mistakes in arguments, `dictConfig`, `fileConfig`, `basicConfig`."""

from __future__ import annotations

import io
import logging
import logging.config
import logging.handlers
import textwrap
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer
from logserv.client import SocketForwarder, UnixClient


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, TypeError, "missing 1 required argument: 'filename'"),
        ({"filename": "a", "formatters": "x"}, TypeError, "did you mean formatter?"),
        ({"filename": "a", "maxbytes": 1}, TypeError, "did you mean maxBytes?"),
        ({"filename": "a", "max_bytes": 1}, TypeError, "did you mean maxBytes?"),
        ({"filename": "a", "backupcount": 1}, TypeError, "did you mean backupCount?"),
        ({"filename": "a", "when": "D"}, TypeError, "TimedRotatingFileHandler has"),
        ({"filename": "a", "formatter": "x"}, TypeError, "setFormatter"),
        ({"filename": "a", "zzz": 1}, TypeError, "unexpected keyword argument 'zzz'"),
        ({"filename": 3}, TypeError, "filename: expected str"),
        ({"filename": ""}, ValueError, "filename"),
        ({"filename": "a\0b"}, ValueError, "filename"),
        ({"filename": "a\udc80"}, ValueError, "UTF-8"),
        ({"filename": "a", "maxBytes": "200"}, TypeError, "maxBytes: expected int, received str '200'"),
        ({"filename": "a", "maxBytes": 1.5}, TypeError, "maxBytes"),
        ({"filename": "a", "maxBytes": -1}, ValueError, "maxBytes"),
        ({"filename": "a", "backupCount": None}, TypeError, "backupCount"),
        ({"filename": "a", "backupCount": True}, TypeError, "backupCount"),
        ({"filename": "a", "mode": "r"}, ValueError, "mode"),
        ({"filename": "a", "mode": "wb"}, ValueError, "mode"),
        ({"filename": "a", "encoding": "utf-9"}, ValueError, "encoding"),
        ({"filename": "a", "encoding": "base64"}, ValueError, "not a text encoding"),
        ({"filename": "a", "encoding": 8}, TypeError, "encoding"),
        ({"filename": "a", "errors": "shout"}, ValueError, "errors"),
        ({"filename": "a", "delay": "yes"}, TypeError, "delay"),
        ({"filename": "a", "when_full": "wait"}, ValueError, "when_full"),
        ({"filename": "a", "when_full": None}, TypeError, "when_full"),
        ({"filename": "a", "block_timeout_s": -1}, ValueError, "block_timeout_s"),
        ({"filename": "a", "block_timeout_s": "1"}, TypeError, "block_timeout_s"),
        ({"filename": "a", "block_timeout_s": float("nan")}, ValueError, "block_timeout_s"),
        ({"filename": "a", "record_max_bytes": 10}, ValueError, "record_max_bytes"),
        ({"filename": "a", "record_max_bytes": 1 << 30}, ValueError, "record_max_bytes"),
        ({"filename": "a", "ring_bytes": 0}, ValueError, "ring_bytes"),
        ({"filename": "a", "announce_drops": "no"}, TypeError, "announce_drops"),
        ({"filename": "a", "sync": "sometimes"}, ValueError, "sync: expected one of never, interval"),
        ({"filename": "a", "sync": True}, TypeError, "sync: expected one of"),
        ({"filename": "a", "sync_interval_s": 0}, ValueError, "sync_interval_s: expected seconds above 0"),
        ({"filename": "a", "sync_interval_s": float("inf")}, ValueError, "sync_interval_s"),
        ({"filename": "a", "sync_interval_s": "1"}, TypeError, "sync_interval_s"),
        ({"filename": "a", "sync_level": "error"}, ValueError, "sync_level: expected a level's number"),
        ({"filename": "a", "sync_level": 1.5}, TypeError, "sync_level"),
        ({"filename": "a", "sync_level": True}, TypeError, "sync_level"),
        ({"filename": "a", "sync_level": 1 << 40}, ValueError, "sync_level"),
        ({"filename": "a", "syncLevel": 10}, TypeError, "did you mean sync_level?"),
        ({"filename": "a", "handler_class": "logging.StreamHandler"}, ValueError, "handler_class"),
        ({"filename": "a", "handler_class": logging.StreamHandler}, ValueError, "handler_class"),
        ({"filename": "a", "handler_class": 3}, TypeError, "handler_class"),
        ({"filename": "a", "handler_class": "TimedRotatingFileHandle"}, ValueError, "did you mean Timed"),
        ({"filename": "a", "timeout": 0}, ValueError, "timeout"),
        ({"filename": "a", "timeout": "5"}, TypeError, "timeout"),
    ],
)
def test_a_mistake_is_told_in_the_constructor(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        SocketForwarder("localhost", 9876, **arguments)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"when": "X"}, "when"),
        ({"when": "W7"}, "when"),
        ({"interval": 0}, "interval"),
        ({"atTime": "03:00"}, "atTime"),
        ({"maxBytes": -1}, "maxBytes"),
        ({"mode": "a"}, "RotatingFileHandler and logging.handlers.WatchedFileHandler has"),
    ],
)
def test_a_mistake_about_timed_rotation_is_told_too(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        SocketForwarder("h", 1, filename="a", handler_class="TimedRotatingFileHandler", **arguments)
    assert text in str(caught.value)


def test_addresses_are_checked() -> None:
    with pytest.raises(TypeError, match="port must be None"):
        UnixClient("/tmp/x", 9876, filename="a")  # type: ignore[arg-type]
    for port in ("9876", 1.5, True):
        with pytest.raises(TypeError, match="port"):
            SocketForwarder("localhost", port, filename="a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="port"):
        SocketForwarder("localhost", 70000, filename="a")
    with pytest.raises(TypeError, match="host"):
        SocketForwarder(None, 1, filename="a")  # type: ignore[arg-type]


def test_the_tables_of_arguments_are_those_of_this_python() -> None:
    import inspect

    from logserv import _arguments

    for name, arguments in _arguments._CLASSES.items():
        module = logging if name == "logging.FileHandler" else logging.handlers
        parameters = inspect.signature(getattr(module, name.rpartition(".")[2]).__init__).parameters
        assert set(parameters) - {"self"} == set(arguments), name


@pytest.mark.parametrize("handler_class", ["FileHandler", "RotatingFileHandler", "TimedRotatingFileHandler"])
def test_a_sync_policy_travels_with_the_arguments_of_every_class(
    handler_class: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from logserv import _arguments

    def sent(**given: Any) -> dict[str, Any]:
        return _arguments.check("X", {"filename": "a", **given}, handler_class).handler_arguments

    assert sent() == {"filename": "a"}
    assert sent(sync="interval", sync_interval_s=2) == {
        "filename": "a",
        "sync": "interval",
        "sync_interval_s": 2.0,
    }
    assert sent(sync="level", sync_level="CRITICAL") == {"filename": "a", "sync": "level", "sync_level": 50}
    monkeypatch.setitem(logging._nameToLevel, "NOTICE", 35)
    assert sent(sync="level", sync_level="NOTICE")["sync_level"] == 35, "the server does not know it"


def test_a_handler_is_a_socket_handler(socket_dir: Path) -> None:
    handler = SocketForwarder("localhost", 9876, 3.0, filename=Path("a.log"), maxBytes=1e6)
    assert isinstance(handler, logging.handlers.SocketHandler)
    assert (handler.host, handler.port, handler.sock, handler.closeOnError) == (
        "localhost",
        9876,
        None,
        False,
    )
    assert (handler.retryStart, handler.retryMax, handler.retryFactor, handler.timeout) == (
        1.0,
        30.0,
        2.0,
        3.0,
    )
    assert callable(handler.makePickle)
    assert repr(handler) == "<SocketForwarder localhost:9876 a.log (NOTSET)>"
    unix = UnixClient(str(socket_dir / "s"), filename="a.log")
    assert (unix.port, unix.address) == (None, str(socket_dir / "s"))


# Configuration.


def configure(fake: FakeServer, **entry: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"short": {"format": "%(levelname)s %(message)s"}},
        "handlers": {
            "file": {
                "class": "logserv.client.UnixClient",
                "host": str(fake.unix),
                "filename": "app.log",
                "maxBytes": 200_000,
                "backupCount": 5,
                "formatter": "short",
                "level": "INFO",
                **entry,
            }
        },
        "loggers": {"test.config": {"handlers": ["file"], "level": "DEBUG", "propagate": False}},
    }


def forget_class(config: dict[str, Any], **entry: Any) -> dict[str, Any]:
    del config["handlers"]["file"]["class"]
    config["handlers"]["file"].update(entry)
    return config


def emit_configured(fake: FakeServer) -> None:
    logger = logging.getLogger("test.config")
    logger.debug("too low")
    logger.info("hello")
    (handler,) = logger.handlers
    assert isinstance(handler, UnixClient)
    assert handler.flush()
    assert fake.messages == ["hello"]
    assert fake.opened[0]["arguments"] == {"filename": "app.log", "maxBytes": 200_000, "backupCount": 5}
    assert [each["fmt"] for each in fake.formatters.values()] == ["%(levelname)s %(message)s"]
    logger.removeHandler(handler)
    handler.close()


def test_dict_config_by_class(fake: FakeServer) -> None:
    logging.config.dictConfig(configure(fake))
    emit_configured(fake)


@pytest.mark.parametrize(
    "factory", [UnixClient, "logserv.client.UnixClient", "ext://logserv.client.UnixClient"]
)
def test_dict_config_by_factory(fake: FakeServer, factory: object) -> None:
    logging.config.dictConfig(forget_class(configure(fake), **{"()": factory}))
    emit_configured(fake)


def test_dict_config_with_ext_and_cfg(fake: FakeServer) -> None:
    config = configure(
        fake, handler_class="ext://logging.handlers.RotatingFileHandler", filename="cfg://paths.log"
    )
    config["paths"] = {"log": "app.log"}
    logging.config.dictConfig(config)
    emit_configured(fake)


def test_a_second_dict_config_goes_on_in_order(fake: FakeServer) -> None:
    for number in range(3):
        logging.config.dictConfig(configure(fake))
        logging.getLogger("test.config").info("%d", number)
    (handler,) = logging.getLogger("test.config").handlers
    handler.flush()
    assert fake.messages == ["0", "1", "2"]
    logging.getLogger("test.config").removeHandler(handler)
    handler.close()


def test_a_dict_config_with_a_mistake_names_it(fake: FakeServer) -> None:
    with pytest.raises(ValueError, match="handler 'file'") as caught:
        logging.config.dictConfig(configure(fake, formatters="short"))
    assert "did you mean formatter?" in str(caught.value.__cause__)


@pytest.mark.parametrize("form", ["args", "kwargs"])
def test_file_config(fake: FakeServer, form: str) -> None:
    arguments = {
        "args": f"args=({str(fake.unix)!r},)\nkwargs={{'filename': 'app.log', 'maxBytes': 200_000, 'backupCount': 5}}",
        "kwargs": f"kwargs={{'host': {str(fake.unix)!r}, 'filename': 'app.log', 'maxBytes': 200_000, 'backupCount': 5}}",
    }[form]
    text = textwrap.dedent(
        """
        [loggers]
        keys=root,config
        [handlers]
        keys=file
        [formatters]
        keys=short
        [logger_root]
        handlers=
        [logger_config]
        qualname=test.config
        handlers=file
        level=DEBUG
        propagate=0
        [formatter_short]
        format=%(levelname)s %(message)s
        [handler_file]
        class=logserv.client.UnixClient
        level=INFO
        formatter=short
        """
    )
    logging.config.fileConfig(io.StringIO(text + arguments), disable_existing_loggers=False)
    emit_configured(fake)


def test_basic_config(fake: FakeServer) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers.clear()
    try:
        handler = UnixClient(str(fake.unix), filename="app.log")
        logging.basicConfig(handlers=[handler], format="%(levelname)s %(message)s", level=logging.INFO)
        root.info("hello")
        assert handler.flush()
        assert fake.messages == ["hello"]
        handler.close()
    finally:
        root.handlers[:], root.level = before
