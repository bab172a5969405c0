"""A model measured on a split of a data set: `denselab.evaluate`, which `denselab eval` and the report call too."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from denselab.console import progress
from denselab.crf.parameters import Choice, origin, told
from denselab.data import Dataset, Item
from denselab.evaluation.evaluation import Evaluation, count_pictures
from denselab.evaluation.paired import Paired
from denselab.evaluation.scores import Floats
from denselab.inference.plan import Plan, check_window
from denselab.inference.predictor import Predictor, load
from denselab.measure.data import split_for, split_of_run
from denselab.measure.files import write_measured
from denselab.measure.items import predict_items
from denselab.measure.kept import KeptLabels

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class Measured:
    """A model measured over some pictures.

    evaluation: the counts, and every score made from them.
    kept: the predicted label maps by picture.
    dataset, items: what it was measured on; items are sorted by name, as in the evaluation.
    plan: how the pictures were run, if by a plan.
    paired: without and with the CRF; None for a plan without one.
    """

    evaluation: Evaluation
    kept: KeptLabels
    dataset: Dataset
    items: Sequence[Item]
    plan: Plan | None = None
    paired: Paired | None = None

    def __repr__(self) -> str:
        return f"Measured(mIoU {self.miou:.4f}, {len(self.items)} pictures, {len(self.evaluation.classes)} classes)"

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur in truth or prediction, in [0, 1]."""
        return self.evaluation.miou

    @property
    def class_iou(self) -> Floats:
        """(K,) IoU; NaN where a class is absent from truth and prediction."""
        return self.evaluation.class_iou

    @property
    def pixel_accuracy(self) -> float:
        """Share of correct pixels among the labelled ones."""
        return self.evaluation.pixel_accuracy

    def crf_facts(self) -> dict[str, Any]:
        """The entry "crf" of evaluation.json; {} without a CRF."""
        if self.paired is None or self.plan is None or self.plan.crf is None:
            return {}
        facts = {"parameters": asdict(self.plan.crf), "fast": self.plan.crf_fast, **self.paired.to_dict()}
        return {"crf": facts}

    def save(self, folder: str | Path) -> str:
        """Write evaluation.json, evaluation.csv, pictures.csv and worst/ into a folder; returns the JSON document.

        Raises ResourceError where the folder cannot be written.
        """
        return write_measured(Path(folder), self.evaluation, self.kept, self.dataset, self.items, self.crf_facts())


def evaluate(
    model: str | Path | Predictor,
    data: str | Path | Dataset,
    split: str = "val",
    *,
    window: tuple[int, int] | None = None,
    tta: bool = False,
    output_stride: int | None = None,
    crf: Choice = None,
    crf_fast: bool = False,
    out: str | Path | None = None,
    device: str = "auto",
    seed: int | None = None,
    val_fraction: float | None = None,
    quiet: bool = False,
) -> Measured:
    """Measure a model on data: exact counts at the labels' own resolution.

    model: a model folder, run folder or hub id; or a Predictor, which keeps its own device and output stride.
    data: a folder of pictures and labels in any known layout, its data.yaml, "synthetic", or an opened Dataset.
    split: "train", "val" or "test".
    window, tta, crf, crf_fast: as for a Predictor. With a CRF, `Measured.paired` has the scores without and with it.
    output_stride, device: as for `load`.
    out: a folder for evaluation.json, evaluation.csv, pictures.csv and worst/; None writes nothing.
    seed, val_fraction: of the split, if the data has none; default: those of the model's run.
    quiet: show no progress.
    Raises ConfigError, CheckpointError, DataError, ResourceError.
    """
    if window is not None:
        check_window(window)  # fail before loading anything
    predictor = model if isinstance(model, Predictor) else load(model, device, output_stride)
    plan = predictor.plan(window=window, tta=tta, crf=crf, crf_fast=crf_fast)
    if plan.crf:
        whose = origin(crf if isinstance(crf, str) else None, predictor.spec.crf)
        logger.info(f"dense CRF, {whose}: {told(plan.crf)}")
    given = {"seed": seed, "val_fraction": val_fraction}
    home = predictor.folder if isinstance(model, Predictor) else model
    drawn = split_of_run(home) if home else {}
    drawn |= {key: value for key, value in given.items() if value is not None}
    measured = measure(plan, *split_for(data, split, predictor.spec, drawn), quiet=quiet)
    if out is not None:
        measured.save(out)
    return measured


def measure(
    plan: Plan, dataset: Dataset, items: Sequence[Item], *, what: str = "evaluate", quiet: bool = False
) -> Measured:
    """Run a plan over items and count.

    items: sorted by name.
    what: text shown beside the progress.
    """
    kept, plain = KeptLabels(), KeptLabels()
    with progress(what, len(items), "pictures", quiet) as bar:
        evaluation = count_pictures(predict_items(plan, dataset, items, kept, bar, plain), dataset.label_space)
    paired = None
    if plan.crf:
        maps = ((item.name, dataset.read_labels(item), plain[item.name]) for item in items)
        paired = Paired(count_pictures(maps, dataset.label_space), evaluation)
    return Measured(evaluation, kept, dataset, items, plan, paired)
