"""What the producers log, and what must be in the file of it: the two sides of the same records.

In: a way to get loggers, a producer's number. Out: :class:`Calls`, loops over logging calls; and :func:`tail`, what stands
behind ``n=`` in each line. A record names its producer, thread and number, and its payload follows from the number, so that
a lost, doubled, cut or mixed one is seen without a checksum, which would cost more than the calls of fast contenders.
Not here: where the records go (`contenders.py`), reading the files (`check.py`).
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

PAYLOADS = 64  # different ones; a power of two, so that choosing one costs little
LOGGERS = ("bench.shop.cart", "bench.shop.pay", "bench.mail.queue", "bench.http.access")  # of depth 3
PLAIN_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
CALLER_FORMAT = "%(asctime)s %(levelname)-7s %(name)s %(filename)s:%(lineno)d %(funcName)s: %(message)s"


class BenchError(Exception):
    """What the producers raise; its text names the record."""


@dataclass(frozen=True)
class Workload:
    """One kind of records. `payload` is its length in characters."""

    name: str
    payload: int
    kind: str = "plain"  # or "mixed", "exceptions"
    format: str = PLAIN_FORMAT

    def payloads(self) -> list[str]:
        """Texts without a space, each different from all others at every place."""
        alphabet = string.ascii_letters + string.digits + "-_"
        return [
            (alphabet[at:] + alphabet[:at]) * (self.payload // 64) + alphabet[at] * (self.payload % 64)
            for at in range(PAYLOADS)
        ]


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("plain", 60),
        Workload("short", 1),
        Workload("long", 4000),
        Workload("mixed", 60, "mixed", CALLER_FORMAT),
        Workload("exceptions", 60, "exceptions"),
    )
}


def tail(workload: Workload, payloads: list[str], number: int) -> str:
    """What a line ends in, behind ``n=<number> ``."""
    payload = payloads[number % PAYLOADS]
    if workload.kind != "mixed":
        return payload
    return ("", "item book costs 12.50 ", "user 'zoe' is away ", "")[number % 4] + payload


class Calls(Protocol):
    """Logging calls of one producer."""

    def loop(self, thread: int, first: int, last: int) -> None:
        """Makes the calls of the records `first` to `last` - 1."""

    def empty(self, first: int, last: int) -> None:
        """What `loop` does beside the calls, for as many."""

    def one(self, thread: int, number: int) -> None:
        """Makes one call."""


def make_calls(
    workload: Workload, producer: int, get_logger: Callable[[str], Any], takes_arguments: bool
) -> Calls:
    """The calls of a producer. Loggers that take no arguments of `%` get the text whole."""
    if workload.kind == "exceptions":
        return _Exceptions(workload, producer, get_logger, takes_arguments)
    if not takes_arguments:
        return _Text(workload, producer, get_logger)
    return (_Mixed if workload.kind == "mixed" else _Plain)(workload, producer, get_logger)


class _Base:
    def __init__(self, workload: Workload, producer: int, get_logger: Callable[[str], Any]) -> None:
        self.workload = workload
        self.producer = producer
        self.payloads = workload.payloads()
        self.loggers = [get_logger(name) for name in LOGGERS]

    def empty(self, first: int, last: int) -> None:
        payloads = self.payloads
        for number in range(first, last):
            payloads[number & 63]


class _Plain(_Base):
    def loop(self, thread: int, first: int, last: int) -> None:
        info, producer, payloads = self.loggers[0].info, self.producer, self.payloads
        for number in range(first, last):
            info("p=%d t=%d n=%d %s", producer, thread, number, payloads[number & 63])

    def one(self, thread: int, number: int) -> None:
        self.loggers[0].info("p=%d t=%d n=%d %s", self.producer, thread, number, self.payloads[number & 63])


class _Mixed(_Base):
    """Four functions, four loggers, three levels, different arguments; the format names the caller."""

    def loop(self, thread: int, first: int, last: int) -> None:
        calls = (self._cart, self._pay, self._mail, self._access)
        for number in range(first, last):
            calls[number & 3](thread, number)

    def empty(self, first: int, last: int) -> None:
        calls = (self._nothing, self._nothing, self._nothing, self._nothing)
        for number in range(first, last):
            calls[number & 3](0, number)

    def one(self, thread: int, number: int) -> None:
        (self._cart, self._pay, self._mail, self._access)[number & 3](thread, number)

    def _nothing(self, thread: int, number: int) -> None:
        pass

    def _cart(self, thread: int, number: int) -> None:
        self.loggers[0].info("p=%d t=%d n=%d %s", self.producer, thread, number, self.payloads[number & 63])

    def _pay(self, thread: int, number: int) -> None:
        self.loggers[1].debug(
            "p=%d t=%d n=%d item %s costs %.2f %s",
            *(self.producer, thread, number, "book", 12.5, self.payloads[number & 63]),
        )

    def _mail(self, thread: int, number: int) -> None:
        self.loggers[2].warning(
            "p=%d t=%d n=%d user %r is away %s",
            self.producer,
            thread,
            number,
            "zoe",
            self.payloads[number & 63],
        )

    def _access(self, thread: int, number: int) -> None:
        self.loggers[3].info("p=%s t=%s n=%s %s", self.producer, thread, number, self.payloads[number & 63])


class _Text(_Base):
    """For loggers that take a finished text; of mixed records everything but the arguments."""

    def loop(self, thread: int, first: int, last: int) -> None:
        for number in range(first, last):
            self.one(thread, number)

    def one(self, thread: int, number: int) -> None:
        text = f"p={self.producer} t={thread} n={number} {tail(self.workload, self.payloads, number)}"
        self.loggers[0].info(text)


class _Exceptions(_Base):
    """Each call logs an exception with a traceback of some depth."""

    def __init__(
        self, workload: Workload, producer: int, get_logger: Callable[[str], Any], takes_arguments: bool
    ) -> None:
        super().__init__(workload, producer, get_logger)
        self.takes_arguments = takes_arguments

    def loop(self, thread: int, first: int, last: int) -> None:
        for number in range(first, last):
            self.one(thread, number)

    def empty(self, first: int, last: int) -> None:
        for number in range(first, last):
            try:
                _view(self.producer, 0, number)
            except BenchError:
                pass

    def one(self, thread: int, number: int) -> None:
        try:
            _view(self.producer, thread, number)
        except BenchError:
            payload = self.payloads[number & 63]
            if self.takes_arguments:
                self.loggers[0].exception("p=%d t=%d n=%d %s", self.producer, thread, number, payload)
            else:
                self.loggers[0].exception(f"p={self.producer} t={thread} n={number} {payload}")


# Functions of their own, as in a program: Python shortens the traceback of a recursion.
def _view(producer: int, thread: int, number: int) -> None:
    _load(producer, thread, number)


def _load(producer: int, thread: int, number: int) -> None:
    _query(producer, thread, number=number)


def _query(producer: int, thread: int, number: int) -> None:
    if not _connect(producer, thread, number):
        return


def _connect(producer: int, thread: int, number: int) -> bool:
    raise BenchError(exception_text(producer, thread, number))


def exception_text(producer: int, thread: int, number: int) -> str:
    """The text of the exception that is logged with a record."""
    return f"end of {producer}/{thread}/{number}"
