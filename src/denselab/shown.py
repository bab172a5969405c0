"""Text of others as it is shown: no character of a file or class name can act on a terminal, a log or a table."""

import csv
import io
import re
from collections.abc import Iterable
from typing import IO, Any

# C0 and C1 controls, line and paragraph separators, marks that reverse or hide text, halves of a code point
ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
FORMULA = ("=", "+", "-", "@")  # a spreadsheet computes a cell that begins so


def shown(text: str, keep: str = "") -> str:
    """`text` on one line, with every character that would act instead of being seen written as \\n, \\x1b or \\u202e.

    keep: characters that stay, such as the newlines of our own text
    """
    return ACTING.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def cell(text: str) -> str:
    """`text` as a cell of a CSV file: as `shown`, and never a formula. Numbers stay as they are."""
    text = shown(text)
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text


def from_cell(text: str) -> str:
    """What `cell` was given, for names without characters that act."""
    return text[1:] if text.startswith("'") and cell(text[1:]) == text else text


def write_rows(file: IO[str], rows: Iterable[Iterable[Any]]) -> None:
    """Rows as lines of a CSV file that people open: every value as a `cell`, None empty."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows(["" if value is None else cell(str(value)) for value in row] for row in rows)


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as the text of a CSV file, as `write_rows` writes them."""
    text = io.StringIO()
    write_rows(text, rows)
    return text.getvalue()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
