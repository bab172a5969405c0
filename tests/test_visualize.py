"""Colours, overlays and error maps against values worked out by hand."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from denselab.errors import ConfigError, ShapeError
from denselab.labels import LabelEntry, LabelSpace
from denselab.visualize import (
    DIM,
    HEAT,
    IGNORED,
    WRONG,
    _shorten,
    _text_width,
    colour_map,
    difference_map,
    encode_png,
    error_map,
    fit,
    grid,
    heat_map,
    legend,
    overlay,
)

SPACE = LabelSpace(
    (
        LabelEntry(0, "ground", (0, 0, 0), "background"),
        LabelEntry(3, "tree", (10, 200, 30)),
        LabelEntry(9, "car", (250, 0, 1)),
    )
)
WITH_VOID = LabelSpace((*SPACE.entries, LabelEntry(7, "void", (1, 2, 3), "ignore")))
LABELS = np.array([[0, 1], [2, 255]], dtype=np.uint8)
GREY = np.full((2, 2, 3), 100, dtype=np.uint8)


def test_colour_map_by_hand() -> None:
    expected = [[(0, 0, 0), (10, 200, 30)], [(250, 0, 1), IGNORED]]
    assert colour_map(LABELS, SPACE).tolist() == np.array(expected).tolist()
    assert colour_map(LABELS, WITH_VOID)[1, 1].tolist() == [1, 2, 3]


def test_colour_map_of_more_than_255_classes() -> None:
    space = LabelSpace(tuple(LabelEntry(i, str(i), (i % 256, i // 256, 5)) for i in range(300)))
    labels = np.array([[299, 65535]], dtype=np.uint16)
    assert colour_map(labels, space)[0].tolist() == [[43, 1, 5], list(IGNORED)]


def test_overlay_mixes_classes_and_leaves_background_and_ignored() -> None:
    mixed = overlay(GREY, LABELS, SPACE, alpha=0.5)
    assert mixed[0, 0].tolist() == [100, 100, 100]
    assert mixed[0, 1].tolist() == [55, 150, 65]
    assert mixed[1, 1].tolist() == [100, 100, 100]
    assert overlay(GREY, LABELS, SPACE, alpha=1.0)[1, 0].tolist() == [250, 0, 1]


def test_overlay_in_bands_equals_one_band() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (600, 5, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, (600, 5), dtype=np.uint8)
    rows = [overlay(image[i : i + 1], labels[i : i + 1], SPACE) for i in range(600)]
    assert np.array_equal(overlay(image, labels, SPACE), np.concatenate(rows))


def test_error_map_marks_wrong_dims_right_greys_ignored() -> None:
    prediction = np.array([[0, 2], [2, 1]], dtype=np.uint8)
    shown = error_map(GREY, LABELS, prediction, SPACE.ignore_index)
    assert shown[0, 0].tolist() == [int(100 * DIM)] * 3
    assert shown[0, 1].tolist() == list(WRONG)
    assert shown[1, 0].tolist() == [int(100 * DIM)] * 3
    assert shown[1, 1].tolist() == list(IGNORED)


def test_difference_map_counts_every_pixel() -> None:
    shown = difference_map(GREY, LABELS, np.zeros_like(LABELS))
    assert (shown == WRONG).all(axis=2).tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("function", [lambda i, m: overlay(i, m, SPACE), lambda i, m: error_map(i, m, m, 255)])
def test_sizes_must_match(function) -> None:
    with pytest.raises(ShapeError, match=r"image \(2, 2\) but labels \(2, 3\)"):
        function(GREY, np.zeros((2, 3), dtype=np.uint8))


def test_heat_map_ends_middle_and_nan() -> None:
    shown = heat_map(np.array([[0.0, 0.2, 1.0, np.nan, 7.0]]))
    assert shown[0].tolist() == [list(HEAT[0]), list(HEAT[1]), list(HEAT[5]), list(IGNORED), list(HEAT[5])]


def test_legend_shows_every_colour_also_of_names_beyond_latin() -> None:
    space = LabelSpace((LabelEntry(0, "나무", (12, 34, 56)), LabelEntry(1, "x" * 40, (201, 2, 3), "ignore")))
    shown = legend(space)
    for colour in ((12, 34, 56), (201, 2, 3)):
        assert (shown == colour).all(axis=2).sum() > 50


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_fit_keeps_proportions_and_bounds(height: int, width: int, h: int, w: int) -> None:
    fitted = fit(np.zeros((height, width, 3), dtype=np.uint8), w, h)
    assert fitted.shape[0] <= h
    assert fitted.shape[1] <= w
    assert fitted.shape[0] == h or fitted.shape[1] == w


def test_grid_holds_each_picture_and_refuses_wrong_captions() -> None:
    red, blue = np.full((4, 8, 3), (255, 0, 0), np.uint8), np.full((9, 3, 3), (0, 0, 255), np.uint8)
    sheet = grid([red, blue, red], ["a", "b" * 300, "ü"], columns=2, cell_width=40)
    assert sheet.shape[1] == 2 * 48 + 8
    assert (sheet == (255, 0, 0)).all(axis=2).sum() == 2 * 40 * 20
    assert (sheet == (0, 0, 255)).all(axis=2).sum() == 20 * 7  # 9 x 3 fitted into 20 rows
    with pytest.raises(ShapeError, match="1 captions for 2 pictures"):
        grid([red, blue], ["a"])
    with pytest.raises(ShapeError, match="at least one"):
        grid([])


def test_encode_png_keeps_the_pixels() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(PILImage.open(io.BytesIO(encode_png(picture)))), picture)


@pytest.mark.parametrize("given", [{"columns": 0}, {"columns": -1}, {"columns": 1.5}, {"font_size": 0}], ids=str)
def test_numbers_of_a_sheet_are_whole_and_above_0(given: dict[str, object]) -> None:
    """No column ended in a division by zero, and -1 in Pillow."""
    with pytest.raises(ConfigError, match=f"`{next(iter(given))}` is"):
        legend(SPACE, **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"`{next(iter(given))}` is"):
        grid([GREY], **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`cell_width` is 0"):
        grid([GREY], cell_width=0)


def test_a_scale_that_falls_is_refused() -> None:
    """It drew two colours, as of values beyond its ends."""
    with pytest.raises(ConfigError, match="the scale rises"):
        heat_map(np.zeros((2, 2)), 1.0, 0.0)


@pytest.mark.parametrize("width", [5, 40, 75, 200])
@pytest.mark.parametrize("text", ["a/folder/of/pictures/0001", "길/그림/0001", "i" * 60 + "W" * 60, "W"])
def test_a_caption_keeps_as_much_of_its_end_as_fits(text: str, width: int) -> None:
    """Against taking letters away one by one, which measured a long path again for each of its letters."""
    kept = text
    while len(kept) > 1 and _text_width("..." + kept, 15) > width:
        kept = kept[1:]
    assert _shorten(text, width, 15) == (text if _text_width(text, 15) <= width else "..." + kept)
