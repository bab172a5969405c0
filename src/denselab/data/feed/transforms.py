"""Augmentation of a picture together with its labels, as a pure function of (sample, settings, seed).

Order: scale, crop, rotation and elastic deformation, mirroring, colour. All geometry becomes one pass over the crop
(resample.py, elastic.py): the picture is never scaled as a whole. The semantics are those of
torchvision.transforms.v2 (resize(antialias=True), crop, horizontal_flip, adjust_*), which the tests use as the
reference; why compiled code replaces it is measured by benchmarks/pipeline.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denselab.data.feed.elastic import elastic_field, rotated_positions, warp
from denselab.data.feed.fit import fit_factor
from denselab.data.pixels.spectral import SpectralBands
from denselab.data.resizing.resample import (
    IDENTITY,
    Limits,
    Size,
    Window,
    contiguous,
    largest_share,
    resample_image,
    resample_labels,
    resize_labels,
)
from denselab.data.resizing.resize import resize_image
from denselab.errors import ConfigError
from denselab.types import LabelMap, Pixels, Sample

IMAGENET_MEAN = (0.485, 0.456, 0.406)
CROP_TRIES = 10  # as MMSegmentation's RandomCrop with cat_max_ratio
GREY = (0.2989, 0.587, 0.114)  # ITU-R 601 luma, as torchvision's rgb_to_grayscale
COLOUR_RANGE = 0.4  # brightness, contrast, saturation at photometric = 1: factors in 0.6..1.4
HUE_RANGE = 18.0  # degrees at photometric = 1; MMSegmentation's PhotoMetricDistortion
REDUCE_FROM = 1.25  # pictures less than this factor larger than ever needed are kept as they are: scaling only blurs

_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])  # NTSC
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training picture.

    crop: (H, W) of the result
    scale: (min, max) by which the working size is multiplied, drawn uniformly
    flip: mirror half of the crops left to right
    photometric: strength of the colour change; 0 = off, 1 = usual
    elastic: standard deviation of the displacements in pixels of the crop; 0 = off (U-Net: 10)
    rotate: largest angle in degrees
    ignore_index: label of the padding
    max_class_share: the largest share of the labelled pixels that one class may have in a crop; 1 = off
    mean: RGB in 0..1, the colour of the padding; per band for other pictures
    bands: of pictures that are not RGB; only red, green and blue among them change colour
    imgsz: (H, W) of the box that the picture is fitted into, which gives its *working size*; None: crop

    A crop beyond max_class_share is drawn again, up to CROP_TRIES times; then the most mixed one is taken.
    """

    crop: Size
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    photometric: float = 1.0
    elastic: float = 0.0
    rotate: float = 0.0
    ignore_index: int = 255
    max_class_share: float = 0.75
    mean: tuple[float, ...] = IMAGENET_MEAN
    bands: SpectralBands | None = None
    imgsz: Size | None = None

    def __post_init__(self) -> None:
        if min(self.crop) < 1:
            raise ConfigError(f"crop {self.crop}: height and width must be at least 1")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ConfigError(f"scale {self.scale}: give (min, max) with 0 < min <= max, such as (0.5, 2.0)")
        for name in ("photometric", "elastic", "rotate"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} {getattr(self, name)}: must be 0 (off) or positive")

    @property
    def box(self) -> Size:
        """(H, W) of what a picture is fitted into before the scale."""
        return self.imgsz or self.crop


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """The seed of one draw, 64 bits; depends on nothing else, so neither on workers nor on the order of work."""
    # The leading number keeps these apart from the seeds of the epochs' order: SeedSequence pads with zeros.
    return int(np.random.SeedSequence([1, seed, epoch, index]).generate_state(1, np.uint64)[0])


def prepare(sample: Sample, settings: Augmentation) -> Sample:
    """The sample as it is worth keeping in memory: no larger than the largest scale of `settings` can show.

    Every augmentation of a picture starts from this, kept or not, so results do not depend on the memory at hand. It
    is max_scale times the working size, not the working size itself: enlarging a picture that was reduced before would
    train on blur that no test picture has. Smaller pictures keep their pixels.
    """
    height, width = sample.labels.shape
    factor = fit_factor((height, width), settings.box) * settings.scale[1]
    if factor * REDUCE_FROM > 1:
        return Sample(sample.name, contiguous(sample.image), contiguous(sample.labels))
    size = (max(round(height * factor), 1), max(round(width * factor), 1))
    return Sample(sample.name, resize_image(sample.image, size), resize_labels(sample.labels, size))


def augment(sample: Sample, settings: Augmentation, seed: int) -> Sample:
    """A random view of the sample, (H, W) = settings.crop; the same for the same arguments, which stay untouched."""
    image = np.empty((*settings.crop, sample.image.shape[2]), sample.image.dtype)
    labels = np.empty(settings.crop, sample.labels.dtype)
    augment_into(sample, settings, seed, image, labels)
    return Sample(sample.name, image, labels)


def augment_into(sample: Sample, settings: Augmentation, seed: int, image: Pixels, labels: LabelMap) -> None:
    """`augment`, written into C-contiguous arrays of the crop's size, of the sample's types."""
    rng = np.random.default_rng(seed)
    size = _scaled_size(rng, sample, settings)
    window = _choose_window(rng, sample, size, settings)
    flip = settings.flip and bool(rng.random() < 0.5)
    matrix = _draw_colour(rng, sample.image, settings)
    fill, limits = _padding(sample.image, settings.mean), _limits(settings.bands)
    if settings.elastic > 0 or settings.rotate > 0:
        positions = rotated_positions(settings.crop, rng.uniform(-settings.rotate, settings.rotate))
        positions += elastic_field(rng, settings.crop, settings.elastic)
        warp(
            *(sample.image, sample.labels, size, window[:2], positions, image, labels),
            flip=flip,
            matrix=matrix,
            fill=fill,
            ignore_index=settings.ignore_index,
            limits=limits,
        )
        return
    resample_image(sample.image, size, window, image, flip=flip, matrix=matrix, fill=fill, limits=limits)
    resample_labels(sample.labels, size, window, labels, flip=flip, fill=settings.ignore_index)


def colour_matrix(
    brightness: float, contrast: float, saturation: float, hue: float, mean_grey: float
) -> NDArray[np.float32]:
    """(3, 4) float32: brightness, then contrast, saturation and hue (degrees) in one step, for values 0..255.

    The factors mean what torchvision's adjust_* mean (1 = unchanged), without the clipping between the steps; contrast
    pivots on mean_grey, the picture's mean luma. Hue turns the colour plane of YIQ: close to HSV's for small angles.
    """
    grey = np.broadcast_to(np.array(GREY), (3, 3))
    angle = np.deg2rad(hue)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    colour = _FROM_YIQ @ turn @ _TO_YIQ @ (saturation * np.eye(3) + (1 - saturation) * grey)
    linear = colour * (brightness * contrast)
    offset = colour.sum(axis=1) * ((1 - contrast) * brightness * mean_grey)
    return np.concatenate([linear, offset[:, None]], axis=1).astype(np.float32)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(B, C, H, W) float32, (image / 255 - mean) / std, of uint8 pictures; on their device, in their memory format.

    Pictures in float32 have the units of mean and std: they are not divided by 255.
    Batches travel as uint8 and are normalised here, by the training step: a quarter of the bytes to keep and to copy.
    """
    top = 255 if images.dtype == torch.uint8 else 1
    scale = 1 / (top * torch.tensor(std, dtype=torch.float32))
    shift = torch.tensor(mean, dtype=torch.float32) / torch.tensor(std, dtype=torch.float32)
    shape = (1, len(mean), 1, 1)
    pixels = images.float() if top == 255 else images.clone()
    return pixels.mul_(scale.view(shape).to(images.device)).sub_(shift.view(shape).to(images.device))


def _scaled_size(rng: np.random.Generator, sample: Sample, settings: Augmentation) -> Size:
    height, width = sample.labels.shape
    factor = fit_factor((height, width), settings.box) * rng.uniform(*settings.scale)
    return (max(round(height * factor), 1), max(round(width * factor), 1))


def _choose_window(rng: np.random.Generator, sample: Sample, size: Size, settings: Augmentation) -> Window:
    """A crop of the scaled frame that does not fall on one class only, or the most mixed of CROP_TRIES."""
    height, width = settings.crop
    step = max(min(settings.crop) // 64, 1)  # 64 x 64 looks tell a share well enough
    can_differ = settings.max_class_share < 1 and (size[0] > height or size[1] > width)
    best, best_share = _draw_window(rng, size, settings.crop), 2.0
    for attempt in range(CROP_TRIES if can_differ else 0):
        window = best if attempt == 0 else _draw_window(rng, size, settings.crop)
        share = largest_share(sample.labels, size, window, settings.ignore_index, step)
        if share < best_share:
            best, best_share = window, share
        if share <= settings.max_class_share:
            break
    return best


def _draw_window(rng: np.random.Generator, size: Size, crop: Size) -> Window:
    """Anywhere inside the frame; along an axis on which the frame is smaller, the frame lies anywhere in the crop."""
    spare = (size[0] - crop[0], size[1] - crop[1])
    y0, x0 = (int(rng.integers(min(free, 0), max(free, 0), endpoint=True)) for free in spare)
    return (y0, x0, *crop)


def _draw_colour(rng: np.random.Generator, image: Pixels, settings: Augmentation) -> NDArray[np.float32]:
    """The colour matrix of a picture. Other bands than red, green and blue are measurements and stay as they are."""
    strength, bands = settings.photometric, settings.bands
    if strength == 0 or (bands is not None and bands.rgb is None):
        return IDENTITY
    colours = image if bands is None else image[..., list(bands.rgb or ())]
    reach = min(COLOUR_RANGE * strength, 1.0)
    brightness, contrast, saturation = rng.uniform(1 - reach, 1 + reach, 3)
    hue = rng.uniform(-HUE_RANGE, HUE_RANGE) * strength
    step = max(min(image.shape[:2]) // 32, 1)  # every so many pixels: the mean needs no more
    mean_grey = float(colours[::step, ::step].mean(axis=(0, 1)) @ np.array(GREY))
    matrix = colour_matrix(brightness, contrast, saturation, hue, mean_grey)
    return matrix if bands is None else _among_bands(matrix, bands)


def _among_bands(matrix: NDArray[np.float32], bands: SpectralBands) -> NDArray[np.float32]:
    """(C, C + 1): a matrix of red, green and blue at their places, every other band unchanged."""
    assert bands.rgb is not None, "only colours are mixed"
    places = list(bands.rgb)
    whole = np.eye(bands.count, bands.count + 1, dtype=np.float32)
    whole[np.ix_(places, places)] = matrix[:, :3]
    whole[places, -1] = matrix[:, 3]
    return whole


def _padding(image: Pixels, mean: Sequence[float]) -> NDArray[Any]:
    """(C,) the number around a picture: its mean."""
    if image.dtype == np.uint8:
        return np.array([round(255 * value) for value in mean], np.uint8)
    return np.array(mean, np.float32)


def _limits(bands: SpectralBands | None) -> Limits | None:
    if bands is None or not bands.real:
        return None
    return np.array(bands.low, np.float32), np.array(bands.high, np.float32)
