"""Runs everything that CI runs, step by step, and says at the end what failed and what could not run.

In: the wheel in ``dist/`` and the environment ``.venvs/tools`` that runs this; ``make test`` sees to both.
Out: a heading, the time and the result of each step; ``NOT RUN: test, reason`` for whatever this machine cannot run,
with a total; coverage; one line of summary. Every step runs even if an earlier one failed.

Usage: run_tests.py [--only STEP-PREFIX]…
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import environments
from rust_coverage import RustCoverage

ROOT = environments.ROOT
RETRIED_MAX = 5  # more than so many failures are none of the machine's
FUZZ_SECONDS = "5"  # for each decoder
PASSED_RUST_TEST = re.compile(r"^(test .* \.\.\. ok)?$")
STARTED_BY_ANOTHER = (
    "started by "  # the reason of a test that is half of another one, in a process of its own
)
FAILED_RUST_TEST = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. FAILED$")
IGNORED_RUST_TEST = re.compile(r"^test (\S+) \.\.\. ignored(?:, (.*))?$")
LINTED_PYTHON = ["python", "tests", "tools", "build_backend", "examples", "bench"]


class StepError(Exception):
    """A step failed; its own output has said why."""


class Runner:
    """Runs commands, passes their output on, and keeps account."""

    def __init__(self) -> None:
        self.not_run: list[str] = []
        self.unstable: list[str] = []
        self.failed_rust_tests: list[str] = []
        self.results: list[tuple[str, bool, float]] = []

    def step(self, name: str, action: Callable[[], None]) -> None:
        """Runs `action` under a heading and remembers how it went."""
        print(f"\n=== {name}", flush=True)
        started = time.monotonic()
        try:
            action()
            passed = True
        except (StepError, environments.SetupError) as error:
            print(f"--- {name} FAILED: {error}", flush=True)
            passed = False
        self.results.append((name, passed, time.monotonic() - started))

    def command(self, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        """Runs one command; its lines are passed on as they come, and searched for what did not run."""
        texts = [str(part) for part in command]
        print("$ " + " ".join(texts), flush=True)
        with subprocess.Popen(
            texts,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if PASSED_RUST_TEST.match(line):
                    continue
                if failed := FAILED_RUST_TEST.match(line):
                    self.failed_rust_tests.append(failed[1])
                ignored = IGNORED_RUST_TEST.match(line)
                if ignored and not (ignored[2] or "").startswith(STARTED_BY_ANOTHER):
                    line = f"NOT RUN: {ignored[1]}, {ignored[2] or 'ignored without a reason'}\n"
                if line.startswith("NOT RUN: "):
                    self.not_run.append(line.removeprefix("NOT RUN: ").rstrip())
                sys.stdout.write(line)
                sys.stdout.flush()
        if process.returncode != 0:
            raise StepError(f"exit code {process.returncode}: {' '.join(texts)}")

    def once_more(self, what: str, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        """Runs alone what failed beside other tests, and tells of it whatever comes out.

        Processes that are killed and clocks that are watched do not always fare on a machine that is busy with something
        else as they should; a defect fails alone, too.
        """
        print(f"--- failed: {what}; once more, alone", flush=True)
        self.command(*command, env=env)
        self.unstable.append(what)

    def cannot_run(self, test: str, reason: str) -> None:
        """Tells that something could not run on this machine."""
        print(f"NOT RUN: {test}, {reason}", flush=True)
        self.not_run.append(f"{test}, {reason}")

    def summary(self) -> bool:
        """Prints the account of the whole run; True if nothing failed."""
        print("\n=== summary")
        for name, passed, seconds in self.results:
            print(f"{'passed' if passed else 'FAILED'}  {seconds:6.1f} s  {name}")
        for line in self.not_run:
            print(f"  not run: {line}")
        print(f"NOT RUN: {len(self.not_run)}")
        for line in self.unstable:
            print(f"UNSTABLE, passed only alone: {line}")
        failed = [name for name, passed, _ in self.results if not passed]
        seconds = sum(result[2] for result in self.results)
        passes = len(self.results) - len(failed)
        print(
            f"{'FAIL' if failed else 'PASS'}: {passes} of {len(self.results)} steps passed in {seconds:.0f} s"
        )
        return not failed


def lint_rust(runner: Runner) -> None:
    """Formatting, clippy without a warning, and documentation whose links resolve."""
    python = {"PYO3_PYTHON": sys.executable}
    runner.command("cargo", "fmt", "--all", "--check")
    runner.command(
        *("cargo", "clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"),
        env=python,
    )
    runner.command(
        *("cargo", "doc", "--quiet", "--locked", "--workspace", "--no-deps"),
        env={**python, "RUSTDOCFLAGS": "-D warnings"},
    )


def lint_python(runner: Runner) -> None:
    """ruff and mypy."""
    directories = [name for name in LINTED_PYTHON if (ROOT / name).is_dir()]
    runner.command(sys.executable, "-m", "ruff", "check", "--quiet", *directories)
    runner.command(sys.executable, "-m", "ruff", "format", "--quiet", "--check", *directories)
    runner.command(sys.executable, "-m", "mypy", *directories)


def rust_tests(runner: Runner, coverage: RustCoverage) -> None:
    """All Rust tests, counted for coverage where rustc's LLVM tools are at hand."""
    # The binding is tested from Python: its test binary would need a shared libpython.
    what = ("--locked", "--workspace", "--exclude", "logserv-py")
    if coverage.missing:
        runner.cannot_run("Rust coverage", coverage.missing)
    runner.failed_rust_tests.clear()
    try:
        runner.command("cargo", "test", *what, "--no-fail-fast", env=coverage.environment())
    except StepError:
        failed = sorted(set(runner.failed_rust_tests))
        if not failed:
            raise  # it was not a test: it did not compile, or a whole program of tests died
        alone = ("--", "--exact", "--test-threads", "1", *failed)
        runner.once_more(", ".join(failed), "cargo", "test", *what, *alone, env=coverage.environment())


def python_tests(runner: Runner, python: Path, is_newest: bool) -> None:
    """The Python tests in one environment; on the newest Python all of them, and counted for coverage."""
    command: list[str | Path] = [python, "-m"]
    if is_newest:
        command += ["coverage", "run", "-m"]
    command += ["pytest", "-q", "-n", "2", "--dist", "loadfile"]
    if not is_newest:
        command += ["-m", "not newest"]
    # CI empty: pytest would otherwise print differences of thousands of lines whole.
    env = {"COVERAGE_FILE": str(ROOT / "target/python-coverage/data"), "CI": ""}
    try:
        runner.command(*command, env=env)
    except StepError:
        failed = last_failed()
        if not failed or len(failed) > RETRIED_MAX:
            raise
        runner.once_more(", ".join(failed), python, "-m", "pytest", "-q", *failed, env=env)


def last_failed() -> list[str]:
    """The tests that pytest has noted as failed."""
    noted = ROOT / ".pytest_cache/v/cache/lastfailed"
    return sorted(json.loads(noted.read_text("utf-8"))) if noted.exists() else []


def python_coverage(runner: Runner, python: Path) -> None:
    """What the tests of one interpreter have run of the package, in all their processes."""
    env = {"COVERAGE_FILE": str(ROOT / "target/python-coverage/data")}
    runner.command(python, "-m", "coverage", "combine", "--quiet", "target/python-coverage", env=env)
    runner.command(python, "-m", "coverage", "report", "--skip-empty", env=env)


def bench(runner: Runner, python: Path) -> None:
    """That the bench works; its figures mean nothing on so few records."""
    runner.command(python, "bench/run.py", "--tiny", "--out", "target/bench/tiny")


def instruction_counts(runner: Runner, python: Path | None) -> None:
    """What one record costs in each room, and a call, in instructions: figures that a noisy machine does not change, to compare with
    the last.
    """
    if shutil.which("valgrind") is None:
        runner.cannot_run("instruction counts", "no valgrind; install it with: apt-get install valgrind")
        return
    runner.command(sys.executable, "bench/micro.py", "--instructions", "--count", "1000")
    if python is not None:
        ways = ("--way", "ring", "--way", "native")
        runner.command(python, "bench/calls.py", "--count", "500", "--kind", "plain", *ways)


def stubs(runner: Runner, python: Path) -> None:
    """Whether ``_native.pyi`` says what the extension has."""
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    runner.command(
        *(sys.executable, "-m", "mypy.stubtest", "logserv", "--mypy-config-file", "tools/stubtest.ini"),
        env={"PYTHONPATH": site},
    )


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs everything that CI runs.")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PREFIX", help="steps whose name begins so"
    )
    only = tuple(parser.parse_args(arguments).only)
    runner = Runner()
    rust_coverage = RustCoverage(ROOT)

    def step(name: str, action: Callable[[], None]) -> None:
        if not only or name.startswith(only):
            runner.step(name, action)

    step("lint: Rust", lambda: lint_rust(runner))
    step("lint: Python", lambda: lint_python(runner))
    step("Rust tests", lambda: rust_tests(runner, rust_coverage))
    found = environments.interpreters()
    newest = max(found, key=lambda version: int(version.split(".")[1]), default=None)
    for version, base in found.items():
        step(
            f"Python {version} tests ({base})",
            lambda version=version, base=base: python_tests(  # type: ignore[misc]
                runner, environments.tests(version, base), is_newest=version == newest
            ),
        )
    for minor in environments.SUPPORTED_MINORS:
        if f"3.{minor}" not in found and not only:
            runner.cannot_run(
                f"Python 3.{minor} tests", f"no python3.{minor} with venv on PATH or below ~/.pyenv"
            )
    if newest is not None:
        python = environments.VENVS / newest / "bin/python"
        step(
            f"coverage of the Python package (by the tests of Python {newest})",
            lambda: python_coverage(runner, python),
        )
        base_minor = f"3.{sys.version_info.minor}"
        if base_minor in found:
            step("stubs", lambda: stubs(runner, environments.tests(base_minor, found[base_minor])))
    if newest is not None:
        step(
            "demo", lambda: runner.command(environments.tests(newest, found[newest]), "examples/demo/demo.py")
        )
        step("bench, in small", lambda: bench(runner, environments.tests(newest, found[newest])))
    step(
        "instruction counts",
        lambda: instruction_counts(runner, environments.tests(newest, found[newest]) if newest else None),
    )
    step("sdist", lambda: runner.command(sys.executable, "tools/check_sdist.py"))
    if not rust_coverage.missing:
        step("coverage of the Rust crates (by the Rust tests)", lambda: rust_coverage.report(runner.command))
    step(
        "fuzzing",
        lambda: runner.command(
            *("cargo", "run", "--profile", "fuzz", "--quiet", "--locked", "--package", "logserv-fuzz", "--"),
            *("--seconds", FUZZ_SECONDS, "all"),
        ),
    )
    return 0 if runner.summary() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
