"""A picture and its label side by side in one file: told, not read."""

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.finding.halves import colours, labelled_half
from denselab.data.listing.tree import read_tree
from denselab.errors import DataError


def pair(photo, seed, mirrored=False):
    """A noisy photograph, and four colours beside it."""
    labels = np.repeat(np.array([[0, 0, 255], [255, 120, 0], [0, 200, 90], [9, 9, 9]], np.uint8), 12, 0)
    halves = [photo(48, 48, seed), np.broadcast_to(labels[None], (48, 48, 3))]
    return np.concatenate(halves[::-1] if mirrored else halves, axis=1)


@pytest.mark.parametrize(("mirrored", "side"), [(False, "right"), (True, "left")])
def test_pix2pix_is_told(save, photo, tmp_path, mirrored, side):
    """It was "pictures, but no labels in a known layout", as if there were none. JPEG smears the colours."""
    for i in range(8):
        save(f"{'train' if i else 'val'}/{i}.jpg", pair(photo, i, mirrored), quality=80)
    with pytest.raises(DataError, match=rf"the {side} half of each picture .* few colours.*Cut each in two"):
        open_dataset(tmp_path)


def test_pictures_are_no_pairs(save, photo, tmp_path):
    save("a.png", photo(40, 80))
    assert labelled_half(read_tree(tmp_path)) == "", "of one picture nothing is told"
    save("b.png", pair(photo, 1))
    assert labelled_half(read_tree(tmp_path)) == "", "both have to look so"
    save("a.png", pair(photo, 2, mirrored=True))
    assert labelled_half(read_tree(tmp_path)) == "", "and on one side"
    save("a.png", np.zeros((4, 1, 3), np.uint8))
    assert labelled_half(read_tree(tmp_path)) == ""
    (tmp_path / "a.png").write_bytes(b"damaged")
    assert labelled_half(read_tree(tmp_path)) == ""


def test_colours_by_hand():
    """Nine tenths of ten pixels: six of one colour, three of another; 7 and 9 are one level, 200 and 223 are too."""
    row = [[7, 0, 0]] * 3 + [[9, 0, 0]] * 3 + [[200, 0, 0]] * 2 + [[223, 0, 0], [0, 255, 0]]
    assert colours(np.array([row], np.uint8)) == 2
