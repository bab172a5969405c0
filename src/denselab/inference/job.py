"""What is wanted of each picture of a collection, and whether it has been done."""

import hashlib
import json
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from denselab import __version__
from denselab.engine.content import content_of
from denselab.errors import ConfigError
from denselab.files import sha256_of
from denselab.folders import MANIFEST
from denselab.in_words import first_few, number_of
from denselab.inference.bands import goes_by_rows
from denselab.inference.marks import change_of, edited, read_mark
from denselab.inference.plan import Plan
from denselab.inference.prediction import ProbsFormat, geotiff_path, result_paths
from denselab.inference.stores import LocalPlace
from denselab.inference.submission import Submission

logger = logging.getLogger(__name__)

GEOJSON = (".geojson", ".json")
PROBS_FORMATS: tuple[ProbsFormat, ProbsFormat] = ("npz", "png")
VERSION = re.compile(r"@(\S+)")  # in a mark


@dataclass(frozen=True)
class Job:
    """One plan for all pictures of a collection.

    place: where the results go.
    probs: also save the probabilities, in this format.
    steps: save one picture per iteration of the plan's CRF, in steps/STEM/.
    overlays: save those.
    polygons: also write the regions: a GeoJSON file for one picture, or a folder for a file per picture.
    model: what the model is, by its content (model_key): what is done with it is passed over; "": unknown, then nothing
        counts as done.
    redo: do again what is done, unless it was done since this job started; and replace what somebody changed.
    submission: also collect all predictions in one table, written at the end; then nothing counts as done.
    """

    plan: Plan
    place: LocalPlace
    probs: ProbsFormat = "none"
    steps: bool = False
    overlays: bool = True
    polygons: Path | None = None
    model: str = ""
    redo: bool = False
    submission: Submission | None = None
    started: float = field(default_factory=time.time)

    @property
    def out(self) -> Path:
        """The folder of this machine that results are written to."""
        return self.place.out

    @property
    def by_rows(self) -> bool:
        """Whether labels alone are wanted, which need no more of a picture than its rows."""
        return goes_by_rows(self.plan) and self.probs == "none" and not self.steps and self.submission is None

    @property
    def kinds(self) -> dict[str, bool]:
        """Which results there are besides labels and probabilities, as prediction.result_paths takes them."""
        return {"uncertainty": self.plan.samples > 0, "steps": self.steps, "overlay": self.overlays}

    def targets(self, stem: PurePosixPath) -> dict[str, Path]:
        """The results of one picture by kind."""
        found = result_paths(self.out, stem, self.probs, **self.kinds)
        if self.polygons:
            found["polygons"] = polygons_path(self.polygons, stem)
        return found

    def left_by_others(self, stem: PurePosixPath) -> set[str]:
        """The folders with results of a picture of kinds that this job does not make."""
        kinds = {"uncertainty": True, "steps": True, "overlay": True}
        npz, png = (result_paths(self.out, stem, probs, **kinds) for probs in PROBS_FORMATS)
        others = {*npz.values(), *png.values()} - {*self.targets(stem).values()}
        return {path.relative_to(self.out).parts[0] for path in others if path.exists()}

    def named(self, stem: PurePosixPath) -> dict[str, Path | str]:
        """The results of one picture by kind, as they are called."""
        return {kind: self.place.shown(path) for kind, path in self.targets(stem).items()}

    def mark(self, picture: Path) -> str:
        """What a result is made from: 32 hex digits of model, options and the bytes of the picture, "@", our version.

        "" where the model is unknown.
        """
        if not self.model or _boxes_are_given(self.plan):
            return ""
        facts = {"model": self.model, "plan": plan_facts(self.plan), "picture": sha256_of(picture)}
        return f"{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]}@{__version__}"

    def found(self, stem: PurePosixPath) -> str:
        """The mark of the label PNG that is there; "" without one."""
        return self.place.ask(self.targets(stem)["labels"], read_mark)

    def changed(self, stem: PurePosixPath) -> dict[Path, str]:
        """Digests, by path, of the results of a picture that somebody changed since; such a picture is kept."""
        if self.redo:
            return {}
        targets = self.targets(stem)
        asked = {targets["labels"]: change_of, geotiff_path(self.out, stem): edited}
        if "polygons" in targets:
            asked[targets["polygons"]] = edited
        found = {path: self.place.ask(path, question) for path, question in asked.items()}
        return {path: digest for path, digest in found.items() if digest}

    def is_done(self, stem: PurePosixPath, mark: str, found: str) -> bool:
        """Whether all results of a picture are there, made from just this. found: the mark of the label PNG there."""
        targets = self.targets(stem)
        if not mark or self.submission is not None or found != mark:
            return False
        if self.redo and not self._is_fresh(targets["labels"]):
            return False
        return all(self.place.has(path) for path in targets.values())

    def _is_fresh(self, path: Path) -> bool:
        """Whether another process with the same task has just done it."""
        try:
            return path.stat().st_mtime >= self.started
        except OSError:
            return False


def other_version(mark: str, found: str) -> str:
    """Who made a result that only another version keeps from being done; "" for any other.

    mark: of the result that is wanted. found: of the one that is there; the first versions wrote none into it.
    """
    if not mark or mark == found or VERSION.sub("", mark) != VERSION.sub("", found):
        return ""
    version = VERSION.search(found)
    return f"DenseLab {version[1]}" if version else "an earlier version of DenseLab"


def tell_other_version(who: str) -> None:
    """Say, once for a folder, why results are made again."""
    logger.info(f"results of {who} are predicted again, since this is DenseLab {__version__}")


def warn_of_changes(job: Job, paths: Sequence[Path]) -> None:
    """Say which results are kept since somebody changed them; nothing where there are none."""
    if paths:
        names = first_few(job.place.shown(path) for path in paths)
        logger.warning(
            f"warning: {number_of(len(paths), 'result')} changed since predicted, and kept: {names}; "
            "`redo` predicts them again"
        )


def _boxes_are_given(plan: Plan) -> bool:
    """Whether a function, which has no content to go by, says which boxes are run."""
    plans = [plan, *(member.plan for member in plan.ensemble.members)] if plan.ensemble else [plan]
    return any(one.instances is not None and callable(one.instances.proposals) for one in plans)


def plan_facts(plan: Plan) -> dict[str, Any]:
    """What a plan is, but for its engine, as plain data."""
    joint = plan.ensemble
    members = [[member.digest, plan_facts(member.plan)] for member in joint.members] if joint else []
    return {
        "window": plan.window,
        "scales": plan.scales,
        "flip": plan.flip,
        "samples": plan.samples,
        "crf": asdict(plan.crf) if plan.crf else None,
        "fast": plan.crf_fast,
        "display": plan.display_bands,
        "instances": plan.instances.facts() if plan.instances else None,
        "ensemble": [joint.join, joint.weights, members] if joint else None,
    }


def polygons_path(polygons: Path, stem: PurePosixPath) -> Path:
    """The GeoJSON file of one picture."""
    return polygons if polygons.suffix.lower() in GEOJSON else polygons / f"{stem}.geojson"


def refuse_one_file(polygons: Path | None, pictures: int | None) -> None:
    """Raise ConfigError where several pictures would share one GeoJSON file. pictures: None: not known."""
    if polygons and polygons.suffix.lower() in GEOJSON and pictures != 1:
        raise ConfigError(
            f"`polygons` {polygons} is one file, but there may be several pictures; name a folder, "
            f"such as {polygons.with_suffix('')}"
        )


def model_key(folder: Path | None, plan: Plan) -> str:
    """What a model is, by content: its folder's manifest, which holds the sha256 of every file, and what runs it.

    A model that is from no folder goes by its weights; "" where those are not known either.
    """
    spec = plan.spec
    manifest = None if folder is None else folder / MANIFEST
    held = sha256_of(manifest) if manifest is not None and manifest.is_file() else content_of(plan.engine)
    if not held:
        return ""
    content = repr(spec.architecture) + held
    content += f"{type(plan.engine).__name__} {spec.preprocessing!r} {spec.label_space.to_list()!r}"
    return hashlib.sha256(content.encode()).hexdigest()[:32]
