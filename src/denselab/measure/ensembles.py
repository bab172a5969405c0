"""An ensemble measured beside its models: does joining them help, and by how much for certain."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from denselab.console import progress
from denselab.crf.parameters import Choice, told
from denselab.data import Dataset
from denselab.data.folds import halves
from denselab.evaluation.bootstrap import rounded
from denselab.evaluation.paired import Paired
from denselab.inference.ensembles import ensemble_of
from denselab.inference.instances import InstanceWise
from denselab.inference.joint import Joint, joint_of
from denselab.inference.plan import Plan
from denselab.inference.predictor import Predictor, load, networks_of
from denselab.inference.score_cache import ScoreCache
from denselab.measure.data import Selection, select
from denselab.measure.evaluate import Measured, measure
from denselab.measure.fit_weights import PASSES, fit_weights
from denselab.numbers import flags, listed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class MeasuredEnsemble:
    """An ensemble and each of its models on the same pictures.

    joint: the ensemble; with weights fitted, those of all pictures of the fit.
    measured: the ensemble's, before or with the CRF.
    alone: each model's, by name, without CRF.
    fitted: how the weights were fitted and judged, in words; "": they were not.
    """

    joint: Joint
    measured: Measured
    alone: Mapping[str, Measured]
    fitted: str = ""

    @property
    def best(self) -> str:
        """The name of the model with the highest mean IoU."""
        return max(self.alone, key=lambda name: self.alone[name].miou)

    @property
    def gain(self) -> Paired:
        """The best model alone against the ensemble."""
        return Paired(self.alone[self.best].evaluation, self.measured.evaluation)

    def facts(self) -> dict[str, Any]:
        """The entry "ensemble" of evaluation.json."""
        models = [
            {"model": name, "miou": round(one.miou, 4), **model.how()}
            for (name, one), model in zip(self.alone.items(), self.joint.models, strict=True)
        ]
        gain = self.gain
        interval = [rounded(bound) for bound in gain.interval] if gain.interval else None
        facts = {"join": self.joint.join, "weights": list(self.joint.weights), "models": models, "fitted": self.fitted}
        return {**facts, "best_model": self.best, "gain": rounded(gain.difference), "gain_interval": interval}

    def table(self) -> Table:
        """A rich table: each model and the ensemble, with its mean IoU and pixel accuracy."""
        table = Table(box=box.SIMPLE_HEAD)
        for heading in ("model", "weight", "mIoU", "pixel accuracy"):
            table.add_column(heading, justify="left" if heading == "model" else "right")
        weights = self.joint.weights or (None,) * len(self.alone)
        for (name, one), weight in zip(self.alone.items(), weights, strict=True):
            cells = ("" if weight is None else f"{weight:.3f}", f"{one.miou:.4f}", f"{one.pixel_accuracy:.4f}")
            table.add_row(Text(name), *cells)
        table.add_section()
        ours = self.measured
        table.add_row(Text(f"ensemble: {self.joint.join}"), "", f"{ours.miou:.4f}", f"{ours.pixel_accuracy:.4f}")
        return table

    def sentence(self) -> str:
        """The gain over the best model, in one line."""
        return f"the ensemble against {self.best} alone: {self.gain.sentence()}"


def evaluate_ensemble(
    models: Sequence[str | Path | Predictor],
    data: str | Path | Dataset,
    join: str,
    split: str = "val",
    *,
    window: tuple[int, int] | None = None,
    tta: bool = False,
    instances: InstanceWise | None = None,
    crf: Choice = None,
    crf_fast: bool = False,
    output_stride: int | None = None,
    device: str = "auto",
    seed: int | None = None,
    val_fraction: float | None = None,
    cache: bool | ScoreCache = True,
    quiet: bool = False,
) -> MeasuredEnsemble:
    """Measure several models joined, and each alone; each network runs once for a picture, if `cache` is on.

    models: two or more.
    join: "mean", "product", "release", "edeconvnet", "edeconvnet+crf"; "fit": the mean with weights fitted on val.
        Where val itself is measured, each half is judged with the weights of the other.
    instances: for every model; "edeconvnet" chooses its own.
    The rest: as for `evaluate`.
    Raises ConfigError, CheckpointError, DataError, ResourceError.
    """
    flags(tta=tta, crf_fast=crf_fast, quiet=quiet)
    models = listed(models, "`models`")
    loaded = [m if isinstance(m, Predictor) else load(m, device, output_stride) for m in models]
    parts = networks_of(loaded)
    given = {"seed": seed, "val_fraction": val_fraction}
    drawn = {key: value for key, value in given.items() if value is not None}
    names = _names(models, loaded)
    # the pictures are the first model's; of each of the others `select` tells what it was trained on
    chosen, *_ = [select(data, split, one.spec, one.folder, drawn) for one in loaded]
    how = "mean" if join == "fit" else join
    joint = joint_of(parts, how, instances=instances, window=window, tta=tta, cache=cache)
    by_item: dict[str, Plan] = {}
    fitted = ""
    if join == "fit":
        val = chosen if split == "val" else select(data, "val", loaded[0].spec, loaded[0].folder, drawn)
        joint, by_item, fitted = _fitted(joint, chosen, val, crf, crf_fast, quiet)
    plan = joint.plan(crf=crf if crf not in (None, False) or join != "edeconvnet+crf" else True, crf_fast=crf_fast)
    if plan.crf:
        logger.info(f"dense CRF: {told(plan.crf)}")
    ours = measure(plan, chosen.dataset, chosen.items, quiet=quiet, by_item=by_item)
    alone = {n: measure(joint.alone(i), chosen.dataset, chosen.items, what=n, quiet=quiet) for i, n in enumerate(names)}
    return MeasuredEnsemble(joint, replace(ours, selection=chosen), alone, fitted)


def _fitted(
    joint: Joint, chosen: Selection, val: Selection, crf: Choice, crf_fast: bool, quiet: bool
) -> tuple[Joint, dict[str, Plan], str]:
    """The ensemble with weights fitted on val; plans for single pictures where val is measured; and what was done."""
    ensemble = ensemble_of(joint.models, "mean", (), joint.cache)
    crossed = [item.name for item in val.items] == [item.name for item in chosen.items]
    parts = list(halves(val.items)) if crossed else []
    parts = parts if all(parts) else []  # of one group there is no second half
    by_item: dict[str, Plan] = {}
    with progress("fit weights", PASSES * len(val.items) * (2 if parts else 1), "pictures", quiet) as bar:
        weights, score = fit_weights(ensemble, val.dataset, val.items, bar)
        for number, part in enumerate(parts):
            own, _ = fit_weights(ensemble, val.dataset, parts[1 - number], bar)
            plan = replace(joint, join="mean", weights=own).plan(crf=crf, crf_fast=crf_fast)
            by_item |= {item.name: plan for item in part}
    shown = ", ".join(f"{weight:.3f}" for weight in weights)
    where = (
        "each half of these pictures was judged with the weights of the other half"
        if parts
        else "judged on these very pictures, which are all of one sequence or group"
        if crossed
        else "judged on other pictures"
    )
    told_so = f"weights {shown}, fitted on {len(val.items)} pictures of val (mIoU {score:.4f} there); {where}"
    return replace(joint, join="mean", weights=weights), by_item, told_so


def _names(models: Sequence[str | Path | Predictor], loaded: Sequence[Predictor]) -> list[str]:
    """A name for each model: as it was given, or its network's; numbered where two are alike."""
    names = [
        one.spec.architecture.name if isinstance(model, Predictor) else str(model)
        for model, one in zip(models, loaded, strict=True)
    ]
    return [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names, 1)]
