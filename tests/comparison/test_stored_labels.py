"""The label maps that a comparison keeps: by picture, over folds, and of the first seed."""

from pathlib import Path

import numpy as np
import pytest

from denselab.comparison.measuring import LABELS, StoredLabels, _packed
from denselab.comparison.plan import MEASURED
from denselab.errors import CheckpointError


def store(out: Path, key: str, **values: int) -> None:
    folder = out / MEASURED / key
    folder.mkdir(parents=True)
    maps = {name: np.full((2, 3), value, np.uint8) for name, value in values.items()}
    (folder / LABELS["plain"]).write_bytes(_packed(maps))


def test_maps_of_all_folds_and_of_the_first_seed(tmp_path: Path) -> None:
    """The last seed's maps stood in the report under the first seed's scores."""
    store(tmp_path, "fold1-seed0", a=1)
    store(tmp_path, "fold2-seed0", b=2)
    store(tmp_path, "fold1-seed1", a=3)
    store(tmp_path, "fold2-seed1", b=4)
    kept = StoredLabels(tmp_path, ["fold1-seed0", "fold2-seed0", "fold1-seed1", "fold2-seed1"])
    assert [int(kept[name].max()) for name in "ab"] == [1, 2]
    kept.close()


def test_damaged_maps_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    store(tmp_path, "one", a=1)
    (tmp_path / MEASURED / "one" / LABELS["plain"]).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="then `resume` measures again"):
        StoredLabels(tmp_path, ["one"])
