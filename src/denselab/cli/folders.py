"""Folders that a command takes where none was named: never one that is there already, never inside the data set."""

from pathlib import Path


def numbered(base: Path) -> Path:
    """The folder; where it exists, the first of BASE-2, BASE-3, ... that does not."""
    number, folder = 1, base
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def named_by_data(kind: str, data: str) -> Path:
    """KIND/DATA here, or beside the data set where the current folder lies in it. data: a folder or its data.yaml."""
    source = Path(data).resolve()
    root = source.parent if source.suffix in (".yaml", ".yml") and not source.is_dir() else source
    place = root.parent if Path.cwd().is_relative_to(root) else Path()
    return place / kind / (root.name.replace(":", "-") or "data")
