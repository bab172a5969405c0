"""A data set with the pictures that have no labels, too: a model labels them where it is confident.

Lee, "Pseudo-Label", ICML workshop 2013: the class of the highest probability counts as if it were the truth. Here a
pixel below the confidence is ignored in loss and score, and only training pictures are added, so what is measured later
stays what people have labelled.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from denselab.console import Progress, progress
from denselab.data import Dataset, open_dataset
from denselab.data.dataset import open_as_named, require_outside
from denselab.data.recorded import read_recorded
from denselab.data.seen import digests_of, read_seen
from denselab.data.weak_labels import has_mask
from denselab.errors import ConfigError, DataError, DenseLabError, ResourceError
from denselab.files import fresh_beside, write_bytes, write_text, writing
from denselab.in_words import number_of
from denselab.inference.inputs import Skipped, Source, distinct, find_sources, require_given, skipped_for
from denselab.inference.prediction import PNG_IDS, file_table, label_png
from denselab.inference.predictor import Predictor, load
from denselab.labels import LabelEntry, LabelSpace
from denselab.measure.by_name import with_labels_of
from denselab.measure.data import run_of, scored_by_masks
from denselab.numbers import finite, flags, listed
from denselab.paths import deepest_folder, given_path, shortened, why_hidden
from denselab.types import LabelMap

logger = logging.getLogger(__name__)

CONFIDENCE = 0.9
LEAST = 0.05  # share of confident pixels that a picture needs: with less it would hardly teach anything
FOLDER = "pseudo"  # of the added pictures, below those of train


@dataclass(frozen=True)
class PseudoLabels:
    """What was added.

    out: the new data set. counts: its labelled pictures by split, without what was added.
    added: names of the added pictures. unsure: pictures left out, with their share of confident pixels.
    skipped: pictures that could not be predicted. shares: of the added pixels by class, and of those left open.
    """

    out: Path
    counts: Mapping[str, int]
    added: tuple[str, ...]
    unsure: Mapping[str, float]
    skipped: tuple[Skipped, ...]
    shares: Mapping[str, float]

    def told(self) -> str:
        """In one sentence."""
        old = ", ".join(f"{count} {split}" for split, count in self.counts.items())
        return (
            f"{self.out}: {old} pictures as they were labelled, {len(self.added)} more in train; "
            f"{self.shares['ignored']:.0%} of their pixels are left open, {len(self.unsure)} pictures were left out"
        )


def pseudo_label(
    model: str | Path | Predictor,
    data: str | Path | Dataset,
    pictures: Sequence[str | Path],
    out: str | Path,
    *,
    confidence: float = CONFIDENCE,
    tta: bool = False,
    window: tuple[int, int] | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> PseudoLabels:
    """Write a data set of the labelled pictures and of those that the model labels.

    model: trained on `data`, or on its classes; an ensemble is one too.
    data: the labelled pictures. Their splits stay, as the model's run had them. Those that have boxes or tags alone are
        labelled by the model, as the others are.
    pictures: files, folders or patterns; those of `data` and copies of them are left out.
    out: a new folder; pictures are copied into it.
    confidence: the probability from which a pixel gets the model's class, 0 to 1.
    tta, window, device: as for a Predictor.
    Raises ConfigError, DataError, CheckpointError, ResourceError.
    """
    flags(tta=tta, quiet=quiet)
    places = [str(place) for place in listed(pictures, "`pictures`")]
    if not 0 < finite(confidence, "`confidence`") <= 1:
        raise ConfigError(f"`confidence` {confidence:g}; a probability above 0, at most 1: 0.9 is usual")
    target = _empty_folder(given_path(out, "`out`"))
    predictor = model if isinstance(model, Predictor) else load(model, device)
    dataset, weak = _labelled(predictor, data)
    require_outside(dataset, target)
    sources, skipped = _unlabelled(dataset, weak, places, target)
    fresh = fresh_beside(target)
    try:
        with progress("pseudo-label", len(dataset.items) + len(sources), "pictures", quiet) as bar:
            made = _Writer(dataset, predictor, fresh, confidence, tta, window)
            made.copy_labelled(bar)
            made.label_others(sources, bar)
        if not made.added:
            raise DataError(f"no picture has {LEAST:.0%} of its pixels at a confidence of {confidence:g}; lower it")
        made.write_table()
        if target.exists():
            target.rmdir()
        fresh.replace(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return replace(made.result(target), skipped=(*skipped, *made.skipped))


def _empty_folder(out: Path) -> Path:
    """A folder to write, if it is not there or empty. Raises ConfigError, and ResourceError where it cannot be seen."""
    if reason := why_hidden(out):
        raise ResourceError(f"cannot write {shortened(out)}: {reason}; choose another `out`")
    if deepest_folder(out) == out and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty: nothing in it is touched; choose another `out`")
    return out


def _labelled(predictor: Predictor, data: str | Path | Dataset) -> tuple[Dataset, list[Source]]:
    """The pictures with masks, with the model's classes and the splits of its training.

    And the pictures that have boxes or tags alone, which is said.
    """
    dataset = data if isinstance(data, Dataset) else open_dataset(data)
    if dataset.bands is not None:
        raise ConfigError(f"{dataset.root}: pictures of other bands than RGB cannot be joined with others yet")
    run, folder = run_of(predictor.folder), predictor.folder
    recorded = read_recorded(run) if run else read_seen(folder) if folder else None
    known = recorded.splits_in(dataset) if recorded else {}
    if recorded is None and not isinstance(data, Dataset):
        _warn_of_drawn_val(dataset, data)
    weak = [Source(item.image, PurePosixPath(item.name)) for item in dataset.items if not has_mask(item)]
    dataset = scored_by_masks(dataset, str(dataset.root), "the model labels them, as the pictures without labels")
    dataset = with_labels_of(dataset, predictor.label_space, str(dataset.root))
    items = tuple(replace(item, split=known.get(item.name, item.split)) for item in dataset.items)
    return replace(dataset, items=items), weak


def _warn_of_drawn_val(dataset: Dataset, data: str | Path) -> None:
    """Say where val was drawn, and nothing tells which pictures the model was trained on: it may have learnt them."""
    drawn = set(dataset.names_of("val")) - set(open_as_named(data).names_of("val"))
    if drawn:
        logger.warning(
            f"warning: {number_of(len(drawn), 'picture')} of val drawn from {dataset.root}, which names none, also any "
            "that the model was trained on: it comes without its run, which would tell; give the run folder as "
            "`model`, or name val under `splits` in data.yaml"
        )


def _table_of_pngs(dataset: Dataset) -> LabelSpace:
    """The label table of what is written, with an id for what is ignored. Raises ConfigError where no PNG holds it."""
    space = dataset.label_space
    if min(entry.id for entry in space.classes) < 0 or max(entry.id for entry in space.classes) >= PNG_IDS:
        raise ConfigError(f"{dataset.root}: the label ids do not fit into a PNG (0 to {PNG_IDS - 1}); number them anew")
    top = 255 if max(entry.id for entry in space.classes) <= 255 else PNG_IDS - 1
    entries = tuple(entry for entry in space.entries if 0 <= entry.id <= top)  # other ignored ids do not fit
    if all(entry.role != "ignore" for entry in entries):
        void = next(i for i in (space.ignore_index, *range(PNG_IDS)) if i not in {entry.id for entry in entries})
        entries = (*entries, LabelEntry(void, "ignored", (255, 255, 255), "ignore"))
    return LabelSpace(entries)


def _unlabelled(
    dataset: Dataset, weak: Sequence[Source], places: Sequence[str], out: Path
) -> tuple[list[Source], list[Skipped]]:
    """The pictures to label, those with boxes or tags alone among them.

    Raises NoSuchPath where none was given that exists, DataError where none is left.
    """
    sources, skipped = find_sources(places, out)
    if not sources:
        require_given(places)
    labelled = {item.image.resolve() for item in dataset.items}
    others = {source.path.resolve(): source for source in (*sources, *weak)}
    others = {path: source for path, source in others.items() if path not in labelled}
    known = set(digests_of(labelled)) - {""}
    digests = dict(zip(others, digests_of(others), strict=True))
    if copies := [path for path, digest in digests.items() if digest in known]:
        logger.info(f"{number_of(len(copies), 'picture')} left out: copies of labelled ones, such as {copies[0]}")
        others = {path: source for path, source in others.items() if digests[path] not in known}
    if not others:
        reason = f"{skipped[0].path}: {skipped[0].reason}" if skipped else f"all of them are labelled in {dataset.root}"
        raise DataError(f"no picture to label: {reason}")
    return distinct(others.values()), skipped


class _Writer:
    """Writes the new data set, picture by picture."""

    def __init__(
        self,
        dataset: Dataset,
        predictor: Predictor,
        out: Path,
        confidence: float,
        tta: bool,
        window: tuple[int, int] | None,
    ) -> None:
        self.dataset, self.predictor, self.out = dataset, predictor, out
        self.space, self.confidence, self.tta, self.window = _table_of_pngs(dataset), confidence, tta, window
        self.counts: dict[str, int] = {}
        self.added: list[str] = []
        self.unsure: dict[str, float] = {}
        self.skipped: list[Skipped] = []
        self.pixels = np.zeros(self.space.num_classes + 1, np.int64)  # the last: ignored

    def copy_labelled(self, bar: Progress) -> None:
        """The labelled pictures, with their labels as index PNGs."""
        for item in self.dataset.items:
            bar.advance()
            if item.split is None:
                continue
            self._write(item.split, PurePosixPath(item.name), item.image, self.dataset.read_labels(item))
            self.counts[item.split] = self.counts.get(item.split, 0) + 1

    def label_others(self, sources: Sequence[Source], bar: Progress) -> None:
        """The others, where the model is confident."""
        for source in sources:
            bar.advance()
            try:
                probs = self.predictor(source.path, tta=self.tta, window=self.window).probs
            except (DenseLabError, MemoryError) as error:
                self.skipped.append(skipped_for(error, source.name))
                continue
            sure = probs.max(axis=0) >= self.confidence
            if sure.mean() < LEAST:
                self.unsure[source.name] = float(sure.mean())
                continue
            ignore = self.space.ignore_index
            labels: LabelMap = np.where(sure, probs.argmax(axis=0), ignore).astype(np.uint16)
            self._write("train", FOLDER / source.stem, source.path, labels)
            self.added.append(source.name)
            counts = np.bincount(labels.ravel(), minlength=ignore + 1)
            self.pixels += np.append(counts[: self.space.num_classes], counts[ignore])

    def write_table(self) -> None:
        """data.yaml, which says where everything is."""
        splits = sorted({*self.counts, "train"})
        told = {
            "images": {split: f"images/{split}" for split in splits},
            "masks": {split: f"labels/{split}" for split in splits},
            "encoding": "index",
            "labels": self.space.to_list(),
            **({"white": self.dataset.white} if self.dataset.white else {}),
        }
        text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
        write_text(self.out / "data.yaml", text)

    def result(self, out: Path) -> PseudoLabels:
        """What was added."""
        names = (*self.space.names, "ignored")
        shares = self.pixels / max(int(self.pixels.sum()), 1)
        return PseudoLabels(
            out,
            dict(self.counts),
            tuple(self.added),
            dict(self.unsure),
            (),
            dict(zip(names, shares.tolist(), strict=True)),
        )

    def _write(self, split: str, name: PurePosixPath, picture: Path, labels: LabelMap) -> None:
        image = self.out / "images" / split / f"{name}{picture.suffix}"
        ids = file_table(self.space)[labels]
        write_bytes(self.out / "labels" / split / f"{name}.png", label_png(ids, self.space))
        with writing(image):
            image.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, image)
