"""Pictures and results in object stores and other places that fsspec knows: s3://, gs://, az://, memory://, ...

A picture is copied to a scratch folder while it is worked on; results are written there and then put into the store.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from denselab.data.pixels.images import PICTURE_SUFFIXES
from denselab.engine.spec import Preprocessing
from denselab.errors import DataError, DenseLabError, MissingExtra, NoSuchPath, ResourceError, install
from denselab.inference.inputs import Source, distinct
from denselab.types import Pixels

# that fsspec needs for a protocol; others it names itself
PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs"), "adlfs"),
    **dict.fromkeys(("http", "https"), "requests aiohttp"),
}


def is_url(text: str) -> bool:
    """Whether this names a place in a store: PROTOCOL://..."""
    return re.match(r"[a-z][a-z0-9+.-]+://", text) is not None


def open_store(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Raises MissingExtra, or NoSuchPath where it cannot be reached."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtra(f"{url}: stores need fsspec: {install('stores')}") from None
    try:
        system, path = url_to_fs(url)
    except ImportError as error:
        package = PACKAGES.get(url.partition("://")[0])
        raise MissingExtra(f"{url}: {error}" + (f": pip install {package}" if package else "")) from None
    except ValueError as error:
        raise NoSuchPath(f"{url}: {error}; write PROTOCOL://PLACE, such as s3://bucket/photos") from None
    return system, str(path).rstrip("/")


@dataclass(frozen=True)
class StoredSource(Source):
    """A picture in a store. system: of fsspec. place: in it. url: what it is called."""

    system: Any = field(repr=False, compare=False, default=None)
    place: str = ""
    url: str = ""

    @property
    def name(self) -> str:
        return self.url

    @contextmanager
    def local(self) -> Iterator[Path]:
        """A copy on this machine, which is removed at the end. Raises DataError where it cannot be had."""
        folder = Path(tempfile.mkdtemp(prefix="denselab-"))
        path = folder / self.path.name
        try:
            try:
                self.system.get_file(self.place, str(path))
            except Exception as error:  # each store has errors of its own
                raise DataError(f"{self.url}: cannot be fetched ({error})") from None
            yield path
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def read_at(self, path: Path, preprocessing: Preprocessing) -> Pixels:
        """See Source.read_at; errors name the URL."""
        try:
            return preprocessing.read(path)
        except DenseLabError as error:
            raise type(error)(str(error).replace(str(path), self.url)) from None


def walk_store(url: str) -> Iterator[StoredSource]:
    """The pictures below a URL, folder by folder, sorted; or the one picture that it names. Raises NoSuchPath."""
    system, base = open_store(url)
    protocol = url.partition("://")[0]
    try:
        single = system.isfile(base)
        if not single and not system.isdir(base):
            raise NoSuchPath(f"{url}: there is no such picture or folder; check its name")
        folders = [(str(PurePosixPath(base).parent), [], [PurePosixPath(base).name])] if single else system.walk(base)
        for folder, _, names in folders:
            here = sorted(n for n in names if single or PurePosixPath(n).suffix.lower() in PICTURE_SUFFIXES)
            below = PurePosixPath() if single else _relative(str(folder), base)
            yield from distinct([_stored(system, protocol, str(folder), below, name) for name in here])
    except NoSuchPath:
        raise
    except Exception as error:
        raise NoSuchPath(f"{url}: cannot be listed ({error}); check the name and your rights") from None


def _stored(system: Any, protocol: str, folder: str, below: PurePosixPath, name: str) -> StoredSource:
    place = f"{folder.rstrip('/')}/{name}"
    url = f"{protocol}://{place.lstrip('/')}"
    return StoredSource(Path(name), below / Path(name).with_suffix("").name, system, place, url)


def _relative(folder: str, base: str) -> PurePosixPath:
    return PurePosixPath(folder.strip("/")).relative_to(base.strip("/"))


class LocalPlace:
    """Results in a folder of this machine."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def ask(self, path: Path, question: Callable[[BinaryIO], str]) -> str:
        """What the file at this path says, by a function of the open file; "" where there is none."""
        try:
            with path.open("rb") as file:
                return question(file)
        except OSError:
            return ""

    def has(self, path: Path) -> bool:
        """Whether a result is there."""
        return path.exists()

    def publish(self, paths: Iterable[Path]) -> None:
        """Results are complete at these paths."""

    def fetch(self, path: Path) -> None:
        """Have a result at this path of this machine."""

    def shown(self, path: Path) -> Path | str:
        """What a result is called."""
        return path


class StorePlace(LocalPlace):
    """Results in a store; `out` is a scratch folder with the same tree."""

    def __init__(self, url: str, scratch: Path) -> None:
        super().__init__(scratch)
        self.url = url.rstrip("/")
        self._system, self._base = open_store(self.url)

    def ask(self, path: Path, question: Callable[[BinaryIO], str]) -> str:
        try:
            with self._system.open(self._place(path), "rb") as file:
                return question(file)
        except Exception:  # not there, or not to be had: then it is made
            return ""

    def has(self, path: Path) -> bool:
        if not path.is_relative_to(self.out):  # named by the user, on this machine
            return path.exists()
        return bool(self._system.exists(self._place(path)))

    def publish(self, paths: Iterable[Path]) -> None:
        """Put files, and folders with all that is in them, into the store; they leave the scratch folder."""
        for path in paths:
            if not path.is_relative_to(self.out):
                continue
            files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            for file in files:
                place = self._place(file)
                try:
                    self._system.makedirs(place.rpartition("/")[0], exist_ok=True)
                    self._system.put_file(str(file), place)
                except Exception as error:
                    raise ResourceError(f"cannot write {self.shown(file)}: {error}; check your rights there") from None
                file.unlink()

    def fetch(self, path: Path) -> None:
        """Copy a file or a folder of files to the scratch folder, where the store has it."""
        place = self._place(path)
        if self._system.isdir(place):
            for name in self._system.ls(place, detail=False):
                self.fetch(path / PurePosixPath(name).name)
        elif self._system.isfile(place):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._system.get_file(place, str(path))

    def shown(self, path: Path) -> str:
        return f"{self.url}/{path.relative_to(self.out).as_posix()}"

    def _place(self, path: Path) -> str:
        return f"{self._base}/{path.relative_to(self.out).as_posix()}"


@contextmanager
def place_of(out: str) -> Iterator[LocalPlace]:
    """Where results go: a folder, or a store with a scratch folder, which is removed at the end."""
    if not is_url(out):
        yield LocalPlace(Path(out))
        return
    with tempfile.TemporaryDirectory(prefix="denselab-") as scratch:
        yield StorePlace(out, Path(scratch))
