"""A resume on pictures or labels of val that have changed: scores of before and of now do not go into one best score.

The kept networks are measured on val as it is now, and the run goes on from these scores.
"""

from dataclasses import replace

from denselab.data.content import changed_in, content_of, read_content
from denselab.data.dataset import Dataset
from denselab.engine.folder import load_engine, save_engine
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import CheckpointError
from denselab.run_folder import CONTENT, MODEL, MODEL_BEST_LOSS
from denselab.training.crops import CropDataset
from denselab.training.job import Job
from denselab.training.loop import Session, save_state
from denselab.training.records import RunRecords
from denselab.training.validate import validate


def record_content(dataset: Dataset, records: RunRecords) -> None:
    """Write content.json."""
    if records.active:
        records.write_json(CONTENT, content_of(_uncut(dataset)))


def take_up_changes(job: Job, dataset: Dataset, session: Session) -> None:
    """Before a resume: tell which files changed since the run began; where val did, measure the kept networks anew.

    content.json is written when that is saved: a run that is killed before finds the change again.
    """
    before, now = read_content(job.run), content_of(_uncut(dataset))
    if before is not None:
        if told := changed_in("train", before, now):
            session.records.say(
                f"changed since the run began: {told}; the run continues, but not exactly as it would have"
            )
        told = changed_in("val", before, now)
        if told or before.get("val", {}).keys() != now["val"].keys():
            _measure_again(job, session, told)
    session.accelerator.wait_for_everyone()  # all have read it
    if before != now:
        session.records.write_json(CONTENT, now)


def _uncut(dataset: Dataset) -> Dataset:
    """The data set whose files are read: of crops, that of the pictures that they are cut from."""
    return dataset.whole if isinstance(dataset, CropDataset) and dataset.whole is not None else dataset


def _measure_again(job: Job, session: Session, changed: str) -> None:
    """Put new scores of the kept networks into their folders and into last/; the two change places if they must."""
    state, say = session.state, session.records.say
    if state.best_miou is None or state.best_loss is None:
        return
    changed = f"changed since the run began: {changed}" if changed else "val has other pictures than before"
    say(f"{changed}; its scores until now are not comparable: measuring the kept networks again")
    before = state.best_miou["miou"]
    engines = [load_engine(job.run / folder, str(session.accelerator.device)) for folder in (MODEL, MODEL_BEST_LOSS)]
    if engines[0].spec.scores.get("step") == engines[1].spec.scores.get("step"):
        engines.pop()
    measured = [(engine, _scores(job, session, engine)) for engine in engines]
    best, lowest = max(measured, key=lambda m: m[1]["miou"]), min(measured, key=lambda m: m[1]["val_loss"])
    state.best_miou, state.best_loss = best[1], lowest[1]
    state.without_gain = 0  # `patience` counted validations that are compared no longer
    if session.accelerator.is_main_process:
        for folder, (engine, entry) in ((MODEL, best), (MODEL_BEST_LOSS, lowest)):
            save_engine(replace(engine, spec=replace(engine.spec, scores=entry)), job.run / folder)
    save_state(session)
    say(
        f"on val as it is now: best mIoU {best[1]['miou']:.4f} at step {best[1]['step']:.0f} (was {before:.4f}), "
        f"lowest loss {lowest[1]['val_loss']:.4f} at step {lowest[1]['step']:.0f}"
    )


def _scores(job: Job, session: Session, engine: TorchEngine) -> dict[str, float]:
    """{"step", "miou", "val_loss"} of a kept network on val as it is now."""
    if "step" not in engine.spec.scores:
        raise CheckpointError(f"the kept model of {job.run} does not say of which step it is; start a new run")
    config, cache = job.config, session.cache
    given = job.dataset, job.val_items, engine.spec.preprocessing, job.loss, session.accelerator
    found = validate(engine.network, *given, batch=config.batch, workers=config.workers, cache=cache)
    return {"step": engine.spec.scores["step"], "miou": found.miou, "val_loss": found.loss}
