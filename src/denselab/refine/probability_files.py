"""Read probabilities from any program: npz, npy, one 8-bit picture per class, or a hard label map with a confidence."""

import re
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from denselab.crf.unary import probs_of_labels
from denselab.data.label_files.encodings import count_values
from denselab.data.label_files.likeness import NEAR_END, is_smeared_two_valued
from denselab.data.pixels.images import LOSSY_SUFFIXES, read_label_pixels
from denselab.documents import open_ordinary
from denselab.errors import DataError
from denselab.labels import LabelSpace

Axes = Literal["chw", "hwc"]
FLOAT_TOLERANCE = 1e-2  # on the sum: half precision stays within a few thousandths
OUTSIDE = 1e-3  # of 0..1: rounding, and filters that enlarged probabilities, overshoot a little
UNSURE_16 = 65535  # 255 of label maps with 16 bits
BYTE_STEP = 1 / 255  # 8 bits round each class by up to half of it
DAMAGE = (  # what numpy, zipfile and their readers raise for files of another kind, and for truncated or corrupt ones
    *(OSError, ValueError, EOFError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError, KeyError, TypeError, OverflowError),
    *(MemoryError, RecursionError),  # a header that claims more numbers than there can be
)


@dataclass(frozen=True)
class Scores:
    """What a file holds.

    values: (K, H, W) float32, or (H, W) integers, which are label ids.
    ids, names: of the classes, if the file gives them.
    eight_bit: values come from bytes, so their sum is rounded.
    files: for a stack, the file name of each class.
    one_channel: the file holds p of one class alone, or its mask; values are 1 - p and p.
    """

    path: Path
    values: NDArray[Any]
    ids: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    eight_bit: bool = False
    files: tuple[str, ...] = ()
    one_channel: bool = False

    @property
    def hard(self) -> bool:
        """Whether this is a label map."""
        return self.values.ndim == 2

    @property
    def certain(self) -> bool:
        """Whether each pixel has 1 for one class and 0 for the others: labels, written as probabilities."""
        return not self.hard and is_one_hot(self.values)


def read_scores(path: Path, size: tuple[int, int], axes: Axes | None = None) -> Scores:
    """Read probabilities or a label map for a picture; file type and number of axes tell them apart.

    size: (H, W) of the picture.
    axes: how the array lies, if its shape does not tell.
    Raises DataError naming the file.
    """
    if path.is_dir():
        return with_rest(_read_stack(path, size))
    kind = path.suffix.lower()
    if kind == ".npz":
        array, ids, names = _read_npz(path)
    elif kind == ".npy":
        array, ids, names = _loaded(path), (), ()
    else:
        array, ids, names = _read_picture(path), (), ()
    return with_rest(_from_array(np.asarray(array), size, axes, path, ids, names))


def probabilities(scores: Scores, space: LabelSpace, confidence: float) -> NDArray[np.float32]:
    """(K, H, W) float32 that sum to 1 at each pixel.

    confidence: probability given to the labels of a hard label map, and of values that are all 0 or 1; pixels with role
    ignore are open to all classes.
    Raises DataError naming the file: NaN, values outside 0..1, sums other than 1, or classes other than the table's.
    """
    if scores.hard:
        labels = space.encode(_in_table(scores.values, space))
        return probs_of_labels(labels, space.num_classes, confidence, space.ignore_index)
    values = scores.values.astype(np.float32)
    if len(values) != space.num_classes:
        raise DataError(
            f"{scores.path}: {len(values)} classes, but the label table has {space.num_classes}; give the table of "
            "these probabilities (labels)"
        )
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise DataError(f"{scores.path}: {bad} values are NaN or infinite; repair what wrote them")
    if scores.one_channel and not -OUTSIDE <= values[1].min() <= values[1].max() <= 1 + OUTSIDE:
        raise DataError(
            f"{scores.path}: one channel, values {values[1].min():.3g} to {values[1].max():.3g}; probabilities of "
            "one class lie in 0..1: apply a sigmoid to logits, divide per cent by 100"
        )
    sums = values.sum(axis=0)
    tolerance = FLOAT_TOLERANCE + (len(values) + 1) / 2 * BYTE_STEP * scores.eight_bit
    if values.min() < -OUTSIDE or np.abs(sums - 1).max() > tolerance or sums.min() <= 0:
        raise DataError(
            f"{scores.path}: values {values.min():.3g} to {values.max():.3g}, sums over the classes {sums.min():.3g} "
            f"to {sums.max():.3g}; probabilities lie in 0..1 and sum to 1: apply a softmax to logits, or say how the "
            "array lies (axes)"
        )
    if scores.certain:
        return probs_of_labels(values.argmax(axis=0), len(values), confidence)
    values = np.maximum(values, 0)
    return np.asarray(values / values.sum(axis=0), dtype=np.float32)


def is_one_hot(values: NDArray[Any]) -> bool:
    """Whether classes (K, H, W) are 1 at one of them and 0 at the others, at every pixel."""
    return bool(((values == 0) | (values == 1)).all() and (values.sum(axis=0) == 1).all())


def is_mask(ids: Collection[int]) -> bool:
    """Whether label ids are those of a mask: 255, or 0 and 255, which are then two classes."""
    return 255 in ids and set(ids) <= {0, 255}


def _in_table(labels: NDArray[Any], space: LabelSpace) -> NDArray[Any]:
    """A mask of 0 and 255 in the ids of a table of two classes that has no 255; other labels as they are."""
    if (
        space.num_classes != 2
        or any(entry.id == 255 for entry in space.entries)
        or not is_mask(np.unique(labels).tolist())
    ):
        return labels
    return np.where(labels == 255, space.classes[1].id, space.classes[0].id)


def with_rest(scores: Scores) -> Scores:
    """One channel as two classes, 1 - p and p (a sigmoid's output); more channels, and label maps, as they are."""
    if scores.hard or len(scores.values) != 1:
        return scores
    p = _zeros_and_ones(scores.values.astype(np.float32), scores.eight_bit)
    names = ("other", *scores.names) if len(scores.names) == 1 and scores.names != ("other",) else ()
    return replace(scores, values=np.concatenate([1 - p, p]), ids=(), names=names, one_channel=True)


def _zeros_and_ones(p: NDArray[np.float32], eight_bit: bool) -> NDArray[np.float32]:
    """A mask of 0 and 255 in floats, or of 0 and 1 in bytes (read as 1/255), as one of 0 and 1; others as they are."""
    one = np.float32(BYTE_STEP) if eight_bit else 255
    return np.asarray(p == one, np.float32) if ((p == 0) | (p == one)).all() else p


def _read_picture(path: Path) -> NDArray[Any]:
    """(H, W) of a grey picture; a JPEG mask as 0 and 255. Raises DataError."""
    pixels = _grey_pixels(path)
    if pixels.ndim != 2:
        raise DataError(f"{path}: a colour picture; a label map has one channel of ids, such as an index PNG")
    if path.suffix.lower() not in LOSSY_SUFFIXES:
        return pixels
    near_ends = bool((np.minimum(pixels, 255 - pixels) <= NEAR_END).all())  # a mask of straight borders
    if not (near_ends or is_smeared_two_valued(count_values(pixels))):
        raise DataError(f"{path}: a JPEG, which does not keep numbers; save probabilities as npy, labels as PNG")
    return np.where(pixels > 127, 255, 0).astype(np.uint8)


def _grey_pixels(path: Path) -> NDArray[Any]:
    """The pixels of a label file, (H, W) also where it has colour channels that agree."""
    pixels = read_label_pixels(path)
    return pixels[..., 0] if pixels.ndim == 3 and (pixels == pixels[..., :1]).all() else pixels


def _read_npz(path: Path) -> tuple[NDArray[Any], tuple[int, ...], tuple[str, ...]]:
    """The array called "probs", or the only one; with ids and names of the classes if present."""
    try:
        with open_ordinary(path) as stream:  # given the path, numpy leaves a damaged file open
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("one array: its name should end with .npy")
            members = {name: file[name] for name in file.files}
    except DAMAGE as error:
        raise DataError(f"{path}: not an npz file of plain arrays ({error}); save it with numpy.savez") from None
    content = {
        name: value for name, value in members.items() if isinstance(value, np.ndarray)
    }  # a zip file may hold other members
    arrays = [name for name in content if content[name].ndim >= 2]
    name = "probs" if "probs" in content else arrays[0] if len(arrays) == 1 else None
    if name is None:
        listed = ", ".join(f"{key} {value.shape}" for key, value in content.items()) or "nothing"
        raise DataError(f'{path} holds {listed}; expected an array called "probs", or one alone')
    ids = tuple(int(i) for i in content["ids"].ravel()) if "ids" in content else ()
    names = tuple(str(n) for n in content["names"].ravel()) if "names" in content else ()
    return content[name], ids, names


def _loaded(path: Path) -> NDArray[Any]:
    try:
        with open_ordinary(path) as stream:
            return np.asarray(np.load(stream, allow_pickle=False))
    except DAMAGE as error:
        raise DataError(f"{path}: not an npy file of plain numbers ({error}); save it with numpy.save") from None


def _from_array(
    array: NDArray[Any],
    size: tuple[int, int],
    axes: Axes | None,
    path: Path,
    ids: tuple[int, ...],
    names: tuple[str, ...],
) -> Scores:
    if array.ndim == 4 and len(array) == 1:
        array = array[0]  # a batch of one
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.dtype != np.uint8 and np.issubdtype(array.dtype, np.integer):
        array = _without_channel(array, size)
    if array.ndim == 2 and np.issubdtype(array.dtype, np.floating):
        array = _fitting_plane(array, size, path)[None]
    if array.ndim == 2 and np.issubdtype(array.dtype, np.integer):
        return Scores(path, _fitting_map(array, size, path), ids, names)
    whole = array.ndim == 3 and np.issubdtype(array.dtype, np.integer)
    chosen = whole and any(is_one_hot(classes) for classes in (array, np.moveaxis(array, -1, 0)))
    eight_bit = array.dtype == np.uint8 and not chosen
    if array.ndim != 3 or not (np.issubdtype(array.dtype, np.floating) or eight_bit or chosen):
        raise DataError(
            f"{path}: an array {array.shape} of {array.dtype}; expected float (classes, height, width), bytes with "
            "255 = 1, one channel of a sigmoid, one-hot classes, or a label map (height, width) of integers"
        )
    values = array if _axes_of(array.shape, size, axes, path) == "chw" else np.moveaxis(array, -1, 0)
    return Scores(path, values.astype(np.float32) * BYTE_STEP if eight_bit else values, ids, names, eight_bit)


def _without_channel(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(H, W) of an array (1, H, W) or (H, W, 1); others as they are."""
    return array.reshape(size) if array.shape in ((1, *size), (*size, 1)) else array


def _axes_of(shape: tuple[int, ...], size: tuple[int, int], axes: Axes | None, path: Path) -> Axes:
    """Whether a shape is (K, H, W) or (H, W, K) for a picture of that size. Raises DataError if neither or both fit."""
    fits: list[Axes] = []
    if shape[1:] == size and axes != "hwc":
        fits.append("chw")
    if shape[:2] == size and axes != "chw":
        fits.append("hwc")
    if len(fits) == 1:
        return fits[0]
    height, width = size
    if fits:
        raise DataError(
            f"{path}: {shape} may be classes first or last for a picture {height}x{width}; say which (axes)"
        )
    swapped = (width, height) in (shape[1:], shape[:2]) and height != width
    told = ": height and width are swapped" if swapped else "; refine needs them at the picture's own size"
    raise DataError(f"{path}: probabilities {shape}, but the picture is {height}x{width} (height x width){told}")


def _fitting_map(labels: NDArray[Any], size: tuple[int, int], path: Path) -> NDArray[Any]:
    _fitting_plane(labels, size, path)
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: labels of {labels.dtype}; expected whole numbers")
    deep = labels == UNSURE_16
    return np.where(deep, 255, labels) if deep.any() and labels[~deep].max(initial=0) <= 255 else labels


def _fitting_plane(labels: NDArray[Any], size: tuple[int, int], path: Path) -> NDArray[Any]:
    if labels.shape != size:
        swapped = ": height and width are swapped" if labels.shape == size[::-1] else ""
        raise DataError(
            f"{path}: labels {labels.shape[0]}x{labels.shape[1]}, but the picture is {size[0]}x{size[1]} "
            f"(height x width){swapped}"
        )
    return labels


def _read_stack(folder: Path, size: tuple[int, int]) -> Scores:
    """One 8-bit grey picture per class, in the order of `counted`; 000_road.png also gives the class its name."""
    found = (p for p in folder.iterdir() if p.suffix.lower() == ".png" and not p.name.startswith("."))
    files = sorted(found, key=lambda path: counted(path.stem))
    if not files:
        raise DataError(f"{folder} holds no PNG; expected one 8-bit grey picture per class, such as 000_road.png")
    planes = []
    for path in files:
        plane = _grey_pixels(path)
        if plane.dtype != np.uint8 or plane.ndim != 2:
            raise DataError(f"{path}: not an 8-bit grey picture; a stack has one per class, 255 = certain")
        planes.append(_fitting_map(plane, size, path))
    parts = [path.stem.partition("_") for path in files]
    named = all(number == f"{i:03d}" and name for i, (number, _, name) in enumerate(parts))
    names = tuple(name for _, _, name in parts) if named else ()
    values = np.stack(planes).astype(np.float32) * BYTE_STEP
    return Scores(folder, values, (), names, eight_bit=True, files=tuple(path.name for path in files))


def counted(name: str) -> tuple[list[str | int], str]:
    """A key for natural sorting: class2 before class10. Names that differ only in zeros sort as text."""
    parts = re.split("([0-9]+)", name)  # text and numbers alternate, so like is compared with like
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name
