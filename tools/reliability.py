"""Puts the figures of the fault tests into the tables of docs/reliability.md.

In: ``target/reliability/figures.jsonl``, one line for each case (``tests/figures.py``); of a case that is there twice the last
one counts. Out: the text between ``<!-- figures: NAME -->`` and ``<!-- end -->``, for each table. Only figures of a whole run
(``make faults``) are taken, unless ``--any`` is given; a case that belongs to no table is an error, so that none is left out.
Not here: measuring, and the text around the tables.

Usage: reliability.py [--any] [--check]      (--check: prints the tables, changes nothing)
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "target/reliability/figures.jsonl"
PAGE = ROOT / "docs/reliability.md"

Figures = dict[str, Any]
Column = tuple[str, str]
"""A heading, and the key of the figure below it."""

WRONG: list[Column] = [(key, key) for key in ("lost", "doubled", "torn", "reordered")]
FAULTS: list[Column] = [
    ("case", "case"),
    ("faults", "kills"),
    ("that struck", "struck"),
    ("records", "records"),
]

TABLES: dict[str, tuple[tuple[str, ...], list[Column]]] = {
    "kills": (
        (
            "client kills",
            "server kills",
            "both killed",
            "crash points",
            "torn writes",
            "users: ",
            "rings passed: ",
        ),
        [*FAULTS, *WRONG],
    ),
    "recovery": (
        ("server kills",),
        [
            ("case", "case"),
            ("kills", "kills"),
            ("until it accepts: median, s", "recovery_median_s"),
            ("longest, s", "recovery_max_s"),
            ("torn lines seen before the repair", "torn_before_repair"),
        ],
    ),
    "lives": (("client ends", "children: ", "client stands", "server stands"), [*FAULTS, *WRONG]),
    "memory": (
        ("/dev/shm of",),
        [("case", "case"), ("clients", "clients"), ("with a ring", "rings"), ("records", "records"), *WRONG],
    ),
    "full": (
        ("full ring",),
        [
            ("case", "case"),
            *((key, key) for key in ("emitted", "records", "dropped", "told", "unaccounted")),
            ("longest call, ms", "longest_call_ms"),
        ],
    ),
    "others": (("others",), [*FAULTS, *WRONG, ("went with a cut", "cut_off")]),
    "power": (
        ("power loss",),
        [
            *FAULTS[:2],
            ("confirmed as synced", "confirmed"),
            ("of them lost", "lost"),
            ("returned and gone", "returned_and_gone"),
            ("zeros at the end, bytes", "zeros_at_end_max_bytes"),
            ("newest line before the cut, ms", "window_max_ms"),
        ],
    ),
    "order": (
        ("order, ",),
        [
            ("case", "case"),
            *((key, key) for key in ("processes", "records", "inversions")),
            ("furthest, ms", "inversion_max_ms"),
            ("records/s", "per_second"),
            ("reordered in a thread", "reordered"),
        ],
    ),
    "cost": (
        ("system calls, ", "idle "),
        [
            ("case", "case"),
            ("logging calls", "calls"),
            ("system calls of ours", "system_calls"),
            ("client, ticks", "client_ticks"),
            ("server, ticks", "server_ticks"),
        ],
    ),
}


def cases(lines: list[str], take_any: bool) -> dict[str, Figures]:
    """The figures by case."""
    found: dict[str, Figures] = {}
    for line in lines:
        figures = json.loads(line)
        if figures["full"] or take_any:
            found[figures["case"]] = figures
    return found


def cell(value: object) -> str:
    """A figure as it stands in a table."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def table(prefixes: tuple[str, ...], columns: list[Column], found: dict[str, Figures]) -> str:
    """One table, in the order of the prefixes; columns that no case has a figure for are left out."""
    rows = [figures for prefix in prefixes for case, figures in found.items() if case.startswith(prefix)]
    # A case that counts something of its own is in the table of that, too; in others it has nothing but its number.
    rows = [row for row in rows if any(row.get(key) is not None for _, key in columns[2:])]
    columns = [column for column in columns if any(column[1] in row for row in rows)]
    if not rows:
        return "Not measured here; `make faults` does."
    texts = [[heading for heading, _ in columns]]
    texts.append(["---", *["---:"] * (len(columns) - 1)])
    texts += [[cell(row.get(key)) for _, key in columns] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in texts)


def machine() -> str:
    """On what the figures were measured."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    processors = len(
        [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")]
    )
    return (
        f"{processors} processors, {platform.machine()}, Linux {platform.release().split('-')[0]}"
        + (f", commit {commit}" if commit else "")
        + "."
    )


def fill(page: str, render: Callable[[str], str]) -> str:
    """The page with each table replaced by what `render` makes of its name."""
    return re.sub(
        r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{render(match[2])}\n{match[3]}",
        page,
        flags=re.DOTALL,
    )


def main(arguments: list[str]) -> int:
    """The command line."""
    if not set(arguments) <= {"--any", "--check"}:
        print(__doc__, file=sys.stderr)
        return 2
    if not FIGURES.exists():
        print(f"reliability: no {FIGURES.relative_to(ROOT)}; run: make faults", file=sys.stderr)
        return 1
    found = cases(FIGURES.read_text("utf-8").splitlines(), "--any" in arguments)
    known = tuple(prefix for prefixes, _ in TABLES.values() for prefix in prefixes)
    strange = [case for case in found if not case.startswith(known)]
    if strange:
        print(f"reliability: no table for {', '.join(strange)}", file=sys.stderr)
        return 1
    if not found:
        print("reliability: no figures of a whole run; run: make faults", file=sys.stderr)
        return 1

    def render(name: str) -> str:
        return machine() if name == "machine" else table(*TABLES[name], found)

    if "--check" in arguments:
        print("\n\n".join(f"{name}\n{render(name)}" for name in TABLES))
        return 0
    page = PAGE.read_text("utf-8")
    PAGE.write_text(fill(page, render), "utf-8")
    print(f"{len(found)} cases in {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
