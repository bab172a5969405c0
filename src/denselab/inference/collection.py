"""From picture files to result files: while the network works, the next picture is read and the last result written.

On a CPU several pictures run at once, each in a thread that reads and predicts it (side_by_side.py).
Several processes may work through the same pictures into one folder: each claims what it does (claims.py). What is done
already, by the content of model and picture, is passed over (job.py); a huge picture goes on where it stopped
(huge.py); a table tells of everything (manifest.py).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Thread

import numpy as np

from denselab.console import Progress, progress
from denselab.crf.parameters import Parameters
from denselab.data.feed.fit import Size
from denselab.data.pixels.opening import refuse_empty
from denselab.data.pixels.rows import Rows
from denselab.data.pixels.white import HEADERS, is_deep
from denselab.errors import DataError, DenseLabError, ResourceError
from denselab.inference.ahead import read_ahead
from denselab.inference.claims import Claims
from denselab.inference.geographic import write_geographic
from denselab.inference.geotiff import read_georeference
from denselab.inference.huge import huge_rows, predict_rows
from denselab.inference.inputs import Held, Skipped, Source, image_id, skipped_for
from denselab.inference.job import Job, other_version, tell_other_version, warn_of_changes
from denselab.inference.manifest import RECORDS, Records, write_manifest
from denselab.inference.plan import Plan
from denselab.inference.prediction import TABLE, Prediction, geotiff_path, write_table
from denselab.inference.reduced import REDUCED, reduction, warn_of_reduction
from denselab.inference.replacing import is_label_table, refuse_existing, refuse_replacing, require_there
from denselab.inference.results import Result, class_shares, shares_of, shares_of_file
from denselab.inference.run import CRFStep, run
from denselab.inference.side_by_side import side_by_side
from denselab.inference.stores import LocalPlace
from denselab.labels import LabelSpace
from denselab.types import Image, Marginals, Pixels

logger = logging.getLogger(__name__)

CLAIMS = ".claims"
WAIT = 0.5  # seconds between looks at pictures that another process has claimed
CHANGED = "it was changed since it was predicted, and the table is of predictions; choose another `out`, or `redo`"


Each = Callable[[Result], None]
Ready = tuple[Result, Callable[[], object]]
"""The result of one picture, and what saves it."""


@dataclass(frozen=True)
class Opened:
    """A source that was looked at.

    predict: gives what came out, or computes it now; None: it was done before.
    other: the version that made the result that is there, where nothing else is wrong with it.
    changed: results that somebody changed; all of this picture is kept, and `mark` is a digest of the first.
    """

    mark: str
    predict: Callable[[], Ready] | None
    other: str = ""
    changed: tuple[Path, ...] = ()


def predict_files(
    job: Job,
    sources: Iterable[Source],
    *,
    manifest: Path | None = None,
    claim: bool = True,
    count: Callable[[], int] | None = None,
    each: Each | None = None,
    quiet: bool = False,
) -> tuple[list[Result], list[Skipped]]:
    """Predict picture files and save the results; unreadable files are skipped with their reason.

    The label table goes to labels.json, with the ids that the label PNGs hold.
    sources: may be an iterator, whose files are then not known before their turn.
    manifest: a table of all that was predicted into the same place, .csv or .parquet.
    claim: share the work with other processes on the same folder, by claims, where the job knows its model; not needed
        where one hands out work.
    count: counts the sources, for the progress, if they are an iterator; runs beside the work.
    each: gets every result when it is there; then none are returned, so that millions need no memory.
    quiet: show no progress.
    Raises ConfigError before any work where a result would replace an input or a file that predict did not write;
    ResourceError where the results cannot be written.
    """
    known, foreign = begin(job, sources)
    kept: list[Result] = []
    with ExitStack() as stack:
        bar = stack.enter_context(progress("predict", None if known is None else len(known), "pictures", quiet))
        count_beside(bar, count)
        worker = Worker(job, bar, each or kept.append, foreign and known is None, stack, manifest is not None, claim)
        worker.telling = each is None
        worker.work(sources if known is None else known)
    worker.conclude(manifest)
    return kept, worker.skipped


def begin(job: Job, sources: Iterable[Source]) -> tuple[list[Source] | None, bool]:
    """Write the label table; returns the sources if all are known, and whether files that are there are not ours.

    Raises ConfigError where something would be replaced that must not be.
    """
    foreign = not is_label_table(job.out / TABLE)
    known = list(sources) if isinstance(sources, Sequence) else None
    if known is None:
        refuse_existing([job.out / TABLE] if foreign else [], job.out)
    else:
        refuse_replacing(known, job.out, job.probs, **job.kinds)
    write_table(job.out / TABLE, job.plan.spec.label_space)
    job.place.publish([job.out / TABLE])
    return known, foreign


def count_beside(bar: Progress, count: Callable[[], int] | None) -> None:
    """Have a thread count what there is to do, for the progress; None: it is known, or cannot be."""
    if count:
        Thread(target=_count, args=(bar, count), daemon=True).start()


def _count(bar: Progress, count: Callable[[], int]) -> None:
    bar.total = count()


class Worker:
    """Goes through sources, one by one; holds what is open while it does."""

    def __init__(
        self, job: Job, bar: Progress, each: Each, foreign: bool, stack: ExitStack, recording: bool, claim: bool
    ) -> None:
        """foreign: files in the output folder are not ours, and must not be replaced."""
        self.job, self.bar, self.each, self.foreign = job, bar, each, foreign
        self.skipped: list[Skipped] = []
        self.telling = True  # whether what was done before is to be told in full, for which its labels are read
        local = type(job.place) is LocalPlace  # stores have no file that only one can create
        self.told_other = False
        self.claims = stack.enter_context(Claims(job.out / CLAIMS)) if job.model and local and claim else None
        self.records = Records(job.out) if recording else None
        if self.records:
            stack.callback(self._close_records)
        self.held = stack.enter_context(closing(Held()))
        one_by_one = job.submission is not None or job.probs != "none"
        self.beside = stack.enter_context(side_by_side(job.plan, 1 if one_by_one else bar.total))
        self.pool = stack.enter_context(ThreadPoolExecutor(self.beside.count))
        self.saving: deque[tuple[Source, Result, str, Future[object]]] = deque()
        self.stems: list[PurePosixPath] = []  # of what was written
        self.small: dict[str, Size] = {}  # pictures that the network saw much reduced
        given = job.plan.spec.preprocessing
        self.to_look_at = HEADERS if given.white is None and given.bands is None else 0  # for more than 8 bits
        self.deep = ""  # a picture of more bits than those of the training
        self.older: set[str] = set()  # folders with results of predictions that were replaced
        self.changed: list[Path] = []  # results that are kept, since somebody changed them

    def work(self, sources: Iterable[Source]) -> None:
        """Predict all sources; those that another process has claimed are looked at again at the end."""
        try:
            left = list(self._round(sources))
            while left:
                time.sleep(WAIT)
                left = list(self._round(left))
        finally:  # also where it is stopped: what was predicted is saved
            while self.saving:
                self._finish()

    def _round(self, sources: Iterable[Source]) -> Iterator[Source]:
        """Go through sources once; yields those that another process has."""
        for source, opening in read_ahead(sources, self._open, *self.beside.ahead()):
            started = time.monotonic()
            try:
                opened = opening.result()
                if opened is None:
                    yield source
                    continue
                self._tell_other(opened.other)
                ready = opened.predict() if opened.predict else None
            except (DataError, ResourceError, MemoryError) as error:
                self._skip(source, error, started)
            else:
                while len(self.saving) >= self.beside.count:  # keeps so many results in memory at most
                    self._finish()
                if ready is None:
                    self._tell_done(source, opened)
                else:
                    self._note_size(source, ready[0].size)
                    self.saving.append((source, ready[0], opened.mark, self.pool.submit(ready[1])))
            self.bar.advance()

    def _open(self, source: Source) -> Opened | None:
        """Claim a source, see whether it is done, and read it: what can be done ahead, in another thread.

        Where pictures run side by side, that thread also predicts it. None: another process has it.
        """
        if self.claims and not self.claims.take(str(source.stem)):
            return None
        try:
            found = self.job.found(source.stem)
            if self.foreign and not found:
                refuse_existing(self.job.targets(source.stem).values(), self.job.out, begun=False)
            path = self.held.path(source)
            refuse_empty(path)  # and pipes, which would never answer
            if self.to_look_at > 0 and not self.deep:
                self.to_look_at -= 1
                self.deep = path.name if is_deep(path) else ""
            mark = self.job.mark(path)
            if self.job.is_done(source.stem, mark, found):
                return Opened(mark, None)
            if changed := self.job.changed(source.stem):
                if self.job.submission is not None:
                    raise DataError(f"{self.job.place.shown(next(iter(changed)))}: {CHANGED}")
                return Opened(next(iter(changed.values())), None, changed=tuple(changed))
            rows = huge_rows(path) if self.job.by_rows and path is source.path else None
            picture = source.read_at(path, self.job.plan.spec.preprocessing) if rows is None else rows
        except BaseException:
            self._release(source)
            raise
        other = "" if self.job.redo else other_version(mark, found)
        if found not in ("", mark) and not other:
            self.older |= self.job.left_by_others(source.stem)
        if not self.beside.takes(picture):
            return Opened(mark, partial(self._predict, source, picture, mark, self.job.plan), other)
        ready = self._predict(source, picture, mark, self.beside.plan)
        return Opened(mark, lambda: ready, other)

    def _predict(self, source: Source, picture: Pixels | Rows, mark: str, plan: Plan) -> Ready:
        """The result of one picture, and what saves it."""
        started, job = time.monotonic(), self.job
        targets = job.targets(source.stem)
        try:
            if isinstance(picture, np.ndarray):
                prediction = self._run(plan, source, picture)
                if job.submission is not None:
                    job.submission.add(image_id(source), prediction)
                return self._result(source, prediction, started), partial(self._save, source, prediction, mark)
            done = predict_rows(plan, picture, job.out, source.stem, mark, self.bar, targets)
        except BaseException:
            self._release(source)
            raise
        shares, seconds = shares_of(done.counts, job.plan.spec.label_space), time.monotonic() - started
        result = Result(source.name, job.named(source.stem), shares, None, done.size, done.confidence, seconds)
        geotiff = [geotiff_path(job.out, source.stem)] if read_georeference(source.path) else []
        return result, partial(job.place.publish, [*geotiff, *(targets[kind] for kind in reversed(targets))])

    def _run(self, plan: Plan, source: Source, image: Pixels) -> Prediction:
        """The prediction of one file; probabilities that will be saved are computed at once."""
        step: CRFStep | None = None
        if self.job.steps and (parameters := plan.crf):
            folder = self.job.out / "steps" / str(source.stem)
            step = partial(_drawn_step, folder, parameters, plan.spec.label_space)
        note = partial(self.bar.advance, 0)
        keep = self.job.probs != "none"
        return run(plan, image, source.path.stem, keep_probs=keep, crf_step=step, note=note)

    def _result(self, source: Source, prediction: Prediction, started: float) -> Result:
        unsure = None if prediction.uncertainty is None else float(prediction.uncertainty.mean(dtype=np.float64))
        shares = class_shares(prediction.labels, prediction.label_space)
        size, seconds = (prediction.labels.shape[0], prediction.labels.shape[1]), time.monotonic() - started
        named = self.job.named(source.stem)
        return Result(source.name, named, shares, unsure, size, prediction.confidence, seconds)

    def _save(self, source: Source, prediction: Prediction, mark: str) -> None:
        """Write all results of one picture; the label PNG, whose mark says that they are there, after the others."""
        job = self.job
        extra = write_geographic(job, self.held.path(source), source, prediction.labels)
        written = prediction.save(job.out, job.probs, str(source.stem), mark, overlay=job.overlays)
        steps = [job.targets(source.stem)["steps"]] if job.steps else []
        job.place.publish([*extra, *steps, *(written[k] for k in reversed(written))])

    def _finish(self) -> None:
        """Wait until the oldest result is saved, record it, and let go of it: in this order a kill loses nothing.

        Raises ResourceError where it cannot be written.
        """
        source, result, mark, saved = self.saving.popleft()
        try:
            saved.result()
            self.stems.append(source.stem)
            self._record(source, mark, result=result)
            self.each(result)
        except (DataError, MemoryError) as error:
            self._skip(source, error, time.monotonic())
        finally:
            self._release(source)

    def _tell_other(self, who: str) -> None:
        """Say why results are made again that only another version made; once."""
        if who and not self.told_other:
            tell_other_version(who)
            self.told_other = True

    def _tell_done(self, source: Source, opened: Opened) -> None:
        job, mark = self.job, opened.mark
        self.changed += opened.changed
        unrecorded = self.records is not None and (str(source.stem), mark) not in self.records
        size, shares = None, dict[str, float]()
        if (unrecorded or self.telling) and not opened.changed:  # what was made of it may be no label map
            labels = job.targets(source.stem)["labels"]
            job.place.fetch(labels)
            size, shares = shares_of_file(labels, job.plan.spec.label_space)
        result = Result(source.name, job.named(source.stem), shares, None, size, already=True)
        if unrecorded:
            told = None if opened.changed else result
            self._record(source, mark, result=told)  # killed between saving and recording, or by another process
        self.each(result)
        self._release(source)

    def _skip(self, source: Source, error: DenseLabError | MemoryError, started: float) -> None:
        """Skip a source, which is said. Raises `error` where it would befall every one."""
        self.skipped.append(skipped_for(error, source.name))
        self._record(source, "", error=self.skipped[-1].reason, seconds=time.monotonic() - started)

    def _record(
        self, source: Source, mark: str, *, result: Result | None = None, error: str = "", seconds: float = 0.0
    ) -> None:
        if self.records is None:
            return
        row: dict[str, object] = {"file": source.name, "stem": str(source.stem), "mark": mark, "error": error}
        row["seconds"] = round(seconds, 4)
        if result:
            height, width = result.size or (None, None)
            confidence = None if result.confidence is None else round(result.confidence, 6)
            row |= {"height": height, "width": width, "shares": result.shares, "confidence": confidence}
            row |= {"seconds": round(result.seconds, 4), "from_file": result.already}
        self.records.add(row)

    def _close_records(self) -> None:
        assert self.records is not None, "there are some"
        self.records.close()
        self.job.place.publish([self.job.out / RECORDS])

    def _release(self, source: Source) -> None:
        self.held.let_go(source)
        if self.claims:
            self.claims.release(str(source.stem))

    def _note_size(self, source: Source, size: Size | None) -> None:
        if size and reduction(self.job.plan, size) >= REDUCED:
            self.small[source.path.name] = size

    def conclude(self, manifest: Path | None) -> None:
        """What is said and written when all pictures are through. Raises ResourceError where results are gone."""
        if manifest:
            self.job.place.fetch(self.job.out / RECORDS)
            write_manifest(self.job.out, manifest, self.job.plan.spec.label_space.names)
        warn_of_reduction(self.job.plan, self.small)
        warn_of_changes(self.job, self.changed)
        if self.deep:
            logger.warning(
                f"warning: {self.deep} has more than 8 bits, the pictures of the training had 8: white is what each "
                "picture's own numbers tell; scale them to 8 bits, all by one number"
            )
        if self.older:
            logger.warning(
                f"warning: {' and '.join(sorted(self.older))} in {self.job.out} are of other predictions than the "
                "labels there now, since they were not asked for this time: remove them"
            )
        if type(self.job.place) is LocalPlace:
            every = ((stem, list(self.job.targets(stem).values())) for stem in self.stems)
            require_there(every, len(self.stems), self.job.out)
        if self.job.submission is not None and self.stems:
            self.job.place.publish([self.job.submission.write(self.job.out)])


def _drawn_step(folder: Path, parameters: Parameters, space: LabelSpace, image: Image, probs: Marginals) -> Marginals:
    """The CRF step that also draws its iterations into `folder`."""
    from denselab.inference.crf_steps import write_steps  # here: the CRF's loops need numba

    return write_steps(folder, image, probs, parameters, space)
