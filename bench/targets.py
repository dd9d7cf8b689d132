"""The comparisons that logserv is held to, each computed within one run of the bench.

In: all runs. Out: rows of what was compared, the figure, and what it is made of; "–" where one side did not run.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from bench import contenders as who
from bench import plan
from bench.contenders import Contender
from bench.measure import Scenario

Runs = list[dict[str, Any]]
Row = tuple[str, str, str]
CLH = "concurrent-log-handler"
RSYSLOG = "SysLogHandler to rsyslog"


def targets(runs: Runs) -> list[Row]:
    """All rows."""

    def times(
        what: str, scenario: Scenario, ours: Contender, base: str, key: str, swapped: bool = False
    ) -> Row:
        """How many times `ours` is better: of rates theirs is the divisor, of times ours, unless `swapped`."""
        found = _ratios(runs, scenario.name, ours.name, base, key)
        if key == "call_us" and not swapped:
            found = [1 / each for each in found]
        text = f"{statistics.median(found):.2f} ×" if found else "–"
        return what, text, f"{scenario.name}: {key} of “{ours.name}” and “{base}”"

    def value(what: str, scenario: Scenario, ours: Contender, key: str, show: Callable[[float], str]) -> Row:
        own = [
            run[key]
            for run in runs
            if (run["scenario"], run["contender"]) == (scenario.name, ours.name) and run.get(key) is not None
        ]
        return what, show(statistics.median(own)) if own else "–", f"{scenario.name}: “{ours.name}”"

    file, noop = who.FILE.name, who.NOOP.name
    rows = [
        times("handler, whole call: time over that of a handler that does nothing", plan.ONE, who.RING, noop, "call_us", True),
        times("handler and native records, call: faster than FileHandler", plan.ONE, who.FACTORY, file, "call_us"),
        times("native logger, mixed calls: faster than FileHandler", plan.MIXED, who.NATIVE, file, "call_us"),
        times("4 processes, end to end: rate over FileHandler in each", plan.FOUR_ROTATING, who.RING, file, "rate"),
    ]  # fmt: skip
    rows += [
        times(f"4 processes, end to end: rate over {peer}", plan.FOUR_ROTATING, who.RING, peer, "rate")
        for peer in (CLH, RSYSLOG)
    ]
    for ours in (who.RING, who.NATIVE):
        rows.append(
            times(
                f"4 threads, end to end: rate over FileHandler ({ours.name})",
                plan.FOUR_THREADS,
                ours,
                file,
                "rate",
            )
        )
        rows.append(
            times(
                f"exceptions, call: faster than FileHandler ({ours.name})",
                plan.EXCEPTIONS,
                ours,
                file,
                "call_us",
            )
        )
    rows += [
        value("server, CPU per million records of rings", plan.FOUR_ROTATING, who.RING, "cpu_server_s", "{:.3f} s".format),
        value("server, CPU when idle", plan.PACED, who.RING, "idle_server_cpu", "{:.3%}".format),
        value("server, CPU at 10,000 records/s", plan.PACED, who.RING, "server_cpu", "{:.2%}".format),
        value("from the call to the line in the file, p99", plan.VISIBLE, who.RING, "p99_us", lambda us: f"{us / 1e3:.2f} ms"),
        times("SocketHandler's stream, end to end: rate over the cookbook's server", plan.STREAM, who.SOCKET_OURS, who.SOCKET_COOKBOOK.name, "rate"),
    ]  # fmt: skip
    return rows


def _ratios(runs: Runs, scenario: str, name: str, base: str, key: str) -> list[float]:
    rounds: dict[int, dict[str, float]] = {}
    for run in runs:
        if run["scenario"] == scenario and run.get(key) is not None:
            rounds.setdefault(run["round"], {})[run["contender"]] = run[key]
    return [found[name] / found[base] for found in rounds.values() if found.get(name) and found.get(base)]
