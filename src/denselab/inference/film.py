"""Films in and out through PyAV (extra `video`): frames with their times, label films without loss, overlay films."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.errors import DataError, MissingExtra, ResourceError, install
from denselab.inference.film_size import cut_short
from denselab.inference.inputs import VIDEO_SUFFIXES
from denselab.types import Image, LabelMap

logger = logging.getLogger(__name__)

CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation"), "win32": ("video={}", "dshow")}
OVERLAY_CODECS = (("libx264", {"crf": "23", "preset": "veryfast"}), ("mpeg4", {"qscale": "4"}))
FALLBACK_RATE = Fraction(25)  # frames per second of a film that does not say
MICROSECONDS = Fraction(1, 1_000_000)


@dataclass(frozen=True)
class Frame:
    """One frame. number: from 0. pts: its time, in units of time_base seconds; None where the film has none."""

    number: int
    image: Image = field(repr=False)
    pts: int | None
    time_base: Fraction

    @property
    def seconds(self) -> float | None:
        """Since the film's zero."""
        return None if self.pts is None else float(self.pts * self.time_base)


@dataclass
class Film:
    """An opened film.

    rate: frames per second.
    frames: how many it says it has; 0 if it does not.
    ends: why it ended before its time; "" if it did not.
    """

    name: str
    rate: Fraction
    frames: int
    container: Any = field(repr=False)
    ends: str = ""

    def read(self, every: int = 1) -> Iterator[Frame]:
        """Every n-th frame, upright. A damaged film, or one that was cut, ends early, and `ends` says why."""
        av = _av()
        stream = self.container.streams.video[0]
        stream.thread_type = "AUTO"
        number = -1
        try:
            for number, decoded in enumerate(self.container.decode(stream)):
                if number % every:
                    continue
                image = decoded.to_ndarray(format="rgb24")
                turns = _quarter_turns(getattr(decoded, "rotation", 0))
                image = np.ascontiguousarray(np.rot90(image, turns)) if turns else image
                yield Frame(number, image, decoded.pts, Fraction(decoded.time_base or stream.time_base))
        except av.FFmpegError as error:
            self.ends = f"damaged after frame {number} ({error.strerror})"
            if number < 0:
                raise DataError(f"{self.name}: no frame can be decoded ({error.strerror}); save it as MP4") from None
        if not is_camera(self.name):
            self.ends = cut_short(Path(self.name)) or self.ends


def _quarter_turns(degrees: float) -> int:
    """How often a frame is turned; a matrix of zeros, which some cameras write, gives a number that is no angle."""
    return round(degrees / 90) % 4 if abs(degrees) <= 180 else 0


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtra(f"films need PyAV: {install('video')}") from None
    return av


@contextmanager
def open_film(name: str) -> Iterator[Film]:
    """A film file, or a camera by its number. Raises MissingExtra, and DataError where it has no pictures."""
    av = _av()
    camera = is_camera(name)
    place, kind = CAMERAS.get(sys.platform, CAMERAS["linux"]) if camera else (name, None)
    try:
        container = av.open(place.format(name) if camera else name, format=kind)
    except (av.FFmpegError, OSError) as error:
        what = "there is no such camera" if camera else "not a film that can be read"
        reason = "" if camera else cut_short(Path(name))
        raise DataError(f"{name}: {what} ({reason or error.strerror})") from None
    with container:
        if not container.streams.video:
            others = ", ".join(stream.type for stream in container.streams)
            raise DataError(f"{name}: it has no pictures" + (f", only {others}" if others else ""))
        stream = container.streams.video[0]
        rate = Fraction(stream.average_rate or stream.guessed_rate or FALLBACK_RATE)
        yield Film(name, rate, 0 if camera else int(stream.frames or 0), container)


def is_camera(text: str) -> bool:
    """Whether this is the number of a camera: digits that are no file."""
    return text.isdecimal() and not os.path.exists(text)


def is_film(text: str) -> bool:
    """Whether an input is a film file or the number of a camera."""
    return Path(text).suffix.lower() in VIDEO_SUFFIXES or is_camera(text)


def split_films(inputs: Sequence[str]) -> tuple[list[str], list[str]]:
    """The films among the inputs, and the others."""
    films = [text for text in inputs if is_film(text)]
    return films, [text for text in inputs if not is_film(text)]


class FilmWriter:
    """Writes frames with given times; a context manager. The file is complete when it ends.

    kind: "labels": ids without loss (FFV1 in Matroska, whose times are milliseconds); "overlay": for players (H.264,
        else MPEG-4, in MP4).
    """

    def __init__(self, path: Path, kind: str, rate: Fraction, size: tuple[int, int], wide: bool = False) -> None:
        """size: (H, W). wide: ids above 255, which take 16 bits."""
        av = _av()
        self._av, self._path, self._labels = av, path, kind == "labels"
        self._format = ("gray16le" if wide else "gray") if self._labels else "rgb24"
        self._size, self._last = size, -1
        with self._writing(), ExitStack() as opened:
            container = av.open(str(path), "w", format="matroska" if self._labels else "mp4")
            self._container = opened.enter_context(container)
            self._stream = self._add_stream(rate)
            opened.pop_all()

    def _add_stream(self, rate: Fraction) -> Any:
        height, width = self._size
        if self._labels:
            stream = self._container.add_stream("ffv1", rate=rate)
            stream.pix_fmt = self._format
        else:
            name, options = next(
                ((n, o) for n, o in OVERLAY_CODECS if n in self._av.codecs_available), OVERLAY_CODECS[-1]
            )
            stream = self._container.add_stream(name, rate=rate, options=options)
            stream.pix_fmt = "yuv420p"
            height, width = height + height % 2, width + width % 2  # of half as many colour pixels
        stream.height, stream.width = height, width
        stream.codec_context.time_base = MICROSECONDS if not self._labels else Fraction(1, 1000)
        return stream

    def __enter__(self) -> "FilmWriter":
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        with self._writing(), self._container:  # which writes its index where it is closed
            if kind is None:  # of a film that failed nothing more is wanted, and that would fail too
                self._container.mux(self._stream.encode())

    def add(self, picture: Image | LabelMap, seconds: float) -> None:
        """Add a frame at a time; times that do not rise are moved on by the smallest step. Raises ResourceError."""
        shown: NDArray[Any] = picture
        if not self._labels:
            shown = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), format=self._format)
        base = self._stream.codec_context.time_base
        frame.pts = max(round(seconds / base), self._last + 1)
        frame.time_base, self._last = base, frame.pts
        with self._writing():
            self._container.mux(self._stream.encode(frame))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (self._av.FFmpegError, OSError) as error:
            raise ResourceError(f"cannot write {self._path}: {error}; choose another folder with `out`") from None
