"""`denselab train`."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denselab.cli import options as shared
from denselab.cli import train_options as options
from denselab.cli.folders import named_by_data, numbered
from denselab.config import Settings, make_settings, merged, read_settings, read_words, to_yaml
from denselab.configs import find_config
from denselab.console import remark, stdout, tell
from denselab.errors import ConfigError
from denselab.files import to_json

if TYPE_CHECKING:
    from denselab.training.run import RunSummary


def train(
    data: shared.Data,
    words: options.Words = None,
    out: options.Out = None,
    model: options.Model = None,
    encoder: shared.Encoder = None,
    time: options.Time = None,
    epochs: options.Epochs = None,
    imgsz: options.Imgsz = None,
    batch: options.Batch = None,
    pretrained: options.Pretrained = None,
    init: options.Init = None,
    crf_layer: options.CRFLayer = None,
    stages: options.Stages = None,
    labels: options.Labels = None,
    device: options.Device = None,
    workers: options.Workers = None,
    seed: options.Seed = None,
    resume: options.Resume = False,
    config: options.Config = None,
    dry_run: options.DryRun = False,
    as_json: shared.AsJson = False,
) -> None:
    """Train a model; the report is report.html in the run folder.

    What you leave open is chosen for the data and the machine, and the reason is printed. KEY=VALUE sets any key of
    config.yaml.
    """
    flags = {key: value for key, value in locals().items() if key in Settings.model_fields}
    settings = settings_of(flags, words or (), config)
    run = out or _free_run_folder(settings, resume)
    if dry_run:
        if resume or as_json:
            raise ConfigError(f"--dry-run with {'--resume' if resume else '--json'}; leave one of the two out")
        _show_plan(settings, run)
        return
    from denselab.api import train_run

    summary = train_run(settings, run, resume=resume, command=shlex.join(["denselab", *sys.argv[1:]]))
    _show_summary(summary, as_json)


def settings_of(flags: Mapping[str, Any], words: Sequence[str], config: str | None) -> Settings:
    """The settings of a command line: those of the config, replaced by flags and KEY=VALUE words where given.

    flags: the options by key, None where one was not given; `data` among them
    words: KEY=VALUE
    config: a file or the name of a recipe

    Raises ConfigError, also where a key is given twice.
    """
    written = read_words(words)
    for key, value in written.items():
        if key == "data":
            raise ConfigError(f"data={value}: the data set is the first argument, before any KEY=VALUE")
        if key in train.__annotations__ and key not in Settings.model_fields:
            raise ConfigError(f"{key} is an option and no setting: write `{key}` {value}")
        if flags.get(key) is not None:
            raise ConfigError(f"`{key}` is given twice: {flags[key]} and {key}={value}; leave one out")
    given = make_settings({**flags, **written}, "options")
    return merged(read_settings(find_config(config)), given) if config else given


def _free_run_folder(settings: Settings, resume: bool) -> Path:
    """runs/DATA-MODEL, with a number behind it if it exists; never inside the data set. Raises ConfigError.

    Without MODEL where the network is chosen by the data, which nobody has read yet.
    """
    if resume:
        raise ConfigError("`resume` needs `out`: the run folder to continue")
    base = named_by_data("runs", settings.data or "")
    return numbered(base.with_name(f"{base.name}-{settings.model}") if settings.model else base)


def _show_plan(settings: Settings, run: Path) -> None:
    from denselab.api import open_for_training
    from denselab.training.plan import plan_run, require_affordable, say_plan
    from denselab.training.records import RunRecords
    from denselab.training.run import make_accelerator
    from denselab.training.stages import chain_of, first_stage, of_crops, stage_data

    staged = chain_of(settings.model) if settings.stages else ()
    if staged:
        settings = first_stage(settings)
        remark(f"in stages: {', then '.join(staged)}; what follows is the plan of the first")
    dataset = open_for_training(settings)
    if staged and of_crops(staged):
        dataset = stage_data(settings, dataset, run, 0)
    accelerator = make_accelerator(settings)
    plan = plan_run(settings, dataset, run, accelerator)
    say_plan(plan, require_affordable(plan), RunRecords(run, active=True, keep=False), accelerator)
    remark(f"nothing was trained; the run would go to {run}, with this config.yaml:")
    tell(to_yaml(plan.job.config))


def _show_summary(summary: "RunSummary", as_json: bool) -> None:
    if as_json:
        stdout.print_json(to_json({**vars(summary), "run": str(summary.run)}))
    elif summary.best_miou:
        best = summary.best_miou
        tell(f"best mIoU {best['miou']:.4f} at step {best['step']:.0f}; model: {summary.run / 'model'}")
