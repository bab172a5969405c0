"""Sizes and durations as people write them, and the types of the settings that use them."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

NUMBER = r"(?:\d+\.?\d*|\.\d+)"
DURATION = re.compile(rf"(?:({NUMBER})h)?(?:({NUMBER})m)?(?:({NUMBER})s)?")
PRETRAINED_WORDS = ("auto", "yes", "no")
BARE = re.compile(rf"{NUMBER}|.*[hm]{NUMBER}")  # "10", "1h30"


def parse_size(value: Any) -> Any:
    """(height, width) from "360x480", "512" or a pair; anything else is left for pydantic to refuse."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)(?:[xX](\d+))?", value.strip())):
        return (int(match[1]), int(match[2] or match[1]))
    return value


def parse_duration(value: Any) -> Any:
    """Seconds from "90s", "30m", "1.5h" or "1h30m"; anything else is left for pydantic to refuse.

    A number is already in seconds. A word needs a unit: `10` may mean seconds or minutes, and guessing could start a
    run of ten seconds. Raises ValueError for a word without a unit.
    """
    if not isinstance(value, str):
        return value
    word = value.strip()
    if BARE.fullmatch(word):
        raise ValueError(f"{word} of what? Give the unit: {word}s, {word}m{'' if 'h' in word else f' or {word}h'}")
    parts = DURATION.fullmatch(word)
    if not parts or not any(parts.groups()):
        return value
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds


def word_of_bool(value: Any) -> Any:
    """ "yes" or "no" for True or False: YAML reads a bare `no` as a truth value."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def whole_of_word(value: Any) -> Any:
    """The number that a word such as "16" writes: pydantic reads words as numbers, but not where only some may be."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def parse_pretrained(value: Any) -> Any:
    """ "auto", "yes" or "no" (also given as a truth value), or a file or hub id, recognised by form; a typo is neither.

    denselab.encoders.pretrained says what they mean. Raises ValueError.
    """
    word = word_of_path(word_of_bool(value))
    if not isinstance(word, str) or word in PRETRAINED_WORDS or re.search(r"[/\\]|\.\w+$", word):
        return word
    raise ValueError("give auto, yes, no, a file such as weights.safetensors, or a hub id owner/name")


def word_of_path(value: Any) -> Any:
    """The text of a path."""
    return str(value) if isinstance(value, Path) else value


def parse_strong(value: Any) -> Any:
    """A number of pictures, also as a word, or the text of a path. Raises ValueError for a number below 0."""
    word = word_of_path(value)
    number = int(word) if isinstance(word, str) and re.fullmatch(r"-?\d+", word.strip()) else word
    if isinstance(number, bool) or (isinstance(number, int) and number < 0):
        raise ValueError("give a number of pictures, such as 4, or a file that lists them")
    return number


Place = Annotated[str, BeforeValidator(word_of_path)]
Size = Annotated[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], BeforeValidator(parse_size)]
Seconds = Annotated[float, Field(gt=0), BeforeValidator(parse_duration)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Strong = Annotated[int | str, BeforeValidator(parse_strong)]
