"""What an earlier page of the same name had beside it: the page lists its files, so that these go and no others.

Not by their names, as files.clear_older does in folders that are all ours: a page goes into any folder of the user's.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from denselab.documents import MAX_ANNOTATIONS, read_text
from denselab.report.html import Html

LISTED = re.compile(r"<!-- beside it: (.*?) -->")
NAME = re.compile(r"[\w.+-]+\.png")


def listing(names: Iterable[str]) -> Html:
    """The part of a page that lists the pictures beside it."""
    return Html(f"<!-- beside it: {' '.join(names)} -->")


def earlier(page: Path) -> set[Path]:
    """The pictures that the page at this path lists; none where there is no page."""
    try:
        found = LISTED.search(read_text(page, MAX_ANNOTATIONS))
    except (OSError, ValueError):
        return set()
    return {page.with_name(name) for name in found[1].split() if NAME.fullmatch(name)} if found else set()


def remove(paths: Iterable[Path]) -> None:
    """Remove files; one that cannot be stays."""
    for path in paths:
        with suppress(OSError):
            path.unlink()
