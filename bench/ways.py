"""How a producer is set up for each contender: what a user of it would write, in the producer's process.

In: a :class:`Job`. Out: a :class:`Way` to log. One function each; contenders name theirs as ``module:function``.
Not here: the servers that some of them need (`servers.py`), and other people's packages (`compare/ways.py`).
"""

from __future__ import annotations

import importlib
import logging
import logging.handlers
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Job = dict[str, Any]
"""What a producer is told: `file` (its path), `format`, `rotation` (`maxBytes` and `backupCount`, or none), `address` of the
server, `options` of the contender, and `shared`, what a leader gave to those it forked."""

DRAIN_TIMEOUT_S = 120.0


def _nothing() -> None:
    pass


@dataclass
class Way:
    """A way to log. `finish` returns when everything has left the process as far as the contender can tell."""

    get_logger: Callable[[str], Any] = logging.getLogger
    takes_arguments: bool = True
    finish: Callable[[], None] = _nothing
    facts: Callable[[], dict[str, Any]] = field(default=dict)


@dataclass
class Leader:
    """What a process holds that forks the producers: what they share, and how it ends."""

    shared: Any
    close: Callable[[], None]


def find(name: str) -> Callable[[Job], Any]:
    """The function that `module:function` names."""
    module, _, function = name.partition(":")
    found: Callable[[Job], Any] = getattr(importlib.import_module(module), function)
    return found


def to_root(handler: logging.Handler, job: Job) -> logging.Handler:
    """Puts a handler with the workload's format at the root, for every level."""
    handler.setFormatter(logging.Formatter(job["format"]))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    return handler


class Noop(logging.Handler):
    """Does nothing: the price of calling `logging` at all."""

    def emit(self, record: logging.LogRecord) -> None:
        pass


def noop(job: Job) -> Way:
    to_root(Noop(), job)
    return Way()


def file_handler(job: Job) -> Way:
    to_root(logging.FileHandler(job["file"]), job)
    return Way()


def rotating(job: Job) -> Way:
    to_root(logging.handlers.RotatingFileHandler(job["file"], **job["rotation"]), job)
    return Way()


def socket_handler(job: Job) -> Way:
    """The library's, to the cookbook's server or to ours, on its own TCP port."""
    host, port = job["address"]["tcp"]
    handler = to_root(logging.handlers.SocketHandler(host, port), job)
    assert isinstance(handler, logging.handlers.SocketHandler)
    return Way()


def queue_handler(job: Job) -> Way:
    """The library's, over the leader's `multiprocessing` queue."""
    queue = job["shared"]
    to_root(logging.handlers.QueueHandler(queue), job)
    return Way()


def queue_listener(job: Job) -> Leader:
    """The leader's side: a listener in front of a file handler."""
    queue: Any = multiprocessing.get_context("fork").Queue(-1)
    handler: logging.Handler
    if job["rotation"]:
        handler = logging.handlers.RotatingFileHandler(job["file"], **job["rotation"])
    else:
        handler = logging.FileHandler(job["file"])
    listener = logging.handlers.QueueListener(queue, handler)
    listener.start()
    return Leader(queue, listener.stop)


def logserv(job: Job) -> Way:
    """Ours. Options: `transport` (unix, tcp, remote), `native` (factory, logger)."""
    from logserv.client import SocketForwarder, UnixClient

    package: Any = importlib.import_module("logserv")
    match job["options"].get("native"):
        case "factory":
            logging.setLogRecordFactory(package.LogRecord)
        case "logger":
            package.install()
    arguments: dict[str, Any] = {"filename": job["file"], "handler_class": "logging.FileHandler"}
    if job["rotation"]:
        arguments = {"filename": job["file"], **job["rotation"]}
    address = job["address"]
    host, port = address["tcp"]
    handler: SocketForwarder
    match job["options"]["transport"]:
        case "unix":
            handler = UnixClient(address["unix"], **arguments)
        case "tcp":
            handler = SocketForwarder(host, port, **arguments)
        case "remote":
            # Another spelling of 127.0.0.1, which is no literal address: as to any other host, there is no ring.
            handler = SocketForwarder("127.1", port, **arguments)
    to_root(handler, job)

    def finish() -> None:
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        # It may say no early, where the machine leaves nobody any time.
        while not handler.flush(DRAIN_TIMEOUT_S):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not written within {DRAIN_TIMEOUT_S} s: {handler.stats()}")

    def facts() -> dict[str, Any]:
        statistics = handler.stats()
        return {
            "ring_bytes": statistics["ring_bytes"],
            "dropped": statistics["dropped"],
            "protocol": statistics["protocol"],
        }

    return Way(finish=finish, facts=facts)
