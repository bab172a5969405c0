"""From picture files to result files: while the network works, the next picture is read and the last result written."""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from denselab.console import Progress, progress
from denselab.crf.dense_crf import Marginals
from denselab.crf.parameters import Parameters
from denselab.data.feed.fit import Size
from denselab.documents import parse_json, read_bytes
from denselab.errors import ConfigError, DataError, DenseLabError, ResourceError
from denselab.inference.ahead import read_ahead
from denselab.inference.crf_steps import write_steps
from denselab.inference.inputs import Skipped, Source, reason_to_skip, refuse_overwriting
from denselab.inference.plan import Plan
from denselab.inference.prediction import Prediction, ProbsFormat, result_paths, write_table
from denselab.inference.reduced import warn_of_reduction
from denselab.inference.run import CRFStep, run
from denselab.inference.submission import Submission
from denselab.labels import LabelSpace
from denselab.types import Image, LabelMap

logger = logging.getLogger(__name__)

TABLE = "labels.json"


@dataclass(frozen=True)
class Result:
    """One predicted file.

    written: the result files by kind.
    shares: part of the picture by class name; classes that do not occur are left out.
    uncertainty: its mean over the picture, if one was asked for.
    """

    source: Path
    written: dict[str, Path]
    shares: dict[str, float]
    uncertainty: float | None = None


def predict_files(
    plan: Plan,
    sources: Sequence[Source],
    out: Path,
    probs: ProbsFormat = "none",
    *,
    steps: bool = False,
    submission: Submission | None = None,
    quiet: bool = False,
) -> tuple[list[Result], list[Skipped]]:
    """Predict picture files and save the results below `out`; unreadable files are skipped with their reason.

    The label table goes to labels.json, with the ids that the label PNGs hold.
    probs: also save the probabilities, in this format.
    steps: save one picture per iteration of the plan's CRF, in steps/STEM/.
    submission: also collect all predictions in one table, written at the end.
    quiet: show no progress.
    Raises ConfigError before any work where a result would replace an input or a file that predict did not write;
    ResourceError where `out` cannot be written.
    """
    kinds = {"uncertainty": plan.samples > 0, "steps": steps}
    refuse_replacing(sources, out, probs, **kinds)
    write_table(out / TABLE, plan.spec.label_space)
    results: list[Result] = []
    skipped: list[Skipped] = []
    sizes: dict[str, Size] = {}
    with progress("predict", len(sources), "pictures", quiet) as bar, ThreadPoolExecutor(1) as pool:
        saving: _Saving | None = None
        white = plan.spec.preprocessing.white
        for source, reading in read_ahead(sources, lambda source: source.read(white)):
            try:
                drawn = out / "steps" / str(source.stem) if steps else None
                prediction = _predict(plan, source, reading.result(), probs != "none", drawn, bar)
            except (DataError, ResourceError, MemoryError) as error:
                skipped.append(_skipped(source, error))
            else:
                if submission is not None:
                    submission.add(f"{source.stem}{source.path.suffix}", prediction)
                _settle(saving, results, skipped)  # keeps at most one result in memory
                sizes[source.path.name] = (prediction.labels.shape[0], prediction.labels.shape[1])
                result = _result(source, prediction, result_paths(out, source.stem, probs, **kinds))
                saving = source, result, pool.submit(prediction.save, out, probs, str(source.stem))
            bar.advance()
        _settle(saving, results, skipped)
    warn_of_reduction(plan, sizes)
    require_written(results, out)
    if submission is not None and results:
        submission.write(out)
    return results, skipped


_Saving = tuple[Source, Result, Future[dict[str, Path]]]


def _settle(saving: _Saving | None, results: list[Result], skipped: list[Skipped]) -> None:
    """Wait for the files of a result. Raises ResourceError where they cannot be written."""
    if saving is None:
        return
    source, result, future = saving
    try:
        future.result()
    except MemoryError as error:
        skipped.append(_skipped(source, error))
    else:
        results.append(result)


def _skipped(source: Source, error: DenseLabError | MemoryError) -> Skipped:
    """The input as skipped, which is said. Raises `error` where it would befall every input."""
    entry = Skipped(str(source.path), _reason(reason_to_skip(error), source.path))
    logger.warning(f"skipped {entry.path}: {entry.reason}")
    return entry


def require_written(results: Sequence[Result], out: Path) -> None:
    """Raise ResourceError where result files are gone again: the folder was emptied or moved in the meantime."""
    gone = [path for result in results for path in result.written.values() if not path.exists()]
    if gone:
        count = len({result.source for result in results if any(not p.exists() for p in result.written.values())})
        raise ResourceError(
            f"the results of {count} of {len(results)} pictures, such as {gone[0]}, are no longer in {out}: the folder "
            "was emptied or moved while they were written; run it again"
        )


def _predict(
    plan: Plan, source: Source, image: Image, keep_probs: bool, steps: Path | None, bar: Progress
) -> Prediction:
    """The prediction of one file; probabilities that will be saved are computed at once."""
    step: CRFStep | None = None
    if steps and (parameters := plan.crf):
        step = partial(_drawn_step, steps, parameters, plan.spec.label_space)
    name, note = source.path.stem, lambda text: bar.advance(0, text)
    return run(plan, image, name, keep_probs=keep_probs, crf_step=step, note=note)


def _drawn_step(folder: Path, parameters: Parameters, space: LabelSpace, image: Image, probs: Marginals) -> Marginals:
    """The CRF step that also draws its iterations into `folder`."""
    return write_steps(folder, image, probs, parameters, space)


def _result(source: Source, prediction: Prediction, written: dict[str, Path]) -> Result:
    unsure = None if prediction.uncertainty is None else float(prediction.uncertainty.mean(dtype=np.float64))
    return Result(source.path, written, class_shares(prediction.labels, prediction.label_space), unsure)


def refuse_replacing(
    sources: Sequence[Source], out: Path, probs: ProbsFormat, *, uncertainty: bool = False, steps: bool = False
) -> None:
    """Raise ConfigError where a result would replace an input, or a file that is not an earlier result.

    Otherwise `predict RUN data/images --out data` would overwrite the labels of a data set. Earlier results are
    recognised by the label table beside them.
    """
    kinds = {"uncertainty": uncertainty, "steps": steps}
    targets = [p for s in sources for p in result_paths(out, s.stem, probs, **kinds).values()]
    refuse_overwriting(targets, sources)
    table = out / TABLE
    if _is_label_table(table):
        return
    for target in (table, *targets):
        if target.exists():
            raise ConfigError(
                f"{target} is there already, and is no result of predict (it has no label table {table}): "
                "nothing is replaced; choose another `out` folder"
            )


def _is_label_table(path: Path) -> bool:
    try:
        rows = parse_json(read_bytes(path))
        return (
            isinstance(rows, list) and bool(rows) and all(set(row) == {"id", "name", "colour", "role"} for row in rows)
        )
    except (OSError, ValueError, TypeError):
        return False


def _reason(error: DenseLabError, path: Path) -> str:
    """The message without the leading file name, which is shown beside it."""
    return str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")


def class_shares(labels: LabelMap, space: LabelSpace) -> dict[str, float]:
    """Part of the picture that each class takes, by name; classes that do not occur are left out."""
    counts = np.bincount(labels.ravel(), minlength=space.num_classes)[: space.num_classes]
    return {name: round(float(n) / labels.size, 6) for name, n in zip(space.names, counts, strict=True) if n}
