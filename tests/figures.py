"""Keeps the figures of the tests that break things, for docs/reliability.md.

In: the name of a case and its numbers. Out: one JSON line each in ``target/reliability/figures.jsonl``; several processes
may add lines at the same time. Not here: the tables; ``tools/reliability.py`` makes them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

PLACE = Path(__file__).resolve().parent.parent / "target/reliability/figures.jsonl"
IS_FULL = os.environ.get("LOGSERV_FAULTS") == "all"
"""Whether everything runs, as ``make faults`` has it, or the part of it that ``make test`` has time for."""


def keep(case: str, **numbers: float | str | None) -> None:
    """Adds one line, and prints it."""
    line = json.dumps({"case": case, "full": IS_FULL, **numbers})
    print(f"figures: {line}")
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    with PLACE.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
