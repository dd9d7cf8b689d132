"""What a producer says of itself while it lives, in memory that is still there when it has been killed.

In: the path of a file, which the producer makes and maps. Out: for each of its threads how many records it began to
log (``attempted``), how many calls returned (``returned``), and how many a flush has confirmed as synced (``synced``); the
time of the latest attempt; and a word the other way: the test asks the producer to stop. One aligned store of 8 bytes
each, so that a ``kill -9`` at any moment leaves a true number.
Not here: what the numbers are held against; that is ``oracle.py``.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

MAGIC = 0x31524547_4445534C
THREADS_MAX = 64
_WORDS_OF_HEAD = 4  # magic, number of threads, stop, go on
_WORDS_OF_THREAD = 8  # attempted, returned, synced, time of the latest attempt; the rest keeps threads apart
_WORDS = _WORDS_OF_HEAD + THREADS_MAX * _WORDS_OF_THREAD
_STOP, _GO_ON = 2, 3


class Ledger:
    """The producer's side."""

    def __init__(self, path: str | Path, threads: int) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            os.ftruncate(descriptor, _WORDS * 8)
            self._map = mmap.mmap(descriptor, _WORDS * 8)
        finally:
            os.close(descriptor)  # the tests close and re-use descriptors; the mapping stays
        self._words = memoryview(self._map).cast("Q")
        self._words[1] = threads
        self._words[0] = MAGIC

    def attempt(self, thread: int, number: int) -> None:
        """The logging call of record `number` is about to be made."""
        at = _WORDS_OF_HEAD + thread * _WORDS_OF_THREAD
        self._words[at + 3] = time.time_ns()
        self._words[at] = number + 1

    def returned(self, thread: int, number: int) -> None:
        """The logging call of record `number` has returned."""
        self._words[_WORDS_OF_HEAD + thread * _WORDS_OF_THREAD + 1] = number + 1

    def synced(self, thread: int, number: int) -> None:
        """``flush(level="synced")`` behind record `number` has said yes."""
        self._words[_WORDS_OF_HEAD + thread * _WORDS_OF_THREAD + 2] = number + 1

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether the test wants no more records."""
        return self._words[_STOP] != 0

    def hold(self) -> None:
        """Waits until the test lets the producer go on."""
        while not self._words[_GO_ON]:
            time.sleep(0.001)


class Account:
    """The test's side: what a ledger says now, or said when its producer died."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.threads: dict[int, tuple[int, int, int, int]] = {}
        raw = path.read_bytes() if path.exists() else b""
        if len(raw) < _WORDS * 8:
            return  # the producer has not come so far
        words = struct.unpack(f"{_WORDS}Q", raw[: _WORDS * 8])
        if words[0] != MAGIC:
            return
        for thread in range(words[1]):
            at = _WORDS_OF_HEAD + thread * _WORDS_OF_THREAD
            self.threads[thread] = (words[at], words[at + 1], words[at + 2], words[at + 3])

    @property
    def attempted(self) -> int:
        """Calls begun, of all threads."""
        return sum(thread[0] for thread in self.threads.values())

    @property
    def returned(self) -> int:
        """Calls that returned, of all threads."""
        return sum(thread[1] for thread in self.threads.values())

    @property
    def synced(self) -> int:
        """Records confirmed as synced, of all threads."""
        return sum(thread[2] for thread in self.threads.values())

    @property
    def in_call(self) -> int:
        """Threads in the middle of a logging call. Of a dead producer: calls that its death cut short."""
        return sum(1 for thread in self.threads.values() if thread[0] > thread[1])


def ask_to_stop(path: Path) -> None:
    """Asks the producer of this ledger to log no more, and to leave as a program does."""
    _write(path, _STOP)


def let_go(path: Path) -> None:
    """Lets a producer go on that holds."""
    _write(path, _GO_ON)


def _write(path: Path, word: int) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(word * 8)
        file.write(struct.pack("Q", 1))
