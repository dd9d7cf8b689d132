"""`logserv.handlers` beside the classes whose place they take: arguments, attributes, files, errors.

The handlers live in this process; the server is one that they start, for this test alone.
"""

from __future__ import annotations

import copy
import errno
import inspect
import logging
import logging.config
import logging.handlers
import multiprocessing
import os
import pickle
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import logserv
import pytest
from logserv import handlers
from running import wait_for
from self_start import Personal

NAMES = ("FileHandler", "RotatingFileHandler", "TimedRotatingFileHandler", "WatchedFileHandler")
Make = Callable[..., Any]


def library(name: str) -> type[logging.FileHandler]:
    """The standard class of that name."""
    found: type[logging.FileHandler] = getattr(logging, name, None) or getattr(logging.handlers, name)
    return found


@pytest.fixture
def make(own: Personal, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes handlers by name, in the directory of the logs, and closes them at the end."""
    for name, value in own.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(root)
    made: list[logging.Handler] = []

    def make_one(name: str, *arguments: Any, **options: Any) -> Any:
        handler = getattr(handlers, name)(*arguments, **options)
        made.append(handler)
        return handler

    yield make_one
    for handler in made:
        handler.close()


def emit(handler: logging.Handler, *messages: str) -> None:
    for message in messages:
        handler.handle(logging.LogRecord("app", logging.INFO, __file__, 1, message, (), None))


# What they are.


@pytest.mark.parametrize("name", NAMES)
def test_each_is_its_standard_class_with_the_same_arguments_in_the_same_order(name: str) -> None:
    ours, theirs = getattr(handlers, name), library(name)
    assert issubclass(ours, theirs)
    assert getattr(logserv.handlers, name) is ours
    parameters = inspect.signature(ours).parameters
    expected = inspect.signature(theirs).parameters
    assert list(parameters) == [*expected, "options"]
    defaults = {each: parameter.default for each, parameter in expected.items()}
    assert {each: parameters[each].default for each in expected} == defaults


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("FileHandler", ("a.log", "w", "latin-1", True, "replace")),
        ("RotatingFileHandler", ("a.log", "w", 1000, 3, "utf-8", True, "ignore")),
        ("RotatingFileHandler", ("sub/../a.log", "a", 1e6, 3)),
        ("TimedRotatingFileHandler", ("a.log", "midnight", 2, 5, "utf-8", True, True)),
        ("TimedRotatingFileHandler", ("a.log", "w3")),
        ("WatchedFileHandler", ("a.log",)),
    ],
)
def test_the_attributes_are_the_librarys(make: Make, name: str, arguments: tuple[Any, ...]) -> None:
    ours = make(name, *arguments)
    theirs = library(name)(*arguments)
    theirs.close()
    attributes = set(vars(theirs)) - {"lock", "_closed", "stream", "rolloverAt", "dev", "ino"}
    for attribute in attributes | {"terminator"}:
        expected = getattr(theirs, attribute)
        if attribute == "encoding" and "utf-8" not in arguments and "latin-1" not in arguments:
            expected = "utf-8"  # what the file has, whatever the locale
        assert getattr(ours, attribute) == expected, attribute
    assert ours.stream is None
    assert repr(ours) == repr(theirs)


def test_making_one_opens_nothing_and_starts_nothing(make: Make, root: Path, own: Personal) -> None:
    for name in NAMES:
        make(name, f"{name}.log")
    assert list(root.iterdir()) == []
    assert own.servers() == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["missing/a.log", "file/a.log", "directory", "dangling.log", "circle.log"])
def test_what_the_library_could_not_open_is_refused_with_its_error(
    make: Make, root: Path, name: str, place: str
) -> None:
    (root / "file").write_text("")
    (root / "directory").mkdir()
    (root / "dangling.log").symlink_to("missing/a.log")
    (root / "circle.log").symlink_to("circle.log")
    with pytest.raises(OSError) as theirs:
        library(name)(place)
    before = len(logging._handlerList)  # type: ignore[attr-defined]
    with pytest.raises(type(theirs.value)) as ours:
        make(name, place)
    assert (ours.value.errno, ours.value.filename) == (theirs.value.errno, theirs.value.filename)
    assert len(logging._handlerList) <= before + 1  # type: ignore[attr-defined]
    make(name, place, delay=True)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_file_of_its_own_is_refused_and_the_right_class_named(
    make: Make, root: Path, name: str
) -> None:
    os.mkfifo(root / "fifo")
    (root / "out.log").symlink_to("/dev/stdout")
    (root / "null.log").symlink_to("/dev/null")
    descriptor = os.open(root / "open.log", os.O_CREAT | os.O_WRONLY)
    places = {
        "fifo": "a FIFO; use logging.StreamHandler",
        "/dev/full": "a character device; use logging.StreamHandler",
        "/dev/null": "a character device; use logging.NullHandler",
        "null.log": "a character device; use logging.NullHandler",
        # Even where a regular file is behind it: it is behind another name in the server.
        "/dev/stdout": "would not find there; use logging.StreamHandler",
        "out.log": "would not find there; use logging.StreamHandler",
        f"/proc/self/fd/{descriptor}": "would not find there; use logging.StreamHandler",
    }
    for place, says in places.items():
        with pytest.raises(OSError, match="expected a regular file, received ") as told:
            make(name, place)
        assert told.value.errno == errno.EINVAL
        assert str(told.value.strerror).endswith(says), place
    os.close(descriptor)
    (root / "new.log").symlink_to("made.log")  # where nothing is yet
    make(name, "new.log")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("fifo", "a regular file, or none, at"),
        ("null.log", "a regular file, or none, at"),
        ("missing/a.log", "an existing directory"),  # which somebody might make in a moment
    ],
)
def test_a_refusal_that_lasts_reaches_handle_error_once_and_is_counted(
    make: Make, root: Path, place: str, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(root / "fifo")
    (root / "null.log").symlink_to("/dev/null")
    handler = make("FileHandler", place, delay=True)
    errors: list[BaseException | None] = []
    handler.handleError = lambda record: errors.append(sys.exc_info()[1])
    emit(handler, "x")

    def is_told() -> bool:
        handler.flush(0.1)
        return len(errors) > 0

    wait_for(is_told, "the refusal", 30.0)
    wait_for(lambda: handler.stats()["refusals"] >= 3, "further attempts", 30.0)
    emit(handler, "y")
    handler.flush(0.1)
    assert len(errors) == 1
    assert isinstance(errors[0], logserv.ProtocolError)
    assert errors[0].expected.startswith(expected)
    assert "link" not in errors[0].expected
    assert "--root" not in errors[0].expected
    said = capfd.readouterr().err
    assert f"refuses these records: expected {expected}" in said
    assert "cannot reach" not in said
    if (root / place).parent.exists():
        (root / place).unlink()
    else:
        (root / place).parent.mkdir()
    wait_for(lambda: bool(handler.flush()), "the file", 30.0)
    assert (root / place).read_text() == "x\ny\n"


def test_mistakes_are_told_in_the_constructor(make: Make) -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'maxbytes'; did you mean maxBytes\?"):
        make("RotatingFileHandler", "a.log", maxbytes=3)
    with pytest.raises(ValueError, match="when: expected one of"):
        make("TimedRotatingFileHandler", "a.log", when="yearly")
    with pytest.raises(ValueError, match="mode: expected 'a' or 'w'"):
        make("FileHandler", "a.log", mode="r")
    with pytest.raises(ValueError, match="unknown encoding"):
        make("FileHandler", "a.log", encoding="klingon")
    with pytest.raises(TypeError, match=r"use another one of logserv\.handlers"):
        make("FileHandler", "a.log", handler_class="logging.FileHandler")
    with pytest.raises(TypeError):
        make("FileHandler")


def test_a_setting_that_is_refused_is_not_kept(make: Make, root: Path) -> None:
    handler = make("RotatingFileHandler", "app.log", maxBytes=1000, backupCount=2)
    emit(handler, "before")
    for attribute, wrong in [
        ("maxBytes", -5),
        ("maxBytes", "9"),
        ("backupCount", -1),
        ("terminator", None),
        ("terminator", "\udc80"),
    ]:
        kept = getattr(handler, attribute)
        with pytest.raises((TypeError, ValueError), match=attribute):
            setattr(handler, attribute, wrong)
        assert getattr(handler, attribute) == kept
    handler.close()
    emit(handler, "after")  # begins a session with the settings that are kept
    assert handler.flush()
    assert (root / "app.log").read_text() == "before\nafter\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_bytes_is_taken_as_by_the_library(make: Make, root: Path, name: str) -> None:
    handler = make(name, "ä.log".encode())
    assert handler.baseFilename == os.fsencode(root) + "/ä.log".encode()
    emit(handler, "x")
    assert handler.flush()
    assert (root / "ä.log").read_text() == "x\n"
    with pytest.raises(ValueError, match="filename: expected UTF-8"):
        make(name, b"\xff.log")
    with pytest.raises(FileNotFoundError) as missing:
        make(name, b"missing/a.log")
    assert missing.value.filename == os.fsencode(root) + b"/missing/a.log"


def test_what_the_library_takes_for_true_or_false_is_taken(make: Make) -> None:
    handler = make("TimedRotatingFileHandler", "a.log", delay=None, utc=None)
    assert (handler.delay, handler.utc) == (None, None)
    with pytest.raises(FileNotFoundError):
        make("FileHandler", "missing/a.log", delay=None)
    make("FileHandler", "missing/a.log", delay=1)
    for cls in (handlers.TimedRotatingFileHandler, logging.handlers.TimedRotatingFileHandler):
        with pytest.raises(TypeError):  # the library cannot reckon with it either
            cls("a.log", interval="2", delay=True)  # type: ignore[arg-type]


def test_the_locales_encoding_is_that_of_this_process(
    make: Make, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locale.getencoding", lambda: "ISO-8859-1")
    handler = make("FileHandler", "a.log", encoding="locale")
    assert handler.encoding == "locale"
    emit(handler, "Ä")
    assert handler.flush()
    assert (root / "a.log").read_bytes() == b"\xc4\n"


@pytest.mark.parametrize("name", ["RotatingFileHandler", "TimedRotatingFileHandler"])
@pytest.mark.parametrize("attribute", ["namer", "rotator"])
def test_functions_of_this_process_cannot_rotate(make: Make, name: str, attribute: str) -> None:
    handler = make(name, "a.log")
    assert getattr(handler, attribute) is None
    setattr(handler, attribute, None)
    with pytest.raises(NotImplementedError, match=f"{attribute}: the server rotates the file"):
        setattr(handler, attribute, lambda *_: "x")


def test_there_is_no_stream_to_set(make: Make) -> None:
    with pytest.raises(NotImplementedError, match="StreamHandler"):
        make("FileHandler", "a.log").setStream(None)


# What they write.


def test_the_files_are_those_that_the_library_writes(make: Make, root: Path) -> None:
    (root / "theirs").mkdir()
    ours = make("RotatingFileHandler", "app.log", maxBytes=300, backupCount=4)
    theirs = logging.handlers.RotatingFileHandler(
        root / "theirs/app.log", maxBytes=300, backupCount=4, encoding="utf-8"
    )
    for handler in (ours, theirs):
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        emit(handler, *(f"line {number} " + "x" * (number % 40) for number in range(60)))
    theirs.close()
    assert ours.flush()
    expected = {path.name: path.read_bytes() for path in (root / "theirs").iterdir()}
    assert len(expected) == 5
    assert {path.name: path.read_bytes() for path in root.glob("app.log*")} == expected


@pytest.mark.parametrize("name", NAMES)
def test_each_class_writes_its_lines(make: Make, root: Path, name: str) -> None:
    handler = make(name, "app.log")
    emit(handler, "one", "two")
    assert handler.flush()
    assert (root / "app.log").read_text() == "one\ntwo\n"
    assert handler.stats()["refusals"] == 0


def test_a_relative_name_is_that_of_the_directory_in_which_the_handler_was_made(
    make: Make, root: Path, tmp_path: Path
) -> None:
    handler = make("FileHandler", "app.log")
    os.chdir(tmp_path)
    emit(handler, "x")
    assert handler.flush()
    assert (root / "app.log").read_text() == "x\n"


def test_links_and_dots_are_followed_as_by_the_library(make: Make, root: Path, tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (root / "link").symlink_to(tmp_path / ".hidden")
    (tmp_path / ".hidden/real.log").write_text("there\n")
    (tmp_path / ".hidden/app.log").symlink_to("real.log")
    handler = make("FileHandler", "link/app.log")
    emit(handler, "x")
    assert handler.flush()
    assert (tmp_path / ".hidden/real.log").read_text() == "there\nx\n"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_a_new_file_has_the_mode_that_this_process_would_give_it(make: Make, root: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        handler = make("RotatingFileHandler", "app.log", maxBytes=50, backupCount=2)
    finally:
        os.umask(before)
    emit(handler, *(f"{number:030d}" for number in range(4)))
    assert handler.flush()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in root.glob("app.log*")}
    assert modes == dict.fromkeys(("app.log", "app.log.1", "app.log.2"), 0o666 & ~umask)


def test_settings_can_be_changed_later(make: Make, root: Path) -> None:
    handler = make("RotatingFileHandler", "app.log")
    emit(handler, "a" * 20)
    handler.maxBytes, handler.backupCount = 50, 3
    assert (handler.maxBytes, handler.backupCount) == (50, 3)
    assert handler.flush()
    emit(handler, *(letter * 30 for letter in "bcd"))
    assert handler.flush()
    assert {path.name for path in root.iterdir()} >= {"app.log", "app.log.1", "app.log.2"}
    handler.terminator = "\r\n"

    def is_heard() -> bool:
        emit(handler, "e")
        return handler.flush() and (root / "app.log").read_bytes().endswith(b"e\r\n")

    wait_for(is_heard, "the new terminator")
    other = copy.copy(handler)
    other.terminator = "\n"
    assert handler.terminator == "\r\n"
    other.close()


def test_a_terminator_of_a_class_is_the_files(make: Make, root: Path) -> None:
    class Dashed(handlers.FileHandler):
        terminator = " -\n"

    handler = Dashed("app.log")
    emit(handler, "x")
    assert handler.flush()
    handler.close()
    assert (root / "app.log").read_text() == "x -\n"


def test_a_rollover_comes_once_behind_everything_that_was_emitted(make: Make, root: Path) -> None:
    handler = make("RotatingFileHandler", "app.log", maxBytes=10_000, backupCount=3)
    emit(handler, "before")
    assert handler.doRollover()
    emit(handler, "after")
    assert handler.flush()
    assert (root / "app.log").read_text() == "after\n"
    assert (root / "app.log.1").read_text() == "before\n"
    assert not (root / "app.log.2").exists()
    assert handler.shouldRollover(logging.makeLogRecord({})) is False


def test_mode_w_truncates_once_and_a_handler_that_was_closed_goes_on(make: Make, root: Path) -> None:
    (root / "app.log").write_text("old\n")
    handler = make("FileHandler", "app.log", "w")
    emit(handler, "new")
    handler.close()
    assert (root / "app.log").read_text() == "new\n"
    emit(handler, "again")
    assert handler.flush()
    assert (root / "app.log").read_text() == "new\nagain\n"


def test_a_file_that_is_moved_away_is_made_anew(make: Make, root: Path) -> None:
    handler = make("WatchedFileHandler", "app.log")
    emit(handler, "one")
    assert handler.flush()
    (root / "app.log").rename(root / "moved.log")
    handler.reopenIfNeeded()

    def is_there() -> bool:
        emit(handler, "two")
        handler.flush()
        return (root / "app.log").exists()

    wait_for(is_there, "the new file")
    assert (root / "moved.log").read_text().startswith("one\n")


def test_a_file_that_cannot_be_opened_is_told_of_and_its_records_wait_for_it(
    make: Make, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (root / "app.log").mkdir()
    handler = make("FileHandler", "app.log", delay=True)
    emit(handler, "x")
    assert not handler.flush(3.0)
    wait_for(
        lambda: "refuses these records: expected a regular file, or none, at " in capfd.readouterr().err,
        "a line on stderr",
    )
    (root / "app.log").rmdir()
    wait_for(lambda: bool(handler.flush()), "the file")
    assert (root / "app.log").read_text() == "x\n"


# How they are made by others.


def test_a_dict_config_makes_them_with_all_options(
    make: Make, root: Path, log: logging.Logger, own: Personal
) -> None:
    config = {
        "class": "logserv.handlers.RotatingFileHandler",
        "filename": "app.log",
        "maxBytes": 1_000_000,
        "backupCount": 3,
        "when_full": "drop_newest",
        "ring_bytes": 65536,
        "sync": "always",
        "formatter": "f",
        "level": "INFO",
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"f": {"format": "%(name)s %(message)s"}},
            "handlers": {"h": config},
            "loggers": {"dict.config": {"handlers": ["h"], "level": "DEBUG", "propagate": False}},
        }
    )
    logger = logging.getLogger("dict.config")
    (handler,) = logger.handlers
    assert isinstance(handler, handlers.RotatingFileHandler)
    logger.debug("below")
    logger.info("hello")
    assert handler.flush(5.0, "synced")
    assert (root / "app.log").read_text() == "dict.config hello\n"
    logger.removeHandler(handler)
    handler.close()


def test_a_file_config_makes_them(make: Make, root: Path, tmp_path: Path) -> None:
    place = tmp_path / "logging.ini"
    place.write_text("""
[loggers]
keys=root,app
[handlers]
keys=file
[formatters]
keys=plain
[logger_root]
handlers=
[logger_app]
qualname=file.config
handlers=file
propagate=0
level=INFO
[handler_file]
class=logserv.handlers.RotatingFileHandler
args=('app.log', 'a', 1000, 3)
formatter=plain
[formatter_plain]
format=%(levelname)s:%(message)s
""")
    import logserv.handlers  # noqa: F401 - `fileConfig` evaluates names in the namespace of `logging`

    root_handlers = list(logging.getLogger().handlers)
    logging.config.fileConfig(place, disable_existing_loggers=False)
    for each in root_handlers:
        logging.getLogger().addHandler(each)
    logger = logging.getLogger("file.config")
    (handler,) = logger.handlers
    assert isinstance(handler, handlers.RotatingFileHandler)
    assert (handler.maxBytes, handler.backupCount) == (1000, 3)
    logger.info("hello")
    assert handler.flush()
    assert (root / "app.log").read_text() == "INFO:hello\n"
    logger.removeHandler(handler)
    handler.close()


def log_in_child(handler: logging.Handler, text: str) -> None:
    emit(handler, text)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_handler_travels_to_another_process(make: Make, root: Path, method: str) -> None:
    handler = make("RotatingFileHandler", "app.log", maxBytes=100_000, backupCount=2)
    emit(handler, "parent")
    context: Any = multiprocessing.get_context(method)
    child = context.Process(target=log_in_child, args=(handler, "child"))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert handler.flush()
    wait_for(lambda: (root / "app.log").read_text() == "parent\nchild\n", "both lines")


def test_copies_are_handlers_of_their_own(make: Make, root: Path) -> None:
    handler = make("TimedRotatingFileHandler", "app.log", when="D", backupCount=2)
    emit(handler, "one")
    for other in (copy.copy(handler), pickle.loads(pickle.dumps(handler))):
        assert other.lock is not handler.lock
        assert repr(other) == repr(handler)
        emit(other, "two")
        other.close()
    assert handler.flush()
    assert (root / "app.log").read_text() == "one\ntwo\ntwo\n"
