"""The heatmap of a class from a convolutionalised classifier: where the class is (FCN, arXiv 1411.4038, figure 2).

model = denselab.convolutionalize(torchvision.models.vgg16(weights="DEFAULT").eval())
probs = class_heatmaps(model, "cat.jpg")
save_heatmap("cat-heat.png", "cat.jpg", probs[281], model)
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from denselab.convolutional.fully_convolutional import FullyConvolutional
from denselab.data.feed.transforms import normalise
from denselab.errors import ShapeError
from denselab.files import write_bytes
from denselab.inference.pictures import Picture, as_image
from denselab.models.release import IMAGENET, RGB
from denselab.types import Image
from denselab.visualize import encode_png, heat_map

Heat = NDArray[np.float32]


def class_heatmaps(
    model: FullyConvolutional,
    picture: Picture,
    mean: RGB = IMAGENET[0],
    std: RGB = IMAGENET[1],
) -> Heat:
    """(K, h, w) float32: for each cell, the softmax over the K classes of the window around it.

    The model runs in its current mode, so put it in evaluation mode first.

    picture: as for a Predictor, at least as large as the model's window; it is not scaled
    mean, std: RGB in 0..1, the normalisation that the classifier was trained with
    """
    device = next(model.parameters()).device
    pixels = torch.from_numpy(np.ascontiguousarray(as_image(picture))).permute(2, 0, 1)[None]
    with torch.inference_mode():
        probs = model(normalise(pixels.to(device), mean, std)).softmax(dim=1)
    return np.asarray(probs[0].float().cpu().numpy(), dtype=np.float32)


def heatmap_overlay(
    picture: Picture, heat: Heat, model: FullyConvolutional, *, alpha: float = 0.6, high: float | None = None
) -> Image:
    """(H, W, 3) uint8: the picture under the heat of one class, from dark violet at 0 to pale yellow at `high`.

    Each cell stands in the middle of its window. Values are interpolated between the middles and constant beyond the
    outermost ones, where no window has its middle.

    heat: (h, w), one class of class_heatmaps
    alpha: 0 shows only the picture, 1 only the heat
    high: the heat of the palest colour; None for the maximum of this map

    Raises ShapeError if the heat belongs to another picture.
    """
    image = as_image(picture)
    size = (image.shape[0], image.shape[1])
    if heat.ndim != 2 or any(
        (n - 1) * step >= side for n, step, side in zip(heat.shape, model.stride, size, strict=True)
    ):
        raise ShapeError(
            f"heat of shape {heat.shape} does not lie on a picture of {size[0]}x{size[1]} at stride {model.stride}; "
            "pass one class of the class_heatmaps of this picture"
        )
    rows, columns = (_between_cells(size[i], heat.shape[i], model.window[i], model.stride[i]) for i in (0, 1))
    full = rows @ heat @ columns.T
    colours = heat_map(full, 0.0, float(heat.max()) if high is None else high)
    return np.asarray(image * (1 - alpha) + colours * alpha + 0.5, dtype=np.uint8)


def save_heatmap(path: str | Path, picture: Picture, heat: Heat, model: FullyConvolutional) -> None:
    """Write `heatmap_overlay` as a PNG, atomically. Raises ResourceError if that fails."""
    write_bytes(Path(path), encode_png(heatmap_overlay(picture, heat, model)))


def _between_cells(pixels: int, cells: int, window: int, stride: int) -> NDArray[np.float32]:
    """(pixels, cells) weights of linear interpolation: cell i lies on pixel stride * i + (window - 1) / 2."""
    places = np.clip((np.arange(pixels) - (window - 1) / 2) / stride, 0, cells - 1)
    distance = np.abs(places[:, None] - np.arange(cells)[None, :])
    return np.asarray(np.maximum(1 - distance, 0), dtype=np.float32)
