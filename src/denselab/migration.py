"""Records on disk carry the number of their form and the version that wrote them; older forms are led up step by step.

A form is a plain dict. Each step is a pure function from one form to the next, so that what a field means when it is missing
stands in one place, and readers know the newest form only.
"""

from collections.abc import Callable, Mapping
from typing import Any

from denselab import __version__
from denselab.errors import CheckpointError

Record = dict[str, Any]
Step = Callable[[Record], Record]


def stamped(record: Mapping[str, Any], form: int) -> Record:
    """A record with its form and this version of DenseLab in front, as it is written."""
    return {"format": form, "written_by": __version__, **record}


def migrated(record: Mapping[str, Any], steps: Mapping[int, Step], source: str) -> Record:
    """The record in the newest form, without "format".

    steps: {form: the function to the next form}; forms are numbered without gaps, the newest is one above the last key.
    A record without "format" is of the oldest form. Raises CheckpointError that names `source` and the version that wrote
    it: a form that is newer, unknown or no number, or an older one that is damaged.
    """
    oldest, newest = min(steps), max(steps) + 1
    record = dict(record)
    form = record.pop("format", oldest)
    if type(form) is not int or not oldest <= form <= newest:
        raise CheckpointError(
            f"{source} has format {form!r}, written by {writer(record)}; this is {ours()}, which reads formats {oldest} to "
            f"{newest}: update DenseLab"
        )
    try:
        for number in range(form, newest):
            record = steps[number](record)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{source} is not complete for format {form}: {error!r}") from None
    return record


def writer(record: Mapping[str, Any]) -> str:
    """The version that wrote a record, for a message."""
    return (
        f"DenseLab {record['written_by']}" if record.get("written_by") else "a DenseLab that did not note its version"
    )


def ours() -> str:
    """This version, for a message."""
    return f"DenseLab {__version__}"
