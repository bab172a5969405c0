"""Folders of any number of pictures: listed while the work goes on, and divided among processes by name."""

import logging
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from denselab.data.read.images import PICTURE_SUFFIXES
from denselab.data.read.stored_bands import NPY
from denselab.data.read.tree import leads_to_folder
from denselab.errors import ConfigError
from denselab.inference.inputs import Skipped, Source, cannot_list, distinct

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
    if len(inputs) != 1 or not Path(inputs[0]).is_dir():
        return False
    return not Path(inputs[0]).resolve().is_relative_to(out.resolve())


def walk(folder: Path, out: Path, skipped: list[Skipped] | None = None) -> Iterator[Source]:
    """The pictures of a folder and the folders below it, one folder at a time, sorted, results in `out` left out.

    Stems mirror the tree; pictures of one folder whose names differ in their suffix alone keep it.
    skipped: gets the folders that cannot be listed, when it is their turn; each is said.
    """

    def leave_out(entry: Skipped) -> None:
        logger.warning(f"skipped {entry.path}: {entry.reason}")
        if skipped is not None:
            skipped.append(entry)

    yield from _walk(folder, PurePosixPath(), out.resolve(), leave_out)


def _walk(folder: Path, below: PurePosixPath, results: Path, leave_out: Callable[[Skipped], None]) -> Iterator[Source]:
    files, folders = [], []
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        leave_out(Skipped(str(folder), cannot_list(error)))
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.name)
        elif Path(entry.name).suffix.lower() in (*PICTURE_SUFFIXES, NPY) and not leads_to_folder(entry):
            files.append(entry.name)
    if any(Path(name).suffix.lower() != NPY for name in files):  # an array beside pictures is none itself
        files = [name for name in files if Path(name).suffix.lower() != NPY]
    here = [Source(folder / name, below / Path(name).with_suffix("").name) for name in sorted(files)]
    yield from distinct(here)
    for name in sorted(folders):
        if (folder / name).resolve() != results:
            yield from _walk(folder / name, below / name, results, leave_out)


def count_pictures(folder: Path, out: Path, shard: Shard | None) -> int:
    """How many pictures `walk` gives; counting a million takes seconds."""
    every = _walk(folder, PurePosixPath(), out.resolve(), lambda entry: None)  # `walk` says what is left out
    return sum(1 for _ in of_shard(every, shard))
