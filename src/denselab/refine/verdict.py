"""What a search of the CRF's parameters led to: whether they are stored, why, and a document of all of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from denselab.engine.folder import store_crf
from denselab.engine.hub import is_hub_id, is_torchvision
from denselab.evaluation.paired import ENOUGH_PICTURES
from denselab.refine.tuning import Tuning
from denselab.run_folder import CRF_TUNE, find_model_folder, has_model


@dataclass(frozen=True)
class Verdict:
    """The outcome of a search.

    stored: whether the parameters were written into the model folder.
    sentence: the verdict for the user.
    """

    stored: bool
    sentence: str


def conclude(tuning: Tuning, model: str) -> Verdict:
    """Judge a search, and write its parameters into the model folder if they help.

    They are stored if their gain is beyond doubt on enough pictures that did not choose them, and if they score higher
    than those stored before.
    model: a model or run folder; nothing is written for a hub id or torchvision's weights.
    Raises ResourceError where the folder cannot be written, CheckpointError where it holds no model.
    """
    if tuning.best is None or tuning.paired is None:
        return Verdict(False, "no candidate was tried in the time; the model is unchanged: give more time")
    told = tuning.paired.sentence()
    if tuning.judged < ENOUGH_PICTURES:
        return Verdict(False, _too_few(tuning, tuning.paired.difference))
    if not tuning.helps:
        doubt = f"the CRF does not help beyond doubt on pictures that did not choose it ({told})"
        return Verdict(False, f"{doubt}; {_unchanged(tuning)}")
    gain = f"the CRF helps on pictures that did not choose it: {told}{f' ({tuning.note})' if tuning.note else ''}"
    if not tuning.better:
        return Verdict(False, f"{gain}; but the new parameters are no better than the old: {_unchanged(tuning)}")
    if is_torchvision(model) or (is_hub_id(model) and not Path(model).exists()):
        return Verdict(
            False, f"{gain}; {model} is no folder, so the parameters are only in the report{_scores(tuning)}"
        )
    folder = find_model_folder(Path(model))
    store_crf(folder, tuning.best.parameters)
    instead = f" in place of those stored before{_scores(tuning)}" if tuning.stored_before else ""
    return Verdict(True, f"{gain}; its parameters are now in {folder}{instead}, for every CRF without a preset")


def _too_few(tuning: Tuning, difference: float) -> str:
    """The verdict if too few pictures were judged; the advice depends on what was short, pictures or time."""
    advice = []
    if tuning.judging < ENOUGH_PICTURES:
        least = 2 * ENOUGH_PICTURES
        advice.append(
            f"take a split with more pictures, or use more pictures of it ({least} or more: half of them judge)"
        )
    if tuning.judged < tuning.judging:
        advice.append("give more time")
    return (
        f"judged on {tuning.judged} pictures (mIoU {difference:+z.4f}), and at least {ENOUGH_PICTURES} are needed: "
        f"on so few, chance alone often looks like a gain; {_unchanged(tuning)}: {', and '.join(advice)}"
    )


def _unchanged(tuning: Tuning) -> str:
    if tuning.stored_before is None:
        return "the model is unchanged"
    return f"the model is unchanged, the parameters stored before are kept{_scores(tuning)}"


def _scores(tuning: Tuning) -> str:
    """The scores of new and old parameters on the judging pictures, in brackets; "" if there are no old ones."""
    if tuning.paired is None or tuning.stored_miou is None:
        return ""
    plain, new, old = tuning.paired.before.miou, tuning.paired.after.miou, tuning.stored_miou
    return f" (mIoU {new:.4f} with the new ones, {old:.4f} with those stored before, {plain:.4f} without a CRF)"


def tuning_document(tuning: Tuning, verdict: Verdict, model: str, data: str) -> dict[str, Any]:
    """A whole search for crf_tuning.json: plain numbers, strings and lists."""
    best = tuning.best
    return {
        "model": model,
        "data": data,
        "strategy": tuning.strategy,
        "verdict": verdict.sentence,
        "note": tuning.note,
        "helps": tuning.helps,
        "stored": verdict.stored,
        "stopped": tuning.stopped,
        "parameters": asdict(best.parameters) if best else None,
        "chosen_on": {
            "pictures": list(tuning.tuned_on),
            "miou_without": round(tuning.baseline, 4),
            "miou_with": round(best.miou, 4) if best else None,
        },
        "judged": tuning.paired.to_dict() if tuning.paired else None,
        "judged_on": list(tuning.paired.after.names) if tuning.paired else [],
        "stored_before": _stored_before(tuning),
        "candidates": [{**asdict(trial.parameters), "miou": round(trial.miou, 5)} for trial in tuning.trials],
    }


def _stored_before(tuning: Tuning) -> dict[str, Any] | None:
    if tuning.stored_before is None:
        return None
    miou = None if tuning.stored_miou is None else round(tuning.stored_miou, 4)
    return {"parameters": asdict(tuning.stored_before), "judged_miou": miou}


def tuning_folder(model: str, data: str) -> Path:
    """Where crf_tuning.json goes: RUN/crf-tune if the model is a run folder, else ./denselab-crf/MODEL-DATA."""
    run = Path(model)
    if has_model(run):
        return run / CRF_TUNE
    return Path("denselab-crf") / f"{run.resolve().name}-{Path(data).resolve().name}"
