"""Where a model's predictions go wrong, and whether its probabilities can be believed: `denselab.diagnose`.

A separate pass from `denselab.evaluate`, because it needs the probabilities of every pixel, which `evaluate` never
holds. Several models may be given, each of which held other pictures out: the folds of one comparison. Together they
then speak about every picture, none of which its model was trained on.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.console import Progress, progress
from denselab.data import Dataset, Item
from denselab.engine.enlarge import arg_max
from denselab.engine.folder import store_temperature
from denselab.errors import ConfigError, DataError
from denselab.evaluation.calibration import LEAST
from denselab.evaluation.confusion import confusion_matrix
from denselab.evaluation.evaluation import Evaluation, count_pictures
from denselab.evaluation.objects import Object, objects_of
from denselab.evaluation.suspects import Suspect, suspects_of
from denselab.inference.ahead import read_ahead
from denselab.inference.plan import Plan
from denselab.inference.predictor import Predictor, load
from denselab.inference.run import planes_of
from denselab.measure.calibrate import Calibration, calibrate
from denselab.measure.confused import Confused, Entries, confused, entries_of
from denselab.measure.data import Selection, select
from denselab.measure.kept import KeptLabels
from denselab.numbers import flags, listed
from denselab.run_folder import find_model_folder
from denselab.types import LabelMap

logger = logging.getLogger(__name__)

WIDTHS = (1, 2, 3, 5, 8, 12, 20, 30, 40)  # pixels: of the bands of the trimap curve; the papers draw 1 to 40
SAMPLED_PIXELS = 400_000  # pixels whose probabilities are kept for the calibration, over all pictures
SAMPLED_NUMBERS = 30_000_000  # probabilities kept at most: 120 MB


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What was found on the pictures.

    evaluation: the counts, with the bands of WIDTHS.
    kept: the predicted label maps.
    dataset, items: the pictures, sorted by name.
    calibration: reliability before and after a temperature; None where fewer than two pictures are labelled.
    suspects: regions that may be label errors, the most suspicious first.
    objects: every true object with its IoU; background classes are no objects.
    pairs: what each picture takes for what.
    models: the models as given.
    split: what was measured.
    seen: how many of the pictures their model was trained on.
    stored: the temperature that the first model now has; the calibration is that of its network without one.
    """

    evaluation: Evaluation
    kept: KeptLabels
    dataset: Dataset
    items: tuple[Item, ...]
    calibration: Calibration | None
    suspects: tuple[Suspect, ...]
    objects: tuple[Object, ...]
    pairs: Confused
    models: tuple[str, ...]
    split: str
    seen: int = 0
    stored: float = 1.0

    @property
    def miou(self) -> float:
        """Mean IoU over the pictures."""
        return self.evaluation.miou


class _Gathered:
    """What is collected picture by picture."""

    def __init__(self, per_picture: int) -> None:
        self.per_picture = per_picture
        self.kept = KeptLabels()
        self.suspects: list[Suspect] = []
        self.objects: list[Object] = []
        self.pairs: dict[str, Entries] = {}
        self.pixels: dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]] = {}


def diagnose(
    models: str | Path | Predictor | Sequence[str | Path | Predictor],
    data: str | Path | Dataset,
    split: str = "val",
    *,
    window: tuple[int, int] | None = None,
    tta: bool = False,
    device: str = "auto",
    store: bool = False,
    quiet: bool = False,
) -> Diagnosis:
    """Look for label errors, miscalibration and lost IoU in what a model predicts.

    models: a model folder, run folder, hub id or Predictor; or several that held out different pictures (the folds of a
        comparison).
    data, split: as for `denselab.evaluate`.
    window, tta: as for a Predictor.
    store: write the fitted temperature into the model folder where it makes the probabilities better.
    quiet: show no progress.
    Raises ConfigError, CheckpointError, DataError (also where two models are about one picture), ResourceError.
    """
    flags(tta=tta, store=store, quiet=quiet)
    given = [models] if isinstance(models, str | Path | Predictor) else listed(models, "`models`")
    if not given:
        raise ConfigError("`models`: none was given; give a model folder, or the runs of several folds")
    predictors = [m if isinstance(m, Predictor) else load(m, device) for m in given]
    homes = [m.folder if isinstance(m, Predictor) else m for m in given]
    chosen = [select(data, split, p.spec, home) for p, home in zip(predictors, homes, strict=True)]
    _require_apart(chosen, homes)
    count = sum(len(c.items) for c in chosen)
    classes = predictors[0].spec.label_space.num_classes
    gathered = _Gathered(sampled_of_each(count, classes))
    with progress("diagnose", count, "pictures", quiet) as bar:
        results = (
            result
            for predictor, part in zip(predictors, chosen, strict=True)
            for result in _pictures(predictor.plan(window=window, tta=tta), part, gathered, bar)
        )
        evaluation = count_pictures(results, chosen[0].dataset.label_space, trimap_widths=WIDTHS)
    items = tuple(sorted((item for part in chosen for item in part.items), key=lambda item: item.name))
    calibration = calibrate(gathered.pixels, items)
    found = _concluded(evaluation, gathered, calibration, items, chosen, tuple(str(home or "model") for home in homes))
    stored = predictors[0].spec.temperature
    if store and calibration is not None and _store(calibration, homes):
        stored = calibration.temperature
    return replace(found, stored=stored)


def _concluded(
    evaluation: Evaluation,
    gathered: _Gathered,
    calibration: Calibration | None,
    items: tuple[Item, ...],
    chosen: Sequence[Selection],
    models: tuple[str, ...],
) -> Diagnosis:
    return Diagnosis(
        evaluation,
        gathered.kept,
        replace(chosen[0].dataset, items=items),
        items,
        calibration,
        tuple(sorted(gathered.suspects, key=lambda s: (-s.score, s.picture, s.box))),
        tuple(gathered.objects),
        confused([gathered.pairs[item.name] for item in items]),
        models,
        chosen[0].split,
        sum(part.trained_on for part in chosen),
    )


def _require_apart(chosen: Sequence[Selection], homes: Sequence[Any]) -> None:
    """Raise DataError where two models have other classes, or are about the same picture."""
    owner: dict[str, Any] = {}
    for part, home in zip(chosen, homes, strict=True):
        if part.dataset.label_space.names != chosen[0].dataset.label_space.names:
            raise DataError(f"{home} has other classes than {homes[0]}; diagnose each by itself")
        for item in part.items:
            if item.name in owner:
                raise DataError(
                    f"picture {item.name} was held out by {owner[item.name]} and by {home}: give models that held out "
                    "different pictures, such as the folds of one comparison with one seed"
                )
            owner[item.name] = home


def _pictures(
    plan: Plan, chosen: Selection, gathered: _Gathered, bar: Progress
) -> Iterator[tuple[str, LabelMap, LabelMap]]:
    """Yield (name, truth, prediction) of each picture, and gather what its probabilities tell."""
    dataset, space = chosen.dataset, chosen.dataset.label_space
    things = [i for i, entry in enumerate(space.classes) if entry.role != "background"]
    for _, reading in read_ahead(chosen.items, dataset.read, threads=1):
        sample = reading.result()
        probs = planes_of(plan, sample.image)
        labels = arg_max(probs)
        gathered.kept.keep(sample.name, labels)
        gathered.suspects += suspects_of(sample.name, sample.labels, probs, space.ignore_index)
        gathered.objects += objects_of(sample.labels, labels, things, space.ignore_index)
        counts = confusion_matrix(sample.labels, labels, space.num_classes, space.ignore_index)
        gathered.pairs[sample.name] = entries_of(counts)
        gathered.pixels[sample.name] = sampled_pixels(probs, sample.labels, space.ignore_index, gathered.per_picture)
        bar.advance()
        yield sample.name, sample.labels, labels


def sampled_of_each(pictures: int, classes: int) -> int:
    """How many pixels of each picture are kept, 1 at least."""
    return max(1, min(SAMPLED_PIXELS, SAMPLED_NUMBERS // classes) // pictures)


def sampled_pixels(
    probs: NDArray[np.float32], truth: LabelMap, ignore_index: int, limit: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(n, K) logarithms of probabilities and (n,) true classes of at most `limit` labelled pixels, evenly spread."""
    places = np.flatnonzero(truth.ravel() != ignore_index)
    if len(places) > limit:
        places = places[np.linspace(0, len(places) - 1, limit).round().astype(np.intp)]
    flat = probs.reshape(len(probs), -1)[:, places].T
    return np.log(np.maximum(flat, LEAST)), truth.ravel()[places].astype(np.int64)


def _store(calibration: Calibration, homes: Sequence[str | Path | None]) -> bool:
    """Write the temperature into each model folder, if it helps; says so, and returns whether it did."""
    if not calibration.helps:
        logger.info(f"temperature {calibration.temperature:.3f} is not stored: it does not help on other pictures")
        return False
    for home in homes:
        if home is None or not os.path.exists(home):
            raise ConfigError(f"the temperature cannot be stored in {home}: it is no folder here; copy the model first")
        folder = find_model_folder(Path(home))
        store_temperature(folder, calibration.temperature)
        logger.info(
            f"temperature {calibration.temperature:.3f} is stored in {folder}: probabilities use it, labels stay"
        )
    return True
