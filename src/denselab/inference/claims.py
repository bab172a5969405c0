"""Who works on what: a file per picture that only one process can create, so that several share a folder.

The processes may run on several machines with one disk between them. A claim is renewed while its process lives; one
that was left by a killed process is taken over: at once on the same machine, after STALE seconds from another.
"""

import hashlib
import json
import os
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path

from denselab.documents import parse_json, read_bytes
from denselab.files import HOST, is_alive, writing

STALE = 600.0  # seconds without renewal after which a claim from another machine counts as left behind
RENEWAL = 60.0  # seconds


class Claims:
    """The claims of this process; a context manager, which lets go of all of them at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: set[Path] = set()
        self._lock = threading.Lock()
        self._end = threading.Event()

    def __enter__(self) -> "Claims":
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._renew, name="denselab-claims", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for path in list(self._held):
            self._let_go(path)
        with suppress(OSError):
            self.folder.rmdir()  # only the last process finds it empty

    def take(self, name: str) -> bool:
        """Claim a name; False where another process has it."""
        path = self._path(name)
        if self._create(path):
            return True
        return self._is_left(path) and self._take_over(path) and self._create(path)

    def release(self, name: str) -> None:
        """Let go of a name."""
        self._let_go(self._path(name))

    def _path(self, name: str) -> Path:
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
        return self.folder / f"{digest[:32]}.claim"

    def _create(self, path: Path) -> bool:
        for _ in range(2):
            with writing(path):
                try:
                    with path.open("x") as file:
                        json.dump({"host": HOST, "pid": os.getpid()}, file)
                except FileExistsError:
                    return False
                except FileNotFoundError:  # another process was the last to leave and removed the folder
                    self.folder.mkdir(parents=True, exist_ok=True)
                    continue
            with self._lock:
                self._held.add(path)
            return True
        return False

    def _is_left(self, path: Path) -> bool:
        """Whether the process that made a claim is gone."""
        try:
            age = time.time() - path.stat().st_mtime
            owner = parse_json(read_bytes(path))
            gone = owner["host"] == HOST and not is_alive(int(owner["pid"]))
        except (OSError, ValueError, OverflowError, TypeError, KeyError):  # gone meanwhile, or not yet written
            return False if not path.exists() else time.time() - _modified(path) > STALE
        return gone or age > STALE

    def _take_over(self, path: Path) -> bool:
        """Remove a claim that was left; only one process succeeds."""
        aside = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            os.rename(path, aside)
            aside.unlink()
        except OSError:
            return False
        return True

    def _let_go(self, path: Path) -> None:
        with self._lock:
            self._held.discard(path)
        with suppress(OSError):  # on a disk that can no longer be written it is left, and found to be when it can
            path.unlink()

    def _renew(self) -> None:
        while not self._end.wait(RENEWAL):
            with self._lock:
                held = list(self._held)
            for path in held:
                try:
                    os.utime(path)
                except OSError:
                    continue


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
