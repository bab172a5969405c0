"""From settings and a data set to a job: everything about a run that does not change while it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from denselab.build import create_loss, inputs_of_a_score, is_normalised, model_preprocessing
from denselab.config import TrainConfig
from denselab.crf_layer.crf_rnn import CRFSettings
from denselab.crf_layer.with_crf import WithCRF
from denselab.data.dataset import Dataset, Item, require_trainable
from denselab.data.feed.fit import fit_size
from denselab.data.feed.loading import PixelWeights, balanced_weights
from denselab.data.feed.transforms import Augmentation
from denselab.data.feed.weight_map import weight_map
from denselab.engine.device import resolve_device
from denselab.engine.spec import Architecture, Preprocessing
from denselab.errors import ConfigError
from denselab.losses import Loss, loss_with_auxiliary
from denselab.losses.class_weights import ClassWeights, class_weights
from denselab.models.base import SegmentationModel
from denselab.models.deeplab_v2 import DeepLabV2
from denselab.runtime import cpu_count
from denselab.training.initial import Initial, read_initial, start_from
from denselab.training.preflight import count_class_pixels, median_size, picture_sizes, time_step
from denselab.training.recipe import CPU_AREA, SIDE_MULTIPLE, Choice, Facts, choose_recipe

TRIAL_BATCH = 4


@dataclass(frozen=True)
class Job:
    """A run, ready to start.

    image_sizes: (height, width) of some training pictures. class_pixels: (n, K) of them. item_weights: how often each is drawn.
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

    def criterion(self, logits: tuple[Tensor, ...], labels: Tensor, weights: Tensor | None) -> Tensor:
        """The training loss of main and auxiliary logits."""
        return loss_with_auxiliary(self.loss, logits, labels, self.config.aux_weight, weights)


def prepare_job(settings: Mapping[str, Any], dataset: Dataset, run: Path) -> tuple[Job, SegmentationModel]:
    """The job that settings ask for, completed by the default recipe, and its network.

    Raises ConfigError, DataError (no training or validation pictures).
    """
    require_trainable(dataset)
    train_items, val_items = dataset.of_split("train"), dataset.of_split("val")
    torch.manual_seed(int(settings.get("seed") or 0))
    initial = read_initial(settings["init"], run) if settings.get("init") else None
    if initial is not None and settings.get("model") is None:
        settings = {**initial.crf_layer, **_given(settings), **initial.architecture}
    model, architecture, pretrained = _make_model(settings, dataset, initial is not None and initial.frozen_norm)
    started = [_init_choice(settings, model, architecture, initial)] if initial and initial.tensors else []
    mean, std = (initial.mean, initial.std) if initial else model_preprocessing(architecture.name, architecture.encoder)
    if isinstance(model, WithCRF):
        model.set_normalisation(mean, std)
    sizes = picture_sizes(train_items)
    facts = _facts(settings, dataset, sizes, model)
    speed = None
    if facts.device == "cpu" and settings.get("time") and not settings.get("imgsz"):
        speed = _pictures_per_second(model, facts)
    config, choices = choose_recipe({**settings, "pretrained": pretrained}, facts, speed)
    pixels = count_class_pixels(dataset, train_items)
    weights = class_weights(pixels, config.class_weights)
    loss = _make_loss(config, dataset, weights)
    scales = [fit_size(size, config.imgsz)[1] / size[1] for size in sizes]
    preprocessing = Preprocessing(config.imgsz, mean, std, train_scale=float(np.median(scales)))
    job = Job(
        run=run,
        config=config,
        choices=(*started, *choices),
        dataset=dataset,
        train_items=train_items,
        val_items=val_items,
        architecture=architecture,
        preprocessing=preprocessing,
        augmentation=_augmentation(config, dataset, mean),
        loss=loss,
        weights=weights,
        image_sizes=tuple(sizes),
        class_pixels=pixels,
        item_weights=_item_weights(config, pixels, train_items),
        pixel_weights=_pixel_weights(config, dataset),
    )
    return job, model


def _init_choice(
    settings: Mapping[str, Any], model: SegmentationModel, architecture: Architecture, initial: Initial
) -> Choice:
    """Copy the weights of `init`, and say how many and what is frozen."""
    frozen = "; batch normalisation stays frozen as it is there" if architecture.frozen_norm else ""
    return Choice("init", settings["init"], start_from(model, initial) + frozen)


def _make_model(
    settings: Mapping[str, Any], dataset: Dataset, frozen_norm: bool
) -> tuple[SegmentationModel, Architecture, str]:
    """The network, its architecture and where its encoder's weights are from. frozen_norm: that of `init` is frozen."""
    defaults = {name: field.default for name, field in TrainConfig.model_fields.items()}
    value = {name: defaults[name] if settings.get(name) is None else settings[name] for name in defaults}
    if value["init"] and settings.get("pretrained") is None:
        value["pretrained"] = "no"  # what another model has learnt takes the place of ImageNet
    architecture = Architecture(
        name=value["model"],
        num_classes=dataset.label_space.num_classes,
        encoder=value["encoder"],
        output_stride=value["output_stride"],
        aux=bool(value["aux"]),
        crf_layer=_crf_layer(value) if value["crf_layer"] else None,
        frozen_norm=frozen_norm,
    )
    model = architecture.create(value["pretrained"])
    # ImageNet weights freeze it too, and a network that cannot be frozen is not: what is stored is what it came to.
    return model, replace(architecture, frozen_norm=_norm_is_frozen(model)), value["pretrained"]


def _norm_is_frozen(model: SegmentationModel) -> bool:
    network = model.network if isinstance(model, WithCRF) else model
    return isinstance(network, DeepLabV2) and network.norm_is_frozen


def _crf_layer(value: Mapping[str, Any]) -> CRFSettings:
    """The settings of the CRF layer, whose keys in TrainConfig begin with crf_."""
    return CRFSettings(**{field.name: value[f"crf_{field.name}"] for field in fields(CRFSettings)})


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _facts(
    settings: Mapping[str, Any], dataset: Dataset, sizes: Sequence[tuple[int, int]], model: SegmentationModel
) -> Facts:
    device = resolve_device(settings.get("device") or "auto")
    return Facts(
        pictures=len(dataset.of_split("train")),
        size=median_size(sizes),
        num_classes=dataset.label_space.num_classes,
        device="cpu" if device.type == "cpu" else "gpu",
        cores=cpu_count(),
        normalised=is_normalised(model),
        score_inputs=inputs_of_a_score(model, dataset.label_space.num_classes),
    )


def _pictures_per_second(model: SegmentationModel, facts: Facts) -> float | None:
    factor = (CPU_AREA / (facts.size[0] * facts.size[1])) ** 0.5
    size = [max(SIDE_MULTIPLE, round(side * factor / SIDE_MULTIPLE) * SIDE_MULTIPLE) for side in facts.size]

    def criterion(logits: tuple[Tensor, ...], labels: Tensor, weights: Tensor | None) -> Tensor:
        return F.cross_entropy(logits[0], labels)

    seconds = time_step(model, criterion, (size[0], size[1]), TRIAL_BATCH, torch.device("cpu"))
    return None if seconds is None else TRIAL_BATCH / seconds * (size[0] * size[1]) / CPU_AREA


def _make_loss(config: TrainConfig, dataset: Dataset, weights: ClassWeights) -> Loss:
    space = dataset.label_space
    tensor = None if weights.scheme == "none" else torch.from_numpy(weights.weights)
    return create_loss(config.losses, space.num_classes, space.ignore_index, tensor)


def _augmentation(config: TrainConfig, dataset: Dataset, mean: tuple[float, float, float]) -> Augmentation:
    return Augmentation(
        crop=config.imgsz,
        scale=(config.scale_min, config.scale_max),
        flip=config.flip,
        photometric=config.photometric,
        elastic=config.elastic,
        rotate=config.rotate,
        ignore_index=dataset.label_space.ignore_index,
        max_class_share=config.max_class_share,
        mean=mean,
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
    """U-Net's border weights; the class part of the map is left to class_weights."""
    if not config.border_weight:
        return None
    space = dataset.label_space
    roles = [entry.role for entry in space.classes]
    background = roles.index("background") if "background" in roles else None
    return partial(
        weight_map,
        background=background,
        w0=config.border_weight,
        sigma=config.border_sigma,
        ignore_index=space.ignore_index,
    )
