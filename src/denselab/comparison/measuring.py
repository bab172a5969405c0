"""Every model measured in every way: counts, label maps and costs, kept on disk so that nothing is measured twice."""

import io
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from denselab.comparison.data import Data, as_val, measured_items
from denselab.comparison.made_from import begin, is_current, made_from
from denselab.comparison.members import is_finished, run_folder
from denselab.comparison.plan import MEASURED, Plan
from denselab.comparison.ways import WAYS, ways_of
from denselab.data import Dataset, Item
from denselab.data.many_files import spread
from denselab.engine.ensemble_folder import is_ensemble
from denselab.engine.hub import is_hub_id
from denselab.engine.open import model_folder
from denselab.engine.stored_spec import read_spec
from denselab.engine.threads import most_threads
from denselab.errors import CheckpointError, DataError
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.tables import evaluation_json
from denselab.files import unpack_json, write_bytes, write_json, write_text
from denselab.inference.predictor import Predictor, load
from denselab.inspection.summary import summary_of
from denselab.labels import LabelSpace
from denselab.measure.by_name import ids_in
from denselab.measure.evaluate import Measured, evaluate
from denselab.neighbours import load_now
from denselab.run_folder import find_model_folder
from denselab.training.trial import Step, share_alone, step_between
from denselab.types import LabelMap

logger = logging.getLogger(__name__)

LABELS = {"plain": "labels.npz", "boxes": "labels-boxes.npz"}  # label maps that are kept, by way
COST = "cost.json"
TIMED_PICTURES, TIMED_SECONDS = 8, 20.0  # at most so many pictures, and no further one after so long
TICKS = 0.1  # cores: the system counts in hundredths of a second, which a few quick pictures do not resolve


@dataclass(frozen=True)
class Cost:
    """What a model takes here.

    parameters: learnable.
    multiply_adds: for one picture at the size it works at.
    memory_predict, memory_train: bytes, estimated, at batch 1; of an ensemble its largest network's.
    seconds: for one picture on this machine, read already; the median of a few, without what neighbours slowed them by.
    device: what it ran on.
    started_from: what its training started from, in words; "" if unknown.
    imgsz: (height, width) it works at.
    """

    parameters: int
    multiply_adds: int
    memory_predict: int
    memory_train: int
    seconds: float
    device: str
    started_from: str
    imgsz: tuple[int, int]


@dataclass(frozen=True)
class Counted:
    """A model in one way on its pictures.

    facts: no_better_than, trained_on and the baselines, as in evaluation.json.
    """

    evaluation: Evaluation
    facts: dict[str, Any]


@cache
def existing_folder(run: str) -> Path:
    """Where a model that was trained before lies: the folder that was given, or where the files of a hub id are.

    Raises NoSuchPath, CheckpointError.
    """
    if is_hub_id(run):
        return model_folder(run)  # asked of the hub once: the connection may be gone when the training ends
    find_model_folder(Path(run))
    return Path(run)


def existing_key(position: int, run: str) -> str:
    """The folder name of a model that was trained before."""
    return f"with-{position + 1}-{Path(run).resolve().name}"


def measure_all(plan: Plan, data: Data, out: Path, device: str) -> None:
    """Measure every finished member and every existing model in every way of the plan, unless that is done already.

    What was measured of another model, or of other pictures or labels, is done again.
    """
    for member in plan.members():
        if is_finished(out, member):
            asked = ways_of(plan.ways, member.candidate.model)
            _measure(asked, str(run_folder(out, member)), member.key, data.of(member), plan.split, out, device)
    names = {item.name for item in measured_items(plan, data)}
    whole = as_val(data.dataset, names)
    for position, run in enumerate(plan.existing):
        home = existing_folder(run)
        asked = ways_of(plan.ways, _network_of(home))
        _measure(asked, str(home), existing_key(position, run), whole, "val", out, device)


def _network_of(run: Path) -> str:
    """The name of an existing model's network; "" for an ensemble."""
    folder = find_model_folder(run)
    return "" if is_ensemble(folder) else read_spec(folder).architecture.name


def _measure(ways: Sequence[str], model: str, key: str, dataset: Dataset, split: str, out: Path, device: str) -> None:
    folder, facts = out / MEASURED / key, made_from([model], dataset, split)
    if not is_current(folder, facts):
        begin(folder, facts)
    missing = [way for way in ways if not (folder / f"{way}.json").is_file()]
    if not missing and (folder / COST).is_file():
        return
    predictor = load(model, device)
    for way in missing:
        logger.info(f"measuring {key}, {WAYS[way].heading}")
        measured = evaluate(predictor, dataset, split, **WAYS[way].options)
        write_measured(measured, dataset.label_space, folder, way)
    items = sorted(dataset.of_split(split), key=lambda item: item.name)
    write_json(folder / COST, asdict(cost_of(predictor, dataset, items)))


def write_measured(measured: Measured, space: LabelSpace, folder: Path, way: str) -> None:
    """Keep what was counted in one way, with the classes of the comparison's data; of LABELS the label maps too.

    space: of the data. A model that was trained before may number its classes otherwise.
    """
    own = measured.dataset.label_space
    ids, _ = ids_in(own, space, "the data")
    index = {entry.id: position for position, entry in enumerate(own.classes)}
    order = [index[ids[entry.id]] for entry in space.classes]
    if way in LABELS:
        rows, void = own.ignore_index + 1, space.ignore_index
        table: LabelMap = np.full(rows, void, np.uint8) if void == 255 else np.full(rows, void, np.uint16)
        table[order] = range(len(order))
        maps = {item.name: table[measured.kept[item.name]] for item in measured.items}
        write_bytes(folder / LABELS[way], _packed(maps))
    evaluation = measured.evaluation.in_order(space.names, order)
    write_text(folder / f"{way}.json", evaluation_json(evaluation, measured.facts()))


def cost_of(predictor: Predictor, dataset: Dataset, items: list[Item]) -> Cost:
    """What a model takes, timed on some of the pictures; of an ensemble all of its networks, one after the other."""
    spec = predictor.spec
    specs = [model.engine.spec for model in predictor.joint.models] if predictor.joint else [spec]
    parts = [summary_of(one.architecture, one.preprocessing.imgsz) for one in specs]
    origin = spec.started_from
    return Cost(
        sum(part.learnable for part in parts),
        sum(part.multiply_adds for part in parts),
        max(part.memory_forward for part in parts),
        max(part.memory_training for part in parts),
        seconds_per_picture(predictor, dataset, items),
        str(predictor.device),
        "" if origin is None else origin.source,
        spec.preprocessing.imgsz,
    )


def seconds_per_picture(predictor: Predictor, dataset: Dataset, items: list[Item]) -> float:
    """Median seconds from a picture in memory to its label map; a first run, which pays for set-up, does not count.

    Models are timed minutes apart, and other work on the machine meanwhile must not make one of them look slow: on a
    CPU what it took is taken off, as far as it is more than the ticks by which the system counts it.
    """
    images = [dataset.read_image(item) for item in spread(items, TIMED_PICTURES)]
    predictor.labels(images[0])
    steps: list[Step] = []
    while len(steps) < len(images) and sum(step.seconds for step in steps) < TIMED_SECONDS:
        before = load_now()
        predictor.labels(images[len(steps)])
        steps.append(step_between(before, load_now(), 1))
    return undisturbed(steps, most_threads() if str(predictor.device) == "cpu" else None)


def undisturbed(steps: Sequence[Step], threads: int | None) -> float:
    """The median seconds of steps, without what neighbours slowed them by. threads: as for training.trial.summed."""
    seconds = [step.seconds for step in steps]
    seen = sum(step.others for step in steps) > TICKS * sum(seconds)
    return float(np.median(seconds)) * (share_alone(steps, threads) if seen and threads is not None else 1.0)


def read_counted(out: Path, key: str, way: str) -> Counted | None:
    """What was counted of a model in one way; None where it was not measured. Raises CheckpointError."""
    path = out / MEASURED / key / f"{way}.json"
    if not path.is_file():
        return None
    stored = unpack_json(path.read_bytes(), str(path))
    try:
        evaluation = Evaluation.from_dict(stored["exact"])
    except (KeyError, DataError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); remove it, then `resume` measures again") from None
    kept = ("no_better_than", "trained_on", "baselines")
    return Counted(evaluation, {name: stored[name] for name in kept if name in stored})


def read_cost(out: Path, key: str) -> Cost | None:
    """What a model takes; None where it was not measured. Raises CheckpointError."""
    path = out / MEASURED / key / COST
    if not path.is_file():
        return None
    stored = unpack_json(path.read_bytes(), str(path))
    try:
        return Cost(**{**stored, "imgsz": tuple(stored["imgsz"])})
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); remove it, then `resume` measures again") from None


class StoredLabels:
    """The label maps of a model by picture, read from disk when they are asked for.

    keys: its folders below measured/; with folds each has its own pictures, with seeds the first one's maps are read.
    way: one of LABELS.
    Raises CheckpointError where one is missing or damaged.
    """

    def __init__(self, out: Path, keys: Sequence[str], way: str = "plain") -> None:
        self._places: dict[str, tuple[Any, str]] = {}
        self._files: list[Any] = []
        for key in keys:
            path = out / MEASURED / key / LABELS[way]
            try:
                stored = np.load(path, allow_pickle=False)
                self._files.append(stored)
                found = {str(name): (stored, f"map{i}") for i, name in enumerate(stored["names"])}
                self._places = found | self._places  # seeds come one after the other, and scores are the first one's
            except (OSError, ValueError, KeyError) as error:
                raise CheckpointError(
                    f"{path} cannot be read ({error}); remove {path.parent}, then `resume` measures again"
                ) from None

    def __getitem__(self, name: str) -> LabelMap:
        stored, key = self._places[name]
        labels: LabelMap = stored[key]
        return labels

    def close(self) -> None:
        """Close the files."""
        for stored in self._files:
            stored.close()


def _packed(maps: dict[str, LabelMap]) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {f"map{i}": labels for i, labels in enumerate(maps.values())}
    np.savez_compressed(buffer, names=np.array(list(maps)), **arrays)
    return buffer.getvalue()
