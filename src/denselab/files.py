"""Writes files and folders that are whole or not there: label maps, reports, model folders, the state of a run.

New content is written under a name of its own beside its place, synced, and renamed into it; a kill at any moment leaves the
old content or the new. What killed processes left is removed by the next one that writes there. A folder also gets a manifest
(size and sha256 of every file) and is then moved as a whole; a kill leaves the old folder, the new one, or the old one under
the name `<folder>.previous`. JSON and text only here; nothing can run code when it is read.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from denselab.errors import CheckpointError, ResourceError

MANIFEST = "manifest.json"
PREVIOUS = ".previous"
REMEDY = "choose another folder with `out`"  # the command line shows --out
HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:4]  # a process of another machine is not dead
LEFTOVER = re.compile(
    rf"\.(\d+)-{HOST}-[0-9a-f]{{8}}\.part|\.(\d+)\.part|.+\.writing-(\d+)"
)  # the last two: older ones
_swept: set[Path] = set()  # folders in which this process has looked for leftovers


def write_bytes(path: Path, content: bytes, remedy: str = REMEDY) -> None:
    """Replace one file, all or nothing; its folder is made where it is missing.

    remedy: what to do where the place cannot be written, in the caller's words. Safe from several threads and processes.
    Raises ResourceError (disk full, not writable); what was there before then still is.
    """
    fresh = _fresh_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        _write_synced(fresh, content)
        os.replace(fresh, path)
    except BaseException as error:  # also where Ctrl-C ends it
        _remove(fresh)
        if isinstance(error, OSError):
            raise ResourceError(describe_os_error(error, path, remedy)) from error
        raise


def write_text(path: Path, content: str, remedy: str = REMEDY) -> None:
    """`write_bytes` of UTF-8 text; line ends stay as they are."""
    write_bytes(path, content.encode(), remedy)


def write_json(path: Path, value: Any, remedy: str = REMEDY) -> None:
    """`write_bytes` of `json_bytes`."""
    write_bytes(path, json_bytes(value), remedy)


def json_bytes(value: Any) -> bytes:
    """A JSON document as it is stored: readable, stable, ending in a newline."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def unpack_json(content: bytes, source: str) -> dict[str, Any]:
    """The object in a JSON document. Raises CheckpointError that names the source."""
    try:
        loaded = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{source} is not JSON: {error}") from None
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{source} holds {type(loaded).__name__}; an object was expected")
    return loaded


def write_folder(folder: Path, files: Mapping[str, bytes], keep_previous: bool = False, remedy: str = REMEDY) -> None:
    """Put `files` (name -> content) and their manifest into `folder`, in the place of its files, all or nothing.

    keep_previous: leave the folder that was there as `<folder>.previous`. What others put there stays. Raises ResourceError
    (disk full, not writable); what was there before then still is.
    """

    def fill(fresh: Path) -> None:
        for name, content in files.items():
            _write_synced(fresh / name, content)
        manifest = {name: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for name, c in files.items()}
        _write_synced(fresh / MANIFEST, json.dumps(manifest, indent=1).encode())

    _replace_folder(folder, fill, keep_previous, remedy)


def link_folder(source: Path, folder: Path, remedy: str = REMEDY) -> None:
    """Put the files of `source`, a folder of `write_folder`, into `folder` too, all or nothing.

    They are hard links, which take no room of their own, or copies where the disk has no links. Raises ResourceError.
    """

    def fill(fresh: Path) -> None:
        for name in (*json.loads((source / MANIFEST).read_bytes()), MANIFEST):
            try:
                os.link(source / name, fresh / name)
            except OSError:  # FAT, some network disks
                shutil.copyfile(source / name, fresh / name)

    _replace_folder(folder, fill, keep_previous=False, remedy=remedy)


def _replace_folder(folder: Path, fill: Callable[[Path], None], keep_previous: bool, remedy: str) -> None:
    """Fill a fresh folder beside `folder`, and put it in its place; nothing of it stays where that fails."""
    fresh = _fresh_beside(folder)
    try:
        fresh.mkdir(parents=True)
        _sweep(folder.parent)
        fill(fresh)
        _swap(folder, fresh, keep_previous)
    except BaseException as error:
        _remove(fresh)
        if isinstance(error, OSError):
            raise ResourceError(describe_os_error(error, folder, remedy)) from error
        raise


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a folder written by `write_folder`, each compared with the manifest.

    Raises CheckpointError that names the first file that is missing or differs.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        files = {name: (folder / name).read_bytes() for name in manifest}
        for name, entry in manifest.items():
            if hashlib.sha256(files[name]).hexdigest() != entry["sha256"]:
                raise CheckpointError(
                    f"{folder / name} is damaged: its sha256 is not the one in {MANIFEST}; use another copy"
                )
    except OSError as error:
        raise CheckpointError(
            f"{folder} is not a complete folder of DenseLab: {error.filename}: {error.strerror}"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(
            f"{folder / MANIFEST} is not a manifest; the folder is damaged or not one of DenseLab"
        ) from None
    return files


def read_newest_folder(folder: Path) -> tuple[dict[str, bytes], str | None]:
    """The files of `folder`, or of `<folder>.previous` where it is damaged or missing.

    Returns the files, and why the older folder was taken (None where it was not). Raises CheckpointError where both fail.
    """
    try:
        return read_folder(folder), None
    except CheckpointError as damage:
        previous = previous_of(folder)
        if not previous.is_dir():
            raise
        return read_folder(previous), str(damage)


def previous_of(folder: Path) -> Path:
    """Where `write_folder` keeps the folder before this one."""
    return folder.with_name(folder.name + PREVIOUS)


def describe_os_error(error: OSError, path: Path, remedy: str = REMEDY) -> str:
    """One line for a place that cannot be written, with the remedy."""
    if error.errno == errno.ENOSPC:
        return f"the disk is full: {path} was not written, what was there before is untouched; free some space, or {remedy}"
    return f"cannot write {path}: {error.strerror or error}; {remedy}"


def _fresh_beside(path: Path) -> Path:
    """A name that nobody else writes to, in the same folder; short: the final one may be as long as names can be."""
    return path.with_name(f".{os.getpid()}-{HOST}-{secrets.token_hex(4)}.part")


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _swap(folder: Path, fresh: Path, keep_previous: bool) -> None:
    previous = previous_of(folder)
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.replace(folder, previous)
    os.replace(fresh, folder)
    _carry_over(previous, folder)
    if not keep_previous:
        shutil.rmtree(previous, ignore_errors=True)


def _carry_over(old: Path, new: Path) -> None:
    """Move what somebody else put into the old folder into the new one: only files of ours are ever replaced."""
    if not old.is_dir():
        return
    try:
        ours = {MANIFEST, *json.loads((old / MANIFEST).read_bytes())}
    except (OSError, ValueError, TypeError):  # damaged: then what has a name of ours is ours
        ours = {MANIFEST}
    for entry in old.iterdir():
        if entry.name not in ours and not (new / entry.name).exists():
            os.replace(entry, new / entry.name)


def _sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left in a folder; looks once per folder and process."""
    if folder in _swept:
        return
    _swept.add(folder)
    for entry in folder.iterdir():
        match = LEFTOVER.fullmatch(entry.name)
        if match and not _is_alive(int(next(filter(None, match.groups())))):
            _remove(entry)


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # there signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _remove(path: Path) -> None:
    """A file or folder of ours, where it is there; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:  # its folder is not one, or cannot be changed
        return
