"""Missing paths: one error for all of them, with similar names nearby."""

import difflib
import os
from pathlib import Path

from denselab.errors import NoSuchPath

NEAR = 3  # most names that a message shows


def require_path(path: Path, wanted: str) -> Path:
    """Return `path` if it exists.

    wanted: what it should be, such as "a picture".
    Raises NoSuchPath.
    """
    if not path.exists():
        raise no_such_path(path, wanted)
    return path


def no_such_path(path: Path, wanted: str) -> NoSuchPath:
    """The error for a missing path: what was looked for, and similar names in the deepest folder that exists.

    wanted: what the path should be, with its article: "a data folder".
    """
    return NoSuchPath(f"{path} does not exist; expected {wanted}{_nearby(path)}")


def _nearby(path: Path) -> str:
    """Similar names in the deepest folder of the path that exists."""
    folder, missing = path.parent, path.name
    while not folder.is_dir() and folder != folder.parent:
        folder, missing = folder.parent, folder.name
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return ""
    folded = {name.lower(): name for name in names}
    near = [folded[name] for name in difflib.get_close_matches(missing.lower(), folded, NEAR)]
    if near:
        return f"; near it: {', '.join(str(folder / name) for name in near)}"
    return "" if folder == path.parent else f"; {folder} holds no {missing}"
