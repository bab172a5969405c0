"""Which pictures a model is measured on: the split of its training, or the whole of other data that name no split."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from denselab.config import read_settings
from denselab.data import Dataset, Item, open_dataset
from denselab.data.dataset import open_as_named
from denselab.data.recorded import Recorded, divided, read_recorded
from denselab.data.seen import SeenPictures, read_seen
from denselab.data.weak_labels import has_mask
from denselab.engine.spec import ModelSpec, Preprocessing
from denselab.errors import DataError
from denselab.in_words import number_of
from denselab.measure.by_name import with_labels_of
from denselab.run_folder import CONFIG, is_run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """What a model is measured on.

    dataset: as the model sees it, with its classes and its white.
    items: the pictures, sorted by name.
    split: "train", "val", "test", or "all" where the data name none.
    source: the data as they were given, as an absolute path.
    own: whether these are the data of the run that the model is from; None where that is not known.
    unmeasured: pictures of the run's data that came after its training and belong to no split.
    trained_on: how many of the pictures the run was trained on.
    """

    dataset: Dataset
    items: list[Item]
    split: str
    source: str
    own: bool | None = None
    unmeasured: int = 0
    trained_on: int = 0

    def facts(self) -> dict[str, Any]:
        """What evaluation.json says of it."""
        facts: dict[str, Any] = {"data": self.source, "split": self.split}
        if self.unmeasured:
            facts["not_measured"] = self.unmeasured
        if self.trained_on and self.split != "train":
            facts["trained_on"] = self.trained_on
        return facts

    @property
    def which(self) -> str:
        """Which of the data's pictures these are, in words."""
        return "all that it holds" if self.split == "all" else self.split

    def told(self) -> str:
        """How many pictures, and which."""
        return f"{number_of(len(self.items), 'picture')} of {self.source}: {self.which}"


def select(
    data: str | Path | Dataset,
    split: str,
    model: ModelSpec,
    home: str | Path | None = None,
    drawn: Mapping[str, Any] | None = None,
) -> Selection:
    """The pictures of a split, with labels that fit the model.

    data: a folder, its data.yaml, "synthetic", or an opened data set, whose own splits then rule.
    home: the run folder that the model is from, or the model/ in it, or an exported model's folder. The split that it
        tells of rules where these are the data of the training.
    drawn: seed and val_fraction, to draw a split where the data name none; without them all pictures are measured.
    Raises DataError where the labels do not fit the model's and where the split is empty.
    """
    run = run_of(home)
    recorded = read_recorded(run) if run else read_seen(Path(home)) if home else None
    by_run = split_of_run(run) if run and (drawn or recorded is None) else {}  # older versions wrote no dataset.json
    dataset = _opened(data, {**by_run, **(drawn or {})})
    known = recorded.splits_in(dataset) if recorded else {}
    unmeasured = 0
    if known and not drawn and not isinstance(data, Dataset):
        assert recorded is not None
        dataset, unmeasured = _as_recorded(dataset, known, recorded)
    source = str(_place(data, dataset))
    dataset, told = _whole_if_undivided(scored_by_masks(dataset, source), split, source, recorded is not None)
    dataset = with_labels_of(dataset, model.label_space, source, others=unmeasured > 0)
    _warn_of_depth(dataset, model.preprocessing, source)
    dataset = as_model_sees(dataset, model.preprocessing)
    items = sorted(dataset.of_split(split), key=lambda item: item.name)
    if not items:
        has = ", ".join(dataset.splits) or "none at all"
        raise DataError(f"{source} has no picture in {split}; it has {has}: choose another `split`")
    trained = sum(known.get(item.name) == "train" for item in items)
    if recorded and trained and split != "train":
        whose = recorded.path.parent
        logger.warning(
            f"warning: {trained} of the {len(items)} pictures were trained on by {whose}: no measure of new ones"
        )
    return Selection(dataset, items, told, source, bool(known) if recorded else None, unmeasured, trained)


def _warn_of_depth(dataset: Dataset, preprocessing: Preprocessing, source: str) -> None:
    """Say where pictures have more bits than those of the training: `predict` does not read them as they are here."""
    if dataset.white and preprocessing.white is None and preprocessing.bands is None:
        logger.warning(
            f"warning: {source} has pictures of more than 8 bits, the training had 8: {dataset.white:,} is white here, "
            "while `predict` finds the white of each picture by itself; scale them to 8 bits, all by one number"
        )


def as_model_sees(dataset: Dataset, preprocessing: Preprocessing) -> Dataset:
    """The data set whose pictures are read as the model was trained on them."""
    if preprocessing.bands is not None:
        return replace(dataset, white=None, bands=preprocessing.bands)
    return replace(dataset, white=preprocessing.white or dataset.white, bands=None)


def _opened(data: str | Path | Dataset, drawn: Mapping[str, Any]) -> Dataset:
    if isinstance(data, Dataset):
        return data
    return open_dataset(data, **drawn) if drawn else open_as_named(data)


def _place(data: str | Path | Dataset, dataset: Dataset) -> Path:
    """The absolute path of the data as they were given: a data.yaml is not its folder, where there may be several."""
    if isinstance(data, Dataset) or not Path(data).exists():
        return dataset.root.resolve()
    return Path(data).resolve()


def _as_recorded(dataset: Dataset, known: Mapping[str, str], recorded: Recorded | SeenPictures) -> tuple[Dataset, int]:
    """The data under the run's split, and how many pictures belong to none; says what came and went since.

    A new picture that the data themselves name val or test is measured: it was never trained on.
    """
    new = {item.name: item.split for item in dataset.items if item.name not in known}
    held_out = {name: split for name, split in new.items() if split in ("val", "test")}
    left = len(new) - len(held_out)
    if held_out:
        logger.info(
            f"{number_of(len(held_out), 'picture')} added since the training, named val or test by the data: so taken"
        )
    if left:
        logger.info(
            f"{number_of(left, 'picture')} added since the training, in no split of {recorded.path}: not measured"
        )
    gone = recorded.count - len(known)
    if gone > 0:
        logger.info(f"{number_of(gone, 'picture')} of the {recorded.count} of the run not found here")
    return divided(dataset, {**known, **{name: str(split) for name, split in held_out.items()}}), left


def scored_by_masks(dataset: Dataset, source: str, others: str = "not measured, scores need full masks") -> Dataset:
    """The data without the pictures that have boxes or tags alone, which is said. Raises DataError if none is left.

    others: what becomes of those, in words.
    """
    masked = tuple(item for item in dataset.items if has_mask(item))
    left = len(dataset.items) - len(masked)
    if not left:
        return dataset
    if not masked:
        raise DataError(f"{source}: no picture has a full mask, and scores need one: add masks of some pictures")
    logger.info(f"{number_of(left, 'picture')} with boxes or tags alone: {others}")
    return replace(dataset, items=masked)


def _whole_if_undivided(dataset: Dataset, split: str, source: str, told_by_run: bool) -> tuple[Dataset, str]:
    """Data that name no split at all are measured whole, which is said: their split is "all".

    told_by_run: whether a run, or an exported folder, says what the model was trained on; a copied one does not.
    """
    if any(item.split for item in dataset.items):
        return dataset, split
    among = (
        "" if told_by_run else ", also any that the model was trained on: it comes without its run, which would tell"
    )
    logger.info(f"{source} names no split: all {number_of(len(dataset.items), 'picture')} are measured{among}")
    return replace(dataset, items=tuple(replace(item, split=split) for item in dataset.items)), "all"


def run_of(home: str | Path | None) -> Path | None:
    """The run folder that a model is from; None where it is no run folder, nor the model/ in one."""
    return next((run for run in (Path(home), Path(home).parent) if is_run(run)), None) if home else None


def split_of_run(model: str | Path) -> dict[str, Any]:
    """seed and val_fraction by which a run drew its split; {} where the model is not from a run."""
    run = run_of(model)
    if run is None:
        return {}
    stored = read_settings(run / CONFIG)
    return {"seed": stored.seed, "val_fraction": stored.val_fraction}
