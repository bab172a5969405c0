"""Outlines of label maps: by hand, painted back, against GDAL, and with borders that neighbours share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from PIL import ImageDraw

from denselab.inference.outlines import outlines, simplified

GRIDS = st.integers(0, 2**31).map(
    lambda seed: np.random.default_rng(seed).integers(
        0, 3, np.random.default_rng(seed).integers(1, 9, 2), dtype=np.uint8
    )
)


def painted(found: list, shape: tuple[int, int]) -> np.ndarray:
    """The map that the outlines describe: a pixel belongs to a ring where a ray to the left crosses it an odd number of times."""
    total = np.full(shape, -1)
    for outline in found:
        inside = np.zeros(shape, int)
        for ring in outline.rings:
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                if x0 == x1:
                    low, high = sorted((int(y0), int(y1)))
                    inside[low:high, int(x0) :] ^= 1
        assert (total[inside == 1] == -1).all(), "regions overlap"
        total[inside == 1] = outline.label
    return total


def test_a_square_with_a_hole_by_hand() -> None:
    labels = np.zeros((4, 5), np.uint8)
    labels[1:3, 1:4] = 1
    labels[1, 2] = 2
    outer, ring, dot = outlines([labels], tolerance=0)
    assert (outer.label, ring.label, dot.label) == (0, 1, 2)
    assert outer.rings[0].tolist() == [[0, 0], [5, 0], [5, 4], [0, 4]], "clockwise as seen"
    assert sorted(map(tuple, outer.rings[1].tolist())) == [(1, 1), (1, 3), (4, 1), (4, 3)]
    assert len(outer.rings) == 2
    assert len(ring.rings) == 1, "the dot touches the border of the ring: a notch, no hole"
    assert sorted(map(tuple, dot.rings[0].tolist())) == [(2, 1), (2, 2), (3, 1), (3, 2)]


def test_diagonal_pixels_are_two_regions() -> None:
    labels = np.array([[1, 0], [0, 1]], np.uint8)
    assert sorted(o.label for o in outlines([labels], 0)) == [0, 0, 1, 1]


@given(GRIDS, st.integers(1, 8))
def test_painting_the_outlines_gives_the_map_back(labels: np.ndarray, height: int) -> None:
    bands = [labels[top : top + height] for top in range(0, len(labels), height)]
    assert np.array_equal(painted(list(outlines(bands, tolerance=0)), labels.shape), labels)


@given(GRIDS)
def test_the_same_regions_as_gdal(labels: np.ndarray) -> None:
    features = pytest.importorskip("rasterio.features")
    theirs = sorted(
        (int(value), len(shape["coordinates"]), area(shape["coordinates"]))
        for shape, value in features.shapes(labels, connectivity=4)
    )
    ours = sorted((o.label, len(o.rings), area(o.rings)) for o in outlines([labels], tolerance=0))
    assert ours == theirs


def area(rings: object) -> float:
    """Of the outer ring less its holes."""
    areas = []
    for ring in rings:  # type: ignore[attr-defined]
        x, y = np.asarray(ring, float).T
        areas.append(abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2)
    return areas[0] - sum(areas[1:])


def test_simplified_borders_are_shared_and_near() -> None:
    """A disc on two halves: whatever is simplified, every stretch of border occurs once on each side."""
    picture = PILImage.new("L", (120, 90))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((60, 0, 119, 89), fill=1)
    draw.ellipse((30, 20, 90, 70), fill=2)
    draw.ellipse((50, 35, 60, 45), fill=0)
    labels = np.asarray(picture)
    found = list(outlines([labels]))
    exact = sum(len(ring) for o in outlines([labels], 0) for ring in o.rings)
    assert sum(len(ring) for o in found for ring in o.rings) < exact / 3
    steps: dict[tuple, int] = {}
    for outline in found:
        for ring in outline.rings:
            for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                steps[(*a, *b)] = steps.get((*a, *b), 0) + 1
    for (x0, y0, x1, y1), times in steps.items():
        at_the_edge = x0 == x1 in (0, 120) or y0 == y1 in (0, 90)
        assert times == 1
        assert at_the_edge or (x1, y1, x0, y0) in steps, "a border that one side alone has is a gap"
    total = sum(area(o.rings) for o in found)
    assert total == pytest.approx(120 * 90), "no gap and no overlap"


def test_simplifying_a_line_by_hand() -> None:
    line = np.array([[0, 0], [1, 0.4], [2, 0], [3, 5], [4, 0]], float)
    assert simplified(line, 0.5).tolist() == [[0, 0], [2, 0], [3, 5], [4, 0]]
    assert simplified(line, 10).tolist() == [[0, 0], [4, 0]]


def test_nodata_is_left_out() -> None:
    labels = np.array([[7, 7, 0], [7, 7, 0]], np.uint8)
    (only,) = outlines([labels], 0, nodata=7)
    assert only.label == 0
