"""Processes as Python and its frameworks make them: pools, forks among threads, greenlets, Celery, daemons.

The one changed line is `logserv.handlers.RotatingFileHandler`; nobody starts a server.
"""

from __future__ import annotations

import re
import signal

import pytest
from frameworks import TIME, RunExample, messages

pytestmark = pytest.mark.newest
STARTED = TIME + r" \d+ [A-Z]+ (shop|root): started"
COUNT = 1200  # records, some three files


def pids_of(text: str, pattern: str) -> set[int]:
    """The processes whose lines match."""
    return {int(pid) for pid in re.findall(rf"^{TIME} (\d+) [A-Z]+ {pattern}", text, re.MULTILINE)}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_multiprocessing_logs_by_every_start_method(run_example: RunExample, method: str) -> None:
    example = run_example("multiprocessing")
    example.start("pool.py", method, orders=messages(0, COUNT))
    example.finish()
    report = example.report({(0, 0): COUNT}, others=STARTED)
    assert report.files > 1
    assert len(report.processes) == 4
    parents = pids_of(example.text(), "shop: started")
    assert not parents & report.processes.keys()


def test_a_handler_is_pickled_for_spawned_children_and_copied(run_example: RunExample) -> None:
    example = run_example("multiprocessing")
    lines = zip(*(messages(producer, COUNT // 4) for producer in range(4)), strict=True)
    example.start("passed.py", orders=[line for each in lines for line in each])
    example.finish()
    report = example.report({(producer, 0): COUNT // 4 for producer in range(4)}, others=STARTED)
    assert report.others == 1  # the copy's; its level is its own
    assert sorted(report.processes.values()) == [COUNT // 4] * 4


def test_pools_of_concurrent_futures_log(run_example: RunExample) -> None:
    example = run_example("futures")
    # Each order is a thread of its own to the oracle: the pool's threads take them as they come.
    orders = [message for producer in range(COUNT) for message in messages(producer, 1)]
    example.start("pool.py", orders=orders)
    example.finish()
    report = example.report({(producer, 0): 1 for producer in range(COUNT)}, others=STARTED)
    assert report.files > 1
    assert len(report.processes) > 1


def test_greenlets_of_four_patched_processes_log_into_one_file(run_example: RunExample) -> None:
    example = run_example("gevent")
    for producer in range(4):
        example.start("greenlets.py", orders=messages(producer, COUNT))
    example.finish()
    report = example.report({(producer, 0): COUNT for producer in range(4)})
    assert report.files > 4
    assert sorted(report.processes.values()) == [COUNT] * 4


def test_a_process_forks_while_eight_threads_log(run_example: RunExample) -> None:
    example = run_example("fork")
    each = 600
    orders = zip(*(messages(producer, each) for producer in range(9)), strict=True)
    example.start("threads.py", orders=[order for nine in orders for order in nine])
    example.finish()
    report = example.report({(producer, 0): each for producer in range(9)})
    parent, _ = report.processes.most_common(1)[0]
    kids = report.processes.keys() - {parent}
    assert len(kids) == each // 20
    assert {report.processes[pid] for pid in kids} == {20}
    lines = re.findall(rf"^{TIME} (\d+) .* p=(\d) ", example.text(), re.MULTILINE)
    by_process = [int(pid) for pid, _ in lines]
    forked = 0
    for pid in kids:
        first = by_process.index(pid)
        before = {number for process, number in lines[:first] if int(process) == parent}
        after = {number for process, number in lines[first:] if int(process) == parent}
        forked += len(before) == len(after) == 8
    assert forked > 5, "no child was forked while all eight threads logged"


@pytest.mark.parametrize("options", [(), ("--foreground",)], ids=["detached", "foreground"])
def test_a_daemon_that_closes_every_descriptor_logs(
    run_example: RunExample, options: tuple[str, ...]
) -> None:
    example = run_example("daemon")
    example.start("shop.py", *options, orders=messages(0, COUNT))
    example.finish()
    example.wait_for_text(f" n={COUNT - 1} ")
    report = example.report({(0, 0): COUNT}, others=STARTED)
    assert report.files > 1
    started = pids_of(example.text(), "shop: started")
    assert (started == report.processes.keys()) == bool(options)


def test_celerys_prefork_workers_log_while_they_are_replaced(run_example: RunExample) -> None:
    example = run_example("celery")
    # Each order is a thread of its own to the oracle: the broker is a directory, tasks come in no particular order.
    count = 400
    feeder = example.start(
        "tasks.py", orders=(line for number in range(count) for line in messages(number, 1))
    )
    worker = example.start("celery", "-A", "tasks", "worker", "--concurrency", "4", "--without-mingle")
    assert feeder.wait(60) == 0, example.printed
    example.wait_for_text("shop: shipped", count)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0, example.printed
    report = example.report(
        {(number, 0): 1 for number in range(count)}, others=TIME + r" \d+ [A-Z]+ (?!shop).*"
    )
    assert len(report.processes) >= count // 25
