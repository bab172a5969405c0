"""One folder, one writer: a lock that says who holds it, and that nobody has to remove after a crash.

The file `.lock` names process, machine and time. On one machine the system frees the lock of a dead process at once
(flock); where a file system has no such locks, a process that is gone, or whose number another now has, is recognised.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from denselab.documents import parse_json
from denselab.errors import ResourceError
from denselab.files import is_alive
from denselab.paths import deepest_folder, shortened

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
TRIES = 10  # how often the file may be replaced under our hands
LARGEST = 4096  # bytes of a lock file


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made where it is missing, and removed again if it stays empty.

    Raises ResourceError where another process holds it, naming that process, or where the folder cannot be written, and
    ConfigError where a file is in its place.
    """
    deepest_folder(folder)
    made = [path for path in (folder, *folder.parents) if not os.path.exists(path)]  # Path.exists may raise
    path = folder / LOCK
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = _taken(path)
        except OSError as error:
            reason = error.strerror or error
            raise ResourceError(f"cannot write {shortened(folder)}: {reason}; choose another `out`") from error
        try:
            yield
        finally:
            _let_go(handle, path)
    finally:
        with suppress(OSError):
            for parent in made:
                parent.rmdir()


def _taken(path: Path) -> int:
    """An open handle of the lock file, locked and with our name in it. Raises ResourceError, OSError."""
    for _ in range(TRIES):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            holder = _holder(handle)
            if not _free(handle, holder):
                raise ResourceError(_in_use(path, holder))
            if _is_still(handle, path):  # else the holder before us has just removed it
                _sign(handle)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise ResourceError(f"{path} is replaced all the time: several processes start in {path.parent}; start one of them")


def _let_go(handle: int, path: Path) -> None:
    """Remove the lock file and close it."""
    ours = _is_still(handle, path)  # the folder may have been moved, and another may hold a lock there
    if fcntl is None:  # Windows removes no file that is open; without flock, our name in it keeps others out till then
        os.close(handle)
    with suppress(OSError):
        if ours:
            path.unlink()
    if fcntl is not None:
        os.close(handle)


def _free(handle: int, holder: dict[str, Any]) -> bool:
    """Whether the lock may be taken; it then is, as far as the system has locks."""
    elsewhere = bool(holder) and holder.get("host") != socket.gethostname()
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # no locks on this file system
            return not elsewhere and not _is_running(holder)
        return not elsewhere
    return not elsewhere and not _is_running(holder)


def _in_use(path: Path, holder: dict[str, Any]) -> str:
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')} since {holder.get('since', '?')}"
    return (
        f"{path.parent} is being written by {who}: wait until it ends or stop it; "
        f"if that machine is switched off, remove {path}"
    )


def _sign(handle: int) -> None:
    pid = os.getpid()
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    us = {"pid": pid, "host": socket.gethostname(), "since": since, "started": _start_of(pid)}
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, (json.dumps(us) + "\n").encode())


def _holder(handle: int) -> dict[str, Any]:
    """Who wrote the lock file; {} for an empty or damaged one."""
    try:
        content = parse_json(os.pread(handle, LARGEST, 0) if hasattr(os, "pread") else os.read(handle, LARGEST))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_still(handle: int, path: Path) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except OSError:
        return False


def _is_running(holder: dict[str, Any]) -> bool:
    """Whether the holder, of this machine, is alive and still the process that wrote the lock."""
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid <= 0 or not is_alive(pid):
        return False
    return holder.get("started") in (None, _start_of(pid))


def _start_of(pid: int) -> int | None:
    """When a process began, in ticks since the system did; None where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
