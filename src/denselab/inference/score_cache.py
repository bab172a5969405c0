"""A model's scores for pictures, kept on disk by what they were made from, so that no network runs twice.

The key is a digest of the model's content, of how it was run, and of the picture's pixels; a file under a key never
changes. Several processes may use one folder: a file is written beside its place and renamed, and one that another
process has removed is made again. The oldest files are removed when the folder grows beyond its bound.
"""

import hashlib
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denselab.inference.joining import Scores

logger = logging.getLogger(__name__)

Fill = Callable[[NDArray[np.float32]], bool]
"""Writes the scores into an array (K, H, W) float32; returns whether they are raw."""

BOUND = 16 * 2**30  # bytes
FREE_SHARE = 0.25  # of the disk's free space that the folder may take at most, so that it never fills a disk
IN_MEMORY = 256 * 2**20  # bytes of scores that are not kept on disk; larger ones go to a file that is removed at once
STALE = 24 * 3600.0  # seconds after which a file that is still being written was left by a killed process
KINDS = {True: "logits", False: "probs"}


def default_folder() -> Path:
    """Where scores are kept: denselab/scores in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "denselab" / "scores"


class ScoreCache:
    """Scores by key. folder: where; None: the user's cache folder. bound: bytes it may hold; None: BOUND."""

    def __init__(self, folder: Path | None = None, bound: int | None = None) -> None:
        self.folder = folder or default_folder()
        self.bound = BOUND if bound is None else bound
        self._size: int | None = None  # bytes in the folder when it was last looked through, and what was added since

    def get(self, key: str, shape: tuple[int, int, int], fill: Fill) -> Scores:
        """The scores kept under a key, else those that `fill` computes, which are kept.

        shape: (K, H, W).
        Where the disk cannot be written they are computed and not kept, with a warning.
        """
        found = self._read(key, shape)
        if found is not None:
            return found
        try:
            return self._make(key, shape, fill)
        except OSError as error:
            logger.warning(f"scores are not kept in {self.folder}: {error.strerror or error}")
            return unkept(shape, fill)

    def _read(self, key: str, shape: tuple[int, int, int]) -> Scores | None:
        for logits, kind in KINDS.items():
            path = self.folder / f"{key}-{kind}.npy"
            with suppress(OSError, ValueError):  # not there, or damaged
                planes = np.load(path, mmap_mode="r", allow_pickle=False)
                if planes.shape == shape and planes.dtype == np.float32:
                    with suppress(OSError):
                        os.utime(path)  # used last now
                    return Scores(planes, logits)
        return None

    def _make(self, key: str, shape: tuple[int, int, int], fill: Fill) -> Scores:
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f".{os.getpid()}-{secrets.token_hex(6)}.part"
        try:
            planes = np.lib.format.open_memmap(fresh, mode="w+", dtype=np.float32, shape=shape)
            _reserve(fresh)
            logits = fill(planes)
            planes.flush()
            written = fresh.stat().st_size
            os.replace(fresh, self.folder / f"{key}-{KINDS[logits]}.npy")
        finally:
            fresh.unlink(missing_ok=True)
        self._keep_within_bound(written)
        return Scores(planes, logits)

    def _keep_within_bound(self, added: int) -> None:
        """Remove the files that were used longest ago, until the folder is within its bound."""
        self._size = None if self._size is None else self._size + added
        allowed = min(self.bound, int(shutil.disk_usage(self.folder).free * FREE_SHARE))
        if self._size is not None and self._size <= allowed:
            return
        files = []
        for path in self.folder.iterdir():
            with suppress(OSError):  # removed by another process
                status = path.stat()
                if path.suffix == ".npy":
                    files.append((status.st_mtime, status.st_size, path))
                elif path.suffix == ".part" and time.time() - status.st_mtime > STALE:
                    path.unlink()
        self._size = sum(size for _, size, _ in files)
        for _, size, path in sorted(files, key=lambda file: file[0])[:-1]:  # the newest is in use
            if self._size <= allowed:
                return
            with suppress(OSError):
                path.unlink()
            self._size -= size


def unkept(shape: tuple[int, int, int], fill: Fill) -> Scores:
    """Scores (K, H, W) that no one keeps: in memory, or in a temporary file where they are large."""
    if np.prod(shape) * 4 <= IN_MEMORY:
        planes = np.empty(shape, np.float32)
        return Scores(planes, fill(planes))
    with tempfile.TemporaryFile(prefix="denselab-") as file:  # the mapping outlives the name
        mapped: NDArray[np.float32] = np.memmap(file, np.float32, "w+", shape=shape)
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


def _reserve(path: Path) -> None:
    """Take the file's space now: writing to a mapped file on a full disk would end the process. Raises OSError."""
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
