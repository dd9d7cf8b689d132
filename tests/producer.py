"""One producer: a process that logs numbered records through whatever handlers it is told to, and leaves.

Run as an unrelated process, never imported by a test: ``python producer.py JSON``. The JSON object has

``config``      a ``logging.config.dictConfig`` dictionary
``producer``    this producer's number
``threads``     how many threads log at the same time (1)
``records``     how many records each of them logs
``exceptions``  every how many records one has a traceback (0: none)
``payload``     length of the payload in characters, at most (40)
``pause_s``     seconds to wait behind each record (0)
``pause_every`` behind every how many records to wait (1)
``long_every``  every how many records one has a payload of ``long`` characters (0: none)
``flush_every`` after every how many records of a thread to flush, at the level ``flush_level`` ("written") (0: never)
``last_flush_s`` how long the flush at the end may take (0: there is none)
``ledger``      a file to be made and mapped: what was attempted, what returned, and whether to stop (``ledger.py``)
``hold_at``     the record before which the first thread flushes and waits until the test lets it go on (0: none)
``uid``         the user to become before anything is logged; everything is imported by then
``start_at``    seconds since 1970 at which to begin (at once), so that producers begin together

It prints one JSON line when done: the seconds that the logging took, the longest call, and the handler's statistics
from before its last flush and after it; the seconds that leaving took are up to the caller.
"""

from __future__ import annotations

import ctypes
import json
import logging
import logging.config
import os
import random
import sys
import threading
import time
from typing import Any

import ledger
import oracle
from logserv._forwarding import Forwarding
from logserv._statistics import Statistics

WORDS = (
    "order shipped to Zoë in Malmö by ship and train for 4711 kr | 100 % paid {id} ${total} \\n C:\\temp "
    "'quoted' \"twice\" 中文 ✓ ok"
).split(" ")
LONG_WORD = "a long payload is still one record; "
PR_SET_DUMPABLE = 4


def produce(
    job: dict[str, Any],
    thread: int,
    book: ledger.Ledger | None = None,
    first: int = 0,
    end: int | None = None,
) -> float:
    """Logs this thread's records from `first` to before `end`; returns the seconds that the longest call took."""
    producer: int = job["producer"]
    every: int = job.get("exceptions", 0)
    longest: int = job.get("payload", 40)
    long_every: int = job.get("long_every", 0)
    pause_s: float = job.get("pause_s", 0.0)
    pause_every: int = job.get("pause_every", 1)
    flush_every: int = job.get("flush_every", 0)
    logger = logging.getLogger(f"app.producer{producer}.thread{thread}")
    words = random.Random(producer * 1000 + thread)
    longest_call_s = 0.0
    for number in range(first, job["records"] if end is None else end):
        payload = " ".join(words.choices(WORDS, k=longest // 5))[: words.randrange(longest + 1)]
        if long_every and number % long_every == long_every - 1:
            payload = LONG_WORD * (job["long"] // len(LONG_WORD))
        exception = bool(every) and number % every == every - 1
        message = oracle.make_message(producer, thread, number, time.time_ns(), payload, exception)
        if book is not None:
            if number and thread == 0 and number == job.get("hold_at"):
                flush("written")
                book.hold()
            if book.is_asked_to_stop:
                break
            book.attempt(thread, number)
        started = time.monotonic()
        if exception:
            try:
                raise oracle.ProducerError(oracle.exception_text(producer, thread, number))
            except oracle.ProducerError:
                logger.exception(message)
        else:
            logger.info("%s", message)
        longest_call_s = max(longest_call_s, time.monotonic() - started)
        if book is not None:
            book.returned(thread, number)
        if flush_every and number % flush_every == flush_every - 1:
            confirmed = flush(job.get("flush_level", "written"))
            if confirmed and book is not None and job.get("flush_level") == "synced":
                book.synced(thread, number)
        if pause_s and number % pause_every == pause_every - 1:
            time.sleep(pause_s)
    return longest_call_s


def flush(level: str, timeout_s: float = 5.0) -> bool:
    """Flushes the handler at the root; what the standard library's handlers do not say counts as yes."""
    (handler,) = logging.getLogger().handlers
    if isinstance(handler, Forwarding):
        return handler.flush(timeout_s, level)
    handler.flush()
    return True


def statistics() -> Statistics | None:
    """The numbers of the handler at the root, if it has any."""
    (handler,) = logging.getLogger().handlers
    return handler.stats() if isinstance(handler, Forwarding) else None


def become(uid: int) -> None:
    """Gives up root for good. A later start as that user could not read what root may have installed."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # A process that changed its user is not "dumpable": /proc/self would be root's, unlike that of a user's program.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def prepare(job: dict[str, Any]) -> ledger.Ledger | None:
    """Opens the ledger, becomes the user, configures logging, and waits until it is time."""
    book = ledger.Ledger(job["ledger"], job.get("threads", 1)) if "ledger" in job else None
    if "uid" in job:
        become(job["uid"])
    logging.config.dictConfig(job["config"])
    time.sleep(max(0.0, job.get("start_at", 0.0) - time.time()))
    return book


def main(job: dict[str, Any]) -> None:
    """Configures logging as told, logs, and prints how it went."""
    book = prepare(job)
    started = time.monotonic()
    longest = [0.0] * job.get("threads", 1)

    def run(thread: int) -> None:
        longest[thread] = produce(job, thread, book)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(1, len(longest))]
    for thread in threads:
        thread.start()
    run(0)
    for thread in threads:
        thread.join()
    result: dict[str, Any] = {
        "logging_s": time.monotonic() - started,
        "longest_call_s": max(longest),
        "statistics": statistics(),
    }
    if job.get("last_flush_s"):
        result["flushed"] = flush("written", job["last_flush_s"])
        result["at_the_end"] = statistics()
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
