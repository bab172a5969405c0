"""A layer between DenseLab and the disk that fails on purpose: no space, I/O errors, read-only, short writes."""

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

KINDS = {"full": errno.ENOSPC, "io": errno.EIO, "read-only": errno.EROFS, "short": errno.ENOSPC}


def fail_writes(below: Path, kind: str, after: int) -> Callable[[], None]:
    """A function that, called in a child, lets every change below a folder fail from the `after`-th on.

    kind: "full" and "io": writing fails; "read-only": making files, too; "short": half of what is written arrives, then
        the disk is full
    """

    def install() -> None:
        state = {"left": after}
        place = str(below.absolute())

        def due(path: object) -> bool:
            if not str(os.path.abspath(os.fspath(path))).startswith(place):  # type: ignore[call-overload]
                return False
            state["left"] -= 1
            return state["left"] < 0

        def fault(path: object) -> OSError:
            return OSError(KINDS[kind], os.strerror(KINDS[kind]), str(path))

        _patch_open(due, fault, kind)
        _patch_calls(due, fault, kind)

    return install


def _patch_open(due: Callable[[object], bool], fault: Callable[[object], OSError], kind: str) -> None:
    plain = io.open

    def opened(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        writes = any(letter in mode for letter in "wax+")
        if not writes or isinstance(file, int):
            return plain(file, mode, *rest, **named)
        broken = due(file)
        if broken and kind == "read-only":
            raise fault(file)
        stream = plain(file, mode, *rest, **named)
        return _Broken(stream, fault(file), kind) if broken else stream

    io.open = builtins.open = opened  # type: ignore[assignment]


class _Broken:
    """A file whose writes fail."""

    def __init__(self, stream: Any, error: OSError, kind: str) -> None:
        self.stream, self.error, self.kind = stream, error, kind

    def write(self, content: Any) -> int:
        if self.kind == "short":
            self.stream.write(content[: len(content) // 2])
            self.stream.flush()
        raise self.error

    def __enter__(self) -> "_Broken":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _patch_calls(due: Callable[[object], bool], fault: Callable[[object], OSError], kind: str) -> None:
    names = ("mkdir", "replace", "rename", "unlink", "rmdir", "truncate") if kind == "read-only" else ("mkdir",)
    for name in names:
        plain = getattr(os, name)

        def changed(path: Any, *rest: Any, plain: Any = plain, **named: Any) -> Any:
            if not isinstance(path, int) and due(path):
                raise fault(path)
            return plain(path, *rest, **named)

        setattr(os, name, changed)
