"""The options of `denselab eval` for several models, and what it prints of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from denselab.cli.options import choice, option, switch
from denselab.console import remark, stdout, tell
from denselab.errors import ConfigError

if TYPE_CHECKING:
    from denselab.measure.ensembles import MeasuredEnsemble

EnsembleJoin = Annotated[
    Literal["mean", "product", "release", "fit", "edeconvnet", "edeconvnet+crf"] | None,
    choice(
        "Several models: how their scores are joined. release: raw scores, clipped at 0, multiplied. fit: a mean "
        "with weights fitted on val. edeconvnet: DeconvNet on boxes with another network, as released.",
        "mean",
        flag="--ensemble",
    ),
]
Save = Annotated[
    Path | None,
    option("FOLDER", "Also store the ensemble as a model folder, for predict.", "not stored", flag="--save"),
]
NoCache = Annotated[
    bool, switch("--no-cache", "Keep no scores, regions and boxes on disk; several models then run more than once.")
]
MoreModels = Annotated[list[str] | None, typer.Argument(metavar="", hidden=True)]


def models_and_data(model: str, data: str, more: list[str] | None) -> tuple[list[str], str]:
    """MODEL... DATA as models and data: the last of them is the data."""
    places = [model, data, *(more or [])]
    return places[:-1], places[-1]


def refuse_for_one(models: list[str], join: str | None, save: Path | None) -> None:
    """Raise ConfigError where an option of several models was given with one."""
    given = {"--ensemble": join, "--save": save}
    for flag, value in given.items():
        if value and len(models) == 1:
            raise ConfigError(f"{flag} with one model; give two or more: denselab eval MODEL MODEL DATA {flag}")


def refuse_for_several(given: dict[str, object]) -> None:
    """Raise ConfigError where an option of one model was given with several. given: value by flag."""
    for flag, value in given.items():
        if value:
            raise ConfigError(f"{flag} is for one model; leave it out for an ensemble")


def evaluate_several(
    models: list[str],
    data: str,
    split: str,
    join: str,
    save: Path | None,
    out: Path | None,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Measure the ensemble and each model, write and print it. options: further arguments of evaluate_ensemble."""
    from denselab.engine.ensemble_folder import refuse_other_models
    from denselab.export.pictures import seen_pictures_of_all
    from denselab.measure.ensembles import evaluate_ensemble

    if save:
        refuse_other_models(save)
    result = evaluate_ensemble(models, data, join, split, quiet=as_json, **options)
    folder = out or _folder(models, data, split, join, result.measured.chosen.source)
    document = result.measured.save(folder, {"ensemble": result.facts()})
    if as_json:
        print(document, end="")
    else:
        _show(result)
        remark(f"written to {folder}: evaluation.json, evaluation.csv, pictures.csv, worst/")
    if save:
        result.joint.save(
            save, seen_pictures_of_all([model.folder for model in result.joint.models if model.folder], data)
        )
        remark(f"the ensemble is stored in {save}: denselab predict {shlex.quote(str(save))} PICTURES --out out/")


def _folder(models: list[str], data: str, split: str, join: str, source: str) -> Path:
    """./denselab-eval/ensemble-JOIN-MODELS-DATA-SPLIT, with a number where that is of other models or other data.

    source: the data, as the evaluation tells them.
    """
    from denselab.measure.files import free_folder, same_models
    from denselab.run_folder import EVALUATION

    names = "+".join(Path(model).resolve().name for model in models)[:80]

    def same(stored: Mapping[str, Any]) -> bool:
        own = [row["model"] for row in stored.get("ensemble", {}).get("models", [])]
        return stored.get("data") == source and same_models(models, own)

    return free_folder(
        Path("denselab-eval") / f"ensemble-{join}-{names}-{Path(data).resolve().name}-{split}", EVALUATION, same
    )


def _show(result: MeasuredEnsemble) -> None:
    from denselab.evaluation.tables import console_table

    measured = result.measured
    tell(measured.chosen.told())
    stdout.print(console_table(measured.evaluation))
    stdout.print(result.table())
    if result.fitted:
        tell(result.fitted)
    tell(result.sentence())
    if measured.paired:
        tell(f"the CRF: {measured.paired.sentence()}")
