"""What was tried, kept on disk check by check, and the table of it."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from reliability.lab import Check

BEGIN, END = "<!-- the latest table -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Group:
    """The checks of one kind. long: whether all were tried. seconds: how long it took, by the clock."""

    checks: tuple[Check, ...]
    long: bool
    seconds: float
    commit: str

    @property
    def held(self) -> int:
        """How many held."""
        return sum(check.held for check in self.checks)


def tried(checks: Iterator[Check], long: bool, keep: Path | None) -> Group:
    """Go through the checks of a group. keep: a file to which each is written as soon as it is known, or None."""
    began, done, commit = time.monotonic(), list[Check](), commit_now()
    if keep:
        keep.parent.mkdir(parents=True, exist_ok=True)
        keep.write_text("")
    for check in checks:
        done.append(check)
        _append(keep, asdict(check))
    group = Group(tuple(done), long, time.monotonic() - began, commit)
    _append(keep, {"long": long, "seconds": group.seconds, "commit": commit})
    return group


def _append(path: Path | None, line: dict[str, object]) -> None:
    if path:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def kept(path: Path, long: bool) -> Group | None:
    """A group that `tried` has written to its end, with `long` or with more; otherwise None."""
    if not path.is_file():
        return None
    try:
        *checks, end = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] or [{}]
    except ValueError:  # stopped in the middle of a line
        return None
    if "commit" not in end or (long and not end["long"]):
        return None
    return Group(tuple(Check(**check) for check in checks), **end)


def table_of(groups: Mapping[str, Group]) -> str:
    """The result as Markdown: a row for each group, the score, and what fell."""
    held, of = sum(g.held for g in groups.values()), sum(len(g.checks) for g in groups.values())
    head = (
        f"{held} of {of} held ({sum(g.seconds for g in groups.values()) / 60:.0f} min, {time.strftime('%Y-%m-%d')}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores)."
    )
    rows = [f"| {name} | {g.held} | {len(g.checks)} | {_size(g)} | {g.commit} |" for name, g in groups.items()]
    fell = [f"- {name}: {c.name}: {c.told}" for name, g in groups.items() for c in g.checks if not c.held]
    table = ["| group | held | of | how many were tried | commit |", "|---|---|---|---|---|", *rows]
    return "\n".join([head, "", *table, *(["", "What fell:", *fell] if fell else [])])


def _size(group: Group) -> str:
    return f"{'all' if group.long else 'the quick ones'}, {group.seconds / 60:.1f} min"


def commit_now() -> str:
    """The commit of the working directory, with "-dirty" where files were changed since."""
    run = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"


def write_into(page: Path, table: str) -> None:
    """Put a table between the two marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
