"""The Rust renderer beside CPython's ``logging.Formatter``: the same lines, byte for byte, or an honest refusal.

``format_cases.py`` makes formatters and records and lets this Python render them, in a process per time zone; the Rust
example ``render`` renders the same, once by the offsets that producers send, in a process that lives in another zone,
and once by its own zone, as for producers that send none. ``LOGSERV_TEST_SEED`` replays a run, ``LOGSERV_TEST_CASES``
says how many cases.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: The first test builds the renderer, from nothing where `cargo test` has not run.
pytestmark = pytest.mark.timeout(600)

REPOSITORY = Path(__file__).resolve().parent.parent
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"]
SEED = int(os.environ.get("LOGSERV_TEST_SEED") or random.randrange(2**32))
CASES = int(os.environ.get("LOGSERV_TEST_CASES") or 10_000)

#: The least shares that Rust must render: of what everybody writes all, of the wildest formats that Python renders most.
MAINSTREAM_SHARE = 1.0
WILD_SHARE = 0.85


@pytest.fixture(scope="module")
def renderer() -> Path:
    """The example ``render``, built."""
    if named := os.environ.get("LOGSERV_RENDER"):
        return Path(named)
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("no cargo to build the renderer with; LOGSERV_RENDER may name one")
    command = [
        cargo,
        "build",
        "--quiet",
        "--package",
        "logserv-format",
        "--example",
        "render",
        "--message-format=json",
    ]
    built = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    (path,) = [
        message["executable"] for message in messages if message.get("target", {}).get("name") == "render"
    ]
    return Path(path)


def made_by_python(seed: int, count: int, environment: dict[str, str]) -> list[dict[str, Any]]:
    """Cases with the lines of this Python."""
    script = Path(__file__).with_name("format_cases.py")
    command = [sys.executable, str(script), str(seed), str(count)]
    made = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in made.stdout.decode().split("\n") if line]


def rendered(renderer: Path, cases: list[dict[str, Any]], zone: str, *options: str) -> list[dict[str, Any]]:
    """The answers of Rust, in a process that lives in ``zone``."""
    asked = "".join(json.dumps(case) + "\n" for case in cases).encode()
    environment = {**os.environ, "TZ": zone}
    answered = subprocess.run(
        [renderer, *options], env=environment, input=asked, stdout=subprocess.PIPE, check=True
    )
    answers = [json.loads(line) for line in answered.stdout.decode().split("\n") if line]
    assert len(answers) == len(cases)
    return answers


def difference(case: dict[str, Any], answer: dict[str, Any], line: str | None, what: str) -> str:
    shown = {key: case[key] for key in ("spec", "fields", "attributes", "expected", "raised")}
    return f"{what} (LOGSERV_TEST_SEED={SEED})\n  case: {json.dumps(shown)}\n  answer: {answer}\n  line: {line!r}"


def is_supported(answer: dict[str, Any]) -> bool:
    return "refused" not in answer and answer["unsupported"] is None


@pytest.mark.parametrize("zone", ZONES)
def test_every_line_is_that_of_cpython(renderer: Path, zone: str) -> None:
    print(f"LOGSERV_TEST_SEED={SEED}")
    cases = made_by_python(SEED + ZONES.index(zone), CASES // len(ZONES), {"TZ": zone, "LC_ALL": "C.UTF-8"})
    remote = rendered(renderer, cases, "Pacific/Apia")
    local = rendered(renderer, cases, zone, "--local")
    counts = {True: [0, 0], False: [0, 0]}
    raised = 0
    for case, answer, own in zip(cases, remote, local, strict=True):
        if case["raised"] is not None:
            raised += 1
            assert not is_supported(answer), difference(case, answer, None, "Python raises, Rust renders")
            continue
        counts[case["mainstream"]][0] += 1
        if is_supported(answer):
            counts[case["mainstream"]][1] += 1
            for line, what in ((answer["line"], "by offset"), (own["line"], "by its own zone")):
                assert line == case["expected"], difference(case, answer, line, what)
    print(
        f"{zone}: {len(cases)} cases, {raised} raise; rendered/of: mainstream {counts[True]}, wild {counts[False]}"
    )
    # Otherwise nothing was compared.
    assert raised > len(cases) // 20
    assert min(counts[True][0], counts[False][0]) > len(cases) // 20
    assert counts[True][1] >= MAINSTREAM_SHARE * counts[True][0], counts
    assert counts[False][1] >= WILD_SHARE * counts[False][0], counts


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a German LC_TIME: the system's, or one compiled for this test."""
    installed = (
        subprocess.run(["locale", "-a"], stdout=subprocess.PIPE, text=True, check=False)
        .stdout.lower()
        .split()
    )
    if "de_de.utf8" in installed:
        return {"LC_ALL": "de_DE.UTF-8"}
    path = tmp_path_factory.mktemp("locales")
    localedef = shutil.which("localedef")
    if localedef is None:
        pytest.skip("no German locale, and no localedef to make one (package locales)")
    made = subprocess.run(
        [localedef, "-i", "de_DE", "-f", "UTF-8", str(path / "de_DE.UTF-8")], capture_output=True, check=False
    )
    if made.returncode > 1 or not (path / "de_DE.UTF-8").is_dir():
        pytest.skip(f"no German locale, and localedef cannot make one: {made.stderr.decode()[-200:]}")
    return {"LC_ALL": "de_DE.UTF-8", "LOCPATH": str(path)}


def test_a_formatter_tells_what_depends_on_the_locale(renderer: Path, german: dict[str, str]) -> None:
    print(f"LOGSERV_TEST_SEED={SEED}")
    cases = made_by_python(SEED, CASES // len(ZONES), {"TZ": "Europe/Berlin", **german})
    different = 0
    for case, answer in zip(cases, rendered(renderer, cases, "Pacific/Apia"), strict=True):
        if case["raised"] is not None:
            assert not is_supported(answer), difference(case, answer, None, "Python raises, Rust renders")
        elif is_supported(answer):
            if answer["locale_names"]:
                different += answer["line"] != case["expected"]
            else:
                assert answer["line"] == case["expected"], difference(
                    case, answer, answer["line"], "in German"
                )
    assert different > 10, "the German locale made no difference"
