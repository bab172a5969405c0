"""Many pictures: files into result files, and the items of a data set into (name, truth, prediction) for the scores.

The next picture is read while the network works, and results are written behind it.
"""

import json
import logging
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from denselab.console import Progress, progress
from denselab.crf import Parameters, refined
from denselab.data.dataset import Dataset, Item
from denselab.data.read.images import read_image
from denselab.errors import ConfigError, DataError, DenseLabError, ResourceError
from denselab.inference.crf_steps import write_steps
from denselab.inference.inputs import Skipped, Source, refuse_overwriting
from denselab.inference.prediction import Prediction, ProbsFormat, result_paths, write_table
from denselab.inference.predictor import Options, Predictor
from denselab.inference.uncertainty import require_dropout
from denselab.labels import LabelSpace
from denselab.types import Image, LabelMap, Sample

logger = logging.getLogger(__name__)

TABLE = "labels.json"
AHEAD = 2  # pictures decoded before they are needed


@dataclass(frozen=True)
class Result:
    """One predicted file. shares: part of the picture by class name, classes that do not occur left out.

    uncertainty: its mean over the picture, where one was asked for.
    """

    source: Path
    written: dict[str, Path]
    shares: dict[str, float]
    uncertainty: float | None = None


def predict_files(
    predictor: Predictor,
    sources: Sequence[Source],
    out: Path,
    options: Options,
    probs: ProbsFormat = "none",
    quiet: bool = False,
    samples: int = 0,
    steps: bool = False,
) -> tuple[list[Result], list[Skipped]]:
    """Predict picture files and save the results below `out`; a file that cannot be read is skipped with its reason.

    The label table goes to labels.json, with the ids that the label PNGs hold.
    samples: runs with dropout per picture, for its uncertainty; 0 is a plain run.
    steps: one picture per iteration of the CRF of `options`, in steps/STEM/.
    Raises ConfigError before any work where a result would replace an input or another file that predict did not write,
    and for samples of a network without dropout; ResourceError where `out` cannot be written.
    """
    if samples:
        require_dropout(predictor.segmenter)
    refuse_losses(sources, out, probs, uncertainty=samples > 0, steps=steps)
    write_table(out / TABLE, predictor.label_space)
    results: list[Result] = []
    skipped: list[Skipped] = []
    with progress("predict", len(sources), "pictures", quiet) as bar, ThreadPoolExecutor(2) as pool:
        saving: Future[dict[str, Path]] | None = None
        for source, image in _read_ahead(sources, pool):
            outcome: Prediction | DenseLabError
            if isinstance(image, DataError):
                outcome = image
            else:
                drawn = out / "steps" / str(source.stem) if steps else None
                outcome = _try_predict(predictor, source, image, options, probs, samples, drawn, bar)
            if isinstance(outcome, DenseLabError):
                skipped.append(Skipped(str(source.path), _reason(outcome, source.path)))
                logger.warning(f"skipped {source.path}: {skipped[-1].reason}")
            else:
                if saving:
                    saving.result()  # raises where writing failed; and holds at most one result in memory
                saving = pool.submit(outcome.save, out, probs, str(source.stem))
                written = result_paths(out, source.stem, probs, uncertainty=samples > 0, steps=steps)
                uncertainty = None if outcome.uncertainty is None else float(outcome.uncertainty.mean(dtype=np.float64))
                shares = class_shares(outcome.labels, predictor.label_space)
                results.append(Result(source.path, written, shares, uncertainty))
            bar.advance()
        if saving:
            saving.result()
    return results, skipped


def refuse_losses(
    sources: Sequence[Source], out: Path, probs: ProbsFormat, *, uncertainty: bool = False, steps: bool = False
) -> None:
    """Raise ConfigError where a result would replace an input, or a file that is no earlier result.

    `predict RUN data/images --out data` would else write over the labels of a data set. Earlier results are known by
    the label table beside them.
    """
    kinds = {"uncertainty": uncertainty, "steps": steps}
    targets = [p for s in sources for p in result_paths(out, s.stem, probs, **kinds).values()]
    refuse_overwriting(targets, sources)
    table = out / TABLE
    if _is_label_table(table):
        return
    for target in (table, *targets):
        if target.exists():
            raise ConfigError(
                f"{target} is there already, and is no result of predict (it has no label table {table}): "
                "nothing is replaced; choose another --out folder"
            )


def _is_label_table(path: Path) -> bool:
    try:
        rows = json.loads(path.read_bytes())
        return (
            isinstance(rows, list) and bool(rows) and all(set(row) == {"id", "name", "colour", "role"} for row in rows)
        )
    except (OSError, ValueError, TypeError):
        return False


def _try_predict(
    predictor: Predictor,
    source: Source,
    image: Image,
    options: Options,
    probs: ProbsFormat,
    samples: int,
    steps: Path | None,
    bar: Progress,
) -> Prediction | ResourceError:
    """The prediction, or why this picture is too large for the machine: the others need not be."""
    try:
        if samples:
            return predictor.sampled(image, options, samples, source.path.stem, lambda note: bar.advance(0, note))
        if steps and options.crf:
            return predict_in_steps(predictor, source, image, options, options.crf, steps)
        return predict_one(predictor, source, image, options, probs)
    except ResourceError as error:
        return error


def predict_one(
    predictor: Predictor, source: Source, image: Image, options: Options, probs: ProbsFormat = "none"
) -> Prediction:
    """The prediction of one file that has been read; with its probabilities computed here if they will be saved."""
    if probs == "none":
        labels = predictor.labels(image, options)
        return Prediction(
            source.path.stem, image, labels, predictor.label_space, lambda: predictor.probs(image, options)
        )
    values = predictor.probs(image, options)  # one run gives both: the labels are where the probabilities are largest
    labels = values.argmax(axis=0).astype(predictor.label_space.dtype)
    return Prediction(source.path.stem, image, labels, predictor.label_space, lambda: values)


def predict_in_steps(
    predictor: Predictor, source: Source, image: Image, options: Options, crf: Parameters, folder: Path
) -> Prediction:
    """The prediction of one file with a picture of each iteration of the CRF written to `folder`."""
    plain = predictor.probs(image, replace(options, crf=None, crf_fast=False))
    values = write_steps(folder, image, plain, crf, predictor.label_space)
    labels = values.argmax(axis=0).astype(predictor.label_space.dtype)
    return Prediction(source.path.stem, image, labels, predictor.label_space, lambda: values)


def _read_ahead(sources: Sequence[Source], pool: ThreadPoolExecutor) -> Iterator[tuple[Source, Image | DataError]]:
    waiting: deque[tuple[Source, Future[Image]]] = deque()
    remaining = iter(sources)
    while True:
        while len(waiting) < AHEAD and (source := next(remaining, None)) is not None:
            waiting.append((source, pool.submit(read_image, source.path)))
        if not waiting:
            return
        source, reading = waiting.popleft()
        try:
            yield source, reading.result()
        except DataError as error:
            yield source, error


def _reason(error: DenseLabError, path: Path) -> str:
    """The message without the file's name in front, which is told beside it."""
    return str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")


def class_shares(labels: LabelMap, space: LabelSpace) -> dict[str, float]:
    """Part of the picture that each class takes, by name; classes that do not occur are left out."""
    counts = np.bincount(labels.ravel(), minlength=space.num_classes)[: space.num_classes]
    return {name: round(float(n) / labels.size, 6) for name, n in zip(space.names, counts, strict=True) if n}


class KeptLabels:
    """Label maps by name, compressed in memory: predictions that may be shown later are not computed twice.

    A 360x480 map takes about 10 kB.
    """

    def __init__(self) -> None:
        self._maps: dict[str, tuple[bytes, tuple[int, ...], np.dtype[Any]]] = {}

    def keep(self, name: str, labels: LabelMap) -> None:
        """Remember a label map."""
        self._maps[name] = (zlib.compress(np.ascontiguousarray(labels).tobytes(), 1), labels.shape, labels.dtype)

    def __getitem__(self, name: str) -> LabelMap:
        data, shape, dtype = self._maps[name]
        labels: LabelMap = np.frombuffer(zlib.decompress(data), dtype=dtype).reshape(shape)
        return labels


def predict_items(
    predictor: Predictor,
    dataset: Dataset,
    items: Sequence[Item],
    options: Options,
    kept: KeptLabels,
    bar: Progress,
    plain: KeptLabels | None = None,
) -> Iterator[tuple[str, LabelMap, LabelMap]]:
    """(name, truth, prediction) of each item, one after the other, for evaluation.count_pictures; predictions go to `kept`.

    plain: where to keep what the network says before the CRF of `options`; the network runs once for both.
    Raises DataError naming the file for a picture or a label that cannot be read: a score over the rest would not be
    the score that was asked for.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Sample]] = deque()
        remaining = iter(items)
        while True:
            while len(waiting) < AHEAD and (item := next(remaining, None)) is not None:
                waiting.append(pool.submit(dataset.read, item))
            if not waiting:
                return
            sample = waiting.popleft().result()
            if plain is None or options.crf is None:
                labels = predictor.labels(sample.image, options)
            else:
                probs = predictor.probs(sample.image, replace(options, crf=None, crf_fast=False))
                plain.keep(sample.name, probs.argmax(axis=0).astype(predictor.label_space.dtype))
                refined_probs = refined(sample.image, probs, options.crf, fast=options.crf_fast)
                labels = refined_probs.argmax(axis=0).astype(predictor.label_space.dtype)
            kept.keep(sample.name, labels)
            bar.advance()
            yield sample.name, sample.labels, labels
