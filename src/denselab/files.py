"""Writes files and folders all or nothing: label maps, reports, model folders, the state of a run.

New content is written under a temporary name in the same folder, synced, and renamed into place, so a kill at any
moment leaves either the old content or the new. Leftovers of killed processes are removed by the next process that
writes there. A folder also gets a manifest (size and sha256 of every file) and is moved as a whole; a kill leaves the
old folder, the new one, or the old one under the name `<folder>.previous`. Only JSON and text here: reading them can
run no code.
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
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter

from denselab.documents import MAX_BYTES, MAX_WEIGHTS, Unreadable, parse_json, read_bytes
from denselab.errors import CheckpointError, ResourceError

MANIFEST = "manifest.json"
MAX_MANIFEST = 2**20  # bytes
NAME = re.compile(r"[\w][\w.-]{0,100}")  # of a file in a folder of ours; it cannot lead out of it
LONGEST_NAME = 200  # bytes of a name that is made of others; file systems take 255
PREVIOUS = ".previous"
REMEDY = "choose another folder with `out`"  # the command line writes --out
HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:4]  # process ids mean nothing on another machine
# the last two: names of older versions
LEFTOVER = re.compile(rf"\.(\d+)-{HOST}-[0-9a-f]{{8}}\.part|\.(\d+)\.part|.+\.writing-(\d+)")


class _Entry(BaseModel):
    """What a manifest tells of a file. bytes: absent from the manifests of the first versions."""

    bytes: Annotated[int, Field(ge=0, le=MAX_WEIGHTS)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


Content = bytes | Callable[[], Iterable[bytes | memoryview]]
"""Of a file, or what makes it in parts."""

_MANIFEST_FORM = TypeAdapter(dict[str, _Entry])
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
            _sweep(path.parent)
            yield fresh
            _sync(fresh)
            os.replace(fresh, path)
        except BaseException:  # Ctrl-C too
            _remove(fresh)
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


def write_folder(folder: Path, files: Mapping[str, Content], keep_previous: bool = False, remedy: str = REMEDY) -> None:
    """Replace the files in `folder` with `files` (name -> content) and a manifest, all or nothing.

    files: large content is made part by part, when its turn comes
    keep_previous: keep the old folder as `<folder>.previous`.
    Files that others put into the folder stay. Raises ResourceError (disk full, not writable) and then leaves the old
    content in place.
    """

    def fill(fresh: Path) -> None:
        with ThreadPoolExecutor(1) as beside:  # the digest is taken while the disk is waited for
            manifest = {name: _written(fresh / name, content, beside) for name, content in files.items()}
        _write_synced(fresh / MANIFEST, json.dumps(manifest, indent=1).encode())

    _replace_folder(folder, fill, keep_previous, remedy)


def _written(path: Path, content: Content, beside: ThreadPoolExecutor) -> dict[str, int | str]:
    """Write a file; returns its entry in the manifest."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for part in content() if callable(content) else (content,):
            taken = beside.submit(digest.update, part)
            size += file.write(part)
            taken.result()
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": size, "sha256": digest.hexdigest()}


def link_folder(source: Path, folder: Path, remedy: str = REMEDY) -> None:
    """Put the files of `source`, a folder written by `write_folder`, into `folder` too, all or nothing.

    They are hard links, which take no extra space, or copies where the disk does not support links. Raises
    ResourceError.
    """

    def fill(fresh: Path) -> None:
        for name in (*json.loads((source / MANIFEST).read_bytes()), MANIFEST):
            try:
                os.link(source / name, fresh / name)
            except OSError:  # FAT and some network disks have no hard links
                shutil.copyfile(source / name, fresh / name)

    _replace_folder(folder, fill, keep_previous=False, remedy=remedy)


def _replace_folder(folder: Path, fill: Callable[[Path], None], keep_previous: bool, remedy: str) -> None:
    """Fill a fresh folder beside `folder` and move it into place; on failure nothing of it remains."""
    if not folder.name or (folder.exists() and not folder.is_dir()):  # a file would be moved aside, without a word
        raise ResourceError(f"{folder} is {'a file' if folder.name else 'no folder that can be replaced'}; {remedy}")
    fresh = fresh_beside(folder)
    with writing(folder, remedy):
        try:
            fresh.mkdir(parents=True)
            _sweep(folder.parent)
            fill(fresh)
            _swap(folder, fresh, keep_previous)
        except BaseException:
            _remove(fresh)
            raise


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a folder written by `write_folder`, each checked against the manifest.

    Raises CheckpointError naming the first file that is missing or differs.
    """
    content = read_member(folder, MANIFEST, MAX_MANIFEST)
    try:
        manifest = _MANIFEST_FORM.validate_python(parse_json(content))
    except ValueError:  # pydantic's and ours
        raise CheckpointError(
            f"{folder / MANIFEST} is not a manifest; the folder is damaged or not one of DenseLab"
        ) from None
    files: dict[str, bytes] = {}
    for name, entry in manifest.items():
        files[name] = read_member(folder, name, MAX_WEIGHTS if entry.bytes is None else entry.bytes)
        if hashlib.sha256(files[name]).hexdigest() != entry.sha256:
            raise CheckpointError(
                f"{folder / name} is damaged: its sha256 is not the one in {MANIFEST}; use another copy"
            )
    return files


def require_files(files: Mapping[str, bytes], names: Iterable[str], folder: Path) -> None:
    """Raise CheckpointError where one of these is not among the files of a folder that was read."""
    if missing := next((name for name in names if name not in files), None):
        raise CheckpointError(f"{folder} has no {missing} in its manifest: it is damaged or of another kind")


def read_member(folder: Path, name: str, limit: int = MAX_BYTES) -> bytes:
    """One file of a folder of ours, of at most `limit` bytes.

    Raises CheckpointError for a name or a link that leads out of the folder, and for what is no ordinary file. Links
    into the store of the hub's cache, in which its folders consist of links, are followed.
    """
    path = folder / name
    if not NAME.fullmatch(name):
        raise CheckpointError(f"{folder / MANIFEST} names {name!r}, which is no file in that folder; do not use it")
    try:
        if path.is_symlink() and not any(path.resolve().is_relative_to(home) for home in _homes(folder.resolve())):
            raise CheckpointError(f"{path} is a link out of its folder; put the file itself there")
        return read_bytes(path, limit)
    except Unreadable as error:
        raise CheckpointError(f"{path} is damaged or no file of DenseLab: {error}; use another copy") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that points at itself
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{folder} is not a complete folder of DenseLab: {path}: {reason}") from None


def _homes(folder: Path) -> tuple[Path, ...]:
    """Where links in a folder may lead: into it, and for a snapshot of the hub's cache into that model's blobs."""
    cached = folder.parent.name == "snapshots"
    return (folder, folder.parent.parent / "blobs") if cached else (folder,)


def read_newest_folder(folder: Path) -> tuple[dict[str, bytes], str | None]:
    """The files of `folder`, or of `<folder>.previous` where it is damaged or missing.

    Returns the files and the reason for taking the older folder (None where it was not needed).
    Raises CheckpointError where both fail.
    """
    try:
        return read_folder(folder), None
    except CheckpointError as damage:
        previous = previous_of(folder)
        if not previous.is_dir():
            raise
        return read_folder(previous), str(damage)


def previous_of(folder: Path) -> Path:
    """Where `write_folder` keeps the previous version of a folder."""
    return folder.with_name(folder.name + PREVIOUS)


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


def _write_synced(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _sync(path)


def _sync(path: Path) -> None:
    """Wait until a file's content is on the disk: the system may do a renaming first, and the power may fail then."""
    with path.open("r+b") as file:
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
    """Move files that others put into the old folder to the new one: DenseLab only ever replaces its own files."""
    if not old.is_dir():
        return
    try:
        ours = {MANIFEST, *json.loads((old / MANIFEST).read_bytes())}
    except (OSError, ValueError, TypeError):  # damaged manifest: go by the file names
        ours = {MANIFEST}
    for entry in old.iterdir():
        if entry.name not in ours and not (new / entry.name).exists():
            os.replace(entry, new / entry.name)


def clear_older(folder: Path, *patterns: str) -> None:
    """Remove what an earlier call wrote into a folder of ours under such names, where the next ones may be others."""
    for path in (found for pattern in patterns for found in folder.glob(pattern)):
        _remove(path)


def is_leftover(name: str) -> bool:
    """Whether a name is one under which a killed process may have left something unfinished."""
    return LEFTOVER.fullmatch(name) is not None


def _sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left in a folder; looks once per folder and process."""
    if folder in _swept:
        return
    _swept.add(folder)
    for entry in folder.iterdir():
        match = LEFTOVER.fullmatch(entry.name)
        if match and not is_alive(int(next(filter(None, match.groups())))):
            _remove(entry)


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


def _remove(path: Path) -> None:
    """Remove one of our files or folders if it exists; whatever cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the parent is not a folder, or is read-only
        return
