"""Tables beside labels that may hold the names of the classes, in forms that are not read: told where names lack."""

import re
from pathlib import Path

from denselab.data.listing.tree import Tree
from denselab.documents import Unreadable, read_text

SHEETS = (".xlsx", ".xls", ".ods")
PAGES = (".md", ".markdown")
CODE = (".py", ".toml", ".cfg", ".xml")  # METAINFO = dict(classes=("road", "car")); GDAL's label.tif.aux.xml
NAMED = re.compile(
    r"""\b(?:classes|class_names|CLASSES|CLASS_NAMES|METAINFO)\b["']?\s*[=:]\s*(?:dict\(|[(\[{])"""
    r"|<CategoryNames>|<GDALRasterAttributeTable"
)
MOST_CODE = 50  # files of code that are looked into
DEEPEST = 3  # parts of a path: a table of names stands beside the folders of the labels, or in them
CELL = re.compile(r"\|?\s*([^|]+?)\s*\|")
LARGEST = 2**20  # bytes of a page, or of code


def unread_names(tree: Tree) -> str:
    """A spreadsheet, a page with numbered rows, or code, that may hold the names of classes; "" where there is none."""
    near = [file for file in tree.files if len(file.parts) <= DEEPEST]
    sheets = (file for file in near if file.suffix.lower() in SHEETS)
    pages = (file for file in near if file.suffix.lower() in PAGES and _has_numbered_rows(tree.path(file)))
    code = (file for file in tree.with_suffix(*CODE)[:MOST_CODE] if NAMED.search(_text(tree.path(file))))
    return str(next(sheets, None) or next(pages, None) or next(code, ""))


def _text(path: Path) -> str:
    """A small text; "" where it is none."""
    try:
        return read_text(path, LARGEST)
    except (OSError, Unreadable, UnicodeDecodeError):
        return ""


def _has_numbered_rows(path: Path) -> bool:
    """Whether a table on the page has rows for 0 and 1, or for 1 and 2, each with a word."""
    rows = [CELL.findall(f"{line}|") for line in _text(path).splitlines() if "|" in line]
    told = {int(c) for row in rows if any(map(_is_word, row)) for c in row if c.isdecimal() and len(c) < 4}
    return {0, 1} <= told or {1, 2} <= told


def _is_word(cell: str) -> bool:
    return bool(re.search(r"[^\W\d_]{2}", cell))
