"""Makes tables in Markdown of what was measured.

In: what `run.py` keeps in ``report.json``. Out: Markdown. Every figure is the median of the rounds; a ratio is the median of the ratios
within each round. What of a row's files was wrong is the sum over all rounds. What the columns mean: docs/benchmarks.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from bench import contenders as who
from bench import plan
from bench.targets import targets

Runs = list[dict[str, Any]]
KILLED_BESIDE = plan.FOUR_ROTATING.name  # the scenario whose producers are those of the kills
WRONG = ("lost", "doubled", "torn", "reordered", "inversions", "oversize")


def one_line(run: dict[str, Any]) -> str:
    """What is told of a run while the bench goes on."""
    parts = []
    if "rate" in run:
        parts.append(f"{run['rate']:,.0f} records/s")
    if "call_us" in run:
        parts.append(f"{run['call_us']:.2f} µs a call")
    if "p50_us" in run:
        parts.append(f"p50 {run['p50_us']:.2f} µs, p99 {run['p99_us']:.2f} µs")
    if "kills" in run:
        parts.append(
            f"{run['struck']} of {run['kills']} kills struck" + (f", {run['hung']}" if run["hung"] else "")
        )
    verdict = run.get("verdict")
    if verdict:
        wrong = [f"{verdict[what]:,} {what}" for what in WRONG if verdict[what] and what != "inversions"]
        parts.append(", ".join(wrong) or f"{verdict['found']:,} found, all right")
    return ", ".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; the first column is text, the others are figures."""
    lines = [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    lines += [" | ".join(row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def markdown(kept: dict[str, Any]) -> str:
    """The whole report."""
    runs: Runs = kept["runs"]
    parts = [_machine(kept)]
    if runs:
        parts.append(
            "## Targets\n\nEach within one run of the bench.\n\n"
            + table(("what", "measured", "of"), targets(runs))
        )
    for name in dict.fromkeys(run["scenario"] for run in runs):
        rows = [run for run in runs if run["scenario"] == name]
        killed = [run for run in runs if run["kind"] == "kill" and name == KILLED_BESIDE]
        of_kind: dict[str, Callable[[Runs], str]] = {
            "rate": partial(_rates, killed=killed), "kill": _kills, "paced": _paced,
            "visible": _visible, "stream": _streams,
        }  # fmt: skip
        parts.append(f"## {name}\n\n{of_kind[rows[0]['kind']](rows)}")
    if kept["scale"]:
        head = list(kept["scale"][0])
        cells = [[_cell(row[key]) for key in head] for row in kept["scale"]]
        parts.append("## Scale\n\n" + table(head, cells))
    if kept["missing"]:
        lines = [f"* {name}: cannot run: {reason}\n" for name, reason in kept["missing"].items()]
        parts.append("## Not run\n\n" + "".join(lines))
    return "\n".join(parts)


def _machine(kept: dict[str, Any]) -> str:
    rows = [(name.replace("_", " "), _cell(value)) for name, value in kept["machine"].items()]
    effort = kept["effort"]
    return (
        "# Benchmarks of logserv\n\n"
        f"Medians of {effort['rounds']} interleaved runs of about {effort['seconds']} s each. Compare rows of one table; "
        "docs/benchmarks.md says what the columns mean.\n\n" + table(("machine", ""), rows)
    )


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return " ".join(str(each) for each in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _by_contender(runs: Runs) -> dict[str, Runs]:
    """In the order of the contenders' first appearance in the tables, whatever order they ran in."""
    order = [each.name for each in (*who.STANDARD, *who.OURS)]
    names = list(dict.fromkeys(run["contender"] for run in runs))
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    return {name: [run for run in runs if run["contender"] == name] for name in names}


def median(runs: Runs, key: str) -> float | None:
    """Of those runs that have the figure."""
    values = [run[key] for run in runs if run.get(key) is not None]
    return statistics.median(values) if values else None


def ratio(runs: Runs, name: str, base: str, key: str) -> float | None:
    """The median of the ratios within each round."""
    rounds: dict[int, dict[str, float]] = {}
    for run in runs:
        if run.get(key) is not None:
            rounds.setdefault(run["round"], {})[run["contender"]] = run[key]
    ratios = [found[name] / found[base] for found in rounds.values() if name in found and found.get(base)]
    return statistics.median(ratios) if ratios else None


def _wrong(runs: Runs) -> list[str]:
    """The sums of what was wrong in the files, in the order of `WRONG`."""
    verdicts = [run["verdict"] for run in runs if "verdict" in run]
    if not verdicts:
        return ["–"] * (len(WRONG) + 1)
    sent = sum(verdict["sent"] for verdict in verdicts)
    return [f"{sent:,}"] + [f"{sum(verdict[what] for verdict in verdicts):,}" for what in WRONG]


def _errors(runs: Runs) -> str:
    errors = [run["error"] for run in runs if "error" in run]
    return f"{len(errors)} of {len(runs)} runs failed: {errors[0]}" if errors else ""


def _rates(runs: Runs, killed: Runs) -> str:
    """One row a contender; what its killed producers lost stands in it, too."""
    head: tuple[str, ...] = (
        "contender", "records/s", "least..most", "× noop", "× FileHandler", "call, µs", "p50", "p99", "p99.9", "max",
        "CPU s/M: producers", "server", "MiB: producer", "server",
        "sent", *WRONG, *(["lost after kill -9"] if killed else []),
    )  # fmt: skip
    rows = []
    notes = []
    for name, own in _by_contender(runs).items():
        if _errors(own):
            notes.append(f"* {name}: {_errors(own)}\n")
        good = [run for run in own if "rate" in run]
        if not good:
            continue
        speeds = [run["rate"] for run in good]
        rows.append([
            name, f"{statistics.median(speeds):,.0f}", f"{min(speeds):,.0f}..{max(speeds):,.0f}",
            _times(ratio(runs, name, who.NOOP.name, "rate")), _times(ratio(runs, name, who.FILE.name, "rate")),
            *(_micro(median(good, key)) for key in ("call_us", "p50_us", "p99_us", "p999_us", "max_us")),
            *(_cell(median(good, key)) for key in ("cpu_producers_s", "cpu_server_s")),
            *(_cell(median(good, key)) for key in ("rss_producer_mib", "rss_server_mib")),
            *_wrong(good),
            *([_lost_after_kill([run for run in killed if run["contender"] == name])] if killed else []),
        ])  # fmt: skip
    return table(head, rows) + ("\n" + "".join(notes) if notes else "")


def _lost_after_kill(runs: Runs) -> str:
    good = [run for run in runs if "verdict" in run]
    if not good:
        return "–"
    lost, kills = sum(run["verdict"]["lost"] for run in good), sum(run["struck"] for run in good)
    return f"{lost:,} ({kills} kills)"


def _kills(runs: Runs) -> str:
    head = (
        "contender",
        "kills",
        "that struck",
        "sent",
        *WRONG,
        "of them lost by the killed",
        "runs that hung",
    )
    rows = []
    for name, own in _by_contender(runs).items():
        good = [run for run in own if "verdict" in run]
        rows.append([
            name, *(_cell(sum(run[key] for run in good)) for key in ("kills", "struck")), *_wrong(good),
            _cell(sum(run["lost_of_killed"] for run in good)),
            f"{sum(1 for run in own if run.get('hung') or 'error' in run)} of {len(own)}",
        ])  # fmt: skip
    return table(head, rows)


def _paced(runs: Runs) -> str:
    """One row a contender. The kills of the scenario with such producers stand in the same row."""
    head: tuple[str, ...] = (
        "contender",
        "records/s",
        "CPU of the server, % of one",
        "idle, %",
        "of all producers, %",
        "p50, µs",
        "p99",
        "p99.9",
        "max",
        "sent",
        *WRONG,
    )
    rows = []
    for name, own in _by_contender(runs).items():
        shares = (_percent(median(own, key)) for key in ("server_cpu", "idle_server_cpu", "producers_cpu"))
        calls = (_micro(median(own, key)) for key in ("p50_us", "p99_us", "p999_us", "max_us"))
        rows.append([name, _cell(median(own, "per_second")), *shares, *calls, *_wrong(own)])
    return table(head, rows)


def _visible(runs: Runs) -> str:
    head = ("contender", "p50, ms", "p99, ms", "max, ms", "sent", *WRONG)
    rows = []
    for name, own in _by_contender(runs).items():
        found = [median(own, key) for key in ("p50_us", "p99_us", "max_us")]
        rows.append([name, *(_cell(None if each is None else each / 1e3) for each in found), *_wrong(own)])
    return table(head, rows)


def _streams(runs: Runs) -> str:
    head = ("contender", "records/s", "× the cookbook's", "CPU s/M: server", "MiB: server", "sent", *WRONG)
    rows = []
    for name, own in _by_contender(runs).items():
        times = _times(ratio(runs, name, who.SOCKET_COOKBOOK.name, "rate"))
        figures = (_cell(median(own, key)) for key in ("cpu_server_s", "rss_server_mib"))
        rows.append([name, _cell(median(own, "rate")), times, *figures, *_wrong(own)])
    return table(head, rows)


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _micro(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
