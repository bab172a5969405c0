from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from denselab.data.label_files.encodings import Encoding, count_values, decode, is_grey
from denselab.data.label_files.infer import infer_encoding
from denselab.errors import DataError

HERE = Path("labels/a.png")
RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def test_index_is_the_number_itself():
    numbers = np.array([[0, 3, 255]], dtype=np.uint8)
    assert decode(numbers, Encoding(), HERE) is numbers


def test_two_valued_threshold():
    pixels = np.array([[0, 127, 128, 255]], dtype=np.uint8)
    assert decode(pixels, Encoding("two-valued"), HERE).tolist() == [[0, 0, 255, 255]]
    assert decode(pixels, Encoding("two-valued", threshold=1), HERE).tolist() == [[0, 255, 255, 255]]


def test_objects_and_divided():
    pixels = np.array([[0, 7, 24001, 999]], dtype=np.uint16)
    assert decode(pixels, Encoding("objects"), HERE).tolist() == [[0, 1, 1, 1]]
    assert decode(pixels, Encoding("divided", divisor=1000, minimum=1000), HERE).tolist() == [[0, 7, 24, 999]]


def test_colours_by_the_table():
    pixels = np.array([[RED, BLACK, GREEN]], dtype=np.uint8)
    table = ((BLACK, 0), (GREEN, 300), (RED, 7))
    assert decode(pixels, Encoding("colour", colours=table), HERE).tolist() == [[7, 0, 300]]


def test_unknown_colour_is_named_with_place_and_count():
    pixels = np.array([[RED, (1, 2, 3)], [(1, 2, 3), RED]], dtype=np.uint8)
    with pytest.raises(
        DataError, match=r"a\.png: colour \(1, 2, 3\) at row 0, column 1 \(2 pixels in all\).*`labels` in data\.yaml"
    ):
        decode(pixels, Encoding("colour", colours=((RED, 1),)), HERE)


def test_grey_file_among_colours_and_colours_among_grey_are_refused():
    with pytest.raises(DataError, match="holds grey numbers"):
        decode(np.zeros((2, 2), np.uint8), Encoding("colour", colours=((RED, 1),)), HERE)
    with pytest.raises(DataError, match="coded in colours"):
        decode(np.array([[RED]], dtype=np.uint8), Encoding(), HERE)


def test_index_saved_as_rgb_is_read():
    pixels = np.repeat(np.array([[0, 5]], dtype=np.uint8)[..., None], 3, axis=2)
    assert decode(pixels, Encoding(), HERE).tolist() == [[0, 5]]


def test_ade20k_code():
    pixels = np.array([[(0, 0, 0), (12, 9, 1), (250, 255, 3)]], dtype=np.uint8)
    assert decode(pixels, Encoding("ade20k"), HERE).tolist() == [[0, 256 + 9, 25 * 256 + 255]]


def test_fractions_are_refused_whole_floats_are_not():
    assert decode(np.array([[1.0, 2.0]]), Encoding(), HERE).tolist() == [[1, 2]]
    with pytest.raises(DataError, match="fractions"):
        decode(np.array([[0.5]]), Encoding(), HERE)


def test_grey_within_the_noise_of_jpeg():
    assert is_grey(np.array([[(100, 104, 98)]], dtype=np.uint8))
    assert not is_grey(np.array([[(100, 120, 98)]], dtype=np.uint8))


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int32]),
        st.tuples(st.integers(1, 6), st.integers(1, 6)),
        elements=st.integers(0, 255),
    )
)
def test_counting_agrees_with_numpy(pixels):
    values, counts = np.unique(pixels, return_counts=True)
    assert count_values(pixels) == dict(zip(values.tolist(), counts.tolist(), strict=True))


def test_counting_colours_by_code():
    assert count_values(np.array([[RED, RED, (0, 1, 2)]], dtype=np.uint8)) == {0xFF0000: 2, 0x000102: 1}


def test_counting_nothing():
    assert count_values(np.zeros((0, 4), np.uint16)) == {}


def test_ids_in_the_red_channel_alone_are_ids(save):
    """CARLA's: small ids passed for grey within JPEG's noise, of which green, all zero, was read; then for colours."""
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[:2, :, 0], rgb[2, :, 0] = 7, 12
    paths = [save("a.png", rgb), save("b.png", np.zeros((4, 6, 3), np.uint8))]
    found = infer_encoding(paths)
    assert (found.encoding.kind, [entry.id for entry in found.table.entries]) == ("red", [0, 7, 12])
    assert decode(rgb, found.encoding, paths[0])[:, 0].tolist() == [7, 7, 12, 0]
    shades = np.zeros((4, 6, 3), np.uint8)  # of VOC's table: aeroplane, chair, dog
    shades[:2, :, 0], shades[2, :, 0] = 128, 192
    assert infer_encoding([save("c.png", shades)]).encoding.kind == "colour"


def test_numbers_beside_ids_in_red_are_asked_about(save):
    """SYNTHIA's: the class in red and the number of the object in green. Each pair became a class."""
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[..., 0] = np.array([3, 8, 8, 10])[:, None]
    rgb[1, :, 1], rgb[2, :, 1] = 1, 2
    path = save("a.png", rgb)
    with pytest.raises(DataError, match=r"small numbers in red, and others beside.*`encoding: red`"):
        infer_encoding([path])
    assert [e.id for e in infer_encoding([path], given=Encoding("red")).table.entries] == [3, 8, 10]
