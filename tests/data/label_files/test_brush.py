"""Label Studio's packed brush masks, against a packer written from the format's description."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from denselab.data.label_files.brush import brush_mask, unpacked
from denselab.errors import DataError


def test_by_hand():
    """Two blocks: five times 9, then 1 and 2 as they stand; lengths of 3 bits."""
    bits = (
        f"{7:032b}" + "00111" + "0010" * 4 + "1" + "00" + "100" + "00001001" + "0" + "00" + "001" + "0000000100000010"
    )
    bits += "0" * (-len(bits) % 8)
    stream = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert unpacked(stream, 7).tolist() == [9, 9, 9, 9, 9, 1, 2]


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 9))))
def test_masks_come_back(packed_mask, mask):
    assert np.array_equal(brush_mask(packed_mask(mask), mask.shape), mask)


def test_what_is_cut_short_or_of_another_size_is_refused(packed_mask):
    stream = packed_mask(np.eye(4, dtype=bool))
    with pytest.raises(DataError, match="ends within a number"):
        brush_mask(stream[:-3], (4, 4))
    with pytest.raises(DataError, match="64 values, but the picture has 80 "):
        brush_mask(stream, (4, 5))


def test_a_claim_of_more_values_than_the_picture_has_takes_no_memory():
    """32 bits claim up to 2^32 of them, 2 GB, before any was read; blocks that repeat one filled them from 100 kB."""
    with pytest.raises(DataError, match="4294967295 values, but the picture has 64 "):
        brush_mask([255] * 9, (4, 4))
