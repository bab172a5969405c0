import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from denselab.data.label_files.polygons import coco_mask, disc_mask, line_mask, polygon_mask, runs_mask, runs_of_text
from denselab.errors import DataError


def drawn(mask) -> list[str]:
    return ["".join("#" if pixel else "." for pixel in row) for row in mask]


def test_square_covers_the_pixels_whose_centres_it_holds():
    square = np.array([[1, 1], [3, 1], [3, 3], [1, 3]], dtype=float)
    assert drawn(polygon_mask(square, (4, 5))) == [".....", ".##..", ".##..", "....."]


def test_triangle_by_hand():
    """Row centre y: the right edge x = 4 - y: 3.5, 2.5, 1.5, 0.5; a pixel counts when its centre lies left of it."""
    triangle = np.array([[0, 0], [4, 0], [0, 4]], dtype=float)
    assert drawn(polygon_mask(triangle, (4, 4))) == ["###.", "##..", "#...", "...."]


def test_hole_by_the_even_odd_rule():
    outline = np.array([[0, 0], [5, 0], [5, 5], [0, 5], [0, 0], [1, 1], [1, 4], [4, 4], [4, 1], [1, 1]], dtype=float)
    mask = polygon_mask(outline, (5, 5))
    assert drawn(mask) == ["#####", "#...#", "#...#", "#...#", "#####"]


def test_polygon_is_cut_off_at_the_border():
    outside = np.array([[-3, -3], [9, -3], [9, 2], [-3, 2]], dtype=float)
    assert drawn(polygon_mask(outside, (3, 4))) == ["####", "####", "...."]


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.array([[1.0, 1.0]]), np.array([[0.0, 0.0], [5.0, 5.0]])])
def test_fewer_than_three_points_cover_nothing(points):
    assert not polygon_mask(points, (6, 6)).any()


coordinates = st.floats(-2, 12, allow_nan=False, width=32)


@given(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8))
def test_polygon_agrees_with_a_ray_for_each_pixel(points):
    """Oracle: count the edges that a ray to the left of the pixel's centre crosses."""
    corners = np.array(points, dtype=float)
    mask = polygon_mask(corners, (9, 10))
    edges = list(zip(corners, np.roll(corners, -1, axis=0), strict=True))
    for row in range(9):
        for column in range(10):
            x, y = column + 0.5, row + 0.5
            crossings = 0
            for (x0, y0), (x1, y1) in edges:
                if (y0 <= y) != (y1 <= y) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x:
                    crossings += 1
            assert mask[row, column] == (crossings % 2 == 1)


def test_two_polygons_that_share_an_edge_share_no_pixel():
    left = np.array([[0, 0], [4, 0], [7, 8], [0, 8]], dtype=float)
    right = np.array([[4, 0], [9, 0], [9, 8], [7, 8]], dtype=float)
    a, b = polygon_mask(left, (8, 9)), polygon_mask(right, (8, 9))
    assert not (a & b).any()
    assert (a | b).all()


def test_disc_and_line_by_hand():
    assert drawn(disc_mask(2.5, 2.5, 1.0, (5, 5))) == [".....", "..#..", ".###.", "..#..", "....."]
    horizontal = np.array([[1.2, 1.5], [3.8, 1.5]])  # reaches half its width beyond both ends: 0.7 to 4.3
    assert drawn(line_mask(horizontal, 1.0, (3, 5))) == [".....", ".###.", "....."]


def test_runs_go_down_the_columns():
    assert drawn(runs_mask([1, 2, 3], (3, 2))) == ["..", "#.", "#."]


def test_runs_of_another_size_are_refused():
    with pytest.raises(DataError, match="cover 5 pixels, but the mask has 2x2 = 4"):
        runs_mask([1, 4], (2, 2))
    with pytest.raises(DataError, match="run lengths are for 2x3, but the picture has 4x4"):
        coco_mask({"size": [2, 3], "counts": [6]}, (4, 4))


def runs_of(mask) -> list[int]:
    """Run lengths by looking at each pixel in turn, zeros first."""
    runs, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def text_of(runs: list[int]) -> str:
    """COCO's compression, written from its description (pycocotools, rleToString)."""
    letters = []
    for position, run in enumerate(runs):
        number = run - runs[position - 2] if position > 2 else run
        while True:
            group = number & 31
            number >>= 5
            more = number != (-1 if group & 16 else 0)
            letters.append(chr(group + 32 * more + 48))
            if not more:
                break
    return "".join(letters)


masks = arrays.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20)))


@given(masks)
def test_run_lengths_round_trip(mask):
    assert np.array_equal(coco_mask({"size": list(mask.shape), "counts": runs_of(mask)}, mask.shape), mask)


@given(masks)
def test_compressed_run_lengths_round_trip(mask):
    text = text_of(runs_of(mask))
    assert runs_of_text(text) == runs_of(mask)
    assert np.array_equal(coco_mask({"size": list(mask.shape), "counts": text}, mask.shape), mask)


@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=12))
def test_compressed_numbers_of_any_size(runs):
    assert runs_of_text(text_of(runs)) == runs


def test_text_that_ends_within_a_number_is_refused():
    with pytest.raises(DataError, match="end within a number"):
        runs_of_text("o")


def test_union_of_polygons():
    left, right = [0, 0, 1, 0, 1, 2, 0, 2], [3, 0, 4, 0, 4, 2, 3, 2]
    assert drawn(coco_mask([left, right], (2, 4))) == ["#..#", "#..#"]


def test_real_run_lengths_have_the_area_that_coco_states(shared_data):
    import json

    data = json.loads((shared_data / "coco_panoptic" / "panoptic_coco_detection_format.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in data["images"]}
    for annotation in data["annotations"]:
        assert coco_mask(annotation["segmentation"], sizes[annotation["image_id"]]).sum() == annotation["area"]


@pytest.mark.parametrize("runs", [[-1, 5], [0.9, 3.9], [float("nan"), 4]])
def test_runs_are_whole_numbers(runs):
    """0.9 and 3.9 were cut to 0 and 3, and a negative one was told by a sum that fits."""
    with pytest.raises(DataError, match="a run length is negative or no whole number"):
        runs_mask(runs, (2, 2))


@pytest.mark.parametrize("runs", [[2**62] * 4 + [4], [2**63 - 1, 2**63 - 1, 6]])
def test_the_sum_of_run_lengths_does_not_overflow(runs):
    """Their sum is 4 in 64 bits, as many as the mask has pixels: numpy then wrote beyond it."""
    with pytest.raises(DataError, match="a run of [0-9]{19} pixels, but the mask has 2x2 = 4"):
        runs_mask(runs, (2, 2))


def test_a_run_length_that_never_ends_is_refused():
    """Each group made the number longer: a text of some megabytes took hours."""
    with pytest.raises(DataError, match="a number of more than 60 bits among the run lengths"):
        runs_of_text("o" * 10**6)
