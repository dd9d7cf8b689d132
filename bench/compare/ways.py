"""How a producer is set up for other people's packages: as their documentation has it, for records that must not be lost.

Each package is imported where it is used, for it is in the environment of `compare/run.py` only, or not at all. What they cannot do is not
worked around: it shows in the table.
"""

from __future__ import annotations

import logging
import logging.handlers
from typing import Any

from bench.ways import Job, Leader, Way, to_root

TIME_FORMAT = "{time:YYYY-MM-DD HH:mm:ss,SSS} {level} {name}: {message}"  # loguru's and logly's
MEBIBYTE = 1 << 20


def clh(job: Job) -> Way:
    """concurrent-log-handler: a lock around each record."""
    from concurrent_log_handler import ConcurrentRotatingFileHandler

    rotation = job["rotation"] or {"maxBytes": 0, "backupCount": 0}
    to_root(ConcurrentRotatingFileHandler(job["file"], "a", **rotation), job)
    return Way()


def loguru_leader(job: Job) -> Leader:
    """loguru with `enqueue=True`, inherited by fork: the leader's thread writes."""
    from loguru import logger

    logger.remove()
    rotation = {"rotation": job["rotation"]["maxBytes"]} if job["rotation"] else {}
    logger.add(
        job["file"],
        format=TIME_FORMAT,
        level="DEBUG",
        enqueue=True,
        backtrace=False,
        diagnose=False,
        **rotation,
    )
    return Leader(logger, logger.complete)


def loguru(job: Job) -> Way:
    """A forked producer of it."""
    logger = job["shared"]
    return Way(lambda name: logger, takes_arguments=False, finish=logger.complete)


def logxide(job: Job) -> Way:
    """logxide's own handlers, which write the message alone whatever the formatter; arguments of `%` are applied."""
    import logxide as package

    handler: Any
    if job["rotation"]:
        handler = package.RotatingFileHandler(job["file"], **job["rotation"])
    else:
        handler = package.FileHandler(job["file"])
    handler.setFormatter(package.logging.Formatter(job["format"]))
    root = package.logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    return Way(package.logging.getLogger, finish=handler.flush)


def logust(job: Job) -> Way:
    """logust, which writes at once and knows sizes in megabytes only."""
    from logust import logger

    logger.remove()
    rotation = (
        {"rotation": f"{max(1, job['rotation']['maxBytes'] // MEBIBYTE)} MB"} if job["rotation"] else {}
    )
    logger.add(job["file"], format="{time} {level} {name}: {message}", level="DEBUG", **rotation)
    return Way(lambda name: logger, takes_arguments=False, finish=logger.complete)


def logly(job: Job) -> Way:
    """logly, which writes at once."""
    from logly import logger

    logger.remove()
    rotation = {"rotation": f"{job['rotation']['maxBytes']} B"} if job["rotation"] else {}
    logger.add(job["file"], format=TIME_FORMAT.replace("{name}", "bench"), level="DEBUG", **rotation)
    return Way(lambda name: logger, takes_arguments=False, finish=logger.complete)


def picologging(job: Job) -> Way:
    """picologging, whose time without a format of its own is garbage: so to the second only."""
    import picologging as package
    import picologging.handlers

    handler: Any
    if job["rotation"]:
        handler = picologging.handlers.RotatingFileHandler(job["file"], **job["rotation"])
    else:
        handler = package.FileHandler(job["file"])
    handler.setFormatter(package.Formatter(job["format"], datefmt="%Y-%m-%d %H:%M:%S"))
    root = package.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    return Way(package.getLogger)


def syslog(job: Job) -> Way:
    """The library's `SysLogHandler`, to rsyslog over a socket like /dev/log."""
    handler = logging.handlers.SysLogHandler(address=job["address"]["unix"])
    handler.append_nul = False
    to_root(handler, job)
    return Way()
