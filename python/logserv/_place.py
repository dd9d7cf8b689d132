"""What a handler can tell of its file without opening it, and what the file takes over from this process.

In: an absolute path. Out: the error that opening it would raise, as far as that can be seen; this process's umask.
Not here: the opening; that is the server's.
"""

import errno
import os
from pathlib import Path


def check_writable(filename: str) -> None:
    """Raises what opening the file for appending would raise now, as far as that can be told.

    Raises:
        OSError: It is a directory, its directory is missing, or it may not be written to.
    """
    path = Path(filename)
    directory = path.parent
    if path.is_dir():
        raise _error(errno.EISDIR, filename)
    if path.exists():
        if not os.access(path, os.W_OK, effective_ids=_BY_EFFECTIVE_IDS):
            raise _error(_denial(path), filename)
    elif not directory.exists():
        raise _error(errno.ENOENT, filename)
    elif not directory.is_dir():
        raise _error(errno.ENOTDIR, filename)
    elif not os.access(directory, os.W_OK | os.X_OK, effective_ids=_BY_EFFECTIVE_IDS):
        raise _error(_denial(directory), filename)


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


def _error(number: int, filename: str) -> OSError:
    return OSError(number, os.strerror(number), filename)
