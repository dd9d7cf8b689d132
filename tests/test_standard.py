"""`logserv.handlers` where the extension cannot load: the standard library's classes, which take our arguments and ignore them."""

from __future__ import annotations

import json
import logging
import logging.config
import logging.handlers
import os
import subprocess
import sys
from pathlib import Path

import pytest
from logserv import _binding, _standard

CLASSES = ["FileHandler", "RotatingFileHandler", "TimedRotatingFileHandler", "WatchedFileHandler"]


@pytest.fixture(autouse=True)
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no extension; of this the user has been told."""
    monkeypatch.setattr(_binding, "missing", "a test says so")
    monkeypatch.setattr(_binding, "_has_warned", True)


@pytest.mark.parametrize("name", CLASSES)
def test_settings_that_are_shared_load_and_log(tmp_path: Path, name: str) -> None:
    rotation: dict[str, dict[str, object]] = {
        "RotatingFileHandler": {"maxBytes": 1_000_000, "backupCount": 2},
        "TimedRotatingFileHandler": {"when": "D", "backupCount": 2},
    }
    handler = {
        "class": f"logserv.handlers.{name}",
        "formatter": "line",
        "filename": str(tmp_path / "app.log"),
        "encoding": "utf-8",
        "sync": "level",
        "sync_level": "ERROR",
        "when_full": "drop_newest",
        "ring_bytes": 1 << 20,
        **rotation.get(name, {}),
    }
    config = {
        "version": 1,
        "formatters": {"line": {"format": "%(levelname)s %(message)s"}},
        "handlers": {"file": handler},
        "root": {"level": "INFO", "handlers": ["file"]},
    }
    script = f"import json, logging.config, logging; logging.config.dictConfig(json.loads({json.dumps(config)!r})); logging.info('x')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "LOGSERV_PURE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stderr.count("RuntimeWarning: logserv: files are written by the standard library's handlers")
        == 1
    )
    assert "LOGSERV_PURE is set" in done.stderr
    assert (tmp_path / "app.log").read_text() == "INFO x\n"


@pytest.mark.parametrize("name", CLASSES)
def test_each_is_the_class_of_the_library_with_our_methods(
    tmp_path: Path, name: str, log: logging.Logger
) -> None:
    base = getattr(logging.handlers, name, None) or getattr(logging, name)
    handler = getattr(_standard, name)(str(tmp_path / "app.log"), encoding="utf-8")
    assert isinstance(handler, base)
    log.addHandler(handler)
    log.info("one")
    assert handler.flush(1.0, level="synced") is True
    assert (handler.stats()["emitted"], handler.stats()["written"]) == (1, 1)
    handler.close()
    assert (tmp_path / "app.log").read_text() == "one\n"


def test_positions_are_those_of_the_library_and_a_rotation_is_its_own(
    tmp_path: Path, log: logging.Logger
) -> None:
    handler = _standard.RotatingFileHandler(tmp_path / "app.log", "a", 100, 3)
    log.addHandler(handler)
    for number in range(20):
        log.info("%d of some twenty characters", number)
    assert handler.doRollover() is True
    handler.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "app.log",
        "app.log.1",
        "app.log.2",
        "app.log.3",
    ]


@pytest.mark.parametrize("name", ["RotatingFileHandler", "TimedRotatingFileHandler"])
def test_a_function_that_rotates_is_refused_with_what_to_use(
    tmp_path: Path, log: logging.Logger, name: str
) -> None:
    handler = getattr(_standard, name)(tmp_path / "app.log", backupCount=3)
    with pytest.raises(NotImplementedError, match=r"names, and \.gz"):
        handler.namer = lambda name: f"{name}.old"
    with pytest.raises(NotImplementedError, match="compress="):
        handler.rotator = lambda source, target: None
    handler.namer = handler.rotator = None
    assert (handler.namer, handler.rotator) == (None, None)
    log.addHandler(handler)
    log.info("a line")
    assert handler.doRollover() is True
    handler.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_record_that_fails_is_not_counted(
    tmp_path: Path, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = _standard.FileHandler(tmp_path / "app.log")
    log.addHandler(handler)
    log.info("%d", "no number")
    log.info("%d", 1)
    handler.close()
    assert handler.stats()["written"] == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"filename": "x", "maxByte": 1}, "did you mean maxBytes?"),
        ({"filename": "x", "when_full": "wait"}, "drop_newest"),
        ({"filename": "x", "maxBytes": "1"}, "maxBytes: expected int"),
        ({}, "missing 1 required argument: 'filename'"),
    ],
)
def test_a_mistyped_argument_is_an_error_here_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError), match=text.replace("?", r"\?")):
        _standard.RotatingFileHandler(**arguments)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError, match="multiple values"):
        _standard.FileHandler("x", filename="y")
    with pytest.raises(TypeError, match="positional"):
        _standard.FileHandler("x", "a", None, True, None, "more")
