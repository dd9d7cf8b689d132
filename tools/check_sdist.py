"""Builds the sdist, builds a wheel from it somewhere else, and holds that against the wheel in ``dist/``.

Out: nothing but a line of figures, or what differs, and failure. Same names, same Python, and programs that say the same of
themselves; the machine code is not compared, for it names the directories it was built in.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import environments

ROOT = environments.ROOT
BINARY = (".so", "/scripts/logserv", "/RECORD", ".json")


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel; of binaries and what depends on them only the names."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: b"" if name.endswith(BINARY) else archive.read(name) for name in archive.namelist()}


def main() -> int:
    """Builds and compares."""
    sys.path.insert(0, str(ROOT / "build_backend"))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    # The dependencies that are built already serve again; the workspace's own crates are built anew.
    environment["CARGO_TARGET_DIR"] = str(ROOT / "target")
    with tempfile.TemporaryDirectory(prefix="logserv-sdist-") as directory:
        place = Path(directory)
        build = "import sys; sys.path.insert(0, 'build_backend'); import logserv_build as b; b.build_sdist(sys.argv[1])"
        subprocess.run(
            [sys.executable, "-c", build, place], cwd=ROOT, env=environment, check=True, stdout=sys.stderr
        )
        (sdist,) = place.glob("logserv-*.tar.gz")
        with tarfile.open(sdist) as archive:
            names = archive.getnames()
            archive.extractall(place, filter="data")
        source = place / sdist.name.removesuffix(".tar.gz")
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*command, "--wheel-dir", place / "wheel", source], env=environment, check=True)
        (made,) = (place / "wheel").glob("*.whl")
        ours, theirs = contents(environments.wheel()), contents(made)
        if made.name != environments.wheel().name:
            print(f"the sdist gives {made.name}, not {environments.wheel().name}")
            return 1
        different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        if different:
            print("the wheel from the sdist differs in: " + ", ".join(different))
            return 1
        print(
            f"{sdist.name}: {len(names)} files, {sdist.stat().st_size >> 10} KiB; its wheel has the {len(ours)} files of ours"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
