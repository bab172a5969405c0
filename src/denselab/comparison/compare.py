"""`denselab.compare`: plan, train, measure, tell. What is done already is never done again."""

import logging
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from denselab.comparison import page, paper_tables
from denselab.comparison.data import Data, begun_run, common_sizes, open_data, write_folds
from denselab.comparison.document import document
from denselab.comparison.joined import with_ensemble
from denselab.comparison.measuring import existing_folder, measure_all
from denselab.comparison.members import devices_of, train_members
from denselab.comparison.object_sizes import found_by_size
from denselab.comparison.pictures import shown_pictures
from denselab.comparison.plan import (
    DEFAULT_BUDGET,
    OWN_KEYS,
    PLAN,
    Plan,
    Split,
    candidates_of,
    read_plan,
    size_of,
    write_plan,
)
from denselab.comparison.result import Comparison, gather
from denselab.comparison.ways import ALL_WAYS
from denselab.config import make_settings
from denselab.config.settings import LENGTHS
from denselab.data import Dataset
from denselab.data.dataset import require_outside
from denselab.errors import ConfigError, DataError, ResourceError
from denselab.files import to_json, write_json, write_text
from denselab.in_words import first_few
from denselab.inference.predictor import load
from denselab.inspection.subject import find_subject
from denselab.labels import LabelSpace
from denselab.lock import only_writer
from denselab.measure.by_name import ids_in
from denselab.numbers import flags, listed
from denselab.paths import deepest_folder, given_path, shortened, why_hidden
from denselab.run_folder import REPORT

logger = logging.getLogger(__name__)

RESULT, TABLE = "comparison.json", "table"
INSTEAD = {
    "imgsz": "imgsz",
    "model": "models",
    "encoder": "models",
    "seed": "seeds",
    **dict.fromkeys(LENGTHS, "budget"),
}


def checked_plan(asked: Plan) -> Plan:
    """A plan whose settings hold for every run and whose models exist, found without reading the data.

    Its `given` keep what was set, in the form of config.yaml. The files of a hub id are fetched.
    Raises ConfigError, NoSuchPath, CheckpointError.
    """
    for key in asked.given:
        if key in OWN_KEYS or key == "imgsz":
            how = f"give `{INSTEAD[key]}`" if key in INSTEAD else "leave it out of the settings"
            raise ConfigError(f"{key}: the comparison itself sets it for every run; {how}")
    given = _as_in_config(asked.given)
    for run in asked.existing:
        existing_folder(run)
    plan = replace(asked, given=given)
    for member in plan.members():
        plan.settings(member)
    return plan


def _as_in_config(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in the form of config.yaml. Raises ConfigError."""
    checked = make_settings(given, "options")
    return checked.model_dump(mode="json", include=checked.model_fields_set)


def compare(
    data: str | Path,
    *,
    out: str | Path,
    models: str | Sequence[str] | None = None,
    budget: tuple[str, float] | None = None,
    with_: Sequence[str | Path] = (),
    folds: int = 0,
    seeds: Sequence[int] = (0,),
    split: Split = "val",
    ways: Sequence[str] = ALL_WAYS,
    imgsz: str | int | tuple[int, int] | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    cache: bool = True,
) -> Comparison:
    """Train several networks under one budget, measure them alike, and write one report that says which to take.

    data: a data folder, or a data.yaml.
    out: the folder of the comparison.
    models: names of networks, "fcn8s,unet:resnet34" or a list; NAME:ENCODER chooses an encoder.
    budget: ("time", seconds), ("epochs", n) or ("steps", n) for each run; ten minutes by default.
    with_: folders or hub ids of trained models that take part.
    folds: k folds, stratified by class pixels, sequences kept together; 0: the data's own split.
    seeds: every network is trained once with each.
    split: "val" or "test": the pictures that are measured.
    ways: how they are measured: "plain"; "views" (test-time augmentation); "crf"; "boxes" (DeconvNet box by box);
        "ensemble" (the best models joined, as one more row).
    imgsz: (height, width) that all train at; by default the recipe's, once for all.
    device: "auto" (every GPU), "cpu", "cuda:0,cuda:1"; several train at the same time.
    settings: further keys of denselab.config.Settings for all runs.
    resume: go on with the comparison in `out`.
    cache: for the ensemble, keep each model's scores on disk (inference.score_cache).
    Raises ConfigError, DataError, ResourceError, Interrupted (after saving); call again with resume.
    """
    flags(resume=resume, cache=cache)
    given_path(data, "`data`")
    folder = given_path(out, "`out`")
    asked = Plan(
        str(data), candidates_of(None if resume else models), DEFAULT_BUDGET if budget is None else budget,
        seeds=listed(seeds, "`seeds`"), folds=folds, split=split, ways=listed(ways, "`ways`"), imgsz=size_of(imgsz),
        given={} if settings is None else settings, existing=tuple(map(str, listed(with_, "`with_`"))),
    )  # fmt: skip
    if resume:
        return run_plan(resumed_plan(folder, asked, models, {"budget": budget}), folder, device, cache)
    plan = checked_plan(asked)
    require_new(folder)
    return run_plan(plan, folder, device, cache)


def require_new(out: Path) -> None:
    """Raise ConfigError where a folder holds a comparison, or anything else, and where it is a file."""
    if reason := why_hidden(out):
        raise ResourceError(f"cannot write {shortened(out)}: {reason}; choose another `out`")
    deepest_folder(out)
    if (out / PLAN).is_file():
        raise ConfigError(f"{out} already holds a comparison; continue it with `resume` or choose another `out`")
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty and holds no comparison: nothing in it is touched; choose another `out`")


def resumed_plan(
    out: Path, asked: Plan, models: str | Sequence[str] | None = None, given: Mapping[str, object] | None = None
) -> Plan:
    """The stored plan, on the data where they are now; models that are given take the place of the stored ones.

    asked: what was given now, but for its candidates.
    given: of its fields that may be what is usual: what was given, None where nothing was.
    Raises ConfigError where there is no comparison, one of other data, and where another setting is given than it has.
    Once a run has begun, `open_data` sees whether the data are others.
    """
    plan = read_plan(out)
    if begun_run(out) is None and Path(plan.data).resolve() != Path(asked.data).resolve():
        raise ConfigError(f"{out} compares on {plan.data}, not on {asked.data}; give the same data, or another `out`")
    plan = replace(plan, data=asked.data)
    _require_same(out, plan, asked, given or {})
    if models is not None:
        plan = replace(plan, candidates=candidates_of(models))
    return replace(plan, existing=asked.existing) if asked.existing else plan


def _require_same(out: Path, plan: Plan, asked: Plan, given: Mapping[str, object]) -> None:
    """Raise ConfigError where something is given that the comparison has otherwise: it would be passed over."""
    usual = Plan(plan.data, candidates_of(None), DEFAULT_BUDGET)
    for name in ("budget", "seeds", "folds", "split", "ways", "imgsz"):
        value, held = getattr(asked, name), getattr(plan, name)
        if value != held and (given.get(name) is not None or value != getattr(usual, name)):
            _refuse_change(out, name, value, held)
    for key, value in _as_in_config(asked.given).items():
        if plan.given.get(key) != value:
            _refuse_change(out, key, value, plan.given.get(key))


def _refuse_change(out: Path, name: str, given: object, held: object) -> NoReturn:
    raise ConfigError(
        f"`{name}` {_told(given)}: the comparison in {out} has {_told(held)}, which stays; leave it out, or give "
        "another `out` without `resume`"
    )


def _told(value: object) -> str:
    parts = value if isinstance(value, tuple) else ("none" if value is None else value,)
    return " ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)


def prepare(plan: Plan, out: Path, device: str = "auto") -> tuple[Plan, Data]:
    """The plan with the size that all train at, and its data; these and the existing models are checked, none written.

    Raises ConfigError where a network does not take its encoder, DataError also where the labels do not fit a model
    that exists, CheckpointError for one that cannot be loaded.
    """
    for candidate in plan.candidates:
        find_subject(candidate.model, encoder=candidate.encoder)
    data = open_data(plan, out)
    require_outside(data.dataset, out)
    for run in plan.existing:
        _require_same_classes(load(existing_folder(run), device).label_space, run, data.dataset, plan.data)
    if plan.imgsz is None and plan.candidates:
        imgsz, crop = common_sizes(data.of(plan.members()[0]), device, plan.given.get("crop"))
        plan = replace(plan, imgsz=imgsz, given={**plan.given, **({"crop": [*crop]} if crop else {})})
    return plan, data


def _require_same_classes(model: LabelSpace, run: str, dataset: Dataset, source: str) -> None:
    """Raise DataError where the labels do not fit a model, or the model knows further classes."""
    ids, _ = ids_in(model, dataset.label_space, source)
    if more := [entry.name for entry in model.classes if entry.id not in ids.values()]:
        raise DataError(
            f"{run} knows {first_few(more)}, which {source} does not have; what is compared has the same classes: "
            "add them to `labels` in data.yaml, where a class may be absent, or leave the model out"
        )


def run_plan(plan: Plan, out: Path, device: str = "auto", cache: bool = True) -> Comparison:
    """Train, measure and tell what a plan says, into the folder `out`. cache: as for `compare`.

    Raises ResourceError where another process does so in that folder, and as `compare` does.
    """
    devices = devices_of(device)
    started = clock.monotonic()
    plan, data = prepare(plan, out, devices[0])
    with only_writer(out):
        write_plan(out, plan)
        write_folds(data, out)
        train_members(plan, data, out, devices, plan.command())
        measure_all(plan, data, out, devices[0])
        comparison = with_ensemble(gather(plan, data, out), data, devices[0], cache)
        write_result(comparison, data)
    logger.info(f"report: {out / REPORT} after {clock.monotonic() - started:.0f} s")
    return comparison


def write_result(comparison: Comparison, data: Data) -> None:
    """Write report.html, comparison.json and the tables into the comparison's folder."""
    usual, disputed = shown_pictures(comparison, data.dataset)
    paper = paper_tables.paper_table(comparison)
    sizes = found_by_size(comparison, data.dataset)
    out = comparison.out
    write_text(out / f"{TABLE}.md", paper_tables.markdown(paper))
    write_text(out / f"{TABLE}.tex", paper_tables.latex(paper))
    write_text(out / f"{TABLE}.csv", paper_tables.comma_separated(paper))
    write_json(out / RESULT, document(comparison))
    write_text(out / REPORT, page.compose(comparison, data.dataset.label_space, usual, disputed, paper, sizes))


def result_text(comparison: Comparison) -> str:
    """The JSON document of a comparison."""
    return to_json(document(comparison))
