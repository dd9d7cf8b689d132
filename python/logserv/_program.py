"""Finds the program `logserv` that was installed together with this package; never by PATH."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

ENVIRONMENT = "LOGSERV_PROGRAM"
"""Names the program's file while developing: it comes before the installed one."""

_NAME = "logserv"


def find_program() -> str:
    """The absolute path of the program that belongs to this package.

    Raises:
        FileNotFoundError: It is not where the installation says, or `LOGSERV_PROGRAM` names no executable file.
    """
    if override := os.environ.get(ENVIRONMENT):
        if not _is_program(Path(override)):
            raise FileNotFoundError(f"{ENVIRONMENT} names no executable file: {override}")
        return str(Path(override).absolute())
    for candidate in _candidates():
        if _is_program(candidate):
            return str(candidate)
    raise FileNotFoundError(
        f"the program 'logserv' is not installed with the package in {Path(__file__).parent}; it runs on Linux: "
        f"install the wheel for this machine there, or name the program in {ENVIRONMENT}"
    )


def find_program_or_guess() -> str:
    """The program's path; where it is missing, that where it is to be expected: it may be about to be installed."""
    try:
        return find_program()
    except FileNotFoundError:
        if override := os.environ.get(ENVIRONMENT):
            return str(Path(override).absolute())
        return str(Path(sys.prefix, "bin", _NAME))


def _candidates() -> Iterator[Path]:
    # Only the distribution that this very package was imported from: another one may be installed further down the path.
    beside = Path(__file__).resolve().parent.parent
    for record in beside.glob(f"{_NAME}-*.dist-info/RECORD"):
        yield from _recorded(beside, record)
    import importlib.metadata  # takes longer to load than all the rest of this package

    for distribution in importlib.metadata.distributions(name="logserv", path=[str(beside)]):
        for file in distribution.files or ():
            if file.name == _NAME and file.parent.name in ("bin", "scripts"):
                yield Path(os.path.normpath(beside / file))
    # `pip install --target DIR` moves the scripts to DIR/bin after RECORD was written.
    yield beside / "bin" / _NAME


def _recorded(beside: Path, record: Path) -> Iterator[Path]:
    """The program's path in an installation's list of files, as it is written where no name has a comma."""
    try:
        lines = record.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        name = line.partition(",")[0]
        if name.endswith((f"/bin/{_NAME}", f"/scripts/{_NAME}")):
            yield Path(os.path.normpath(beside / name))


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
