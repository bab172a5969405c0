"""Predict films, cameras and folders of frames: frame by frame, in constant memory, calm over time if asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any, get_args

import numpy as np

from denselab.console import progress
from denselab.data.pixels.opening import refuse_empty
from denselab.engine.enlarge import arg_max, empty_labels
from denselab.errors import CheckpointError, ConfigError, DataError, OutOfMemory
from denselab.files import replaced, unpack_json, write_json
from denselab.inference.ahead import read_ahead
from denselab.inference.collection import begin, count_beside
from denselab.inference.film import Film, FilmWriter, Frame, is_camera, open_film
from denselab.inference.inputs import Skipped, Source, refuse_overwriting, skipped_for
from denselab.inference.job import Job, other_version, tell_other_version, warn_of_changes
from denselab.inference.plan import Plan
from denselab.inference.prediction import TABLE, Prediction, file_table, refuse_other_classes, write_table
from denselab.inference.replacing import is_label_table, refuse_existing
from denselab.inference.results import Result, class_shares
from denselab.inference.route import routes, whole_sizes
from denselab.inference.run import planes_of
from denselab.inference.side_by_side import Beside, side_by_side
from denselab.inference.smoothing import Smooth, Smoother
from denselab.inference.views import Seen, see
from denselab.numbers import whole
from denselab.shown import write_rows
from denselab.types import Image, LabelMap
from denselab.visualize import overlay

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FilmOptions:
    """How a film is run. every: every n-th frame. smooth: the average over time. Raises ConfigError."""

    every: int = 1
    smooth: Smooth = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", whole(self.every, "`every`", 1))
        if self.smooth not in get_args(Smooth):
            raise ConfigError(f"`smooth` {self.smooth!r}; use one of {', '.join(get_args(Smooth))}")


def require_film_plan(plan: Plan) -> None:
    """Raise ConfigError for options that films have no place for."""
    if plan.samples:
        raise ConfigError("`uncertainty` of a film; take single frames for it: its pictures would not move alike")
    if plan.ensemble or plan.instances or plan.spec.preprocessing.bands:
        raise ConfigError("films take one model of RGB pictures, without `proposals`; predict single frames instead")


class FramePredictor:
    """Labels of one frame after the other."""

    def __init__(self, plan: Plan, smooth: Smooth) -> None:
        self.plan, self.smoother = plan, Smoother(smooth)

    def labelled(self, frames: Iterable[Frame], count: int | None) -> Iterator[tuple[Frame, LabelMap]]:
        """Each frame with its labels, in order; on a CPU the network sees several at once.

        count: of all frames; None: not known; 1: each as soon as it comes, as those of a camera.
        """
        with side_by_side(self.plan, count) as beside:
            if beside.count == 1:
                for frame in frames:
                    yield frame, self.labels(frame.image)
                return
            look = partial(self.ahead, beside)
            for frame, looking in read_ahead(frames, lambda frame: look(frame.image), *beside.ahead()):
                yield frame, self.labels(frame.image, looking.result())

    def ahead(self, beside: Beside, image: Image) -> Seen | None:
        """What the network says about a frame, where it runs beside others."""
        return self._seen(beside.plan, image) if beside.takes(image) else None

    def labels(self, image: Image, seen: Seen | None = None) -> LabelMap:
        """(H, W) class indices of the next frame, (H, W, 3) uint8; without smoothing those of `run`.

        seen: what the network says about it; None: it is asked.
        """
        size = (image.shape[0], image.shape[1])
        seen = seen or self._seen(self.plan, image)
        values: Any = seen.values  # a tensor, or an array of an engine without torch
        mean = self.smoother.take(image, seen.probs((values.shape[1], values.shape[2])))
        if self.smoother.smooth != "none":
            smoothed: Any = mean if isinstance(values, np.ndarray) else values.new_tensor(mean)
            seen = Seen(smoothed, logits=False)
        if self.plan.crf:
            from denselab.crf import refined  # here: its loops need numba

            return arg_max(refined(image, seen.probs(size), self.plan.crf, fast=self.plan.crf_fast))
        labels = empty_labels(len(mean), size)
        for top, band in seen.bands(size):
            labels[top : top + band.shape[1]] = arg_max(band)
        return labels

    @staticmethod
    def _seen(plan: Plan, image: Image) -> Seen:
        """What the network says: at its own size, with windows at the frame's."""
        size = (image.shape[0], image.shape[1])
        if routes(plan, size)[0] is None:
            return see(plan, image, whole_sizes(plan, size))
        return Seen(planes_of(plan.without_crf(), image), logits=False)


def predict_films(
    job: Job, names: Sequence[str], options: FilmOptions, *, quiet: bool = False
) -> tuple[list[Result], list[Skipped]]:
    """Predict film files and cameras into labels/NAME.mkv, overlays/NAME.mp4, frames/NAME.csv and frames/NAME.json.

    Without the overlay if job.overlays is False.

    A camera runs until it is stopped by Ctrl-C, which ends its files properly. A film that is done already is passed
    over, unless job.redo. Raises ConfigError, also where a result would replace a film or a file that predict did not
    write; MissingExtra, ResourceError.
    """
    require_film_plan(job.plan)
    _refuse_namesakes(names)
    _refuse_replacing(job, names)
    refuse_other_classes(job.out / TABLE, job.plan.spec.label_space)
    results, skipped = list[Result](), list[Skipped]()
    for name in names:
        started = time.monotonic()
        try:
            result, ends = _predict_film(job, name, options, quiet)
        except (DataError, OutOfMemory, MemoryError) as error:
            skipped.append(skipped_for(error, name))
            continue
        if not results:
            write_table(job.out / TABLE, job.plan.spec.label_space)
        results.append(replace(result, seconds=time.monotonic() - started))
        if ends:
            skipped.append(Skipped(name, f"{ends}: the frames up to there are predicted"))
            logger.warning(f"{name}: {skipped[-1].reason}")
    return results, skipped


def film_paths(out: Path, stem: str, overlay: bool = True) -> dict[str, Path]:
    """Where the results of a film go."""
    return {
        "labels": out / "labels" / f"{stem}.mkv",
        **({"overlay": out / "overlays" / f"{stem}.mp4"} if overlay else {}),
        "frames": out / "frames" / f"{stem}.csv",
        "summary": out / "frames" / f"{stem}.json",
    }


def _refuse_namesakes(names: Sequence[str]) -> None:
    """Raise ConfigError where two films would be written to the same files."""
    stems = [_stem(name) for name in names]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), ""):
        raise ConfigError(f"two films are called {twice}, as their results would be; predict each to its own `out`")


def _refuse_replacing(job: Job, names: Sequence[str]) -> None:
    """Raise ConfigError where a result would replace a film, or a file that predict did not write."""
    targets = [path for name in names for path in film_paths(job.out, _stem(name), job.overlays).values()]
    refuse_overwriting(targets, [Source(Path(name), PurePosixPath(_stem(name))) for name in names])
    if not is_label_table(job.out / TABLE):
        refuse_existing([job.out / TABLE, *targets], job.out)


def _stem(name: str) -> str:
    """What the results of a film or a camera are called."""
    return f"camera-{name}" if is_camera(name) else Path(name).stem


def _predict_film(job: Job, name: str, options: FilmOptions, quiet: bool) -> tuple[Result, str]:
    camera, stem = is_camera(name), _stem(name)
    paths = film_paths(job.out, stem, job.overlays)
    if not camera:
        refuse_empty(Path(name))
    mark = "" if camera else f"{job.mark(Path(name))} {options.every} {options.smooth}"
    if not job.redo and not camera and job.model:
        found, known = _earlier(paths)
        if found == mark and known:
            return known, ""
        if who := other_version(mark, found):
            tell_other_version(who)
    with open_film(name) as film, ExitStack() as stack:
        total = -(-film.frames // options.every) or None
        bar = stack.enter_context(progress(f"predict {stem}", total, "frames", quiet))
        predictor = FramePredictor(job.plan, options.smooth)
        fresh = {kind: stack.enter_context(replaced(path)) for kind, path in paths.items() if kind != "summary"}
        tally = _Tally()
        with _Output(job.plan, fresh, film.rate / options.every) as output:
            try:
                for frame, labels in predictor.labelled(film.read(options.every), 1 if camera else total):
                    output.add(frame, labels, tally)
                    bar.advance()
            except KeyboardInterrupt:
                if not camera:
                    raise
        if not tally.frames:
            raise DataError(f"{name}: it has no frame")
        ends = film.ends
        summary = _summary(film, options, predictor.smoother, tally, "" if ends else mark)
    write_json(paths["summary"], summary)
    return Result(name, paths, tally.shares(), size=tally.size), ends


def _earlier(paths: dict[str, Path]) -> tuple[str, Result | None]:
    """What an earlier run's results were made from, "" without one, and its result; None where a file of it is gone."""
    try:
        stored = unpack_json(paths["summary"].read_bytes(), "summary")
        result = Result(stored["film"], paths, stored["shares"], size=tuple(stored["size"]), already=True)
        return str(stored["mark"]), result if all(path.exists() for path in paths.values()) else None
    except (OSError, KeyError, TypeError, CheckpointError):
        return "", None


class _Tally:
    """Frames, their size, and the summed shares of the classes."""

    def __init__(self) -> None:
        self.frames = 0
        self.size: tuple[int, int] | None = None
        self._sums: dict[str, float] = {}

    def add(self, size: tuple[int, int], shares: dict[str, float]) -> None:
        self.frames += 1
        self.size = self.size or size
        for name, share in shares.items():
            self._sums[name] = self._sums.get(name, 0.0) + share

    def shares(self) -> dict[str, float]:
        """Mean over the frames."""
        return {name: round(total / self.frames, 6) for name, total in self._sums.items()}


class _Output:
    """The files of a film that are written frame by frame: labels, frames, and the overlay; a context manager."""

    def __init__(self, plan: Plan, paths: dict[str, Path], rate: Any) -> None:
        self._space, self._paths, self._rate = plan.spec.label_space, paths, rate
        self._table = file_table(self._space)
        self._stack = ExitStack()
        self._labels: FilmWriter | None = None
        self._overlay: FilmWriter | None = None
        self._rows: IO[str] | None = None

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def add(self, frame: Frame, labels: LabelMap, tally: _Tally) -> None:
        """Write one frame."""
        size = (labels.shape[0], labels.shape[1])
        labels_film = self._labels or self._open(size)
        if tally.size not in (None, size):
            raise DataError(f"frame {frame.number} is {size[0]}x{size[1]}, others {tally.size}; cut the film there")
        seconds = frame.seconds
        at = seconds if seconds is not None else float(frame.number / (self._rate or 1))
        shares = class_shares(labels, self._space)
        labels_film.add(self._table[labels], at)
        if self._overlay:
            self._overlay.add(overlay(frame.image, labels, self._space), at)
        assert self._rows is not None, "opened with the labels"
        write_rows(self._rows, [[frame.number, f"{at:.6f}", *(shares.get(name, 0.0) for name in self._space.names)]])
        tally.add(size, shares)

    def _open(self, size: tuple[int, int]) -> FilmWriter:
        enter = self._stack.enter_context
        wide = self._table.dtype != np.uint8
        self._labels = enter(FilmWriter(self._paths["labels"], "labels", self._rate, size, wide))
        if "overlay" in self._paths:
            self._overlay = enter(FilmWriter(self._paths["overlay"], "overlay", self._rate, size))
        self._rows = enter(self._paths["frames"].open("w", newline="", encoding="utf-8"))
        write_rows(self._rows, [["frame", "seconds", *(f"share {name}" for name in self._space.names)]])
        return self._labels


def _summary(film: Film, options: FilmOptions, smoother: Smoother, tally: _Tally, mark: str) -> dict[str, Any]:
    motion = options.smooth == "flow"
    flicker = {"before": smoother.before.facts(motion)}
    if options.smooth != "none":
        flicker["after"] = smoother.after.facts(motion)
    return {
        "film": film.name,
        "frames": tally.frames,
        "size": list(tally.size or ()),
        "rate": float(film.rate),
        "every": options.every,
        "smooth": options.smooth,
        "flicker": flicker,
        "shares": tally.shares(),
        "ends": film.ends,
        "mark": mark,
    }


def predict_frames(
    job: Job,
    sources: Iterable[Source],
    options: FilmOptions,
    *,
    count: Callable[[], int] | None = None,
    quiet: bool = False,
) -> tuple[list[Result], list[Skipped]]:
    """Predict a folder of frames as a film, in the order of their names; results as for pictures, one by one.

    flicker.json tells of the whole. A frame that cannot be read is skipped; the next one follows the one before it.
    count: as for predict_files. Raises ConfigError as predict_files does.
    """
    require_film_plan(job.plan)
    known, foreign = begin(job, sources)
    predictor = FramePredictor(job.plan, options.smooth)
    results: list[Result] = []
    skipped: list[Skipped] = []
    changed: list[Path] = []
    taken = islice(sources if known is None else known, 0, None, options.every)
    total = None if known is None else -(-len(known) // options.every)
    with progress("predict", total, "frames", quiet) as bar, side_by_side(job.plan, None) as beside:
        count_beside(bar, count and (lambda: -(-count() // options.every)))
        for source, reading in read_ahead(taken, partial(_read_frame, predictor, beside), *beside.ahead()):
            if foreign and known is None:
                refuse_existing(job.targets(source.stem).values(), job.out, begun=False)
            changed += _predict_frame(job, source, reading, predictor, results, skipped)
            bar.advance()
    warn_of_changes(job, changed)
    motion = options.smooth == "flow"
    found = {"before": predictor.smoother.before.facts(motion), "after": predictor.smoother.after.facts(motion)}
    write_json(job.out / "flicker.json", {"smooth": options.smooth, "frames": len(results), "flicker": found})
    return results, skipped


Read = tuple[float, Image, Seen | None]
"""When the reading of a frame began, its picture, and what the network says about it, where it was asked already."""


def _read_frame(predictor: FramePredictor, beside: Beside, source: Source) -> Read:
    started = time.monotonic()
    image = source.read(beside.plan.spec.preprocessing)
    return started, image, predictor.ahead(beside, image)


def _predict_frame(
    job: Job,
    source: Source,
    reading: Future[Read],
    predictor: FramePredictor,
    results: list[Result],
    skipped: list[Skipped],
) -> Iterable[Path]:
    """Predict a frame and save it; returns the results there that are kept, since somebody changed them."""
    space = job.plan.spec.label_space
    try:
        started, image, seen = reading.result()
        labels = predictor.labels(image, seen)
    except (DataError, OutOfMemory, MemoryError) as error:
        skipped.append(skipped_for(error, source.name))
        return ()
    none: Callable[[], Any] = partial(_no_probs, source.name)
    prediction = Prediction(source.path.stem, image, labels, space, none)
    kept = job.changed(source.stem)
    written = (
        job.targets(source.stem) if kept else prediction.save(job.out, stem=str(source.stem), overlay=job.overlays)
    )
    size = (labels.shape[0], labels.shape[1])
    seconds = time.monotonic() - started
    shares = class_shares(labels, space)
    results.append(Result(source.name, written, shares, size=size, seconds=seconds, already=bool(kept)))
    return kept


def _no_probs(name: str) -> Any:
    raise ConfigError(f"{name}: probabilities of a smoothed frame are not kept")
