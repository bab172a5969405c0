"""BoxSup in a run: at evenly spread epochs the masks of the boxes are chosen anew by the network as it is then.

    RUN/weak/segments/      the candidates of each picture, found once
    RUN/weak/boxsup-1.json  which segment each box took in the first round; a resumed run reads the round it is in
    RUN/weak/boxsup-1.png   pictures of the choices; of the other methods for boxes labels.png
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from denselab.config import TrainConfig
from denselab.console import progress
from denselab.data.feed.fit import fit_size
from denselab.data.feed.resample import resize_image, resize_labels
from denselab.data.item import Item
from denselab.data.weak_labels import BoxLabels
from denselab.engine.enlarge import enlarge_logits
from denselab.engine.spec import Preprocessing
from denselab.engine.torch_engine import forward_images
from denselab.errors import CheckpointError
from denselab.files import unpack_json, write_bytes, write_json
from denselab.models.base import SegmentationModel
from denselab.run_folder import WEAK
from denselab.types import LabelMap, Pixels
from denselab.weak.box_sup import choose, masks_of
from denselab.weak.boxes import pasted
from denselab.weak.candidates import candidates, reduced_box
from denselab.weak.pictures import sheet
from denselab.weak.teaching import TaughtDataset, taught

logger = logging.getLogger(__name__)

SEGMENTS = "segments"  # folder of the candidates in that of weak labels

Probabilities = NDArray[np.float32]
Seen = Callable[[Pixels, tuple[int, int]], Probabilities]
"""A picture and a size -> (K, H, W) probabilities of the network at that size."""
Choices = dict[str, list[int]]
"""The segment of each box, by picture."""


def rounds_due(progress: float, rounds: int) -> int:
    """How many choices should have been made at a progress of 0 to 1, the first at 0."""
    return min(int(progress * rounds) + 1, rounds)


def seen_by(model: SegmentationModel, preprocessing: Preprocessing, device: torch.device) -> Seen:
    """The network as a function of pictures."""

    def probabilities(image: Pixels, size: tuple[int, int]) -> Probabilities:
        small = resize_image(image, fit_size((image.shape[0], image.shape[1]), preprocessing.imgsz))
        batch = torch.from_numpy(np.ascontiguousarray(small)).permute(2, 0, 1)[None]
        model.eval()
        with torch.inference_mode():
            logits = enlarge_logits(forward_images(model, batch, preprocessing, device), size)
            return np.asarray(logits.softmax(dim=1)[0].float().cpu().numpy())

    return probabilities


def choose_round(
    data: TaughtDataset, config: TrainConfig, run: Path, number: int, seen: Seen | None, accelerator: Accelerator
) -> TaughtDataset:
    """The data set with the masks of a round; the first process chooses for all.

    number: of the round, from 1. seen: the network; None in the first round, where the boxes decide.
    """
    if accelerator.is_main_process:
        write_json(run / WEAK / f"boxsup-{number}.json", {"chosen": _choices(data, config, run, number, seen)})
    accelerator.wait_for_everyone()
    return with_round(data, run, number)


def with_round(data: TaughtDataset, run: Path, number: int) -> TaughtDataset:
    """The data set with the masks that a round has chosen. Raises CheckpointError where its record is damaged."""
    path = run / WEAK / f"boxsup-{number}.json"
    chosen = unpack_json(path.read_bytes(), str(path)).get("chosen") if path.is_file() else None
    if not isinstance(chosen, dict):
        raise CheckpointError(f"{path} is missing or damaged: the masks of round {number}; start a new run")
    boxed = _boxed(data)
    maps = {item.name: _labels(data, item, source, run, chosen.get(item.name, [])) for item, source in boxed}
    return taught(data, data.book, data.methods, maps)


def write_sheet(data: TaughtDataset, run: Path, number: int) -> None:
    """Pictures of the labels that boxes are trained on: boxsup-1.png for a round of BoxSup, else labels.png.

    None are written where the labels follow from the network at each step. Raises ResourceError.
    """
    boxed = [item for item, _ in _boxed(data)]
    if boxed and data.methods.boxes != "em-fixed":
        name = f"boxsup-{number}.png" if data.methods.boxes == "boxsup" else "labels.png"
        write_bytes(run / WEAK / name, sheet(data, boxed))


def _choices(data: TaughtDataset, config: TrainConfig, run: Path, number: int, seen: Seen | None) -> Choices:
    chosen, items = Choices(), _boxed(data)
    with progress(f"masks of round {number}", len(items), "pictures") as bar:
        for position, (item, source) in enumerate(items):
            image = data.read_image(item)
            segments = candidates(data.shown(image), run / WEAK / SEGMENTS)
            boxes = [reduced_box(box, source.size, segments.size) for box in source.boxes]
            chosen[item.name] = choose(
                segments,
                boxes,
                data.classes_of(source),
                None if seen is None else seen(image, segments.size),
                data.book.background,
                np.random.default_rng([config.seed, number, position]),
                config.boxsup_lambda,
                config.boxsup_best,
            )
            bar.advance()
    return chosen


def _labels(data: TaughtDataset, item: Item, source: BoxLabels, run: Path, numbers: list[int]) -> LabelMap:
    """The label map of a picture's chosen segments, at its size. Raises CheckpointError for another number of boxes."""
    if len(numbers) != len(source.boxes):
        raise CheckpointError(f"{item.name} has {len(source.boxes)} boxes, BoxSup chose for {len(numbers)}; start anew")
    segments = candidates(data.shown(data.read_image(item)), run / WEAK / SEGMENTS)
    boxes = [reduced_box(box, source.size, segments.size) for box in source.boxes]
    masks = masks_of(segments, boxes, numbers)
    small = pasted(boxes, data.classes_of(source), masks, segments.size, data.outside, data.label_space.dtype)
    return resize_labels(small, source.size)


def _boxed(data: TaughtDataset) -> list[tuple[Item, BoxLabels]]:
    return [(item, item.source) for item in data.of_split("train") if isinstance(item.source, BoxLabels)]
