"""CPython's own tests of `logging`, with the package imported before them, and with its native logger installed: the same
ones pass, so the one has patched nothing, and the other does what the library does.

They are those of the interpreter that runs these tests, each of the supported versions in its turn.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# Prints one JSON object: each test's name and what became of it.
RUN = """
import json, sys, unittest
{imports}
from test import support
outcome = {{}}
class Result(unittest.TextTestResult):
    def addSuccess(self, test): super().addSuccess(test); outcome.setdefault(test.id(), "passed")
    def addFailure(self, test, error): super().addFailure(test, error); outcome[test.id()] = "failed"
    def addError(self, test, error): super().addError(test, error); outcome[test.id()] = "failed"
    def addSkip(self, test, reason): super().addSkip(test, reason); outcome[test.id()] = "skipped"
    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None: outcome[test.id()] = "failed"
suite = unittest.defaultTestLoader.loadTestsFromName("test.test_logging")
unittest.TextTestRunner(sys.stderr, resultclass=Result, verbosity=0).run(suite)
with open(sys.argv[1], "w") as file: json.dump(outcome, file)
"""
IMPORTS = """
import importlib.util, logserv, logserv.client, logserv.server
if importlib.util.find_spec("logserv.handlers"): import logserv.handlers
"""
INSTALLED = """
import logging, logserv
logserv.install()
assert type(logging.getLogger("a.new.one")) is logserv.Logger and isinstance(logging.root, logserv.Logger)
"""
LEAST = 150  # tests: the module has more in every version, and fewer would mean that it was not run


def start(imports: str, directory: Path) -> subprocess.Popen[str]:
    directory.mkdir()
    return subprocess.Popen(
        [sys.executable, "-c", RUN.format(imports=imports), directory / "outcome.json"],
        cwd=directory,
        env={**os.environ, "TMPDIR": str(directory)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], directory: Path) -> tuple[dict[str, str], str]:
    _out, err = process.communicate(timeout=110)
    assert process.returncode == 0, err
    return json.loads((directory / "outcome.json").read_text()), err


def test_cpythons_own_tests_of_logging_pass(tmp_path: Path) -> None:
    probe = [sys.executable, "-c", "import test.test_logging"]
    found = subprocess.run(probe, capture_output=True, text=True, timeout=60, check=False)
    if found.returncode != 0:
        # Debian and others leave the package `test` out.
        pytest.skip(f"this Python has no test.test_logging: {found.stderr.strip().splitlines()[-1]}")
    # Short names: the tests make Unix sockets below, whose paths have 107 bytes at most.
    ways = {"without": ("", "0"), "imported": (IMPORTS, "1"), "installed": (INSTALLED, "2")}
    processes = {name: start(imports, tmp_path / place) for name, (imports, place) in ways.items()}
    without, _ = finish(processes["without"], tmp_path / "0")
    assert len(without) > LEAST
    for name in ("imported", "installed"):
        with_package, printed = finish(processes[name], tmp_path / ways[name][1])
        # What fails on this machine without the package says nothing about it.
        differing = {
            test: (result, with_package.get(test))
            for test, result in without.items()
            if with_package.get(test) != result and result != "failed"
        }
        assert differing == {}, f"{name}: {printed}"
        assert re.search(r"^Ran \d+ tests", printed, re.MULTILINE)
