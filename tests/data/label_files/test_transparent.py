"""Transparent pixels of label pictures: asked about, then ignored or read as the colour below."""

import numpy as np
import pytest
from PIL import Image

from denselab.data import open_dataset
from denselab.data.audit.check import check_dataset
from denselab.errors import DataError

IDS = np.array([[0, 1, 1, 0]], np.uint8)
ALPHA = np.array([[255, 255, 255, 0]], np.uint8)


@pytest.fixture
def coloured(save, photo):
    """Black and red, the last pixel transparent."""
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 4))
        save(f"labels/{name}.png", np.dstack([IDS * 255, IDS * 0, IDS * 0, ALPHA]))


def test_it_is_asked(coloured, tmp_path, write):
    """The colour below counted: what nobody had labelled became background without a word."""
    with pytest.raises(
        DataError, match=r"25.0% of the pixels are transparent.*`transparent: ignore`.*`transparent: keep`"
    ):
        open_dataset(tmp_path)
    write("data.yaml", "transparent: ignore\n")
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 1, 255]]
    assert "transparent pixels are left out (ignore)" in data.notes
    write("data.yaml", "transparent: keep\n")
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 1, 0]]


def test_grey_with_alpha(save, photo, tmp_path, write):
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 4))
        (tmp_path / "labels").mkdir(exist_ok=True)
        Image.merge("LA", [Image.fromarray(IDS), Image.fromarray(ALPHA)]).save(tmp_path / f"labels/{name}.png")
    write("data.yaml", "transparent: ignore\n")
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[1]).tolist() == [[0, 1, 1, 255]]


def test_an_opaque_alpha_channel_asks_nothing(save, photo, tmp_path):
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 4))
        save(f"labels/{name}.png", np.dstack([IDS * 255, IDS * 0, IDS * 0, ALPHA * 0 + 7]))
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 1, 0]]


@pytest.mark.parametrize(("mode", "transparency"), [("P", 0), ("P", bytes([255, 0])), ("L", 1)])
def test_a_transparent_entry_of_a_palette(save, photo, tmp_path, write, mode, transparency):
    """GIMP and QGIS write the transparent index in a chunk of its own: its pixels were a class without a word."""
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 4))
        (tmp_path / "labels").mkdir(exist_ok=True)
        label = Image.fromarray(IDS)
        if mode == "P":
            label.putpalette([0, 0, 0, 255, 0, 0])
        label.save(tmp_path / f"labels/{name}.png", transparency=transparency)
    with pytest.raises(DataError, match=r"50\.0% of the pixels are transparent, and all others are of one class"):
        open_dataset(tmp_path)
    write("data.yaml", "transparent: ignore\n")
    data = open_dataset(tmp_path)
    ignored = data.read_labels(data.items[0]) == 255
    assert ignored.tolist() == [[transparency == 0] + [transparency != 0] * 2 + [transparency == 0]]


def test_the_only_answer_that_leaves_two_classes_is_offered(save, photo, tmp_path, write):
    """`transparent: ignore` was offered and left one class; its error then spoke of the label table."""
    for name in "abc":
        save(f"images/{name}.png", photo(1, 4))
        save(f"labels/{name}.png", np.dstack([IDS * 255, IDS * 0, IDS * 0, IDS * 255]))
    with pytest.raises(DataError, match="`transparent: keep` in data.yaml") as asked:
        open_dataset(tmp_path)
    assert "transparent: ignore" not in str(asked.value)
    write("data.yaml", "transparent: ignore\n")
    faults = check_dataset(tmp_path, quiet=True).errors
    assert [fault.kind for fault in faults] == ["one class"]
    assert "`transparent: keep`" in faults[0].fix
    write("data.yaml", "transparent: keep\n")
    assert check_dataset(tmp_path, quiet=True).would_train


def test_one_colour_above_and_below_asks_for_another(save, photo, tmp_path):
    for name in "ab":
        save(f"images/{name}.png", photo(1, 4))
        save(f"labels/{name}.png", np.dstack([IDS * 0 + 9, IDS * 0, IDS * 0, IDS * 255]))
    with pytest.raises(DataError, match="where the transparency is the mask, save it as the label itself"):
        open_dataset(tmp_path)


def test_a_photograph_with_a_clear_background_is_no_label(save, photo, tmp_path):
    """Both answers that were offered led to "5,807 colours in the label files"."""
    for number, name in enumerate("ab"):
        save(f"images/{name}.jpg", photo(20, 20, number))
        save(f"masks/{name}.png", np.dstack([photo(20, 20, number), np.eye(20, dtype=np.uint8) * 255 ^ 255]))
    with pytest.raises(DataError, match=r"a photograph with a clear background.*`magick FILE -alpha extract FILE`"):
        open_dataset(tmp_path)
