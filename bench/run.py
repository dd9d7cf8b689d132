"""`make bench`: measures, prints the tables, keeps them in ``target/bench``. Fails where a record of ours was lost, doubled or torn.

In: an environment with logserv installed, and for ``--peers`` other people's packages too (`compare/run.py` sees to it). Out:
``report.md`` and ``report.json``. The runs of one scenario are interleaved, in a new random order each round, so that what else the
machine does meets all alike; ratios are formed within a round. Nothing here knows how a run is done (`measure.py`).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import machine, measure, plan, report, scale, stream  # noqa: E402
from bench.contenders import Contender  # noqa: E402
from bench.measure import Figures, RunError, Scenario  # noqa: E402

ERRORS_MAX = 2  # of one contender in one scenario; then it is left out
CALIBRATION_RECORDS = 2_000  # by each thread, in a run whose figures are thrown away
RECORDS_MAX = 1_000_000  # of one run, all threads together: they are all read again


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int
    seconds: float  # of each stage at full speed
    singles: int  # timed calls of each run, all threads together
    records_max: int = RECORDS_MAX
    visible: int = 200
    kill_records: int = 40_000
    stream_records: int = 20_000
    paced_seconds: float = 3.0


USUAL = Effort(3, 0.7, 20_000)
THOROUGH = Effort(5, 1.5, 40_000)
TINY = Effort(1, 0.01, 100, 200, 5, 2_000, 100, 0.4)


def run_once(contender: Contender, scenario: Scenario, records: int, effort: Effort) -> Figures:
    """One run of whichever kind."""
    match scenario.kind:
        case "kill":
            return measure.kill(contender, scenario, effort.kill_records)
        case "paced":
            return measure.paced(contender, scenario, effort.paced_seconds)
        case "visible":
            return measure.visible(contender, scenario, effort.visible)
        case "stream":
            return stream.stream(contender, scenario, effort.stream_records)
        case _:
            singles = max(50, effort.singles // scenario.writers)
            return measure.rate(contender, scenario, records, singles)


def calibrate(contender: Contender, scenario: Scenario, effort: Effort) -> int:
    """How many records each thread logs so that a run takes about the seconds that it should."""
    most = effort.records_max // scenario.writers
    if most <= CALIBRATION_RECORDS:
        return most
    first = CALIBRATION_RECORDS
    figures = measure.rate(contender, scenario, first, 0)
    took_s = figures["records"] / figures["rate"]
    rate = figures["rate"]
    if took_s < 0.05:  # less than what the end of a run is rounded to: the calls tell more
        rate = scenario.processes * 1e6 / max(figures["call_us"], 0.05)
    return max(first, min(most, int(rate * effort.seconds / scenario.writers)))


class Bench:
    """All runs, and what came of them."""

    def __init__(self, effort: Effort, parts: Sequence[plan.Part]) -> None:
        self.effort = effort
        self.parts = parts
        self.runs: list[Figures] = []
        self.missing: dict[str, str] = {}

    def measure(self) -> None:
        """Runs everything."""
        for part in self.parts:
            self._part(part)

    def _part(self, part: plan.Part) -> None:
        scenario = part.scenario
        print(f"\n{scenario.name}", file=sys.stderr, flush=True)
        contenders = []
        records = {}
        for contender in part.contenders:
            reason = contender.missing()
            if reason:
                self.missing[contender.name] = reason
                continue
            contenders.append(contender)
            if scenario.kind == "rate":
                try:
                    records[contender.name] = calibrate(contender, scenario, self.effort)
                except (RunError, OSError, AssertionError) as error:
                    self._keep(contender, scenario, -1, {"error": str(error) or type(error).__name__})
                    contenders.remove(contender)
        for number in range(self.effort.rounds):
            random.shuffle(contenders)
            for contender in contenders:
                self._one(contender, scenario, number, records.get(contender.name, CALIBRATION_RECORDS))

    def _one(self, contender: Contender, scenario: Scenario, number: int, records: int) -> None:
        errors = [
            run
            for run in self.runs
            if (run["contender"], run["scenario"]) == (contender.name, scenario.name) and "error" in run
        ]
        if len(errors) >= ERRORS_MAX:
            return
        try:
            figures = run_once(contender, scenario, min(records, self._most(scenario)), self.effort)
        except (RunError, OSError, AssertionError) as error:
            figures = {"error": str(error) or type(error).__name__}
        self._keep(contender, scenario, number, figures)

    def _most(self, scenario: Scenario) -> int:
        return max(1, self.effort.records_max // scenario.writers)

    def _keep(self, contender: Contender, scenario: Scenario, number: int, figures: Figures) -> None:
        run = {
            "scenario": scenario.name,
            "kind": scenario.kind,
            "contender": contender.name,
            "ours": contender.is_ours,
            "survives_kill": contender.survives_kill,
            "has_ring": contender.has_ring,
            "round": number,
            **figures,
        }
        self.runs.append(run)
        said = figures.get("error") or report.one_line(run)
        print(f"  {number + 1}  {contender.name}: {said}", file=sys.stderr, flush=True)


def failures(runs: Sequence[Figures]) -> list[str]:
    """What of ours went wrong. A client without a ring may lose what it had not sent when it was killed."""
    found = []
    for run in runs:
        if not run["ours"]:
            continue
        where = f"{run['contender']}, {run['scenario']}, round {run['round'] + 1}"
        if "error" in run:
            found.append(f"{where}: {run['error']}")
            continue
        if "ring_bytes" in run.get("facts", {}) and bool(run["facts"]["ring_bytes"]) != run["has_ring"]:
            found.append(f"{where}: carried otherwise than it should be: {run['facts']}")
        verdict = run["verdict"]
        lost = verdict["lost"]
        if run["kind"] == "kill" and not run["survives_kill"]:
            lost -= run["lost_of_killed"]
        wrong = {"lost": lost}
        wrong |= {what: verdict[what] for what in ("doubled", "torn", "reordered", "invented", "oversize")}
        if any(wrong.values()) or run.get("hung"):
            what = ", ".join(f"{count} {what}" for what, count in wrong.items() if count)
            found.append(f"{where}: {what} {run.get('hung', '')} {verdict['examples']}")
    return found


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measures logserv beside others.")
    parser.add_argument(
        "--all", action="store_true", help="every scenario with every contender; about an hour"
    )
    parser.add_argument("--tiny", action="store_true", help="a little of everything, to see that it works")
    parser.add_argument(
        "--peers", action="store_true", help="other people's packages too; see compare/run.py"
    )
    parser.add_argument("--scale", action="store_true", help="only 1,000 processes and 5,000 connections")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="scenarios with this in their name"
    )
    parser.add_argument(
        "--with",
        action="append",
        default=[],
        dest="names",
        metavar="TEXT",
        help="contenders with this in their name",
    )
    parser.add_argument("--rounds", type=int, help="runs of each contender in each scenario")
    parser.add_argument("--seconds", type=float, help="length of the fast part of a run")
    parser.add_argument("--out", type=Path, default=ROOT / "target/bench", help="where the reports go")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measures, reports; 1 where something of ours went wrong."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    effort = TINY if options.tiny else THOROUGH if options.all else USUAL
    parts = plan.tiny() if options.tiny else plan.everything() if options.all else plan.usual()
    packages: list[str] = []
    if options.peers:
        from bench.compare import peers

        parts, packages = plan.with_peers(parts, peers.PEERS), peers.packages()
    parts = chosen(parts, options.only, options.names)
    effort = Effort(
        **{
            **vars(effort),
            "rounds": options.rounds or effort.rounds,
            "seconds": options.seconds or effort.seconds,
        }
    )
    described = machine.describe(packages, options.out)
    bench = Bench(effort, parts)
    scaled: list[dict[str, Any]] = []
    if options.scale:
        scaled = scale.measure()
    else:
        bench.measure()
    described["took_s"] = round(time.monotonic() - started)
    wrong = failures(bench.runs) + scale.failures(scaled)
    kept = {
        "machine": described,
        "effort": vars(effort),
        "missing": bench.missing,
        "failures": wrong,
        "runs": bench.runs,
        "scale": scaled,
    }
    name = "scale" if options.scale else "report"
    (options.out / f"{name}.json").write_text(json.dumps(kept, indent=1), "utf-8")
    text = report.markdown(kept)
    (options.out / f"{name}.md").write_text(text, "utf-8")
    print(text)
    for line in wrong:
        print(f"FAILED: {line}")
    return 1 if wrong else 0


def chosen(parts: Sequence[plan.Part], scenarios: Sequence[str], names: Sequence[str]) -> list[plan.Part]:
    """Those parts and contenders that the command line asks for."""
    kept = []
    for part in parts:
        if scenarios and not any(text in part.scenario.name for text in scenarios):
            continue
        contenders = tuple(
            each for each in part.contenders if not names or any(text in each.name for text in names)
        )
        if contenders:
            kept.append(plan.Part(part.scenario, contenders))
    return kept


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
