"""Counts which lines of the Rust crates the Rust tests run, with rustc's own instrumentation and LLVM's tools.

In: the workspace. Out: the environment in which ``cargo test`` is to run, and afterwards a table.
The tools must be of the LLVM that rustc was built on (22 for Rust 1.95); Debian has them as ``llvm-22``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path


class RustCoverage:
    """One measurement. `missing` says why there can be none, or is empty."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "target/rust-coverage"
        found = re.search(r"LLVM version: (\d+)", _output("rustc", "--version", "--verbose"))
        llvm = found[1] if found else "unknown"
        self.profdata = shutil.which(f"llvm-profdata-{llvm}")
        self.cov = shutil.which(f"llvm-cov-{llvm}")
        self.missing = ""
        if not (self.profdata and self.cov):
            self.missing = f"no llvm-cov-{llvm}; install it with: apt-get install llvm-{llvm}"

    def environment(self) -> dict[str, str]:
        """Variables for ``cargo test``. Removes what an earlier run has counted."""
        if self.missing:
            return {}
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        return self._instrumented()

    def _instrumented(self) -> dict[str, str]:
        return {
            "RUSTC_WORKSPACE_WRAPPER": str(self.root / "tools/rustc_coverage.sh"),
            "LLVM_PROFILE_FILE": str(self.directory / "%p-%12m.profraw"),
            # A directory of its own, so that the ordinary builds beside it stay as they are.
            "CARGO_TARGET_DIR": str(self.root / "target/instrumented"),
        }

    def report(self, run: Callable[..., None]) -> None:
        """Prints the table, one line per file."""
        # A process that a test killed leaves half a profile, which is left out with a warning.
        profiles = [str(path) for path in self.directory.glob("*.profraw")]
        merged = self.directory / "merged.profdata"
        subprocess.run(
            [
                str(self.profdata),
                "merge",
                "--sparse",
                "--failure-mode=all",
                "--output",
                str(merged),
                *profiles,
            ],
            check=True,
        )
        objects = [f"--object={path}" for path in self._binaries()]
        run(
            *(str(self.cov), "report", f"--instr-profile={merged}", *objects),
            "--ignore-filename-regex=(/registry/|/rustc/|/tests/|/tests\\.rs|/examples/|/fuzz/|/instrumented/)",
            "--show-region-summary=false",
            "--show-branch-summary=false",
        )

    def _binaries(self) -> list[str]:
        """What ``cargo test`` has built: the test binaries, and the program that some of them run."""
        lines = subprocess.run(
            [
                *("cargo", "test", "--no-run", "--locked", "--workspace", "--exclude", "logserv-py"),
                "--message-format=json",
            ],
            cwd=self.root,
            env={**os.environ, **self._instrumented()},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        ).stdout.splitlines()
        messages = (json.loads(line) for line in lines if line.startswith("{"))
        return sorted({message["executable"] for message in messages if message.get("executable")})


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
