"""Missing paths: one error for all of them, with similar names nearby.

Names that come from users are asked about by os.path: `Path.exists` raises for one that is too long, such as a picture
in base64, and below a folder that this user may not enter.
"""

import difflib
import errno
import os
from pathlib import Path
from typing import Any

from denselab.errors import ConfigError, NoSuchPath

NEAR = 3  # most names that a message shows
LONGEST = 300  # characters of a path that a message shows


def given_path(value: Any, name: str) -> Path:
    """The path that a caller gave. Raises ConfigError for none, and for the empty word of a variable that is not set.

    name: of the argument. Python takes the empty word for the current folder, which would be read, or written into.
    """
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise ConfigError(f"{name} is {value!r}; expected a path; the current folder is '.'")
    return Path(value)


def deepest_folder(out: Path) -> Path:
    """The deepest folder that exists on the way to one that is to be written; the latter itself where it exists.

    Raises ConfigError where that is a file.
    """
    place = out
    while not os.path.exists(place) and place != place.parent:
        place = place.parent
    if not os.path.isdir(place):
        raise ConfigError(f"{place} is a file; choose another `out`")
    return place


def require_path(path: Path, wanted: str) -> Path:
    """Return `path` if it exists.

    wanted: what it should be, such as "a picture".
    Raises NoSuchPath.
    """
    if not os.path.exists(path):
        raise no_such_path(path, wanted)
    return path


def no_such_path(path: Path, wanted: str) -> NoSuchPath:
    """The error for a missing path: what was looked for, and similar names in the deepest folder that exists.

    wanted: what the path should be, with its article: "a data folder".
    """
    if reason := why_hidden(path):
        return NoSuchPath(f"{shortened(path)} cannot be looked at ({reason}); expected {wanted}")
    return NoSuchPath(f"{path} does not exist; expected {wanted}{_nearby(path)}")


def why_hidden(path: Path) -> str:
    """Why the system does not say whether a path is there: its name, or missing rights; "" where it says."""
    try:
        os.stat(path)
    except ValueError:
        return "it holds a null byte"
    except OSError as error:
        return "" if error.errno in (errno.ENOENT, errno.ENOTDIR) else str(error.strerror)
    return ""


def shortened(path: Path) -> str:
    """A path for a message; of a very long one the beginning."""
    text = str(path)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _nearby(path: Path) -> str:
    """Similar names in the deepest folder of the path that exists."""
    folder, missing = path.parent, path.name
    while not os.path.isdir(folder) and folder != folder.parent:
        folder, missing = folder.parent, folder.name
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return ""
    folded = {name.lower(): name for name in names}
    near = [folded[name] for name in difflib.get_close_matches(missing.lower(), folded, NEAR)]
    if near:
        return f"; near it: {', '.join(str(folder / name) for name in near)}"
    here = "this folder" if folder == Path() else folder
    return "" if folder == path.parent else f"; {here} holds no {missing}"
