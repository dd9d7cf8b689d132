"""`make bench-compare`: the bench with other people's packages, in an environment of its own.

In: the wheel in ``dist/``; arguments are passed on to `bench/run.py`. Out: its report, below ``target/bench/compare``. The environment is
``.venvs/compare``, made of `requirements.txt` with the newest Python that all of the packages have releases for. rsyslog is the
machine's: where it is missing, the report has the line that installs it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import environments  # noqa: E402

PREFERRED = "3.12"  # picologging has no release for a later one


def main(arguments: Sequence[str]) -> int:
    """Sets the environment up and runs the bench in it."""
    found = environments.interpreters()
    version = PREFERRED if PREFERRED in found else list(found)[-1]
    try:
        python = environments.compare(found[version])
    except environments.SetupError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    command: list[str | Path] = [
        python,
        ROOT / "bench/run.py",
        "--peers",
        "--out",
        ROOT / "target/bench/compare",
        *arguments,
    ]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
