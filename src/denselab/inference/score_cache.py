"""A model's scores for pictures, kept on disk by what they were made from, so that no network runs twice.

The key is a digest of the model's content, of how it was run, and of the picture's pixels; a file under a key never
changes. Several processes may use one folder: a file is written beside its place, synced and renamed, so that it is
whole or not there, and one that another process has removed is made again. The folder is bounded (denselab.bounded).
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from denselab.bounded import BOUND, BoundedFolder
from denselab.errors import ResourceError
from denselab.files import replaced
from denselab.inference.joining import Scores

logger = logging.getLogger(__name__)

Fill = Callable[[NDArray[np.float32]], bool]
"""Writes the scores into an array (K, H, W) float32; returns whether they are raw."""

IN_MEMORY = 256 * 2**20  # bytes of scores that are not kept on disk; larger ones go to a file that is removed at once
KINDS = {b"L": True, b"P": False}  # the last byte of a file, behind its array: whether the scores are raw
REMEDY = "set XDG_CACHE_HOME to another disk"


def default_folder() -> Path:
    """Where scores are kept: denselab/scores in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "denselab" / "scores"


class ScoreCache:
    """Scores by key. folder: where; None: the user's cache folder. bound: bytes it may hold; None: BOUND."""

    def __init__(self, folder: Path | None = None, bound: int | None = None) -> None:
        self.folder = folder or default_folder()
        self._files = BoundedFolder(self.folder, ".npy", BOUND if bound is None else bound)
        self._told = False  # that nothing can be kept

    def get(self, key: str, shape: tuple[int, int, int], fill: Fill) -> Scores:
        """The scores kept under a key, else those that `fill` computes, which are kept.

        shape: (K, H, W).
        Where the disk cannot be written they are computed and not kept, with one warning.
        """
        found = self._read(key, shape)
        if found is not None:
            return found
        try:
            return self._make(key, shape, fill)
        except ResourceError as error:
            if not self._told:
                logger.warning(f"warning: scores are not kept: {error}")
            self._told = True
            return unkept(shape, fill)

    def _read(self, key: str, shape: tuple[int, int, int]) -> Scores | None:
        path = self._path(key)
        with suppress(OSError, EOFError, ValueError, KeyError):  # not there, or damaged
            planes = np.load(path, mmap_mode="r", allow_pickle=False)
            with path.open("rb") as file:
                size = file.seek(-1, os.SEEK_END) + 1
                logits = KINDS[file.read()]
            whole = size == planes.offset + planes.nbytes + 1
            if whole and planes.shape == shape and planes.dtype == np.float32:
                self._files.use(path)
                return Scores(planes, logits)
        return None

    def _make(self, key: str, shape: tuple[int, int, int], fill: Fill) -> Scores:
        with replaced(self._path(key), REMEDY) as fresh:
            planes = np.lib.format.open_memmap(fresh, mode="w+", dtype=np.float32, shape=shape)
            with fresh.open("r+b") as file:
                size = _reserve(file, fresh.stat().st_size + 1)
                logits = fill(planes)
                planes.flush()
                file.seek(size - 1)
                file.write(next(tag for tag, kind in KINDS.items() if kind == logits))
                file.flush()
                os.fsync(file.fileno())
        self._files.add(self._path(key))
        return Scores(planes, logits)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npy"


def unkept(shape: tuple[int, int, int], fill: Fill) -> Scores:
    """Scores (K, H, W) that no one keeps: in memory, or in a temporary file where they are large.

    Raises ResourceError where there is no room for it.
    """
    if np.prod(shape) * 4 <= IN_MEMORY:
        planes = np.empty(shape, np.float32)
        return Scores(planes, fill(planes))
    try:
        with tempfile.TemporaryFile(prefix="denselab-") as file:  # the mapping outlives the name
            _reserve(file, int(np.prod(shape)) * 4)
            mapped: NDArray[np.float32] = np.memmap(file, np.float32, "r+", shape=shape)
    except OSError as error:
        raise ResourceError(
            f"no room for scores in {tempfile.gettempdir()}: {error.strerror or error}; set TMPDIR to a larger disk"
        ) from error
    return Scores(mapped, fill(mapped))


def key_of(*parts: object) -> str:
    """A digest of bytes, arrays (with shape and type) and of the text of anything else."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.shape}{part.dtype}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            content = part if isinstance(part, bytes) else repr(part).encode()
            digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def _reserve(file: IO[Any], size: int) -> int:
    """Take a file's space now: writing to a mapped file on a full disk would end the process. Raises OSError.

    size: bytes; they are returned.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
    return size
