"""Writes files all or nothing: label maps, reports, records. Folders as a whole: folders.py.

New content is written under a temporary name in the same folder, synced, and renamed into place, so a kill at any
moment leaves either the old content or the new. Leftovers of killed processes are removed by the next process that
writes there. Only JSON and text here: reading them can run no code.
"""

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from denselab.documents import parse_json
from denselab.errors import CheckpointError, ResourceError

LONGEST_NAME = 200  # bytes of a name that is made of others; file systems take 255
REMEDY = "choose another folder with `out`"  # the command line writes --out
HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:4]  # process ids mean nothing on another machine
# the last two: names of older versions
LEFTOVER = re.compile(rf"\.(\d+)-{HOST}-[0-9a-f]{{8}}\.part|\.(\d+)\.part|.+\.writing-(\d+)")


_swept: set[Path] = set()  # folders already searched for leftovers by this process


def write_bytes(path: Path, content: bytes, remedy: str = REMEDY) -> None:
    """Replace one file, all or nothing, creating its folder where necessary.

    remedy: what to do where the place cannot be written, in the caller's words.
    Safe to call from several threads and processes. Raises ResourceError (disk full, not writable) and then leaves the
    old content in place.
    """
    with replaced(path, remedy) as fresh:
        fresh.write_bytes(content)


@contextmanager
def replaced(path: Path, remedy: str = REMEDY) -> Iterator[Path]:
    """A fresh name to write to, which takes the place of `path` at the end, all or nothing.

    For files too large to hold. Where the block raises, nothing remains of it. Raises ResourceError.
    """
    fresh = fresh_beside(path)
    with writing(path, remedy):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            sweep(path.parent)
            yield fresh
            _sync(fresh)
            os.replace(fresh, path)
        except BaseException:  # Ctrl-C too
            remove(fresh)
            raise


@contextmanager
def writing(path: Path, remedy: str = REMEDY) -> Iterator[None]:
    """Within it `path` is written: an OSError becomes a ResourceError that names it, the reason and the remedy."""
    try:
        yield
    except OSError as error:
        raise ResourceError(describe_os_error(error, path, remedy)) from error


def write_text(path: Path, content: str, remedy: str = REMEDY) -> None:
    """`write_bytes` of UTF-8 text; line endings are kept, what UTF-8 lacks is escaped."""
    write_bytes(path, content.encode(errors="backslashreplace"), remedy)


def write_json(path: Path, value: Any, remedy: str = REMEDY) -> None:
    """`write_bytes` of `json_bytes`."""
    write_bytes(path, json_bytes(value), remedy)


def json_bytes(value: Any) -> bytes:
    """A JSON document as stored: readable, in stable order, ending in a newline."""
    return (to_json(value) + "\n").encode()


def to_json(value: Any, indent: int | None = 1) -> str:
    """Plain data as JSON text that every reader takes and UTF-8 can hold.

    indent: spaces of a level; None: everything on one line
    NaN and infinity, which JSON does not have, become null. Bytes of a file name that are not UTF-8 become the escape
    of their stand-in, which `json.loads` reads back.
    """
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace").decode()


def _finite(value: Any) -> Any:
    """Plain data with None for each number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def unpack_json(content: bytes, source: str) -> dict[str, Any]:
    """The object in a JSON document. Raises CheckpointError naming `source`."""
    try:
        loaded = parse_json(content)
    except ValueError as error:
        raise CheckpointError(f"{source} is not JSON: {error}") from None
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{source} holds {type(loaded).__name__}; an object was expected")
    return loaded


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; {} where there is no such file. Raises CheckpointError naming it."""
    return unpack_json(path.read_bytes(), str(path)) if path.is_file() else {}


def sha256_of(path: Path) -> str:
    """The sha256 of a file, 64 hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_os_error(error: OSError, path: Path, remedy: str = REMEDY) -> str:
    """One line that says why a place cannot be written, with the remedy."""
    if error.errno == errno.ENOSPC:
        return (
            f"the disk is full: {path} was not written, what was there before is untouched; "
            f"free some space, or {remedy}"
        )
    return f"cannot write {path}: {error.strerror or error}; {remedy}"


def fitting_name(name: str) -> str:
    """The name of a file or folder, or a digest of it where it is longer than LONGEST_NAME."""
    content = os.fsencode(name)
    return name if len(content) <= LONGEST_NAME else hashlib.blake2b(content, digest_size=16).hexdigest()


def fresh_beside(path: Path) -> Path:
    """An unused name in the same folder, under which something is written before it takes the place of `path`.

    Short, since the final name may already be as long as names can be. It says which process of which machine writes:
    what a killed one left is removed by the next that writes there, and only on that machine.
    """
    return path.with_name(f".{os.getpid()}-{HOST}-{secrets.token_hex(4)}.part")


def write_synced(path: Path, content: bytes) -> None:
    """Write under the name itself, and wait until it is on the disk. Raises OSError."""
    path.write_bytes(content)
    _sync(path)


def _sync(path: Path) -> None:
    """Wait until a file's content is on the disk: the system may do a renaming first, and the power may fail then."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def clear_older(folder: Path, *patterns: str) -> None:
    """Remove what an earlier call wrote into a folder of ours under such names, where the next ones may be others."""
    for path in (found for pattern in patterns for found in folder.glob(pattern)):
        remove(path)


def is_leftover(name: str) -> bool:
    """Whether a name is one under which a killed process may have left something unfinished."""
    return LEFTOVER.fullmatch(name) is not None


def sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left in a folder; looks once per folder and process."""
    if folder in _swept:
        return
    _swept.add(folder)
    for entry in folder.iterdir():
        match = LEFTOVER.fullmatch(entry.name)
        if match and not is_alive(int(next(filter(None, match.groups())))):
            remove(entry)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has this number; True where that cannot be told."""
    if sys.platform == "win32":  # on Windows signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # belongs to another user
        return True
    return True


def remove(path: Path) -> None:
    """Remove one of our files or folders if it exists; whatever cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the parent is not a folder, or is read-only
        return
