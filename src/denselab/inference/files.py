"""Result files: complete or not there at all, never half written."""

import os
import secrets
from pathlib import Path

from denselab.errors import ResourceError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: a temporary file beside it, then a rename. Raises ResourceError when that fails."""
    # short, for the name itself may be as long as names can be; unique, for threads may write into one folder
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        reason = error.strerror or str(error)
        raise ResourceError(f"cannot write {path}: {reason}; free space or choose another output folder") from error


def write_text(path: Path, content: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, content.encode())


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # its folder is not one, or cannot be changed: then there is nothing to remove
        return
