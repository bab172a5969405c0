"""Reading the JSON that annotation tools write, with one error that names the file."""

from pathlib import Path, PurePosixPath
from typing import Any

from denselab.data.listing.tree import IMAGE_WORDS, LABEL_WORDS, SPLIT_WORDS, split_in_name, words
from denselab.documents import MAX_ANNOTATIONS, Unreadable, parse_json, parse_record, read_bytes
from denselab.errors import DataError
from denselab.labels import Colour


def json_or_lines(content: bytes) -> Any:
    """The value of a document, or the list of those of its lines, where each line is one. Raises Unreadable."""
    try:
        return parse_json(content)
    except Unreadable:
        lines = [line for line in content.splitlines() if line.strip()]
        if len(lines) < 2 or not parse_record(lines[0].decode(errors="replace")):
            raise
        return [parse_json(line) for line in lines]


def read_json(path: Path) -> Any:
    """The content of a JSON file, or of one with a document in each line. Raises DataError where it is none."""
    try:
        return json_or_lines(read_bytes(path, MAX_ANNOTATIONS))
    except (OSError, ValueError) as error:
        way = "save it as UTF-8" if "codec can't decode" in str(error) else "export it again or take it out"
        raise DataError(f"{path}: not JSON that can be read ({error}); {way}") from None


def hex_colour(text: Any) -> Colour | None:
    """(R, G, B) of "#00ff7f"; None for another text."""
    digits = str(text or "").lstrip("#")
    if len(digits) != 6 or not all(c in "0123456789abcdefABCDEF" for c in digits):
        return None
    return (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))


def is_near_root(file: PurePosixPath) -> bool:
    """Whether a file lies in the root or only below folders that say what they hold (annotations/, train/)."""
    usual = IMAGE_WORDS | LABEL_WORDS | set(SPLIT_WORDS) | {"json", "jsons", "default", "trainval"}
    return all(word in usual or word.isdigit() for part in file.parts[:-1] for word in words(part))


def split_in_path(path: PurePosixPath) -> str | None:
    """The split that the folders or the name of a file say; trainval says none."""
    for part in reversed(path.parts):
        split = split_in_name(PurePosixPath(part).stem)
        if split:
            return split
    return None
