"""A run whose training pictures are not all masks: what it is taught by, how often, and how that is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.config import Settings, TrainConfig
from denselab.config.settings import TagMethod
from denselab.crf.compile_apart import compile_beside
from denselab.data.counting import count_class_pixels
from denselab.data.dataset import Dataset
from denselab.data.item import Item
from denselab.data.weak_labels import BoxLabels, TagLabels, has_mask, weak_line
from denselab.data.weakening import teaching_line
from denselab.errors import ConfigError
from denselab.in_words import number_of
from denselab.models.base import SegmentationModel
from denselab.run_folder import WEAK, WEAK_MASKS
from denselab.weak.biases import PORTIONS
from denselab.weak.codes import CodeBook
from denselab.weak.teaching import Methods, TaughtDataset, settled_in_rounds, taught

OBJECT_OR_NOT = 2  # labels of the CRF of a box
WAIT = 0.5  # of the run, before tags teach beside masks


@dataclass(frozen=True)
class WeakTraining:
    """What a run with weak labels has beyond others.

    data: the data set as the loader reads it.
    groups: (N,) of the training pictures: 1 strong, 0 weak.
    told: (N,) 0..1, how much of what it could say a picture's labels say, by which it is drawn.
    strong_share: of the pictures that are drawn, where the weak ones say all they could.
    after: share of the run from which weak pictures are drawn; until then the strong ones are alone.
    """

    data: TaughtDataset
    groups: NDArray[np.int64]
    told: NDArray[np.float64]
    strong_share: float
    after: float = 0.0

    @property
    def in_rounds(self) -> bool:
        """Whether labels are settled in rounds: those of boxes by BoxSup."""
        return bool(settled_in_rounds(self.data))

    @property
    def mixed(self) -> bool:
        """Whether there are both strong and weak pictures."""
        return len(np.unique(self.groups)) == 2

    @property
    def weak_share(self) -> float:
        """Of the pictures drawn, where there are both kinds, that of the weak ones: the less they say, the smaller."""
        return (1 - self.strong_share) * float(self.told[self.groups == 0].mean())


def weak_training(
    dataset: Dataset, config: TrainConfig, run: Path, model: SegmentationModel | None = None
) -> WeakTraining | None:
    """How the weak pictures of a data set are used; None where it has none.

    Raises ConfigError for a model that learns from something else than pixels: it needs masks.
    """
    items = dataset.of_split("train")
    if all(has_mask(item) for item in items):
        return None
    if model is not None and type(model).examples is not SegmentationModel.examples:
        raise ConfigError(f"`model` {config.model} learns from regions, which need masks: set `labels` masks")
    space = dataset.label_space
    tag_method = _tag_method(items, config)
    book = CodeBook(
        space.num_classes,
        space.ignore_index,
        space.background,
        tags=tag_method,
        portions=_portions(dataset, config),
        biases=(config.em_background_bias, config.em_class_bias),
    )
    methods = Methods(config.box_method, tag_method, config.box_centre, run / WEAK / WEAK_MASKS)
    groups = np.array([has_mask(item) for item in items], np.int64)
    data = taught(dataset, book, methods)
    told = np.array([_ruled_out(item, book) if tag_method == "marginal" else 1.0 for item in items])
    return WeakTraining(data, groups, told, config.strong_share, _waiting(items, config))


def begin_cutting_out(dataset: Dataset, settings: Settings, run: Path) -> None:
    """Begin to compile the CRF that will cut objects out of boxes, beside what a training does before its first batch.

    Nothing where no box is cut out, where an earlier start of the run has done it, or where its code is kept.
    """
    boxed = any(isinstance(item.source, BoxLabels) for item in dataset.of_split("train"))
    if boxed and settings.box_method == "seg" and not (run / WEAK / WEAK_MASKS).is_dir():
        compile_beside(OBJECT_OR_NOT)


def _ruled_out(item: Item, book: CodeBook) -> float:
    """The share of the classes that the tags of a picture rule out; 1 where it has boxes or a mask."""
    if not isinstance(item.source, TagLabels):
        return 1.0
    others = book.num_classes - (book.background is not None)
    return 1 - min(len(item.source.tags) / max(others, 1), 1.0)


def _tag_method(items: Sequence[Item], config: TrainConfig) -> TagMethod:
    """The method for tags: the user's, or that which suits what there is beside them.

    Where tags are all that is known, a network that sees background everywhere has the greatest likelihood.
    """
    if not all(isinstance(item.source, TagLabels) for item in items):
        return config.tag_method or "marginal"
    if config.tag_method == "marginal":
        raise ConfigError("`tag_method` marginal goes with masks or boxes beside the tags: give `strong`, or em-adapt")
    return config.tag_method or "em-adapt"


def _waiting(items: Sequence[Item], config: TrainConfig) -> float:
    """The share of the run in which only masks teach.

    The scores of a network that has seen nothing are noise, and so are the labels that an E-step makes of them. What
    tags rule out is true from the first step, but each mask says more, and a short run needs them most.
    """
    alone = not any(has_mask(item) for item in items)
    if alone or config.epochs == 1:
        return 0.0
    if config.weak_after is not None:
        return config.weak_after
    return WAIT if any(isinstance(item.source, TagLabels) for item in items) else 0.0


def _portions(dataset: Dataset, config: TrainConfig) -> tuple[float, float]:
    """EM-Adapt's shares of the background and of each class: the user's, half of what masks show, or as released.

    The released 0.4 and 0.2 fit VOC, where an object fills a good part of its picture. Half of the median share, over
    the pictures with masks that show the class: a share is a floor, and pictures differ.
    """
    strong = [item for item in dataset.of_split("train") if has_mask(item)]
    background, classes = PORTIONS
    if strong:
        counts = count_class_pixels(dataset, strong)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        of_background = np.array([entry.role == "background" for entry in dataset.label_space.classes])
        background = _half_of_median(shares[:, of_background], background)
        classes = _half_of_median(shares[:, ~of_background], classes)
    given = (config.em_background_share, config.em_class_share)
    return (background if given[0] is None else given[0], classes if given[1] is None else given[1])


def _half_of_median(shares: NDArray[np.float64], otherwise: float) -> float:
    shown = shares[shares > 0]
    return float(np.median(shown)) / 2 if shown.size else otherwise


def sampling_weights(weak: WeakTraining | None, own: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """How often each training picture is drawn: the weak ones together weak_share of the time, by what each says.

    own: the weights of balanced sampling; None: all alike.
    """
    if weak is None or not (weak.mixed or (weak.told < 1).any()):
        return own
    weights: NDArray[np.float64] = weak.told * (1.0 if own is None else own)
    if not weak.mixed:
        return weights
    for group, share in ((1, 1 - weak.weak_share), (0, weak.weak_share)):
        member = weak.groups == group
        weights[member] *= share / max(weights[member].sum(), np.finfo(np.float64).tiny)
    return weights


def weak_lines(weak: WeakTraining | None, config: TrainConfig) -> list[str]:
    """Which pictures are strong, which are weak, and how they are used: lines of the plan."""
    if weak is None:
        return []
    items = weak.data.of_split("train")
    lines = [teaching_line(weak.data), weak_line(items, weak.data.label_space)]
    if any(isinstance(item.source, BoxLabels) for item in items):
        lines.append(f"boxes: {_box_line(config)}")
    if any(isinstance(item.source, TagLabels) for item in items):
        lines.append(f"tags: {_tag_line(config, weak)}")
    if weak.after:
        lines.append(f"for the first {weak.after:.0%} of the run the strong pictures teach alone")
    if weak.mixed:
        lines.append(
            f"of the pictures drawn, {1 - weak.weak_share:.0%} are strong; in a batch of both, the loss of the strong "
            f"ones counts {config.strong_weight:g} and that of the weak ones {1 - config.strong_weight:g}"
        )
    return lines


def _box_line(config: TrainConfig) -> str:
    if config.box_method == "rect":
        return "filled with their class, the smallest on top (Bbox-Rect)"
    if config.box_method == "seg":
        return (
            f"a dense CRF cuts the object out of each, from the middle {config.box_centre:.0%} of the box outwards "
            f"(Bbox-Seg); the masks are kept in {WEAK}/{WEAK_MASKS}/ of the run"
        )
    if config.box_method == "em-fixed":
        return (
            f"at each step a pixel's label is the network's own best class, with {config.em_class_bias:g} added for "
            f"the classes of the boxes around it and {config.em_background_bias:g} for the background (Bbox-EM-Fixed)"
        )
    return (
        f"{config.weak_rounds} times, spread over the run, one of the {config.boxsup_best} best candidate segments "
        f"is chosen for each, by overlap with the box and by what the network says (BoxSup)"
    )


def _tag_line(config: TrainConfig, weak: WeakTraining) -> str:
    method = weak.data.methods.tags
    if method == "marginal":
        silent = int((weak.told == 0).sum())
        left_out = f", {number_of(silent, 'picture')} with tags of every class, which say nothing, not at all"
        told = "whatever is neither a tag of its picture nor background is ruled out"
        return f"{told}; the more, the more often it is drawn{left_out if silent else ''} (marginal)"
    if method == "em-adapt":
        background, classes = weak.data.book.portions
        return (
            "at each step the pixels' labels are the network's own best classes, lifted until the background has "
            f"at least about {background:.1%} of the picture and each of its tags {classes:.1%} (EM-Adapt)"
        )
    return (
        f"at each step a pixel's label is the network's own best class, with {config.em_class_bias:g} added for the "
        f"picture's tags and {config.em_background_bias:g} for the background (EM-Fixed)"
    )


def teaching_facts(weak: WeakTraining | None) -> dict[str, Any]:
    """The entry "taught_by" of dataset.json: names of training pictures by kind; {} where all have masks."""
    if weak is None:
        return {}
    items = weak.data.of_split("train")
    kinds = {"masks": None, "boxes": BoxLabels, "tags": TagLabels}
    return {"taught_by": {name: _names(items, kind) for name, kind in kinds.items()}}


def _names(items: Sequence[Item], kind: type | None) -> list[str]:
    return [item.name for item in items if (has_mask(item) if kind is None else isinstance(item.source, kind))]
