"""From settings and a data set to a job: everything about a run that stays the same while it runs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denselab.build import inputs_of_a_score, is_normalised
from denselab.config import Settings, TrainConfig
from denselab.data.counting import count_class_pixels
from denselab.data.dataset import Dataset, Item, require_trainable
from denselab.data.feed.fit import fit_size
from denselab.data.feed.loading import PixelWeights, balanced_weights
from denselab.data.feed.transforms import Augmentation
from denselab.data.feed.weight_map import weight_map
from denselab.data.pixels.spectral import SpectralBands
from denselab.data.weak_labels import has_mask
from denselab.encoders.origin import Origin
from denselab.engine.device import resolve_device
from denselab.engine.spec import Architecture, Preprocessing
from denselab.engine.stored_spec import read_spec
from denselab.engine.torch_engine import most_pixels
from denselab.errors import CheckpointError, ConfigError
from denselab.losses import Loss, create_loss, loss_with_auxiliary
from denselab.losses.class_weights import ClassWeights, class_weights
from denselab.models.base import SegmentationModel
from denselab.run_folder import find_model_folder, has_state
from denselab.runtime import cpu_count
from denselab.training.cold_start import begin_layers
from denselab.training.data_lines import data_lines
from denselab.training.detail import Detail, find_detail
from denselab.training.network import Network, make_network
from denselab.training.optim import brings_statistics, freeze_as_asked
from denselab.training.precision import precision_on
from denselab.training.preflight import median_size, picture_sizes
from denselab.training.recipe import (
    CPU_AREA,
    SIDE_MULTIPLE,
    Choice,
    Facts,
    choose_recipe,
    takes_any_network,
)
from denselab.training.trial import plain_loss, try_steps
from denselab.training.weakly import WeakTraining, begin_cutting_out, sampling_weights, weak_training
from denselab.weak.mixed_loss import mixed_loss


@dataclass(frozen=True)
class Job:
    """A run, ready to start.

    choices: what was chosen for the user, and why.
    architecture: the network's.
    preprocessing: what happens to a picture before the network.
    loss: the training loss.
    weights: its class weights.
    image_sizes: (height, width) of a sample of the training pictures.
    class_pixels: (n, K) int64, from up to 1000 training pictures.
    item_weights: how often each training picture is drawn; None: all equally often.
    pixel_weights: U-Net's border weights; None: off.
    started_from: what the network's weights are before the first step.
    warnings: what to know of the data, one line each, beyond the data set's own.
    weak: how pictures with boxes or tags alone are used; None where all have masks.
    """

    run: Path
    config: TrainConfig
    choices: tuple[Choice, ...]
    dataset: Dataset
    train_items: tuple[Item, ...]
    val_items: tuple[Item, ...]
    architecture: Architecture
    preprocessing: Preprocessing
    augmentation: Augmentation
    loss: Loss
    weights: ClassWeights
    image_sizes: tuple[tuple[int, int], ...]
    class_pixels: NDArray[np.int64]
    item_weights: NDArray[np.float64] | None
    pixel_weights: PixelWeights | None
    started_from: Origin
    warnings: tuple[str, ...] = ()
    weak: WeakTraining | None = None

    def criterion(self, logits: tuple[Tensor, ...], labels: Tensor, weights: Tensor | None) -> Tensor:
        """The training loss of the main and auxiliary logits; of weak pictures by the labels of the E-step."""
        if self.weak is None:
            return self._own_loss(logits, labels, weights)
        book, share = self.weak.data.book, self.config.strong_weight
        return mixed_loss(self._own_loss, book, logits, labels, weights, share)

    def drawn(self, waiting: bool) -> tuple[tuple[Item, ...], NDArray[np.float64] | None, NDArray[np.int64] | None]:
        """The pictures that an epoch draws from, how often it draws each, and their groups, as `train_loader` has them.

        waiting: weak pictures do not teach yet. The strong ones then train exactly as if there were no others.
        """
        if self.weak is None:
            return self.train_items, self.item_weights, None
        if not waiting:
            return self.train_items, self.item_weights, self.weak.groups
        strong = np.flatnonzero(self.weak.groups)
        own = self.item_weights if self.config.balanced_sampling else None
        return tuple(self.train_items[i] for i in strong), None if own is None else own[strong], None

    def _own_loss(self, logits: tuple[Tensor, ...], labels: Tensor, weights: Tensor | None) -> Tensor:
        return loss_with_auxiliary(self.loss, logits, labels, self.config.aux_weight, weights)


def prepare_job(settings: Settings, dataset: Dataset, run: Path, started: float) -> tuple[Job, SegmentationModel]:
    """The job that settings ask for, completed by the default recipe, and its network.

    run: the run's folder.
    started: time.monotonic() at the start of the command.
    Raises ConfigError, or DataError where there are no training or validation pictures.
    """
    require_trainable(dataset)
    train_items = dataset.of_split("train")
    begin_cutting_out(dataset, settings, run)
    dataset = as_begun(dataset, run)
    bands = dataset.bands
    device = resolve_device(settings.device).type
    sizes, sized = picture_sizes(train_items), not settings.imgsz
    looked_at = sized or takes_any_network(settings)
    detail = find_detail(dataset, _masked(dataset), median_size(sizes)) if looked_at else None
    space = dataset.label_space
    given = bands, len(train_items), detail
    network = make_network(settings, space.num_classes, run, *given, space.names)
    begin_layers(network.model, torch.device(device), precision_on(device, settings.precision))
    facts = _facts(dataset, median_size(sizes), network, device, detail if sized else None)
    speed = _pictures_per_second(network.model, facts, settings) if sized and settings.time else None
    config, choices = choose_recipe(network.settings, replace(facts, spent=time.monotonic() - started), speed)
    _refuse_colourless_jitter(config, bands)
    freeze_as_asked(network.model, config)
    weak = weak_training(dataset, config, run, network.model)
    pixels, taught_pixels = _class_pixels(dataset, weak, train_items)
    weights = class_weights(taught_pixels, config.class_weights)
    job = Job(
        run=run,
        config=config,
        choices=(*network.choices, *choices),
        dataset=dataset,
        train_items=train_items,
        val_items=dataset.of_split("val"),
        architecture=network.architecture,
        preprocessing=_preprocessing(config, network, dataset, sizes),
        augmentation=_augmentation(config, dataset, network.mean),
        loss=_make_loss(config, dataset, weights),
        weights=weights,
        image_sizes=tuple(sizes),
        class_pixels=pixels,
        item_weights=sampling_weights(weak, _item_weights(config, taught_pixels, train_items)),
        pixel_weights=_pixel_weights(config, dataset),
        started_from=network.started_from,
        warnings=tuple(data_lines(dataset, taught_pixels, sizes, config.imgsz)),
        weak=weak,
    )
    return job, network.model


def _preprocessing(
    config: TrainConfig, network: Network, dataset: Dataset, sizes: Sequence[tuple[int, int]]
) -> Preprocessing:
    """What happens to a picture before the network. sizes: of the training pictures."""
    scale = _train_scale(sizes, config.imgsz)
    given = config.imgsz, network.mean, network.std
    return Preprocessing(*given, train_scale=scale, white=dataset.white, bands=dataset.bands)


def _train_scale(sizes: Sequence[tuple[int, int]], imgsz: tuple[int, int]) -> float:
    """The median factor by which pictures of these sizes are fitted into the training's."""
    return float(np.median([fit_size(size, imgsz)[1] / size[1] for size in sizes]))


def _class_pixels(
    dataset: Dataset, weak: WeakTraining | None, items: Sequence[Item]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n, K) pixels by class of what the labels say for certain, and of what weak pictures are taught by at first."""
    pixels = count_class_pixels(dataset, items)
    return pixels, pixels if weak is None else count_class_pixels(weak.data, items)


def _masked(dataset: Dataset) -> Sequence[Item]:
    """The pictures whose labels tell how much detail they need: training pictures with masks, else those of val."""
    return [item for item in dataset.of_split("train") if has_mask(item)] or dataset.of_split("val")


def _facts(dataset: Dataset, size: tuple[int, int], network: Network, device: str, detail: Detail | None) -> Facts:
    model = network.model
    return Facts(
        pictures=len(dataset.of_split("train")),
        size=size,
        num_classes=dataset.label_space.num_classes,
        device=device,
        cores=cpu_count(),
        normalised=is_normalised(model),
        score_inputs=inputs_of_a_score(model, dataset.label_space.num_classes),
        colours=dataset.bands is None or dataset.bands.rgb is not None,
        pretrained=network.from_imagenet,
        detail=detail,
        statistics=network.from_imagenet and dataset.bands is None and brings_statistics(model),
        val_pictures=len(dataset.of_split("val")),
        most_pixels=most_pixels(torch.device(device)),
    )


def _pictures_per_second(model: SegmentationModel, facts: Facts, settings: Settings) -> float | None:
    """Training speed of a CPU that does nothing else.

    It is tried at the pictures' aspect ratio, and told for CPU_AREA pixels; None on a GPU.
    """
    if facts.on_gpu:
        return None
    factor = (CPU_AREA / (facts.size[0] * facts.size[1])) ** 0.5
    size = [max(SIDE_MULTIPLE, round(side * factor / SIDE_MULTIPLE) * SIDE_MULTIPLE) for side in facts.size]
    precision = precision_on("cpu", settings.precision)
    trial = try_steps(model, plain_loss, (size[0], size[1]), torch.device("cpu"), precision)
    return None if trial is None else (size[0] * size[1]) / CPU_AREA / trial.counted_on


def _make_loss(config: TrainConfig, dataset: Dataset, weights: ClassWeights) -> Loss:
    space = dataset.label_space
    tensor = None if weights.scheme == "none" else torch.from_numpy(weights.weights)
    return create_loss(config.losses, space.num_classes, space.ignore_index, tensor)


def as_begun(dataset: Dataset, run: Path) -> Dataset:
    """The data set whose bands are read as when the run began: pictures added since change no statistics."""
    if dataset.bands is None or not has_state(run):
        return dataset
    try:
        begun = read_spec(find_model_folder(run)).preprocessing.bands
    except CheckpointError:  # stopped before its first validation
        return dataset
    return dataset if begun is None else replace(dataset, bands=begun)


def _refuse_colourless_jitter(config: TrainConfig, bands: SpectralBands | None) -> None:
    if bands is not None and bands.rgb is None and config.photometric > 0:
        raise ConfigError(
            f"`photometric` {config.photometric:g}, but {bands.told()} hold no red, green and blue, the only bands "
            "that change colour; leave it out, or name these three so in data.yaml"
        )


def _augmentation(config: TrainConfig, dataset: Dataset, mean: tuple[float, ...]) -> Augmentation:
    return Augmentation(
        crop=config.crop_size,
        imgsz=config.imgsz,
        scale=(config.scale_min, config.scale_max),
        flip=config.flip,
        photometric=config.photometric,
        elastic=config.elastic,
        rotate=config.rotate,
        ignore_index=dataset.label_space.ignore_index,
        max_class_share=config.max_class_share,
        mean=mean,
        bands=dataset.bands,
    )


def _item_weights(config: TrainConfig, pixels: NDArray[np.int64], items: Sequence[Item]) -> NDArray[np.float64] | None:
    if not config.balanced_sampling:
        return None
    if len(pixels) != len(items):
        raise ConfigError(
            f"balanced_sampling needs the class counts of every training picture; only {len(pixels)} of {len(items)} "
            "are counted: leave it off and use class_weights"
        )
    return balanced_weights(pixels)


def _pixel_weights(config: TrainConfig, dataset: Dataset) -> PixelWeights | None:
    """U-Net's border weights; its class weights are left to class_weights."""
    if not config.border_weight:
        return None
    space = dataset.label_space
    return partial(
        weight_map,
        background=space.background,
        w0=config.border_weight,
        sigma=config.border_sigma,
        ignore_index=space.ignore_index,
    )
