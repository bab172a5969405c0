"""Labels of weak pictures that are settled in rounds, at evenly spread epochs, by the network as it is then.

BoxSup chooses a candidate segment for each box, by the running mean of the network.

    RUN/weak/segments/        BoxSup's candidates of each picture, found once
    RUN/weak/round-1.json     which segment each box took in the first round
    RUN/weak/round-1.png      pictures of the boxes and their labels; of the other methods for boxes labels.png
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from denselab.config import TrainConfig
from denselab.console import tracked
from denselab.data.feed.fit import fit_size
from denselab.data.item import Item
from denselab.data.resizing.resample import resize_labels
from denselab.data.resizing.resize import resize_image
from denselab.data.weak_labels import BoxLabels
from denselab.engine.enlarge import enlarge_logits
from denselab.engine.spec import Preprocessing
from denselab.engine.torch_engine import forward_images
from denselab.errors import CheckpointError
from denselab.files import read_json, write_bytes, write_json
from denselab.models.base import SegmentationModel
from denselab.run_folder import WEAK
from denselab.types import LabelMap, Pixels
from denselab.weak.box_sup import choose, masks_of
from denselab.weak.boxes import pasted
from denselab.weak.candidates import candidates, reduced_box
from denselab.weak.pictures import sheet
from denselab.weak.teaching import TaughtDataset, settled_in_rounds, taught

logger = logging.getLogger(__name__)

SEGMENTS = "segments"  # folder of the candidates in that of weak labels
Probabilities = NDArray[np.float32]
Seen = Callable[[Pixels, tuple[int, int] | None], Probabilities]
"""A picture and a size, or None for that of the network -> (K, H, W) probabilities there."""


def rounds_due(progress: float, rounds: int, after: float = 0.0) -> int:
    """How many rounds should have been at a progress of 0 to 1, the first at `after`, 0 before it."""
    if progress < after:
        return 0
    return min(int((progress - after) / max(1 - after, 1e-9) * rounds) + 1, rounds)


def seen_by(model: SegmentationModel, preprocessing: Preprocessing, device: torch.device) -> Seen:
    """The network as a function of pictures."""

    def probabilities(image: Pixels, size: tuple[int, int] | None) -> Probabilities:
        small = resize_image(image, fit_size((image.shape[0], image.shape[1]), preprocessing.imgsz))
        batch = torch.from_numpy(np.ascontiguousarray(small)).permute(2, 0, 1)[None]
        model.eval()
        with torch.inference_mode():
            logits = forward_images(model, batch, preprocessing, device)
            logits = enlarge_logits(logits, size or (small.shape[0], small.shape[1]))
            return np.asarray(logits.softmax(dim=1)[0].float().cpu().numpy())

    return probabilities


def settle_round(
    data: TaughtDataset, config: TrainConfig, run: Path, number: int, seen: Seen | None, accelerator: Accelerator
) -> TaughtDataset:
    """The data set with the labels of a round; the first process settles them for all.

    number: of the round, from 1. seen: the network; None before it has learnt anything: the boxes decide alone.
    """
    if accelerator.is_main_process:
        items, chosen = settled_in_rounds(data), dict[str, list[int]]()
        for position, item in enumerate(tracked(items, f"labels of round {number}")):
            seed = [config.seed, number, position]
            if isinstance(item.source, BoxLabels):
                chosen[item.name] = _segments_of_boxes(data, item, item.source, config, run, seen, seed)
        write_json(run / WEAK / f"round-{number}.json", {"chosen": chosen})
    accelerator.wait_for_everyone()
    return with_round(data, run, number)


def with_round(data: TaughtDataset, run: Path, number: int) -> TaughtDataset:
    """The data set with the labels that a round has settled. Raises CheckpointError where its record is damaged."""
    path = run / WEAK / f"round-{number}.json"
    chosen = read_json(path).get("chosen")
    if not isinstance(chosen, dict):
        raise CheckpointError(f"{path} is missing or damaged: the labels of round {number}; start a new run")
    maps = {}
    for item in settled_in_rounds(data):
        if isinstance(item.source, BoxLabels):
            maps[item.name] = _labels_of_segments(data, item, item.source, run, chosen.get(item.name, []))
    return taught(data, data.book, data.methods, maps)


def write_sheet(data: TaughtDataset, run: Path, number: int) -> None:
    """Pictures of the labels that boxes are trained on: of a round of BoxSup round-1.png, else labels.png.

    None are written where the labels follow from the network at each step. Raises ResourceError.
    """
    boxed = [item for item in data.of_split("train") if isinstance(item.source, BoxLabels)]
    if boxed and data.methods.boxes != "em-fixed":
        name = f"round-{number}.png" if data.methods.boxes == "boxsup" else "labels.png"
        write_bytes(run / WEAK / name, sheet(data, boxed))


def _segments_of_boxes(
    data: TaughtDataset,
    item: Item,
    source: BoxLabels,
    config: TrainConfig,
    run: Path,
    seen: Seen | None,
    seed: list[int],
) -> list[int]:
    """The segment that each box of a picture takes."""
    image = data.read_image(item)
    segments = candidates(data.shown(image), run / WEAK / SEGMENTS)
    boxes = [reduced_box(box, source.size, segments.size) for box in source.boxes]
    probabilities = None if seen is None else seen(image, segments.size)
    draw = np.random.default_rng(seed)
    weight, best = config.boxsup_lambda, config.boxsup_best
    return choose(segments, boxes, data.classes_of(source), probabilities, data.book.background, draw, weight, best)


def _labels_of_segments(data: TaughtDataset, item: Item, source: BoxLabels, run: Path, numbers: list[int]) -> LabelMap:
    """The label map of a picture's chosen segments, at its size. Raises CheckpointError for another number of boxes."""
    if len(numbers) != len(source.boxes):
        raise CheckpointError(f"{item.name} has {len(source.boxes)} boxes, BoxSup chose for {len(numbers)}; start anew")
    segments = candidates(data.shown(data.read_image(item)), run / WEAK / SEGMENTS)
    boxes = [reduced_box(box, source.size, segments.size) for box in source.boxes]
    masks = masks_of(segments, boxes, numbers)
    small = pasted(boxes, data.classes_of(source), masks, segments.size, data.outside, data.label_space.dtype)
    return resize_labels(small, source.size)
