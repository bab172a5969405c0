"""Prediction on several machines by Ray Data (extra `ray`): actors that each hold the model, rows in and rows out.

Ray gives what a lost machine had to do to another one. Results carry the mark of what they are made from (job.py), so
what the lost one had finished is not done twice; every picture gives one row.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.pixels.spectral import SpectralBands, band_paths, shared_part
from denselab.engine.ensemble_folder import is_ensemble, read_ensemble
from denselab.engine.hub import is_torchvision
from denselab.engine.open import EngineName, model_folder
from denselab.engine.stored_spec import read_spec
from denselab.errors import ConfigError, DataError, MissingExtra, NoSuchPath, install
from denselab.inference.inputs import Skipped, Source, by_picture
from denselab.inference.results import Result
from denselab.numbers import flags, size

logger = logging.getLogger(__name__)

BATCH = 8  # pictures handed out at a time: what a lost machine loses
ACTORS = (1, 8)  # copies of the model, at least and at most
LOCAL = "local"  # the address of a cluster that is started here, for as long as the work goes on


def predict_dataset(
    dataset: Any,
    model: str | Path,
    out: str | Path,
    *,
    device: str = "auto",
    output_stride: int | None = None,
    engine: EngineName = "auto",
    options: Mapping[str, Any] | None = None,
    redo: bool = False,
    overlays: bool = True,
    actors: int | tuple[int, int] = ACTORS,
    cpus: float = 1,
    gpus: float = 0,
) -> Any:
    """A Ray Dataset with a row per picture, whose results are then below `out`; Ray computes it when it is asked for.

    dataset: a ray.data.Dataset with the column "path": a file that every machine can read, or a URL (s3://...); and
        "stem", where its results go below `out`; without it the file's name. Of pictures with a file for each band, the
        file of the first band gives the row, and those of the others none.
    model: a model folder, run folder or hub id that every machine can read.
    out: a folder that every machine can write, or a URL.
    device, output_stride, engine: as for `load`. options: as for Predictor.plan (window, tta, crf, ...).
    redo: predict again what is done already. overlays: write those too.
    actors: how many copies of the model, or from how many to how many. cpus, gpus: of each.
    The rows: file, height, width, shares (JSON), confidence, seconds, error. Raises MissingExtra without Ray, and
    ConfigError for a dataset without the column.
    """
    flags(redo=redo, overlays=overlays)
    columns = dataset.columns()
    if "path" not in (columns or ()):
        raise ConfigError(
            f"`dataset` has the columns {columns}; it needs `path`: ray.data.from_items([{{'path': ...}}])"
        )
    bands = bands_of(str(model))
    if bands is not None and bands.files:
        dataset = dataset.filter(lambda row: stands_for_a_picture(str(row["path"]), bands))
    low, high = size(actors if isinstance(actors, Sequence) else (actors, actors), "`actors`")
    how = Remote(str(model), str(out), device, output_stride, engine, redo, overlays)
    return _mapped(dataset, how, options or {}, (low, high), cpus, gpus)


def bands_of(model: str) -> SpectralBands | None:
    """The bands of a model's pictures, without its weights; None for RGB. Raises NoSuchPath, CheckpointError."""
    if is_torchvision(model):
        return None
    folder = model_folder(model)
    while is_ensemble(folder):  # all of its models take the same pictures
        folder = folder / read_ensemble(folder).members[0].folder
    return read_spec(folder).preprocessing.bands


def stands_for_a_picture(path: str, bands: SpectralBands) -> bool:
    """Whether a file is no further band of a picture whose first band is there; what is none at all gets its error."""
    matches = [shared_part(Path(path).as_posix(), pattern) for pattern in bands.files]
    match = next(filter(None, matches), None)
    if match is None or matches[0] is not None:
        return True
    first = match[0] + bands.files[0].replace("*", match[1]) + Path(path).suffix
    try:
        return Path(path) not in band_paths(Path(first), bands)
    except DataError:  # whose own row tells of the band that is missing, if there is such a file
        return not Path(first).exists()


def _mapped(
    dataset: Any,
    how: Remote,
    options: Mapping[str, Any],
    actors: tuple[int, int] = ACTORS,
    cpus: float = 1,
    gpus: float = 0,
) -> Any:
    """`predict_dataset` for a dataset that was checked."""
    low, high = actors
    return dataset.map_batches(
        Predict,
        fn_constructor_args=(how, dict(options)),
        batch_size=BATCH,
        compute=_ray_data().ActorPoolStrategy(min_size=low, max_size=high),
        num_cpus=cpus,
        num_gpus=gpus,
        max_restarts=-1,
        max_task_retries=-1,
    )


def _ray_data() -> Any:
    try:
        import ray.data
    except ImportError:
        raise MissingExtra(f"Ray is missing: {install('ray')}") from None
    return ray.data


@dataclass(frozen=True)
class Remote:
    """A model on other machines: its name, how it is loaded, where its results go and which; as for predict_dataset."""

    model: str
    out: str
    device: str = "auto"
    output_stride: int | None = None
    engine: EngineName = "auto"
    redo: bool = False
    overlays: bool = True


class Predict:
    """A model on one machine of the cluster: a batch of paths in, a batch of rows out."""

    def __init__(self, how: Remote, options: dict[str, Any]) -> None:
        from denselab.inference.job import model_key
        from denselab.inference.predictor import load

        predictor = load(how.model, how.device, how.output_stride, how.engine, cache=False)
        self.plan = predictor.plan(**options)
        self.key = model_key(predictor.folder, self.plan)
        self.bands = predictor.spec.preprocessing.bands
        self.how = how

    def __call__(self, batch: dict[str, Any]) -> dict[str, NDArray[Any]]:
        paths = [str(path) for path in batch["path"]]
        stems = [str(stem) for stem in batch["stem"]] if "stem" in batch else [self._stem(p) for p in paths]
        rows = [self._row(path, stem) for path, stem in zip(paths, stems, strict=True)]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}

    def _stem(self, path: str) -> str:
        """The file's name; of a picture with a file for each band what they share."""
        own = Source(Path(path), PurePosixPath(Path(path).stem))
        return str(next(iter(by_picture([own], self.bands)[0]), own).stem)

    def _row(self, path: str, stem: str) -> dict[str, Any]:
        from denselab.inference.collection import predict_files
        from denselab.inference.job import Job
        from denselab.inference.stores import is_url, place_of, walk_store

        results, skipped = list[Result](), list[Skipped]()
        try:
            found: Source = next(walk_store(path)) if is_url(path) else Source(Path(path), PurePosixPath(stem))
            source = replace(found, stem=PurePosixPath(stem))
            with place_of(self.how.out) as place:
                job = Job(self.plan, place, overlays=self.how.overlays, model=self.key, redo=self.how.redo)
                results, skipped = predict_files(job, [source], claim=False, quiet=True)
        except NoSuchPath as error:  # it has left its store meanwhile: one picture, not all of them
            skipped = [Skipped(path, str(error))]
        row: dict[str, Any] = {"file": path, "height": -1, "width": -1, "shares": "{}", "confidence": float("nan")}
        row |= {"stem": stem, "seconds": 0.0, "error": skipped[0].reason if skipped else ""}
        if results:
            height, width = results[0].size or (-1, -1)
            row |= {"height": height, "width": width, "shares": json.dumps(results[0].shares)}
            row |= {"seconds": results[0].seconds}
            if results[0].confidence is not None:
                row["confidence"] = results[0].confidence
        return row


def predict_on_ray(
    address: str, sources: Iterable[Source], how: Remote, options: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The rows of `predict_dataset` for sources, on the cluster at an address; `LOCAL` starts one here."""
    data = _ray_data()
    import ray

    ray.init(address=None if address == LOCAL else address, ignore_reinit_error=True, log_to_driver=False)
    try:
        items = [{"path": _absolute(source), "stem": str(source.stem)} for source in sources]
        there = replace(how, model=_absolute_name(how.model), out=_absolute_name(how.out))
        yield from _mapped(data.from_items(items), there, options).iter_rows()
    finally:
        if address == LOCAL:
            ray.shutdown()


def _absolute(source: Source) -> str:
    return source.name if "://" in source.name else str(source.path.resolve())


def _absolute_name(name: str) -> str:
    """An existing or new local path as an absolute one: actors have working folders of their own."""
    is_local = "://" not in name and (Path(name).exists() or name.startswith((".", "/")) or Path(name).parent.exists())
    return str(Path(name).resolve()) if is_local else name


def errors_in(rows: Sequence[Mapping[str, Any]]) -> list[Skipped]:
    """The pictures that could not be predicted."""
    return [Skipped(str(row["file"]), str(row["error"])) for row in rows if row["error"]]
