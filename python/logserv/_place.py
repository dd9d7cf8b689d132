"""What a handler can tell of its file without opening it, and what the file takes over from this process.

In: an absolute path. Out: the error that opening it would raise, as far as that can be seen; this process's umask.
Not here: the opening; that is the server's.
"""

import errno
import os
import stat
from pathlib import Path

_Filename = str | bytes

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}
_LINKS_MAX = 40  # as many as the kernel follows


def check_writable(filename: _Filename) -> None:
    """Raises what opening the file for appending would raise now, as far as that can be told.

    Raises:
        OSError: It is a directory, its directory is missing, or it may not be written to; or it is none that a server could
            write (a FIFO, a device, a socket, one below `/proc`), which is `EINVAL`.
    """
    path = Path(os.fsdecode(filename))
    if _is_of_a_process(path):
        raise _no_file("one that another process would not find there", filename)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        # A link may lead to where nothing is yet: it is made there.
        _check_directory(_real(path).parent, filename)
    except OSError as error:
        raise _error(error.errno or errno.EIO, filename) from None
    else:
        if stat.S_ISDIR(mode):
            raise _error(errno.EISDIR, filename)
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "something else")
            if _real(path) == Path("/dev/null"):
                raise _no_file(kind, filename, "logging.NullHandler")
            raise _no_file(kind, filename)
        if not os.access(path, os.W_OK, effective_ids=_BY_EFFECTIVE_IDS):
            raise _error(_denial(path), filename)


def _check_directory(directory: Path, filename: _Filename) -> None:
    """Raises what making the file in that directory would raise."""
    try:
        is_directory = stat.S_ISDIR(directory.stat().st_mode)
    except OSError as error:
        raise _error(error.errno or errno.EIO, filename) from None
    if not is_directory:
        raise _error(errno.ENOTDIR, filename)
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=_BY_EFFECTIVE_IDS):
        raise _error(_denial(directory), filename)


def _is_of_a_process(path: Path) -> bool:
    """Whether the name leads through `/proc`, as `/dev/stdout` does: there each process finds files of its own."""
    for _ in range(_LINKS_MAX):
        if path.is_relative_to("/proc"):
            return True
        path = _real(path.parent) / path.name
        if path.is_relative_to("/proc"):
            return True
        try:
            path = path.parent / path.readlink()
        except OSError:  # no link
            return False
    return False


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # `resolve` raises where links go round in a circle


def _no_file(received: str, filename: _Filename, instead: str = "logging.StreamHandler") -> OSError:
    return OSError(errno.EINVAL, f"expected a regular file, received {received}; use {instead}", filename)


def own_umask() -> int | None:
    """This process's umask, looked up without changing it for a moment, as `os.umask` would. None: the kernel does not say."""
    try:
        with Path("/proc/self/status").open("rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except (OSError, ValueError, IndexError):
        pass
    return None


_BY_EFFECTIVE_IDS = os.access in os.supports_effective_ids


def _denial(path: Path) -> int:
    try:
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    except OSError:
        return errno.EACCES
    return errno.EROFS if read_only else errno.EACCES


def _error(number: int, filename: _Filename) -> OSError:
    return OSError(number, os.strerror(number), filename)
