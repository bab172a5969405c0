"""Pictures from what a caller passes in: paths, PIL pictures, arrays and tensors, one or many."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union

import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps

from denselab.data.pixels.images import read_image
from denselab.data.pixels.spectral import array_as_bands
from denselab.engine.spec import Preprocessing
from denselab.errors import DataError, ShapeError
from denselab.inference.inputs import Source, find_sources
from denselab.paths import require_path
from denselab.types import Image, Pixels

if TYPE_CHECKING:
    from torch import Tensor

Picture: TypeAlias = Union[str, Path, PILImage.Image, "np.ndarray[Any, Any]", "Tensor"]
"""One picture: a path, a PIL picture, a (H, W, 3) or (H, W) uint8 array, a (3, H, W) tensor."""


def files_of(picture: object) -> list[Source] | None:
    """The picture files in a folder or matching a pattern, sorted; None for any other kind of input.

    Raises DataError where there are no picture files.
    """
    if not isinstance(picture, str | Path):
        return None
    path = Path(picture)
    if not os.path.isdir(path) and (os.path.exists(path) or not glob.has_magic(str(picture))):
        return None
    sources, skipped = find_sources([str(picture)])
    if not sources:
        raise DataError(f"{picture} {skipped[0].reason}; give pictures, or folders or patterns that hold some")
    return sources


def several(picture: object) -> Sequence[Picture] | None:
    """The pictures of a list, a tuple or a batch (B, H, W, 3) or (B, 3, H, W); None for one picture."""
    if isinstance(picture, list | tuple):
        return picture
    if (isinstance(picture, np.ndarray) or _is_tensor(picture)) and picture.ndim == 4:
        return list(picture)
    return None


def named(pictures: Sequence[Picture], name: str = "") -> Iterator[tuple[str, Picture]]:
    """Each picture with a name, `name` or its own; a name that occurs more than once gets the position appended."""
    names = [name or name_of(picture) for picture in pictures]
    count = Counter(names)
    for position, (own, picture) in enumerate(zip(names, pictures, strict=True)):
        yield (f"{own}-{position}" if count[own] > 1 else own), picture


def name_of(picture: Picture) -> str:
    """A path's name without suffix, else "picture"."""
    return Path(picture).stem if isinstance(picture, str | Path) else "picture"


def as_pixels(picture: Picture, preprocessing: Preprocessing) -> Pixels:
    """Anything a Predictor takes, as its model takes it.

    picture: as for `as_image`; for a model of other bands than RGB a path, an array (H, W, C) or a tensor (C, H, W) of
        these bands, in the numbers of the training files.
    Raises as `as_image`, also for other bands.
    """
    bands = preprocessing.bands
    if bands is None:
        return as_image(picture, preprocessing.white)
    if isinstance(picture, str | Path):
        return preprocessing.read(require_path(Path(picture), "a picture file"))
    if isinstance(picture, np.ndarray):
        return array_as_bands(picture, bands)
    if _is_tensor(picture):
        tensor = picture.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()  # numpy has no bfloat16
        if array.ndim != 3 or array.shape[0] != bands.count:
            raise ShapeError(f"a picture tensor of shape {array.shape}; the model takes (C, H, W) of {bands.told()}")
        return array_as_bands(array.transpose(1, 2, 0), bands)
    if isinstance(picture, PILImage.Image):
        return array_as_bands(np.asarray(ImageOps.exif_transpose(picture)), bands)
    raise ShapeError(
        f"a picture came as {type(picture).__name__}; pass a path, an (H, W, C) array or a (C, H, W) tensor"
    )


def as_image(picture: Picture, white: int | None = None) -> Image:
    """(H, W, 3) uint8 RGB from anything a Predictor takes.

    picture: arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8; tensors (3, H, W) or (1, H, W), uint8 or float
        in 0..1.
    white: for a file of more than 8 bits, as for read_image.
    Raises ShapeError for another shape, dtype or range, NoSuchPath, or DataError for a file that cannot be read.
    """
    if isinstance(picture, str | Path):
        return read_image(require_path(Path(picture), "a picture file"), white)
    if isinstance(picture, PILImage.Image):
        return _from_pil(picture)
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    if _is_tensor(picture):
        return _from_tensor(picture)
    raise ShapeError(
        f"a picture came as {type(picture).__name__}; pass a path, PIL picture, uint8 array or (3, H, W) tensor"
    )


def _from_pil(picture: PILImage.Image) -> Image:
    if picture.mode in ("F", "I") or picture.mode.startswith("I;"):
        raise ShapeError(
            f"a PIL picture of mode {picture.mode}; convert it to 8-bit grey or RGB first, or pass its path"
        )
    return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def _from_array(array: np.ndarray[Any, Any]) -> Image:
    grey = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8:
        raise ShapeError(
            f"a picture array of dtype {array.dtype}; expected uint8 0..255, RGB: scale and convert it first"
        )
    if grey.ndim != 3 or grey.shape[2] not in (1, 3, 4) or 0 in grey.shape:
        hint = "; it looks channels-first: pass array.transpose(1, 2, 0)" if array.ndim == 3 and len(array) == 3 else ""
        raise ShapeError(f"a picture array of shape {array.shape}; expected (H, W, 3) or (H, W), H and W >= 1{hint}")
    return np.ascontiguousarray(np.repeat(grey, 3, axis=2) if grey.shape[2] == 1 else grey[..., :3])


def _is_tensor(picture: object) -> TypeGuard[Tensor]:
    """Whether this is a torch tensor, checked without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(picture, torch.Tensor)


def _from_tensor(tensor: Tensor) -> Image:
    import torch  # a caller with a tensor has already imported it

    tensor = tensor.detach().cpu()
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3) or 0 in tensor.shape:
        raise ShapeError(f"a picture tensor of shape {tuple(tensor.shape)}; expected (3, H, W), one picture at a time")
    if tensor.is_floating_point():
        low, high = float(tensor.min()), float(tensor.max())
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            raise ShapeError(
                f"a float picture with values {low:.3g}..{high:.3g}; expected 0..1 without mean subtraction"
            )
        tensor = (tensor.float() * 255).round().clamp(0, 255).to(torch.uint8)
    if tensor.dtype != torch.uint8:
        raise ShapeError(f"a picture tensor of dtype {tensor.dtype}; expected uint8 0..255 or float 0..1")
    return _from_array(tensor.permute(1, 2, 0).contiguous().numpy())
