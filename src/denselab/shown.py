"""Text of others as it is shown: no character of a file or class name can act on a terminal, a log or a table."""

import re

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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
