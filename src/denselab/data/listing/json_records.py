"""What stands in the records of a JSON document, whatever they are called and however deep they lie."""

from collections.abc import Iterator, Mapping
from typing import Any

DEEPEST = 6  # records within records that are looked into


def records_of(data: Any, deep: int = DEEPEST) -> Iterator[Mapping[str, Any]]:
    """All objects in a document, those that hold others first."""
    if isinstance(data, dict):
        yield data
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    for value in inner if deep else ():
        yield from records_of(value, deep - 1)


def texts_of(record: Mapping[str, Any], key: str = "", deep: int = DEEPEST) -> Iterator[tuple[str, str]]:
    """The texts of a record and of the objects in it, each with its keys; a list of one text is that text."""
    for name, value in record.items():
        where = f"{key}.{name}" if key else name
        only = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(only, str):
            yield where, only
        elif isinstance(value, dict) and deep:
            yield from texts_of(value, where, deep - 1)
