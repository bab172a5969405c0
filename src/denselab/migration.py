"""Records on disk carry a format number and the version that wrote them; older formats are migrated step by step.

A record is a plain dict. Each step is a pure function from one format to the next, so the meaning of a missing field is
defined in one place and readers know only the newest format.
"""

from collections.abc import Callable, Mapping
from typing import Any

from denselab import __version__
from denselab.errors import CheckpointError

Record = dict[str, Any]
Step = Callable[[Record], Record]


def stamped(record: Mapping[str, Any], form: int) -> Record:
    """The record as written, with its format number and this version of DenseLab in front."""
    return {"format": form, "written_by": __version__, **record}


def migrated(record: Mapping[str, Any], steps: Mapping[int, Step], source: str) -> Record:
    """The record in the newest format, without the key "format".

    steps: {format: function to the next format}; formats are numbered without gaps, and the newest is one above the
        last key.
    source: where the record comes from, for messages.
    A record without "format" is in the oldest format. Raises CheckpointError naming `source` and the version that wrote
    it where the format is newer, unknown or not a number, or where an older record is damaged.
    """
    oldest, newest = min(steps), max(steps) + 1
    record = dict(record)
    form = record.pop("format", oldest)
    if type(form) is not int or not oldest <= form <= newest:
        raise CheckpointError(
            f"{source} has format {form!r}, written by {writer(record)}; this is {ours()}, which reads formats "
            f"{oldest} to {newest}: update DenseLab"
        )
    try:
        for number in range(form, newest):
            record = steps[number](record)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{source} is not complete for format {form}: {error!r}") from None
    return record


def writer(record: Mapping[str, Any]) -> str:
    """The version that wrote a record, in words."""
    return (
        f"DenseLab {record['written_by']}" if record.get("written_by") else "a DenseLab that did not note its version"
    )


def ours() -> str:
    """This version, in words."""
    return f"DenseLab {__version__}"
