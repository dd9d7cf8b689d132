"""Rules of the house that no linter knows: heads of files, lengths, names, links."""

from __future__ import annotations

import re
import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINES_MAX = 500
TEST_LINES_MAX = 700  # a list of cases is not read from top to bottom
TEXT_SUFFIXES = {".rs", ".py", ".pyi", ".md", ".toml", ".sh", ".service", ".json"}
MEANINGLESS = re.compile(r"(^|[/_-])(utils?|common|helpers?|misc|manager)(?=[/_.-])")
# Paths of somebody's machine; /tmp, /run, /var, /etc and the like are what users have, too.
MACHINE = re.compile(r"/(?:root|work|home/(?!USER\b|user\b|me\b|app\b))/[\w.-]+")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def tracked() -> list[Path]:
    """The files under version control; outside of a clone, as in an sdist, there is nothing to check."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: git knows which files are the repository's")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        if path.suffix in TEXT_SUFFIXES and path.name != Path(__file__).name:
            yield path, path.read_text("utf-8")


def test_every_rust_file_says_what_it_is() -> None:
    heads = {path: text.lstrip() for path, text in texts() if path.suffix == ".rs"}
    assert heads
    assert [path for path, text in heads.items() if not text.startswith("//! ")] == []


def test_no_source_file_is_longer_than_one_can_read() -> None:
    too_long = []
    for path, text in texts():
        lines, is_test = len(text.splitlines()), "tests" in path.parts or path.name.startswith("tests")
        is_table = path.name == "tables.rs"  # data that a program made
        if (
            path.suffix in (".rs", ".py", ".pyi")
            and not is_table
            and lines > (TEST_LINES_MAX if is_test else LINES_MAX)
        ):
            too_long.append((path.relative_to(ROOT).as_posix(), lines))
    assert too_long == []


def test_no_file_is_named_after_nothing_in_particular() -> None:
    names = [path.relative_to(ROOT).as_posix() for path in tracked()]
    assert [name for name in names if MEANINGLESS.search(name)] == []


def test_no_text_names_a_place_of_one_machine() -> None:
    found = [(path, match[0]) for path, text in texts() for match in MACHINE.finditer(text)]
    assert found == []


def test_links_between_documents_resolve() -> None:
    broken = []
    for path, text in texts():
        if path.suffix == ".md":
            for match in LINK.finditer(text):
                target = match[1].split("#")[0]
                if target and "://" not in target and not (path.parent / target).exists():
                    broken.append((path.relative_to(ROOT).as_posix(), match[1]))
    assert broken == []


def test_every_figure_that_a_test_keeps_has_a_table() -> None:
    tables = runpy.run_path(str(ROOT / "tools/reliability.py"))["TABLES"]
    known = tuple(prefix for prefixes, _ in tables.values() for prefix in prefixes)
    kept = {
        case
        for path, text in texts()
        if path.parent.name == "tests" and path.suffix == ".py"
        for case in re.findall(r'\bkeep\(\s*f?"([^"{]*)', text)
    }
    assert len(kept) > 15
    assert [case for case in sorted(kept) if not case.startswith(known)] == []
    page = (ROOT / "docs/reliability.md").read_text("utf-8")
    assert set(re.findall(r"<!-- figures: (\w+) -->", page)) == {"machine", *tables}


def test_every_unsafe_file_is_one_of_the_rooms_for_it() -> None:
    rooms = re.compile(r"/sys(\.rs$|/)|/allocator\.rs$|crates/logserv-py/src/")
    used = [
        path.relative_to(ROOT).as_posix()
        for path, text in texts()
        if path.suffix == ".rs" and "src" in path.parts and re.search(r"\bunsafe (impl|fn|extern|\{)", text)
    ]
    assert [name for name in used if not rooms.search(name)] == []


def test_every_path_and_test_that_the_architecture_names_exists() -> None:
    architecture = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    quoted = set(re.findall(r"`([^`\n]+)`", architecture))
    paths = {name.split("::")[0] for name in quoted if "/" in name}
    tests = {
        name.rpartition("::")[2]
        for name in quoted
        if re.fullmatch(r"(\S*::)?[a-z0-9]+(_[a-z0-9]+){3,}", name)
    }
    assert len(paths) > 15
    assert len(tests) > 10
    anywhere = [ROOT, *(ROOT / "crates").iterdir()]
    assert [name for name in paths if not any((room / name).exists() for room in anywhere)] == []
    defined = {
        name
        for path, text in texts()
        if path.suffix in (".rs", ".py")
        for name in re.findall(r"\b(?:fn|def) ([a-z0-9_]+)\(", text)
    }
    assert sorted(tests - defined) == []


def test_every_example_is_shown_by_a_page() -> None:
    directories = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    pages = "".join(text for path, text in texts() if path.suffix == ".md")
    shown = set(re.findall(r"examples/(\w+)", pages))
    assert len(directories) > 10
    assert sorted(directories - shown - {"demo"}) == []
