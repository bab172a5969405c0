"""Refine probabilities from files into files: find the file for each picture, choose the label table, write results."""

import logging
import shlex
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denselab.console import progress
from denselab.crf import Parameters, refined
from denselab.crf.batch import Job, Refined, refine_many
from denselab.data.pixels.images import read_image
from denselab.errors import ConfigError, DataError, DenseLabError
from denselab.inference.crf_steps import write_steps
from denselab.inference.inputs import (
    Skipped,
    Source,
    find_sources,
    real_path,
    reason_to_skip,
    refuse_own_folder,
    skipped_for,
)
from denselab.inference.prediction import TABLE, Prediction, ProbsFormat, read_table, result_paths, write_table
from denselab.inference.replacing import refuse_changed, refuse_replacing, require_written
from denselab.inference.results import Result, class_shares
from denselab.labels import NODATA, LabelEntry, LabelSpace, default_colour
from denselab.paths import require_path
from denselab.refine.probability_files import Axes, Scores, is_mask, probabilities, read_scores
from denselab.types import Image

logger = logging.getLogger(__name__)

UNSURE = 255  # the id for "unknown" in label maps without a table
# COCO stuff has the highest ids in use, 182; one picture of any data set shows far fewer than 64 classes
MOST_ID, MOST_IDS = 182, 64
KINDS = (".npz", ".npy", "", ".png")  # "": a folder of PNGs


@dataclass(frozen=True)
class Task:
    """A picture and the file or folder of its probabilities."""

    source: Source
    probs: Path


@dataclass(frozen=True)
class Refinement:
    """How `refine_files` works.

    parameters: the CRF's.
    confidence: probability that a hard label map's labels are given, in 0..1.
    axes: how arrays lie, if their shape does not tell.
    probs: also save the marginals, in this format.
    steps: save one picture per iteration of the CRF.
    class_name: the class whose scores `steps` shows; None: the class that changes most.
    threads: at most this many; None: all cores.
    fast: run the CRF at half the resolution; ignored with `steps`, which shows the iterations at full resolution.
    """

    parameters: Parameters
    confidence: float = 0.7
    axes: Axes | None = None
    probs: ProbsFormat = "none"
    steps: bool = False
    class_name: str | None = None
    threads: int | None = None
    fast: bool = False


def find_tasks(image: Path, probs: Path, out: Path) -> tuple[list[Task], list[Skipped]]:
    """A picture with its probabilities, or the pictures of a folder with those of the same stem in the folder `probs`.

    Raises ConfigError where one is a folder of pictures and the other a file, DataError for predict's output folder,
    whose probabilities lie one folder further down, NoSuchPath.
    """
    require_path(image, "a picture, or a folder of pictures")
    require_path(probs, "probabilities, or a folder of them")
    if image.is_dir() and not probs.is_dir():
        raise ConfigError(f"{image} is a folder of pictures, but {probs} is a file; give a folder of probabilities")
    refuse_own_folder([str(image)], out)
    sources, skipped = find_sources([str(image)], out)
    partners = [_partner(source, probs) for source in sources]
    if not any(partners):
        _refuse_results(image, probs, out)
    if not image.is_dir():
        return [Task(sources[0], partners[0] or probs)] if sources else [], skipped
    tasks = []
    for source, partner in zip(sources, partners, strict=True):
        if partner is None:
            skipped.append(Skipped(str(source.path), f"{probs} holds no {source.stem} (.npz, .npy, folder or .png)"))
        else:
            tasks.append(Task(source, partner))
    return tasks, skipped


def _refuse_results(image: Path, probs: Path, out: Path) -> None:
    """Raise DataError where `probs` is the output folder of predict: its probabilities, or label maps, are in it."""
    meant = next((probs / name for name in ("probs", "labels") if (probs / name).is_dir()), None)
    if meant is not None and read_table(probs / TABLE) is not None:
        line = shlex.join(["denselab", "refine", str(image), str(meant), "--out", str(out)])
        more = "" if meant.name == "probs" else "; `denselab predict --probs npz` writes probabilities, which tell more"
        raise DataError(f"{probs} is a folder of results, with what to refine in {meant}: `{line}`{more}")


def _partner(source: Source, folder: Path) -> Path | None:
    """The probabilities of a picture in a folder, found by its stem."""
    if not folder.is_dir():
        return None
    candidates = [folder / f"{source.stem}{kind}" for kind in KINDS]
    return next((path for path in candidates if path.exists() and path != source.path), None)


def label_table(tasks: Sequence[Task], given: LabelSpace | None, axes: Axes | None) -> LabelSpace:
    """The given label table, else predict's labels.json beside the probabilities, else one made from the files.

    Logs which, unless it was given. One made from files uses the first that can be read; the others are skipped later,
    with their reasons. Raises DataError, as read_scores does, if none can be read.

    tasks: at least one
    """
    if given:
        return given
    for folder in list(real_path(tasks[0].probs).parents)[:3]:
        table = read_table(folder / TABLE)
        if table:
            logger.info(f"label table: {folder / TABLE}")
            return table
    scores = _first_scores(tasks, axes)
    if scores.hard:
        of_each = {task.probs: [int(i) for i in _ids_of(task, axes)] for task in tasks}
        return _table_of_ids(of_each)
    if scores.one_channel and scores.certain:
        logger.info("no label table: a mask, taken for two classes: what is set is class 1, the rest class 0")
        return table_of(scores)
    if scores.one_channel:
        logger.info("no label table: one channel p, taken for two classes: p is class 1, 1 - p is class 0")
        return table_of(scores)
    logger.info(
        f"no label table: {len(scores.values)} classes{' named in the file' if scores.names else _numbering(scores)}"
    )
    return table_of(scores)


def _table_of_ids(of_each: Mapping[Path, Sequence[int]]) -> LabelSpace:
    """The table for label maps whose ids nothing describes. Raises DataError where they may mean something else."""
    ids = sorted({i for found in of_each.values() for i in found} - {NODATA})
    if is_mask(ids) or ids == [0]:  # 0 alone: a mask in which nothing is set
        logger.info("no label table: a mask of 0 and 255, taken for two classes")
        return LabelSpace(tuple(LabelEntry(i, f"class {i}", default_colour(i)) for i in (0, 255)))
    known = [i for i in ids if 0 <= i != UNSURE]
    _refuse_one_class(of_each, ids, known)
    _ask_about_grey(of_each)
    unsure = [i for i in ids if i not in known]
    told = f"; {' and '.join(map(str, unsure or [UNSURE]))} {'are' if len(unsure) > 1 else 'is'} taken for unsure"
    logger.info(f"no label table: {len(ids)} ids occur ({', '.join(map(str, ids[:12]))}){told}")
    entries = [LabelEntry(i, f"class {i}", default_colour(i)) for i in known]
    void = [LabelEntry(i, "unsure" if i == UNSURE else f"unsure {i}", (150, 150, 150), "ignore") for i in unsure]
    return LabelSpace((*entries, *void))


def _ask_about_grey(of_each: Mapping[Path, Sequence[int]]) -> None:
    """Raise DataError for a map whose values may be probabilities of 8 or 16 bits: by themselves they look like ids."""
    for path, ids in of_each.items():
        values = [i for i in ids if i != UNSURE]
        two = len(ids) == 2 and ids[0] == 0  # a mask, whatever its other number
        if values and not two and (max(values) > MOST_ID or len(values) > MOST_IDS):
            raise DataError(
                f"{path}: {len(ids)} grey levels from {min(ids)} to {max(ids)}: label ids, or one channel of "
                "probabilities? For ids, give their table as `labels`. For probabilities, "
                f"{_way_of_grey(path, max(ids))}: white is then class 1, black class 0"
            )


def _way_of_grey(path: Path, most: int) -> str:
    """How grey levels up to `most` are given as probabilities."""
    if path.suffix.lower() == ".png" and most <= 255:
        return "put the picture alone into a folder and give the folder"
    return f"save them as npy, as floats from 0 to 1 (divided by {255 if most <= 255 else 65535})"


def _refuse_one_class(of_each: Mapping[Path, Sequence[int]], ids: Sequence[int], known: Sequence[int]) -> None:
    """Raise DataError where fewer than two classes are left, between which nothing is to be decided."""
    if len(known) > 1 or not ids:
        return
    classes = [*ids, ids[0] + 1][: max(2, len(ids))]
    table = ", ".join(f"{{id: {i}, name: class {i}}}" for i in classes)
    unsure = f"; {' and '.join(str(i) for i in ids if i not in known)} would be unsure" if len(ids) > len(known) else ""
    raise DataError(
        f"{next(iter(of_each))}: labels hold {' and '.join(map(str, ids))} alone{unsure}, and one class leaves nothing "
        f"to decide; give the table of all classes as `labels`, a YAML file such as [{table}]"
    )


def _first_scores(tasks: Sequence[Task], axes: Axes | None) -> Scores:
    """The content of the first readable file. Raises the DataError of the very first file if none is readable."""
    errors = list[DataError]()
    for task in tasks:
        try:
            return read_scores(task.probs, _size(read_image(task.source.path)), axes)
        except DataError as error:
            errors.append(error)
    raise errors[0]


def _numbering(scores: Scores) -> str:
    """How unnamed classes are numbered, as part of a sentence; for a stack, by which files."""
    if len(scores.files) < 2:
        return ", numbered from 0"
    return f", numbered from 0: {scores.files[0]} is 0 ... {scores.files[-1]} is {len(scores.files) - 1}"


def table_of(scores: Scores) -> LabelSpace:
    """A label table for probabilities: ids and names from the file, else numbers; colours from the default set."""
    count = len(scores.values)
    ids = (
        scores.ids if len(scores.ids) == count and list(scores.ids) == sorted(set(scores.ids)) else tuple(range(count))
    )
    named = len(set(scores.names)) == count
    names = scores.names if named and len(scores.names) == count else tuple(f"class {i}" for i in ids)
    return LabelSpace(tuple(LabelEntry(i, name, default_colour(i)) for i, name in zip(ids, names, strict=True)))


def _ids_of(task: Task, axes: Axes | None) -> Iterable[int]:
    """The ids in a label map; none if it cannot be read: it is skipped later, with its reason."""
    try:
        scores = read_scores(task.probs, _size(read_image(task.source.path)), axes)
    except DataError:
        return ()
    return np.unique(scores.values).tolist() if scores.hard else ()


def refine_files(
    tasks: Sequence[Task], out: Path, space: LabelSpace, how: Refinement, quiet: bool = False
) -> tuple[list[Result], list[Skipped]]:
    """Refine each picture's probabilities and save labels, overlay and what `how` asks for; bad ones are skipped.

    Skipped ones are returned with their reasons. Several pictures are refined in parallel, one per thread. Raises
    ConfigError before any work where a result would replace an input, a file that is not an earlier result, or a label
    PNG that somebody changed; ResourceError where `out` cannot be written.
    """
    refuse_replacing([task.source for task in tasks], out, how.probs, steps=how.steps)
    _refuse_probs(tasks, out, how)
    refuse_changed((result_paths(out, task.source.stem, "none")["labels"] for task in tasks), out)
    write_table(out / TABLE, space)
    results, skipped = list[Result](), list[Skipped]()
    with progress("refine", len(tasks), "pictures", quiet) as bar:
        for task, outcome in _outcomes(tasks, out, space, how):
            if isinstance(outcome, Prediction):
                outcome.save(out, how.probs, str(task.source.stem))
                written = result_paths(out, task.source.stem, how.probs, steps=how.steps)
                results.append(Result(task.source.name, written, class_shares(outcome.labels, space)))
            else:
                skipped.append(skipped_for(outcome, task.source.name))
            bar.advance()
    require_written(results, out)
    return results, skipped


def _refuse_probs(tasks: Sequence[Task], out: Path, how: Refinement) -> None:
    """Raise ConfigError where a result would replace the probabilities or label map it is made from."""
    inputs = {real_path(task.probs) for task in tasks}
    for task in tasks:
        for target in result_paths(out, task.source.stem, how.probs, steps=how.steps).values():
            if real_path(target) in inputs:
                raise ConfigError(
                    f"the result {target} would overwrite what it is made from; choose another `out` folder"
                )


Outcome = tuple[Task, Prediction | DenseLabError]


def _outcomes(tasks: Sequence[Task], out: Path, space: LabelSpace, how: Refinement) -> Iterator[Outcome]:
    """The refined prediction of each task, or the reason for having none, in the order of the tasks."""
    if how.steps or len(tasks) == 1:
        for task in tasks:
            try:
                yield task, _refine_one(task, out, space, how)
            except (DenseLabError, MemoryError) as error:
                yield task, reason_to_skip(error)
        return
    read = deque[tuple[Task, Image | DenseLabError]]()  # read ahead of the CRF, in order; unreadable ones start no job

    def jobs() -> Iterator[Job]:
        for task in tasks:
            try:
                image, probs = _read(task, space, how)
            except (DenseLabError, MemoryError) as error:
                read.append((task, reason_to_skip(error)))
                continue
            read.append((task, image))
            yield Job(str(task.source.path), image, probs)

    for done in refine_many(jobs(), how.parameters, how.threads, fast=how.fast):
        task, content = read.popleft()
        while isinstance(content, DenseLabError):
            yield task, content
            task, content = read.popleft()
        yield _finished(task, content, done, space)
    for task, content in read:  # unreadable ones after the last job
        if isinstance(content, DenseLabError):
            yield task, content


def _finished(task: Task, image: Image, done: Refined, space: LabelSpace) -> Outcome:
    if isinstance(done.error, (DenseLabError, MemoryError)):
        return task, reason_to_skip(done.error)
    if done.error is not None or done.marginals is None:
        raise done.error or RuntimeError("the CRF gave neither marginals nor an error")
    return task, _prediction(task, image, done.marginals, space)


def _refine_one(task: Task, out: Path, space: LabelSpace, how: Refinement) -> Prediction:
    image, probs = _read(task, space, how)
    if how.steps:
        folder = result_paths(out, task.source.stem, "none", steps=True)["steps"]
        marginals = write_steps(folder, image, probs, how.parameters, space, how.class_name, how.threads)
    else:
        marginals = refined(image, probs, how.parameters, how.threads, how.fast)
    return _prediction(task, image, marginals, space)


def _read(task: Task, space: LabelSpace, how: Refinement) -> tuple[Image, np.ndarray]:
    image = read_image(task.source.path)
    return image, probabilities(read_scores(task.probs, _size(image), how.axes), space, how.confidence)


def _prediction(task: Task, image: Image, marginals: np.ndarray, space: LabelSpace) -> Prediction:
    labels = marginals.argmax(axis=0).astype(space.dtype)
    return Prediction(task.source.path.stem, image, labels, space, lambda: marginals)


def _size(image: Image) -> tuple[int, int]:
    return (image.shape[0], image.shape[1])
