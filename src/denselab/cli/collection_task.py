"""What `denselab predict` has to do, and doing it: pictures, films or frames, in this process or on a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from denselab.cli.collection_options import counting, inputs_of
from denselab.cli.crf_options import parameters_of
from denselab.cli.outcome import Counted, told
from denselab.console import remark
from denselab.errors import ConfigError, DataError

if TYPE_CHECKING:
    from denselab.data.pixels.spectral import SpectralBands
    from denselab.engine.open import EngineName
    from denselab.inference.inputs import Skipped, Source
    from denselab.inference.job import Job
    from denselab.inference.predictor import Predictor
    from denselab.inference.results import Result
    from denselab.inference.submission import Submission


@dataclass(frozen=True)
class More:
    """The options of `predict` that do not change what a picture's prediction is; see the command's help."""

    probs: Literal["none", "npz", "png"]
    steps: bool
    overlays: bool
    polygons: Path | None
    shard: str | None
    redo: bool
    manifest: Path | None
    every: int
    smooth: Literal["none", "mean", "flow"]
    submission: Submission | None
    as_json: bool

    @property
    def kinds(self) -> str:
        """What is written of every picture, in words."""
        return "labels and overlays" if self.overlays else "labels"


@dataclass(frozen=True)
class Chosen:
    """The model, what runs it, and the options of Predictor.plan. crf: True, or the name of a preset; None: no CRF."""

    model: str
    device: str
    output_stride: int | None
    engine: EngineName
    options: dict[str, Any]
    crf: Literal[True] | str | None


@dataclass(frozen=True)
class Task:
    """Films, or pictures. count: counts the pictures that are listed as they come."""

    out: str
    more: More
    films: Sequence[str]
    sources: Iterable[Source]
    skipped: list[Skipped]
    count: Callable[[], int] | None

    @property
    def noun(self) -> str:
        """What it goes through, one by one."""
        return "film" if self.films else "picture"

    @property
    def frames(self) -> bool:
        """Whether the pictures are the frames of a film."""
        return not self.films and (self.more.smooth != "none" or self.more.every > 1)

    @property
    def manifest(self) -> Path | None:
        """The table of all that is predicted; none by itself beside a store."""
        return self.more.manifest or (None if "://" in self.out else Path(self.out) / "manifest.csv")


def task_of(inputs: list[str], out: str, more: More, ray: str | None) -> Task:
    """What the inputs ask for. Raises ConfigError for what does not go together, DataError where nothing is left."""
    from denselab.data.listing.inside import refuse_inside_data
    from denselab.inference.film import is_camera, split_films
    from denselab.inference.inputs import require_given
    from denselab.inference.job import refuse_one_file
    from denselab.inference.manifest import check_manifest

    if "://" not in out:
        refuse_inside_data(Path(out))
    films, others = split_films(inputs)
    if films and others:
        raise ConfigError(f"{films[0]} is a film, {others[0]} is none; run predict once for each")
    if more.manifest:
        check_manifest(more.manifest)
    if films:
        _refuse_for_films(more, "://" in out, ray)
        if not any(is_camera(name) or os.path.exists(name) for name in films):
            require_given(films, "a film")  # one that is missing among others is skipped
        return Task(out, more, films, [], [], None)
    found = inputs_of(inputs, out, more.shard)
    refuse_one_file(more.polygons, len(found.sources) if isinstance(found.sources, list) else None)
    task = Task(out, more, [], found.sources, found.skipped, counting(inputs, out, more.shard))
    if task.frames:
        _refuse_for_films(more, "://" in out, ray)
    if ray and (more.probs != "none" or more.steps or more.polygons or more.submission):
        raise ConfigError("--ray with --probs, --steps, --polygons or --format; leave --ray out, or these")
    return task


def _refuse_for_films(more: More, stored: bool, ray: str | None) -> None:
    given = {
        "--probs": more.probs != "none",
        "--steps": more.steps,
        "--polygons": more.polygons,
        "--shard": more.shard,
        "--manifest": more.manifest,
        "--format": more.submission,
        "--ray": ray,
    }
    wrong = next((flag for flag, value in given.items() if value), None)
    if wrong:
        raise ConfigError(f"{wrong} is for pictures; films and frames (--every, --smooth) come without it")
    if stored:
        raise ConfigError("films and frames are written to a folder of this machine; give --out FOLDER")


def here(task: Task, chosen: Chosen) -> tuple[Sequence[Result], list[Skipped]]:
    """Do it in this process; returns results and all that was skipped."""
    from denselab.inference.collection import predict_files
    from denselab.inference.job import Job, model_key
    from denselab.inference.predictor import load
    from denselab.inference.stores import place_of

    loaded = chosen.model, chosen.device, chosen.output_stride, chosen.engine
    predictor: Predictor = load(*loaded, cache=False)  # a picture is run once
    preset = chosen.crf if isinstance(chosen.crf, str) else None
    parameters = parameters_of(chosen.crf is not None, preset, predictor.spec.crf)
    plan = predictor.plan(crf=parameters, **chosen.options)
    task = whole_pictures(task, predictor.spec.preprocessing.bands)
    more, counted = task.more, Counted()
    with place_of(task.out) as place:
        wanted = more.probs, more.steps, more.overlays, more.polygons
        job = Job(plan, place, *wanted, model_key(predictor.folder, plan), more.redo, more.submission)
        if task.films or task.frames:
            return _film_or_frames(task, job)
        each = None if more.as_json else counted.add
        count = None if more.as_json else task.count
        kept, unreadable = predict_files(
            job, task.sources, manifest=task.manifest, count=count, each=each, quiet=more.as_json
        )
    return (kept if more.as_json else counted), [*task.skipped, *unreadable]


def whole_pictures(task: Task, bands: SpectralBands | None) -> Task:
    """One source for each picture of several files; the files of no band are skipped, and printed.

    Raises DataError if no picture is left.
    """
    from denselab.inference.inputs import by_picture

    if bands is None or not bands.files or task.films:
        return task
    pictures, skipped = by_picture(list(task.sources), bands)
    for entry in skipped:
        remark(f"skipped {entry.path}: {entry.reason}")
    if not pictures:
        raise DataError(f"nothing to predict: {told(skipped)}")
    return replace(task, sources=pictures, skipped=[*task.skipped, *skipped], count=None)


def _film_or_frames(task: Task, job: Job) -> tuple[Sequence[Result], list[Skipped]]:
    from denselab.inference.video import FilmOptions, predict_films, predict_frames

    options = FilmOptions(task.more.every, task.more.smooth)
    if task.films:
        return predict_films(job, task.films, options, quiet=task.more.as_json)
    count = None if task.more.as_json else task.count
    results, skipped = predict_frames(job, task.sources, options, count=count, quiet=task.more.as_json)
    return results, [*task.skipped, *skipped]


def on_ray(address: str, task: Task, chosen: Chosen) -> tuple[Sequence[Result], list[Skipped]]:
    """Do it on a Ray cluster. Its rows become the table."""
    import json

    from denselab.inference.distributed import Remote, bands_of, errors_in, predict_on_ray
    from denselab.inference.manifest import Records, write_manifest
    from denselab.inference.results import Result

    task, more = whole_pictures(task, bands_of(chosen.model)), task.more
    how = Remote(chosen.model, task.out, chosen.device, chosen.output_stride, chosen.engine, more.redo, more.overlays)
    rows = list(predict_on_ray(address, task.sources, how, {**chosen.options, "crf": chosen.crf}))
    if task.manifest and "://" not in task.out:
        records = Records(Path(task.out))
        for row in rows:
            shares = None if row["error"] else json.loads(row["shares"])
            confidence = None if row["confidence"] != row["confidence"] else row["confidence"]
            records.add({**row, "shares": shares, "confidence": confidence})
        records.close()
        names = tuple(entry["name"] for entry in _table(Path(task.out)))
        write_manifest(Path(task.out), task.manifest, names)
    results = [Result(row["file"], {}, json.loads(row["shares"])) for row in rows if not row["error"]]
    return results, [*task.skipped, *errors_in(rows)]


def _table(out: Path) -> list[dict[str, Any]]:
    """The classes of the label table in a folder."""
    import json

    return [row for row in json.loads((out / "labels.json").read_bytes()) if row["role"] != "ignore"]
