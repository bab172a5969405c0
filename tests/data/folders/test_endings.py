"""Labels beside their pictures, named as these and more."""

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.folders.endings import by_ending
from denselab.data.listing.tree import read_tree
from denselab.errors import DataError

EYES = ("Image_01L", "Image_01R", "Image_02L")
VESSELS = np.array([[0, 255] * 4] * 6, np.uint8)


@pytest.fixture
def chase(save, photo):
    """CHASE DB1: two people have drawn the vessels of each eye."""
    for seed, name in enumerate(EYES):
        save(f"{name}.png", photo(seed=seed))
        save(f"{name}_1stHO.png", VESSELS)
        save(f"{name}_2ndHO.png", 255 - VESSELS)


@pytest.mark.usefixtures("chase")
def test_which_of_two_annotators_is_asked(tmp_path, write):
    """ "15 pictures, but no labels in a known layout"."""
    with pytest.raises(DataError, match="2 files of each picture may be its labels") as caught:
        open_dataset(tmp_path)
    lines = str(caught.value).split("`")[1::2]
    assert lines == ["pattern: {image: '*', mask: '*_1stHO'}", "pattern: {image: '*', mask: '*_2ndHO'}"]
    for line, first in zip(lines, (0, 1), strict=True):
        write("data.yaml", line)
        data = open_dataset(tmp_path)
        assert [item.image.stem for item in data.items] == list(EYES)
        assert data.read_labels(data.items[0])[0, 0] == first
        assert data.without_label == ()


@pytest.mark.usefixtures("chase")
def test_the_only_ending_is_taken(tmp_path):
    for name in EYES:
        (tmp_path / f"{name}_2ndHO.png").unlink()
    assert [item.source.path.stem for item in open_dataset(tmp_path).items] == [f"{name}_1stHO" for name in EYES]


def test_ids_beside_their_colours(save, photo, tmp_path):
    for seed, name in enumerate("abc"):
        save(f"{name}.png", photo(seed=seed))
        save(f"{name}_gt.png", VESSELS // 255)
        save(f"{name}_gt_color.png", np.stack([VESSELS] * 2 + [VESSELS // 2], axis=-1))
    with pytest.raises(DataError, match=r"'\*_gt'.*2 values 0, 1.*'\*_gt_color'.*2 colours"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("ending", ["_left.jpg", "_2.png", "b.png"])
def test_what_is_no_label(save, photo, tmp_path, ending):
    for seed, name in enumerate(("x_1", "y_1", "z_1")):
        save(f"{name}.png", photo(30, 30, seed))
        save(f"{name}{ending}", photo(30, 30, seed + 5))
    assert by_ending(read_tree(tmp_path)) == {}
