"""What pictures take for what, against their whole confusion matrices."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from denselab.measure.confused import confused, entries_of
from denselab.measure.diagnose import SAMPLED_NUMBERS, SAMPLED_PIXELS, sampled_of_each


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5))
def test_against_whole_matrices(seed: int, pictures: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    matrices = rng.integers(0, 2**40, (pictures, classes, classes)) * (rng.random((pictures, classes, classes)) < 0.3)
    found = confused([entries_of(counts) for counts in matrices])
    for truth in range(classes):
        for prediction in range(classes):
            assert found.of(truth, prediction).tolist() == matrices[:, truth, prediction].tolist()


def test_a_picture_takes_room_for_the_pairs_it_shows() -> None:
    """(N, K, K) numbers were kept: 4 GB for 40 pictures of 5,000 classes."""
    counts = np.zeros((5000, 5000), np.int64)
    counts[4999, 4998], counts[7, 7] = 3, 2**33
    found = confused([entries_of(counts)] * 40)
    assert found.of(4999, 4998).tolist() == [3] * 40
    assert found.of(7, 7).tolist() == [2**33] * 40, "of a picture of more pixels than 32 bits can count"
    assert sum(array.nbytes for array in vars(found).values() if isinstance(array, np.ndarray)) == 2 * 40 * 16


def test_probabilities_kept_for_the_calibration_are_bounded() -> None:
    """100 pixels of each picture at least were kept: 4 GB for 10,000 pictures of 1,000 classes."""
    assert sampled_of_each(10, 11) == SAMPLED_PIXELS // 10
    assert sampled_of_each(10_000, 1000) * 10_000 * 1000 <= SAMPLED_NUMBERS
    assert sampled_of_each(10_000, 150) * 10_000 * 150 <= SAMPLED_NUMBERS
    assert sampled_of_each(10**6, 1000) == 1
