"""Label maps in MATLAB's .mat files (version 5 to 7), as SBD and PASCAL-Context have them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.read.opening import refuse_empty, refuse_huge
from denselab.errors import DataError


def mat_labels(path: Path) -> NDArray[Any]:
    """The only (H, W) map of numbers in a file, at any depth of its structs: SBD's GTcls.Segmentation, LabelMap.

    Raises DataError for version 7.3, for a damaged file, and where there is no map or several.
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
    if len(maps) != 1:
        what = f"{len(maps)} maps ({', '.join(maps)})" if maps else "no map of numbers"
        raise DataError(f"{path}: holds {what}; one was expected: save the labels as PNG")
    labels = next(iter(maps.values()))
    refuse_huge(labels.size, f"{labels.shape[0]} x {labels.shape[1]}", path)
    return labels.astype(np.uint8) if labels.dtype == np.bool_ else labels


def _maps(name: str, value: Any) -> list[tuple[str, NDArray[Any]]]:
    """(name, map) of the arrays of two dimensions with more than one row and column, also inside structs and cells."""
    if not isinstance(value, np.ndarray):
        return []
    if value.dtype.names:
        fields = [(f"{name}.{field}", value[field]) for field in value.dtype.names]
        return [found for field, inner in fields for found in _maps(field, inner)]
    if value.dtype == object:
        return [found for inner in value.ravel() for found in _maps(name, inner)]
    is_map = value.ndim == 2 and min(value.shape) > 1 and value.dtype.kind in "uifb"
    return [(name, np.ascontiguousarray(value))] if is_map else []
