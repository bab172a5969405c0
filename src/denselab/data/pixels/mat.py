"""Label maps in MATLAB's .mat files (version 5 to 7), as SBD, PASCAL-Context, COCO-Stuff and CoNSeP have them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.pixels.opening import refuse_empty, refuse_huge
from denselab.errors import DataError

# In the name of a map beside that of the classes: inst_map, Boundaries, regionMapStuff.
OTHER_MAPS = frozenset((
    "inst", "instance", "instances", "boundary", "boundaries", "edge", "edges", "contour", "contours", "depth",
    "region", "regions", "superpixel", "superpixels",
))  # fmt: skip


def mat_labels(path: Path) -> NDArray[Any]:
    """The only (H, W) map of numbers in a file, at any depth of its structs: SBD's GTcls.Segmentation, LabelMap.

    Of several it is the only one of the largest size whose name does not say that it shows objects or borders. Raises
    DataError for version 7.3, for a damaged file, and where there is no map or several.
    """
    from scipy.io import loadmat

    refuse_empty(path)
    try:
        content = loadmat(path, squeeze_me=False, struct_as_record=True)
    except NotImplementedError:
        raise DataError(
            f"{path}: a .mat file of version 7.3, which is not read; save it in MATLAB by `save(FILE, NAME, '-v7')`, "
            "or the map as PNG by `imwrite(uint8(MAP), FILE)`"
        ) from None
    except Exception as error:  # scipy's reader lets almost anything out of a damaged file
        raise DataError(f"{path}: not a .mat file that can be read ({error}); replace it or take it out") from None
    maps = {
        name: found for key, value in content.items() if not key.startswith("__") for name, found in _maps(key, value)
    }
    maps = _of_classes(maps)
    if len(maps) != 1:
        what = f"{len(maps)} maps ({', '.join(maps)})" if maps else "no map of numbers"
        raise DataError(f"{path}: holds {what}; one was expected: save the labels as PNG")
    labels = next(iter(maps.values()))
    refuse_huge(labels.size, f"{labels.shape[0]} x {labels.shape[1]}", path)
    return labels.astype(np.uint8) if labels.dtype == np.bool_ else labels


def _of_classes(maps: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The largest maps (the centres of cells are a table of two columns), without those that show other things."""
    largest = max((labels.size for labels in maps.values()), default=0)
    whole = {name: labels for name, labels in maps.items() if labels.size == largest}
    left = {name: labels for name, labels in whole.items() if OTHER_MAPS.isdisjoint(_words(name.rpartition(".")[2]))}
    return left or whole


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


def _maps(name: str, value: Any) -> list[tuple[str, NDArray[Any]]]:
    """(name, map) of the arrays of two dimensions with more than one row and column, also inside structs and cells."""
    if not isinstance(value, np.ndarray):
        return []
    if value.dtype.names:
        fields = [(f"{name}.{field}", value[field]) for field in value.dtype.names]
        return [found for field, inner in fields for found in _maps(field, inner)]
    if value.dtype == object:
        own = [name] if value.size == 1 else [f"{name}{{{number}}}" for number in range(1, value.size + 1)]
        return [found for one, inner in zip(own, value.ravel(), strict=True) for found in _maps(one, inner)]
    is_map = value.ndim == 2 and min(value.shape) > 1 and value.dtype.kind in "uifb"
    return [(name, np.ascontiguousarray(value))] if is_map else []
