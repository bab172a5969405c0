"""Folders written all or nothing, with a manifest: model folders, the state of a run.

The manifest holds size and sha256 of every file. A folder is moved into place as a whole; a kill leaves the old folder,
the new one, or the old one under the name `<folder>.previous`.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter

from denselab.documents import MAX_BYTES, MAX_WEIGHTS, Unreadable, parse_json, read_bytes
from denselab.errors import CheckpointError, ResourceError
from denselab.files import REMEDY, fresh_beside, remove, sweep, write_synced, writing

MANIFEST = "manifest.json"
MAX_MANIFEST = 2**20  # bytes
NAME = re.compile(r"[\w][\w.-]{0,100}")  # of a file in a folder of ours; it cannot lead out of it
PREVIOUS = ".previous"


class _Entry(BaseModel):
    """What a manifest tells of a file. bytes: absent from the manifests of the first versions."""

    bytes: Annotated[int, Field(ge=0, le=MAX_WEIGHTS)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


Content = bytes | Callable[[], Iterable[bytes | memoryview]]
"""Of a file, or what makes it in parts."""

Entry = dict[str, int | str]
"""Of a manifest: size and sha256."""

_MANIFEST_FORM = TypeAdapter(dict[str, _Entry])


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
        _write_manifest(fresh, manifest)

    _replace_folder(folder, fill, keep_previous, remedy)


def _written(path: Path, content: Content, beside: ThreadPoolExecutor) -> Entry:
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


def link_folder(source: Path, folder: Path) -> None:
    """Put the files of `source`, a folder written by `write_folder`, into `folder` too, all or nothing.

    They are hard links, which take no extra space, or copies where the disk does not support links. Raises
    ResourceError.
    """

    def fill(fresh: Path) -> None:
        for name in (*_manifest_of(source), MANIFEST):
            _link(source / name, fresh / name)

    _replace_folder(folder, fill, keep_previous=False, remedy=REMEDY)


def renew_file(folder: Path, name: str, content: bytes, remedy: str = REMEDY) -> None:
    """Put new content into one file of a folder written by `write_folder`, all or nothing; no previous folder stays.

    The others are linked as by `link_folder`, not written anew. Raises ResourceError.
    """

    def fill(fresh: Path) -> None:
        manifest = _manifest_of(folder)
        for other in manifest.keys() - {name}:
            _link(folder / other, fresh / other)
        write_synced(fresh / name, content)
        manifest[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        _write_manifest(fresh, manifest)

    _replace_folder(folder, fill, keep_previous=False, remedy=remedy)


def _manifest_of(folder: Path) -> dict[str, Entry]:
    """The manifest of a folder of this run, which is taken at its word."""
    manifest: dict[str, Entry] = json.loads((folder / MANIFEST).read_bytes())
    return manifest


def _write_manifest(folder: Path, manifest: Mapping[str, Entry]) -> None:
    write_synced(folder / MANIFEST, json.dumps(manifest, indent=1).encode())


def _link(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except OSError:  # FAT and some network disks have no hard links
        shutil.copyfile(source, path)


def _replace_folder(folder: Path, fill: Callable[[Path], None], keep_previous: bool, remedy: str) -> None:
    """Fill a fresh folder beside `folder` and move it into place; on failure nothing of it remains."""
    if not folder.name or (folder.exists() and not folder.is_dir()):  # a file would be moved aside, without a word
        raise ResourceError(f"{folder} is {'a file' if folder.name else 'no folder that can be replaced'}; {remedy}")
    fresh = fresh_beside(folder)
    with writing(folder, remedy):
        try:
            fresh.mkdir(parents=True)
            sweep(folder.parent)
            fill(fresh)
            _swap(folder, fresh, keep_previous)
        except BaseException:
            remove(fresh)
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
