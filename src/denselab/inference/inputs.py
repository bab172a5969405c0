"""Picture files by name: what paths, folders and patterns refer to, and where their results go."""

import glob
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TypeVar

from denselab.data.listing.tree import walk_folders
from denselab.data.pixels.images import PICTURE_SUFFIXES
from denselab.data.pixels.spectral import SpectralBands, shared_part
from denselab.data.pixels.stored_bands import NPY
from denselab.engine.spec import Preprocessing
from denselab.errors import ConfigError, DenseLabError, OutOfMemory, ResourceError
from denselab.inference.prediction import RESULT_FOLDERS, TABLE, read_table
from denselab.paths import require_path, shortened, why_hidden
from denselab.types import Pixels

logger = logging.getLogger(__name__)

_left_out: set[Path] = set()  # folders of results of which this process has told
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".mts")


@dataclass(frozen=True)
class Source:
    """One picture file to predict.

    stem: where its results go below the output folder, without suffix.
    """

    path: Path
    stem: PurePosixPath

    @property
    def name(self) -> str:
        """What the file is called in tables and messages."""
        return str(self.path)

    @contextmanager
    def local(self) -> Iterator[Path]:
        """The picture as a file on this machine."""
        yield self.path

    def read(self, preprocessing: Preprocessing) -> Pixels:
        """Read the picture as a model takes it. Raises DataError naming the file."""
        with self.local() as path:
            return self.read_at(path, preprocessing)

    def read_at(self, path: Path, preprocessing: Preprocessing) -> Pixels:
        """`read`, where the file of `local` is at hand."""
        return preprocessing.read(path)


class Held:
    """Pictures as files on this machine: each is fetched once, and kept until it is let go."""

    def __init__(self) -> None:
        self._files: dict[PurePosixPath, tuple[Path, ExitStack]] = {}

    def path(self, source: Source) -> Path:
        """The file of a picture."""
        if source.stem not in self._files:
            copy = ExitStack()
            self._files[source.stem] = (copy.enter_context(source.local()), copy)
        return self._files[source.stem][0]

    def let_go(self, source: Source) -> None:
        """The file of a picture, if there is one, is not needed any more."""
        if source.stem in self._files:
            self._files.pop(source.stem)[1].close()

    def close(self) -> None:
        """Let go of all."""
        while self._files:
            self._files.popitem()[1][1].close()


SourceT = TypeVar("SourceT", bound=Source)


@dataclass(frozen=True)
class Skipped:
    """An input that was skipped, and why."""

    path: str
    reason: str


def reason_to_skip(error: DenseLabError | MemoryError) -> DenseLabError:
    """Why one input is skipped. Raises `error` where it would befall the others too: results cannot be written."""
    if isinstance(error, ResourceError) and not isinstance(error, OutOfMemory):
        raise error
    if isinstance(error, DenseLabError):
        return error
    return OutOfMemory("does not fit in the memory of this machine; cut it into tiles")


def skipped_for(error: DenseLabError | MemoryError, name: str) -> Skipped:
    """The input of this name, skipped for a reason, which is said. Raises as `reason_to_skip`."""
    reason = str(reason_to_skip(error)).removeprefix(f"{name}: ").removeprefix(f"{name} ")  # it stands before it
    logger.warning(f"skipped {name}: {reason}")
    return Skipped(name, reason)


def find_sources(inputs: Sequence[str], out: Path | None = None) -> tuple[list[Source], list[Skipped]]:
    """The picture files that inputs refer to, each once, with distinct stems; and the skipped inputs.

    inputs: paths, folders and patterns. A folder is searched recursively; stems mirror its tree. Patterns with * ? [
        are resolved here if the shell did not do it.
    out: the output folder; results below it are not inputs.
    """
    sources: list[Source] = []
    skipped: list[Skipped] = []
    for text in inputs:
        path = Path(text)
        found: list[Source] = []
        if os.path.isdir(path):
            found = [source_below(p, path) for p in _pictures_below(path, out, skipped)]
        elif os.path.exists(path):
            _sort_in(path, sources, skipped)
            continue
        elif glob.has_magic(text):
            found = _matches(text, out, skipped)
        if not found:
            skipped.append(Skipped(shortened(path), _why_nothing(path, text)))
        sources += found
    unique = {os.path.abspath(source.path): source for source in sources}  # a link counts as a separate input
    return distinct(unique.values()), skipped


def require_given(inputs: Sequence[str], wanted: str = "a picture, or a folder of pictures") -> None:
    """Raise NoSuchPath for the first input that is no pattern and does not exist: where nothing was found, a slip."""
    for text in inputs:
        if not glob.has_magic(text):
            require_path(Path(text), wanted)


def refuse_own_folder(inputs: Sequence[str], out: Path) -> None:
    """Raise ConfigError where results go into a folder of pictures itself: the next run would take them for pictures.

    A folder in it is left out of the pictures.
    """
    for text in inputs:
        if os.path.isdir(text) and os.path.isdir(out) and os.path.samefile(text, out):
            raise ConfigError(
                f"`out` {out} is the folder of the pictures: the next time its results would be pictures too; "
                f"give another, or one in it such as {out / 'results'}"
            )


def _why_nothing(path: Path, text: str) -> str:
    if os.path.isdir(path):
        return f"holds no picture ({', '.join(PICTURE_SUFFIXES[:4])}, ...)"
    if reason := why_hidden(path):
        return f"cannot be looked at ({reason})"
    return "matches no picture" if glob.has_magic(text) else "there is no such file or folder"


def _sort_in(path: Path, sources: list[Source], skipped: list[Skipped]) -> None:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        frames = f"ffmpeg -i {path.name} frames/%06d.png"
        skipped.append(
            Skipped(str(path), f"is a video; predict takes pictures: extract its frames ({frames}) and pass them")
        )
    else:  # a file given by name is tried whatever its suffix
        sources.append(Source(path, _stem(Path(path.name))))


def source_below(path: Path, folder: Path) -> Source:
    """The picture at this path, whose results go where it lies below the folder."""
    return Source(path, _stem(path.relative_to(folder)))


def image_id(source: Source) -> str:
    """What a table for a contest calls a picture: its file's name below the folder that was given."""
    suffix, renamed = source.path.suffix, source.stem.name != source.path.stem
    return str(source.stem) if renamed and source.stem.name.endswith(suffix) else f"{source.stem}{suffix}"


def _stem(path: Path) -> PurePosixPath:
    return PurePosixPath(path.with_suffix("").as_posix())


def pictures_by_folder(
    folder: Path, leave_out: Callable[[Skipped], None], results: Path | None
) -> Iterator[list[Path]]:
    """The pictures of a folder, sorted, then those of each folder below it, also of linked ones, as in data sets.

    leave_out: gets a folder that cannot be listed.
    results: a real path; what is below it is left out.
    """
    for paths in _files_by_folder(folder, leave_out, results):
        pictures = [path for path in paths if path.suffix.lower() in PICTURE_SUFFIXES]
        # an array beside pictures is none itself
        yield pictures or [path for path in paths if path.suffix.lower() == NPY]


def _files_by_folder(folder: Path, leave_out: Callable[[Skipped], None], results: Path | None) -> Iterator[list[Path]]:
    def unlisted(below: PurePosixPath, error: OSError) -> None:
        leave_out(Skipped(str(folder / below), f"the folder cannot be listed ({error.strerror})"))

    for below, entries in walk_folders(folder, unlisted, results):
        home = _results_around(folder, below)
        if home is None:
            yield [folder / below / entry.name for entry in entries]
        elif home not in _left_out:
            logger.info(f"left out: label maps and overlays in {home}, which `predict` has written")
            _left_out.add(home)


def _results_around(folder: Path, below: PurePosixPath) -> Path | None:
    """The folder of results of a prediction that a folder below an input is a part of; None elsewhere."""
    start = Path(os.path.abspath(folder))
    places = (start, *(start.joinpath(*below.parts[: depth + 1]) for depth in range(len(below.parts))))
    found = (place.parent for place in places if place.name in RESULT_FOLDERS)
    return next((home for home in found if read_table(home / TABLE) is not None), None)


def _results(folder: Path, out: Path | None) -> Path | None:
    """The real path below which files are results; None inside `out`, where everything would count as one."""
    return None if out is None or folder.resolve().is_relative_to(out.resolve()) else out.resolve()


def _pictures_below(folder: Path, out: Path | None, skipped: list[Skipped]) -> list[Path]:
    results = _results(folder, out)
    paths = (path for here in pictures_by_folder(folder, skipped.append, results) for path in here)
    return sorted(path for path in paths if results is None or not real_path(path).is_relative_to(results))


def _matches(pattern: str, out: Path | None, skipped: list[Skipped]) -> list[Source]:
    """Files of a glob; stems are relative to its leading folders that exist: brackets in their names are no pattern."""
    parts = Path(pattern).parts
    leading = 0
    while leading < len(parts) - 1 and Path(*parts[: leading + 1]).is_dir():
        leading += 1
    base = Path(*parts[:leading])
    if "**" in parts:
        every = (path for here in _files_by_folder(base, skipped.append, _results(base, out)) for path in here)
        files = sorted(path for path in every if _fits(path.relative_to(base).parts, parts[leading:]))
    else:
        below = str(Path(glob.escape(str(base)), *parts[leading:]))
        found = [Path(p) for p in sorted(glob.glob(below))]
        files = [p for p in found if p.is_file()]
        files += [p for f in found if f.is_dir() for p in _pictures_below(f, out, skipped)]
    return [source_below(p, base) for p in files if p.suffix.lower() in (*PICTURE_SUFFIXES, NPY)]


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the parts of a pattern fit a path, or a folder on its way; ** stands for any number of folders.

    `glob` would follow links in circles here, twice as many ways with each turn where there are two.
    """
    if not parts:
        return True
    if parts[0] == "**":
        return any(_fits(names[start:], parts[1:]) for start in range(len(names) + 1))
    return bool(names) and fnmatch(names[0], parts[0]) and _fits(names[1:], parts[1:])


def by_picture(sources: Sequence[Source], bands: SpectralBands | None) -> tuple[list[Source], list[Skipped]]:
    """One source for each picture whose bands lie in one file each, and the files that are of no band.

    The file of the first band stands for the picture; its results are named by what the files share. For any other
    model the sources stay as they are.
    """
    if bands is None or not bands.files:
        return list(sources), []
    firsts: list[Source] = []
    others: list[tuple[Source, tuple[str, str]]] = []
    skipped: list[Skipped] = []
    for source in sources:
        matches = [shared_part(source.path.as_posix(), pattern) for pattern in bands.files]
        match = next((match for match in matches if match is not None), None)
        if matches[0] is not None:
            firsts.append(replace(source, stem=source.stem.with_name(matches[0][1].rstrip("_-.") or source.stem.name)))
        elif match is not None:
            others.append((source, match))
        else:
            names = ", ".join(bands.files[:4])
            skipped.append(Skipped(str(source.path), f"is the file of no band; the model takes {names}"))
    found = {shared_part(source.path.as_posix(), bands.files[0]) for source in firsts}
    for source, match in others:
        if match not in found:
            skipped.append(
                Skipped(str(source.path), f"has no file of band {bands.names[0]} ({bands.files[0]}) beside it")
            )
            found.add(match)
    return distinct(firsts), skipped


def distinct(sources: Iterable[SourceT]) -> list[SourceT]:
    """Make stems distinct: a.jpg and a.png become "a.jpg" and "a.png"; any that still collide are numbered.

    Compared without case, as on some file systems.
    """
    sources = list(sources)
    for rename in (_with_suffix, _with_folder):
        count = Counter(str(source.stem).lower() for source in sources)
        sources = [replace(s, stem=rename(s)) if count[str(s.stem).lower()] > 1 else s for s in sources]
    taken: Counter[str] = Counter()
    result = []
    for source in sources:
        stem = source.stem
        while taken[str(stem).lower()]:
            taken[str(source.stem).lower()] += 1
            stem = source.stem.with_name(f"{source.stem.name}-{taken[str(source.stem).lower()]}")
        taken[str(stem).lower()] += 1
        result.append(replace(source, stem=stem))
    return result


def _with_suffix(source: Source) -> PurePosixPath:
    return source.stem.with_name(source.path.name)


def _with_folder(source: Source) -> PurePosixPath:
    folder = real_path(source.path).parent.name
    return source.stem.with_name(f"{folder}-{source.stem.name}") if folder else source.stem


def real_path(path: Path) -> Path:
    """The path without links; a link that points at itself stays, where `Path.resolve` raises."""
    return Path(os.path.realpath(path))


def refuse_overwriting(targets: Iterable[Path], sources: Iterable[Source]) -> None:
    """Raise ConfigError where a result file would replace an input file."""
    inputs = {real_path(source.path) for source in sources}
    for target in targets:
        if real_path(target) in inputs:
            raise ConfigError(f"the result {target} would overwrite an input picture; choose another `out` folder")
