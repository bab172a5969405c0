"""Folders of any number of pictures: listed while the work goes on, and divided among processes by name."""

import logging
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from denselab.errors import ConfigError
from denselab.inference.inputs import Skipped, Source, distinct, pictures_by_folder, source_below

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """The part `number` of `count` of a collection, counted from 1.

    A picture belongs to a part by its name alone, so all processes agree without talking, whatever is added meanwhile.
    """

    number: int
    count: int

    def has(self, stem: PurePosixPath) -> bool:
        """Whether the picture with this stem is in this part."""
        return zlib.crc32(str(stem).encode(errors="surrogateescape")) % self.count == self.number - 1


def parse_shard(text: str | None) -> Shard | None:
    """The shard of "2/8". Raises ConfigError."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"`shard` {text!r}; write part/parts, counted from 1, such as 2/8")
    return Shard(int(match[1]), int(match[2]))


def of_shard(sources: Iterable[Source], shard: Shard | None) -> Iterator[Source]:
    """The sources of a shard; all without one."""
    return (source for source in sources if shard is None or shard.has(source.stem))


def can_stream(inputs: list[str], out: Path) -> bool:
    """Whether the inputs are one folder that no result can land in: then its names need not be known beforehand."""
    if len(inputs) != 1 or not os.path.isdir(inputs[0]):
        return False
    return not Path(inputs[0]).resolve().is_relative_to(out.resolve())


def walk(folder: Path, out: Path, skipped: list[Skipped] | None = None) -> Iterator[Source]:
    """The pictures of a folder and the folders below it, one folder at a time, sorted, results in `out` left out.

    Links to folders are followed. Stems mirror the tree; pictures of one folder that differ in their suffix keep it.
    skipped: gets the folders that cannot be listed, when it is their turn; each is said.
    """

    def leave_out(entry: Skipped) -> None:
        logger.warning(f"skipped {entry.path}: {entry.reason}")
        if skipped is not None:
            skipped.append(entry)

    yield from _sources(folder, out, leave_out)


def count_pictures(folder: Path, out: Path, shard: Shard | None) -> int:
    """How many pictures `walk` gives; counting a million takes seconds."""
    every = _sources(folder, out, lambda entry: None)  # `walk` says what is left out
    return sum(1 for _ in of_shard(every, shard))


def _sources(folder: Path, out: Path, leave_out: Callable[[Skipped], None]) -> Iterator[Source]:
    for paths in pictures_by_folder(folder, leave_out, out.resolve()):
        yield from distinct([source_below(path, folder) for path in paths])
