"""How commands that go through many pictures end: what was written, what was skipped and why, the exit code."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denselab.console import tell
from denselab.errors import DataError, SkippedInputs
from denselab.files import to_json

if TYPE_CHECKING:
    from denselab.inference.inputs import Skipped
    from denselab.inference.results import Result


def finish(
    done: str,
    out: str | Path,
    head: dict[str, Any],
    results: Sequence[Result],
    skipped: Sequence[Skipped],
    started: float,
    as_json: bool,
    kinds: str = "labels and overlays",
    noun: str = "picture",
) -> None:
    """Say how it ended: in one line, or with as_json in a document that begins with `head`.

    done: "predicted" or "refined"
    out: the folder, or store, that was written
    head: the first keys of the JSON document
    results: the pictures, or films, that were written
    skipped: the inputs that were not, each with its reason
    started: time.monotonic() at the beginning
    as_json: print a document, not a line
    kinds, noun: what was written of every picture, and what a picture is called, for the line

    Raises SkippedInputs where some inputs were skipped, DataError where all were.
    """
    seconds = time.monotonic() - started
    if as_json:
        document = {
            **head,
            "results": [_row(result) for result in results],
            "skipped": [{"input": entry.path, "reason": entry.reason} for entry in skipped],
            "seconds": round(seconds, 3),
        }
        print(to_json(document))
    elif results:
        fresh = len(results) - already(results)
        count = f"{fresh} {noun if fresh == 1 else noun + 's'}"
        before = f"; {already(results)} done before, and not done again (--redo does)" if already(results) else ""
        line = f"{count} {done} in {seconds:.1f} s{before}: {kinds} are in {out}"
        tell(line)
    elif not skipped:
        tell(f"no {noun} belongs to this part, so none was {done}")  # --shard of a few
    if skipped:
        message = f"{len(skipped)} of {len(results) + len(skipped)} inputs skipped: {told(skipped)}"
        raise SkippedInputs(message) if results else DataError(message)


class Counted(Sequence["Result"]):
    """The number of results where they are too many to keep: those that are there, and how many were done before."""

    def __init__(self) -> None:
        self.total = self.already = 0

    def add(self, result: Result) -> None:
        """Count a result."""
        self.total += 1
        self.already += result.already

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: Any) -> Any:
        raise IndexError("results were counted, not kept")


def already(results: Sequence[Result]) -> int:
    """How many of them were done before."""
    return results.already if isinstance(results, Counted) else sum(result.already for result in results)


def told(skipped: Sequence[Skipped]) -> str:
    """The first that was skipped, and how many more."""
    first = f"{skipped[0].path}: {skipped[0].reason}"
    return first if len(skipped) == 1 else f"{first}; and {len(skipped) - 1} more, named above"


def _row(result: Result) -> dict[str, Any]:
    files = {kind: str(path) for kind, path in result.written.items()}
    unsure = {} if result.uncertainty is None else {"mean_uncertainty": result.uncertainty}
    sure = {} if result.confidence is None else {"confidence": round(result.confidence, 6)}
    done = {"already": True} if result.already else {}
    return {"input": result.source, **files, "shares": result.shares, **unsure, **sure, **done}
