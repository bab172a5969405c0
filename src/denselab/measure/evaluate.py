"""A model measured on a split of a data set: `denselab.evaluate`, which `denselab eval` and the report call too."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from denselab.console import progress
from denselab.crf.parameters import Choice, origin, told
from denselab.data import Dataset, Item
from denselab.data.pixels.spectral import with_display
from denselab.engine.open import EngineName
from denselab.evaluation.evaluation import Evaluation, count_pictures
from denselab.evaluation.paired import Paired
from denselab.evaluation.scores import Floats
from denselab.inference.instances import InstanceWise
from denselab.inference.plan import Plan, check_window
from denselab.inference.predictor import Predictor, load
from denselab.measure.baselines import Baselines, CellCounts, baselines
from denselab.measure.data import Selection, select
from denselab.measure.files import write_measured
from denselab.measure.items import predict_items
from denselab.measure.kept import KeptLabels
from denselab.numbers import flags
from denselab.proposals.kept import BOXES
from denselab.regions.kept import kept_in
from denselab.run_folder import PROPOSALS, REGIONS, is_run

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class Measured:
    """A model measured over some pictures.

    evaluation: the counts, and every score made from them.
    kept: the predicted label maps by picture.
    dataset, items: what it was measured on; items are sorted by name, as in the evaluation.
    plan: how the pictures were run, if by a plan.
    paired: without and with the CRF; None for a plan without one.
    selection: how the pictures were chosen, where `evaluate` did it.
    cells: what the baselines are made from.
    model: the absolute path of the model's folder, or its hub id; "" where it is from neither.
    """

    evaluation: Evaluation
    kept: KeptLabels
    dataset: Dataset
    items: Sequence[Item]
    plan: Plan | None = None
    paired: Paired | None = None
    selection: Selection | None = None
    model: str = ""
    cells: CellCounts | None = None

    def __repr__(self) -> str:
        return f"Measured(mIoU {self.miou:.4f}, {len(self.items)} pictures, {len(self.evaluation.classes)} classes)"

    @property
    def chosen(self) -> Selection:
        """`selection`, of what `evaluate` measured."""
        assert self.selection is not None, "`evaluate` chooses the pictures"
        return self.selection

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

    @cached_property
    def baselines(self) -> Baselines:
        """How well one class everywhere, the grey value and the colour alone do on the same pictures."""
        if self.cells is None:
            return Baselines((), "")
        return baselines(self.dataset, self.items, self.evaluation.counts, self.cells)

    @property
    def verdict(self) -> str:
        """The sentence on a model that is no better than a baseline; "" for one that is."""
        return self.baselines.verdict(self.miou) if self.baselines.entries else ""

    def baseline_facts(self) -> dict[str, Any]:
        """The keys "baselines" and "no_better_than" of evaluation.json; the latter is null if the model beats them."""
        entries = [
            {"name": e.name, "miou": round(e.miou, 4), "pixel_accuracy": round(e.pixel_accuracy, 4)}
            for e in self.baselines.entries
        ]
        best = self.baselines.best
        return {"baselines": entries, "no_better_than": best.name if best and self.verdict else None}

    def crf_facts(self) -> dict[str, Any]:
        """The entry "crf" of evaluation.json; {} without a CRF."""
        if self.paired is None or self.plan is None or self.plan.crf is None:
            return {}
        facts = {"parameters": asdict(self.plan.crf), "fast": self.plan.crf_fast, **self.paired.to_dict()}
        return {"crf": facts}

    def save(self, folder: str | Path, more: Mapping[str, Any] | None = None) -> str:
        """Write evaluation.json, evaluation.csv, pictures.csv and worst/ into a folder; returns the JSON document.

        more: further keys of the document.
        Raises ResourceError where the folder cannot be written.
        """
        return write_measured(
            Path(folder), self.evaluation, self.kept, self.dataset, self.items, {**self.facts(), **(more or {})}
        )

    def facts(self) -> dict[str, Any]:
        """The keys of evaluation.json beside the scores."""
        chosen = self.selection.facts() if self.selection else {}
        boxes = {"instances": self.plan.instances.facts()} if self.plan and self.plan.instances else {}
        named = {"model": self.model} if self.model else {}
        return {**named, **chosen, **self.baseline_facts(), **self.crf_facts(), **boxes}


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
    instances: InstanceWise | None = None,
    display_bands: Sequence[str | int] = (),
    out: str | Path | None = None,
    device: str = "auto",
    engine: EngineName = "auto",
    seed: int | None = None,
    val_fraction: float | None = None,
    cache: bool = True,
    quiet: bool = False,
) -> Measured:
    """Measure a model on data: exact counts at the labels' own resolution.

    model: a model folder, run folder or hub id; or a Predictor, which keeps its own device and output stride.
    data: a folder in any known layout, its data.yaml, "synthetic", or an opened Dataset.
    split: "train", "val" or "test".
    window, tta, crf, crf_fast, instances, display_bands: as for a Predictor. With a CRF, `Measured.paired` has the
        scores without and with it.
    output_stride, device, engine: as for `load`.
    out: a folder for evaluation.json, evaluation.csv, pictures.csv and worst/; None writes nothing.
    seed, val_fraction: draw a split if the data has none. Default: the run's own split on the data that the model was
        trained on; other data without a split is measured whole.
    cache: keep on disk the regions and boxes found in pictures, beside the run, and the scores of a stored ensemble.
    quiet: show no progress.
    Raises ConfigError, CheckpointError, DataError, ResourceError.
    """
    flags(tta=tta, crf_fast=crf_fast, cache=cache, quiet=quiet)  # fail before loading anything
    window = None if window is None else check_window(window)
    predictor = model if isinstance(model, Predictor) else load(model, device, output_stride, engine, cache=cache)
    ways: dict[str, Any] = {"window": window, "tta": tta, "instances": instances, "display_bands": display_bands}
    plan = predictor.plan(crf=crf, crf_fast=crf_fast, **ways)
    _tell_crf(plan, crf, predictor)
    home = predictor.folder if isinstance(model, Predictor) else model
    drawn = {k: v for k, v in {"seed": seed, "val_fraction": val_fraction}.items() if v is not None}
    chosen = select(data, split, predictor.spec, predictor.folder, drawn)
    shown = replace(chosen.dataset, bands=with_display(chosen.dataset.bands, display_bands))
    with _kept_beside(home) if cache else nullcontext():
        measured = replace(measure(plan, shown, chosen.items, quiet=quiet), selection=chosen, model=_named(home))
    if out is not None:
        measured.save(out)
    return measured


def _tell_crf(plan: Plan, asked: Choice, predictor: Predictor) -> None:
    if plan.crf:
        whose = origin(asked if isinstance(asked, str) else None, predictor.spec.crf)
        logger.info(f"dense CRF, {whose}: {told(plan.crf)}")


@contextmanager
def _kept_beside(home: str | Path | None) -> Iterator[None]:
    """What is found in pictures is kept beside a run: regions, where `train` has put those of validation, and boxes."""
    with ExitStack() as kept:
        if home is not None and is_run(Path(home)):
            kept.enter_context(kept_in(Path(home) / REGIONS))
            kept.enter_context(BOXES.used(Path(home) / PROPOSALS))
        yield


def _named(home: str | Path | None) -> str:
    return "" if home is None else str(Path(home).resolve()) if os.path.exists(home) else str(home)


def measure(
    plan: Plan,
    dataset: Dataset,
    items: Sequence[Item],
    *,
    what: str = "evaluate",
    quiet: bool = False,
    by_item: Mapping[str, Plan] | None = None,
) -> Measured:
    """Run a plan over items and count.

    items: sorted by name.
    what: text shown beside the progress.
    by_item: another plan for the items of these names; it has a CRF where `plan` has one.
    """
    kept, plain, cells = KeptLabels(), KeptLabels(), CellCounts(dataset.label_space.num_classes)
    with progress(what, len(items), "pictures", quiet) as bar:
        predictions = predict_items(plan, dataset, items, kept, bar, plain, cells, by_item or {})
        evaluation = count_pictures(predictions, dataset.label_space)
    paired = None
    if plan.crf:
        maps = ((item.name, dataset.read_labels(item), plain[item.name]) for item in items)
        paired = Paired(count_pictures(maps, dataset.label_space), evaluation)
    return Measured(evaluation, kept, dataset, items, plan, paired, cells=cells)
