"""Stage-wise training within one budget: FCN-32s, 16s, then 8s, each from the one before; or DeconvNet on its crops.

Paper: Long, Shelhamer, Darrell 2015, arXiv 1411.4038, section 4.2: each net starts from the coarser one's weights, the
new skip's scores at zero, and the learning rate is divided by 100. DeconvNet (arXiv 1505.04366, section 5) is trained
on crops around single objects, then on proposals with all classes (training/crops.py), at one learning rate. The
folder of a staged run:

    RUN/stage-1-fcn32s/  RUN/stage-2-fcn16s/   runs of their own, each with its model/
    RUN/                                       the last stage: RUN serves wherever a model or run folder does
    RUN/stages.json                            the settings of the whole, and what each finished stage scored
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from denselab.config import Settings, make_config, make_settings, merged, read_settings
from denselab.config.settings import LENGTHS
from denselab.data.dataset import Dataset
from denselab.data.weak_labels import has_mask
from denselab.engine.device import resolve_device
from denselab.errors import CheckpointError, ConfigError, Interrupted
from denselab.files import unpack_json
from denselab.migration import migrated, stamped
from denselab.models import MODELS
from denselab.run_folder import (
    CONFIG,
    LOG,
    STAGE_PROPOSALS,
    STAGES,
    SUMMARY,
    has_state,
    is_staged,
    read_metrics,
    stage_folder,
)
from denselab.training.crops import STRETCH, object_crops, proposal_crops
from denselab.training.recipe import default_epochs
from denselab.training.records import RunRecords
from denselab.training.resume import RESUMABLE, changed, clear_for_run, resumed_settings
from denselab.training.run import RunSummary, how_to_continue, make_accelerator, run_training

FORMAT = 2  # of stages.json; 1 did not record the version that wrote it
# The paper's three days for 32s and one day for each refinement (section 4.3).
FIRST_SHARE, NEXT_SHARE = 3, 1
CROP_SHARES = (1, 2)  # DeconvNet's 20,000 and 40,000 steps
CROP_DROPS = (0.45, 0.25)  # where its rate falls by steps: to a tenth after each 9,000 of them, and each 10,000
CROP_IMGSZ = (224, 224)  # where the user gives none
# The paper's hundredth is for plain SGD. AdamW's step is lr itself, however small the gradient: at a hundredth the
# skip's scores, which start at zero, hardly move and never open in a short run. Measured on synthetic scenes (96x128,
# 25 epochs in all, from scratch, a small ResNet; mIoU of 32s 0.248): 8s ends at 0.458, 0.385, 0.325, 0.265, 0.246 with
# factors 1, 0.5, 0.3, 0.1, 0.01. Each stage's own schedule lets its rate fall to nothing anyway.
LR_FACTORS = {"sgd": 0.01, "adamw": 1.0, "muon": 1.0}
SHORTEST = 1.0  # seconds for a stage whose turn comes when the time is up: it makes one step


@dataclass(frozen=True)
class Stage:
    """One stage; the fields after `folder` are None until it is finished.

    lr: its largest learning rate.
    seconds: how long it took.
    stopped: why it ended.
    """

    model: str
    folder: str
    lr: float | None = None
    miou: float | None = None
    val_loss: float | None = None
    steps: int | None = None
    seconds: float | None = None
    stopped: str | None = None


def chain_of(model: str | None) -> tuple[str, ...]:
    """The networks trained one after the other. Raises ConfigError with the names that have stages."""
    if model in MODELS and MODELS[model].stages:
        return (*MODELS[model].stages, model)
    told = f"model {model!r} has none" if model else "no model was named"
    staged = [name for name, entry in MODELS.items() if entry.stages]
    raise ConfigError(f"stages: {told}; those that are trained in stages are {', '.join(staged)}")


def staged_settings(settings: Settings, run: Path) -> Settings:
    """The settings of the staged run to resume, with the keys that may change taken from `settings`.

    Raises ConfigError for a change of any other key.
    """
    return changed(make_settings(_read(run)["settings"], str(run / STAGES)), settings, run)


def run_stages(
    settings: Settings,
    dataset: Dataset,
    run: Path,
    *,
    resume: bool = False,
    command: str = "",
    started: float | None = None,
) -> RunSummary:
    """Train the stages of settings.model into the folder `run`; returns how the last one ended.

    settings: `time`, `epochs` or `steps` is for all stages together.
    resume: do not repeat finished stages.
    Raises the errors of run_training.
    """
    started = time.monotonic() if started is None else started
    chain = chain_of(settings.model)
    settings = cropping(settings) if of_crops(chain) else settings
    settings = with_length(settings, len(chain))
    main = make_accelerator(settings).is_main_process
    stages = _read_stages(run) if resume else _plan(chain)
    if not resume and main:
        _require_free(run)
    records = RunRecords(run, active=main)
    for number in [i for i, stage in enumerate(stages) if stage.seconds is None]:
        _write(records, settings, stages)
        records.say(f"stage {number + 1} of {len(stages)}: {stages[number].model}")
        began = started if number == 0 else time.monotonic()
        data = stage_data(settings, dataset, run, number, quiet=not main) if of_crops(chain) else dataset
        summary = _run_stage(settings, data, run, stages, number, command, began)
        stages[number] = _finished(stages[number], summary, run)
    _write(records, settings, stages)
    for line in stage_lines(stages):
        records.say(line)
    return _summary_of(run)


def of_crops(chain: Sequence[str]) -> bool:
    """Whether the stages differ in what one network sees, not in the network."""
    return len(set(chain)) < len(chain)


def cropping(settings: Settings) -> Settings:
    """The settings of stages of crops, as released where the user leaves them open: crops of 224 out of 250 pixels."""
    jitter = {"scale_min": STRETCH, "scale_max": STRETCH}
    open_keys = {key: value for key, value in jitter.items() if getattr(settings, key) is None}
    if "max_class_share" not in settings.model_fields_set:
        open_keys["max_class_share"] = 1.0  # a crop of one object may be full of it
    return merged(settings, make_settings({"imgsz": settings.imgsz or CROP_IMGSZ, **open_keys}))


def stage_data(settings: Settings, dataset: Dataset, run: Path, number: int, quiet: bool = False) -> Dataset:
    """The crops of a stage; number: from 0. settings: of `cropping`. Raises DataError, MissingExtra."""
    imgsz = settings.imgsz or CROP_IMGSZ
    if not all(has_mask(item) for item in dataset.items):
        raise ConfigError("`stages` of crops are cut around objects, which need masks: set `labels` masks")
    if number == 0:
        return object_crops(dataset, imgsz, quiet)
    return proposal_crops(dataset, imgsz, settings.stage_proposals, run, quiet)


def stage_lines(stages: Sequence[Stage]) -> list[str]:
    """A line per finished stage, for the console."""
    return [
        f"{stage.model:<14} mIoU {stage.miou or 0:.4f}  val loss {stage.val_loss or 0:.4f}  lr {stage.lr:.2g}  "
        f"{stage.steps or 0} steps  {stage.seconds:.0f} s"
        for stage in stages
        if stage.seconds is not None
    ]


def with_length(settings: Settings, stages: int) -> Settings:
    """The settings with a length: by default the recipe's epochs. Raises ConfigError for too few epochs."""
    if all(getattr(settings, key) is None for key in LENGTHS):
        epochs = default_epochs(resolve_device(settings.device).type)
        settings = merged(settings, Settings(epochs=epochs))
    for key in ("epochs", "steps"):
        number = getattr(settings, key)
        if number is not None and number < stages:
            raise ConfigError(f"stages: {number} {key} for {stages} stages; give at least {stages}, or a `time`")
    return settings


def stage_length(settings: Settings, stages: int, number: int, used: float) -> Settings:
    """The `time`, `epochs` or `steps` of one stage.

    number: of the stage, from 0.
    used: seconds that the finished stages took.
    """
    crops = of_crops(chain_of(settings.model))
    shares = list(CROP_SHARES) if crops else [FIRST_SHARE] + [NEXT_SHARE] * (stages - 1)
    if settings.time is not None:
        left = settings.time - used
        return Settings(time=max(left * shares[number] / sum(shares[number:]), SHORTEST))
    key, whole = ("epochs", settings.epochs) if settings.steps is None else ("steps", settings.steps)
    assert whole is not None, "with_length has given one"
    later = min(max(1, round(whole * shares[-1] / sum(shares))), whole - 1)
    return make_settings({key: later if number else whole - later * (stages - 1)})


def first_stage(settings: Settings) -> Settings:
    """The settings of the first stage of a run that has not begun."""
    chain = chain_of(settings.model)
    whole = with_length(cropping(settings) if of_crops(chain) else settings, len(chain))
    return merged(merged(whole, _own_settings(whole, chain, 0)), stage_length(whole, len(chain), 0, 0.0))


def _run_stage(
    settings: Settings,
    dataset: Dataset,
    run: Path,
    stages: Sequence[Stage],
    number: int,
    command: str,
    started: float,
) -> RunSummary:
    """Start or resume one stage."""
    folder = run / stages[number].folder
    length = stage_length(settings, len(stages), number, sum(stage.seconds or 0 for stage in stages))
    going_on = has_state(folder)
    own = _machine(settings) if going_on else _fresh_settings(settings, run, stages, number)
    todo = merged(own, length)
    beside = {STAGES, LOG, STAGE_PROPOSALS, *(stage.folder for stage in stages)}
    if going_on:
        todo = resumed_settings(todo, folder)
    try:
        return run_training(
            todo,
            dataset,
            folder,
            resume=going_on,
            command=command,
            started=started,
            beside=beside,
            must_fit=number == 0,  # later stages make do with the time that the first leaves
        )
    except Interrupted as stop:
        told = str(stop).partition("`denselab")[0]
        raise Interrupted(
            f"{stages[number].model}: {told}{how_to_continue(settings.data, run)}", stop.exit_code - 128
        ) from None


def _machine(settings: Settings) -> Settings:
    """The settings that may change when a stage resumes, except its length."""
    return make_settings({key: value for key, value in settings.given().items() if key in RESUMABLE - set(LENGTHS)})


def _fresh_settings(settings: Settings, run: Path, stages: Sequence[Stage], number: int) -> Settings:
    """The user's settings for the first stage; for a later one its choices, the previous weights and a lower lr."""
    chain = [stage.model for stage in stages]
    own = _own_settings(settings, chain, number)
    if number == 0:
        return merged(settings, own)
    first = make_config(read_settings(run / stages[0].folder / CONFIG).given())
    factor = settings.stage_lr_factor or (1.0 if of_crops(chain) else LR_FACTORS[first.optimizer])
    before = Settings(init=str(run / stages[number - 1].folder), pretrained="no", lr=first.lr * factor**number)
    return merged(merged(first, own), before)


def _own_settings(settings: Settings, chain: Sequence[str], number: int) -> Settings:
    """What a stage has that the whole run has not: its network, and where its rate falls, if that was left open."""
    own = Settings(model=chain[number], stages=False)
    if of_crops(chain) and settings.schedule == "step" and settings.lr_drop is None:
        return merged(own, Settings(lr_drop=CROP_DROPS[number]))
    return own


def _plan(chain: Sequence[str]) -> list[Stage]:
    """One stage per network; the last lies in the run folder itself."""
    names = [stage_folder(i, model) for i, model in enumerate(chain[:-1], 1)]
    return [Stage(model, folder) for model, folder in zip(chain, [*names, "."], strict=True)]


def _finished(stage: Stage, summary: RunSummary, run: Path) -> Stage:
    best = summary.best_miou or {}
    return replace(
        stage,
        lr=read_settings(run / stage.folder / CONFIG).lr,
        miou=best.get("miou"),
        val_loss=best.get("val_loss"),
        steps=_steps(run / stage.folder),
        seconds=summary.seconds,
        stopped=summary.stopped,
    )


def _steps(folder: Path) -> int:
    """How many steps a finished run made, from its last validation, which is at its end."""
    return max((int(row["step"]) for row in read_metrics(folder, "validation")), default=0)


def _require_free(run: Path) -> None:
    if is_staged(run):
        raise ConfigError(f"{run} already holds a staged run; continue it with `resume` or choose another `out`")
    clear_for_run(run)


def _write(records: RunRecords, settings: Settings, stages: Sequence[Stage]) -> None:
    given = settings.model_dump(mode="json", include=settings.model_fields_set)
    records.write_json(STAGES, stamped({"settings": given, "stages": [asdict(stage) for stage in stages]}, FORMAT))


def _read(run: Path) -> dict[str, Any]:
    path = run / STAGES
    try:
        return migrated(unpack_json(path.read_bytes(), str(path)), {1: dict}, str(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); there is no staged run to resume") from None


def _read_stages(run: Path) -> list[Stage]:
    try:
        return [Stage(**row) for row in _read(run)["stages"]]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{run / STAGES} is not the record of a staged run: {error!r}") from None


def _summary_of(run: Path) -> RunSummary:
    """How the last stage ended, from its summary.json."""
    stored = unpack_json((run / SUMMARY).read_bytes(), str(run / SUMMARY))
    return RunSummary(run, **{key: stored[key] for key in RunSummary.__dataclass_fields__ if key in stored})
