"""The real pictures that an export is measured on, and those that int8 is calibrated with."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denselab.console import tracked
from denselab.data import Dataset, Item
from denselab.data.dataset import open_as_named
from denselab.data.draw.synthetic import write_synthetic
from denselab.data.many_files import spread
from denselab.data.recorded import Recorded, divided, read_recorded
from denselab.data.resizing.resize import resize_image
from denselab.data.seen import seen_by_any, seen_of
from denselab.documents import parse_json
from denselab.engine.spec import ModelSpec
from denselab.errors import DataError
from denselab.files import json_bytes
from denselab.folders import read_member
from denselab.measure.data import run_of, select
from denselab.run_folder import SPLITS
from denselab.types import Image, LabelMap

logger = logging.getLogger(__name__)

SCENES, SCENE_SIZE = (32, 16), (96, 128)  # the demo's: (train, val), (height, width)


@dataclass(frozen=True)
class CheckPictures:
    """What an export is measured on.

    source: in words.
    labelled: whether the labels are of the model's classes; without them there is no mIoU.
    quiet: show no progress while they are gone through.
    """

    dataset: Dataset
    items: Sequence[Item]
    training: Sequence[Item]
    spec: ModelSpec
    source: str
    labelled: bool
    quiet: bool = False

    def measured(self, most: int) -> Iterator[tuple[str, Image, LabelMap | None]]:
        """(name, picture, class indices or None) of up to `most` of the items, evenly spread."""
        chosen = spread(self.items, most)
        for item in tracked(chosen, "measure", quiet=self.quiet):
            if self.labelled:
                sample = self.dataset.read(item)
                yield item.name, sample.image, sample.labels
            else:
                yield item.name, self.dataset.read_image(item), None

    def calibration(self, most: int) -> list[NDArray[np.uint8]]:
        """Up to `most` training pictures as the network sees them, each (1, h, w, 3) uint8."""
        working = self.spec.preprocessing.working_size
        images = (self.dataset.read_image(item) for item in spread(self.training or self.items, most))
        return [resize_image(image, working((image.shape[0], image.shape[1])))[None] for image in images]


@contextmanager
def check_pictures(
    spec: ModelSpec, model: str, data: str | None, *, real: bool = False, quiet: bool = False
) -> Iterator[CheckPictures]:
    """The pictures of a data set, or the demo's scenes where none is given.

    model: the model's name; its run's own split holds.
    data: the data set; None: the demo's scenes, drawn into a folder that is removed.
    real: whether scenes will not do, unless the model is for them.
    quiet: show no progress while they are gone through.
    Raises DataError where the labels do not fit the model, or scenes will not do.
    """
    if data is not None:
        yield replace(_selected(data, spec, model), quiet=quiet)
        return
    if (own := _data_of_run(model)) is not None:
        logger.info(f"measured on the data that the model was trained on: {own}")
        yield replace(_selected(own, spec, model), quiet=quiet)
        return
    if (bands := spec.preprocessing.bands) is not None:
        raise DataError(f"the model takes {bands.told()}, the demo's scenes are RGB: give `check` data of these bands")
    with tempfile.TemporaryDirectory() as scratch:
        root = write_synthetic(Path(scratch) / "scenes", train=SCENES[0], val=SCENES[1], size=SCENE_SIZE)
        try:
            chosen = _selected(str(root), spec, None, "the demo's scenes")
        except DataError:
            if real:
                raise DataError(
                    "int8 is calibrated with pictures of the training, and the model is not for the demo's scenes: "
                    "give `check` a data set with the model's classes"
                ) from None
            dataset = open_as_named(root)
            val, train = dataset.of_split("val"), dataset.of_split("train")
            told = "the demo's scenes, whose labels are not the model's"
            chosen = CheckPictures(dataset, val, train, spec, told, labelled=False)
        yield replace(chosen, quiet=quiet)


def _selected(data: str, spec: ModelSpec, model: str | None, source: str | None = None) -> CheckPictures:
    chosen = select(data, "val", spec, model)
    training = chosen.dataset.of_split("train")
    told = source or f"{Path(chosen.source).name}: {chosen.which}"  # the name alone: it goes out with the model
    return CheckPictures(chosen.dataset, chosen.items, training, spec, told, True)


def seen_pictures(model: str, folder: Path | None, data: str | None) -> dict[str, bytes]:
    """splits.json of a model, so that `eval` finds the pictures that its run held out; {} where nothing tells of them.

    folder: the model's, whose own is kept where it is no run's.
    data: the data set that the export is measured on, where the run's is no longer in its place.
    """
    run = run_of(model)
    recorded = read_recorded(run) if run else None
    if recorded is None:
        there = folder is not None and (folder / SPLITS).is_file()
        return {SPLITS: read_member(folder, SPLITS)} if folder and there else {}
    for place in filter(None, (_data_of_run(model), data)):
        dataset = open_as_named(place)
        if known := recorded.splits_in(dataset):
            return {SPLITS: json_bytes(seen_of(divided(dataset, known).items))}
    logger.info(f"the data of {run} are not there: its copy will not know which pictures it was trained on")
    return {}


def seen_pictures_of_all(folders: Sequence[Path], data: str) -> dict[str, bytes]:
    """splits.json of an ensemble of the models in these folders; {} where nothing tells of one's pictures.

    data: as for `seen_pictures`.
    """
    each = [seen_pictures(str(folder), folder, data) for folder in folders]
    return {SPLITS: json_bytes(seen_by_any([parse_json(one[SPLITS]) for one in each]))} if all(each) else {}


def _data_of_run(model: str) -> str | None:
    """The data that a run was trained on, where they are still in their place.

    A relative path leads elsewhere from another folder: to nothing, or to other data.
    """
    from denselab.config import read_settings
    from denselab.run_folder import CONFIG

    run = run_of(model)
    recorded = read_recorded(run) if run else None
    data = read_settings(run / CONFIG).data if run else None
    if recorded is None or data is None:
        return None
    if Path(data).is_absolute():
        return data if Path(data).exists() else None
    places = (Path(data), *([recorded.root] if recorded.root else []))
    return next((str(place) for place in places if place.exists() and _are_of(recorded, place)), None)


def _are_of(recorded: Recorded, place: Path) -> bool:
    """Whether the data at a place are those of a run."""
    try:
        return bool(recorded.splits_in(open_as_named(place)))
    except DataError:
        return False
