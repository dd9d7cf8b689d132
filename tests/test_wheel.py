"""What is installed: the wheel works from anywhere and with any options of Python, is light, and says truly where it runs."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from installing import ROOT, empty_environment, install, the_wheel
from running import Server

NOBODY = 65534
WHEEL_MAX_BYTES = 8 << 20

# A server of the installation's own and a record through it.
USE = """
import logging, os, sys
from logserv.client import UnixClient
from logserv.server import LogServer
import socket
LogServer.socket_family = socket.AF_UNIX
with LogServer(os.path.abspath("s.sock"), roots=["."]):
    handler = UnixClient("s.sock", filename="app.log")
    logging.getLogger().addHandler(handler)
    logging.warning("it works")
    if not handler.flush():
        sys.exit("not written")
logging.getLogger().removeHandler(handler)
with open("app.log") as file:
    if file.read() != "it works\\n":
        sys.exit("not in the file")
"""


def run(
    command: Sequence[str | Path], directory: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def assert_works(done: subprocess.CompletedProcess[str]) -> None:
    """It has run `USE`; the server says when it begins and ends."""
    said = [line for line in done.stderr.splitlines() if "  INFO " not in line]
    assert (done.returncode, done.stdout, said) == (0, "", [])


@pytest.mark.parametrize(
    "options", [["-I"], ["-O"], ["-OO"], ["-W", "error"], ["-I", "-B", "-OO", "-W", "error"]]
)
def test_it_works_with_the_options_of_python(socket_dir: Path, options: list[str]) -> None:
    assert_works(run([sys.executable, *options, "-c", USE], socket_dir))
    module = run([sys.executable, *options, "-m", "logserv", "--version"], socket_dir)
    version = importlib.metadata.version("logserv")
    assert (module.returncode, module.stdout, module.stderr) == (0, f"logserv {version}\n", "")


@pytest.mark.newest
def test_it_works_from_an_environment_that_is_not_activated(socket_dir: Path) -> None:
    python = empty_environment(socket_dir / "venv")
    install(the_wheel(), python=python)
    plain = {"PATH": "/usr/bin:/bin", "VIRTUAL_ENV": ""}
    assert_works(run([python, "-c", USE], socket_dir, **plain))
    module = run([python, "-m", "logserv", "--version"], socket_dir, **plain)
    assert module.stdout == run([python.with_name("logserv"), "--version"], socket_dir, **plain).stdout != ""


@pytest.mark.newest
def test_it_works_from_a_directory_of_pips_target_that_nobody_may_write(socket_dir: Path) -> None:
    target = socket_dir / "packages"
    install(the_wheel(), "--target", target)
    command: list[str | Path] = [sys.executable, "-c", USE]
    if os.geteuid() == 0:
        script = f'mount --bind "{target}" "{target}" && mount -o remount,bind,ro "{target}" && exec "$@"'
        command = ["unshare", "--mount", "sh", "-ec", script, "sh", *command]
        if run(["unshare", "--mount", "mount", "--bind", target, target], socket_dir).returncode != 0:
            pytest.skip("may not mount here")
    else:
        for path in [target, *target.rglob("*")]:
            path.chmod(path.stat().st_mode & 0o555)
    # `-S`: not the package that this environment has.
    command[-2:] = ["-S", "-c", f"import sys; sys.path.insert(0, {str(target)!r})\n{USE}"]
    try:
        done = run(command, socket_dir)
    finally:
        for path in [target, *target.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o700)
    assert_works(done)
    assert not list(target.rglob("__pycache__/*.tmp"))


@pytest.mark.newest
@pytest.mark.usefixtures("uncounted")
def test_it_works_without_being_root(socket_dir: Path, program: Path) -> None:
    if os.geteuid() != 0:
        assert_works(run([sys.executable, "-c", USE], socket_dir))
        return
    # Somebody who may not look into root's home, where this installation may be: only the program has to be reached.
    copied = socket_dir / "logserv"
    shutil.copy(program, copied)
    os.chown(socket_dir, NOBODY, NOBODY)
    imports = "import logserv.client, logserv.server, logserv._forwarding, logserv._program, json, encodings.idna, os\n"
    become = f"os.setgroups([]); os.setresgid(*[{NOBODY}] * 3); os.setresuid(*[{NOBODY}] * 3)\n"
    done = run([sys.executable, "-c", imports + become + USE], socket_dir, LOGSERV_PROGRAM=str(copied))
    assert_works(done)
    assert (socket_dir / "app.log").stat().st_uid == NOBODY


def test_no_thread_runs_before_the_first_record(server: Server, tmp_path: Path) -> None:
    script = f"""
    import logging, os
    import logserv, logserv.client, logserv.server
    def threads(): return len(os.listdir("/proc/self/task"))
    handler = logserv.client.UnixClient({str(server.unix)!r}, filename="app.log")
    logger = logging.getLogger()
    logger.addHandler(handler)
    logger.setLevel("WARNING")
    logging.info("below the level")
    handler.flush()
    assert threads() == 1, threads()
    logging.warning("the first")
    assert handler.flush()
    assert threads() == 2, threads()
    """
    done = run([sys.executable, "-c", textwrap.dedent(script)], tmp_path, COVERAGE_PROCESS_CONFIG="")
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_client_loads_little_beside_logging(tmp_path: Path) -> None:
    script = """
    import logging.handlers, sys, typing
    before = set(sys.modules)
    import logserv.client
    allowed = {"atexit", "contextlib", "math", "_contextvars", "contextvars"}
    more = {name for name in set(sys.modules) - before - allowed if name.partition(".")[0] != "logserv"}
    assert not more, sorted(more)
    """
    done = run([sys.executable, "-I", "-c", textwrap.dedent(script)], tmp_path, COVERAGE_PROCESS_CONFIG="")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.newest
def test_the_tag_is_what_both_binaries_need() -> None:
    wheel = the_wheel()
    tag = re.search(r"-cp311-abi3-(?:.*\.)?manylinux_2_(\d+)_(?:x86_64|aarch64)[.\w]*\.whl$", wheel.name)
    assert tag is not None, wheel.name
    with zipfile.ZipFile(wheel) as archive:
        assert sum(entry.compress_size for entry in archive.infolist()) < WHEEL_MAX_BYTES
        binaries = [name for name in archive.namelist() if name.endswith((".so", "/scripts/logserv"))]
        assert len(binaries) == 2
        minors = []
        for name in binaries:
            needed = re.findall(rb"\0GLIBC_2\.(\d+)(?:\.\d+)?(?=\0)", archive.read(name))
            assert needed, name
            minors.append(max(map(int, needed)))
            assert minors[-1] <= int(tag[1]), name
    assert max(minors) == int(tag[1]), wheel.name


def pure_wheel(directory: Path) -> Path:
    build = f"import sys; sys.path.insert(0, {str(ROOT / 'build_backend')!r}); import pure_wheel; print(pure_wheel.build(sys.argv[1]))"
    done = run([sys.executable, "-c", build, directory], directory)
    assert done.returncode == 0, done.stderr
    return directory / done.stdout.strip()


@pytest.mark.newest
def test_the_wheel_without_machine_code_is_whole_and_logs(server: Server, tmp_path: Path) -> None:
    wheel = pure_wheel(tmp_path)
    assert wheel.name.endswith("-py3-none-any.whl")
    python = empty_environment(tmp_path / "venv")
    install(wheel, python=python)
    use = f"""
    import logging, logserv, warnings
    from logserv.client import SocketForwarder
    from logserv.server import LogServer
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        handler = SocketForwarder("127.0.0.1", {server.port}, filename="app.log")
    assert "_native" in str(told[0].message), told
    logging.getLogger().addHandler(handler)
    logging.warning("from another system")
    assert handler.flush()
    try:
        LogServer(("127.0.0.1", 0))
    except FileNotFoundError as error:
        assert "runs on Linux" in str(error), error
    else:
        assert False
    """
    done = run([python, "-c", textwrap.dedent(use)], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (server.root / "app.log").read_text() == "from another system\n"
    assert not python.with_name("logserv").exists()
    module = run([python, "-m", "logserv", "--version"], tmp_path)
    assert module.returncode == 1
    assert module.stderr.startswith("logserv: the program 'logserv' is not installed")
    # Everything that was installed is named, and goes.
    removed = run(
        [sys.executable, "-m", "pip", "--python", python, "uninstall", "-y", "-q", "logserv"], tmp_path
    )
    assert removed.returncode == 0, removed.stderr
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    assert not list(site.glob("logserv*"))


@pytest.mark.newest
def test_both_wheels_say_the_same_of_themselves(tmp_path: Path) -> None:
    texts = []
    for wheel in (the_wheel(), pure_wheel(tmp_path)):
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            texts.append(archive.read(name).decode().rstrip())
            package = {
                name
                for name in archive.namelist()
                if name.startswith("logserv/") and not name.endswith(".so")
            }
            assert "logserv/py.typed" in package
    assert texts[0] == texts[1]
