"""Enlarging by rows equals enlarging at once, and the arg-max of either is the label map."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from denselab.engine import enlarge
from denselab.engine.enlarge import arg_max, enlarge_logits, enlarged_rows, label_maps, row_bands

sizes = st.integers(1, 23)


@given(sizes, sizes, sizes, sizes, st.integers(1, 9))
def test_rows_equal_interpolate(h: int, w: int, height: int, width: int, step: int) -> None:
    logits = torch.randn(3, h, w, generator=torch.Generator().manual_seed(h * 31 + w))
    whole = F.interpolate(logits[None], size=(height, width), mode="bilinear", align_corners=False)[0]
    parts = [
        enlarged_rows(logits[None], (height, width), top, min(top + step, height))[0] for top in range(0, height, step)
    ]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-4)


def test_bands_stay_within_their_bytes_and_cover_all_rows() -> None:
    found = list(row_bands(150, (4001, 3001)))
    assert found[0][0] == 0
    assert found[-1][1] == 4001
    assert all(first[1] == second[0] for first, second in pairwise(found))
    assert max(bottom - top for top, bottom in found) * 150 * 3001 * 4 <= enlarge.BAND_BYTES
    assert list(row_bands(10**6, (2, 10**6))) == [(0, 1), (1, 2)]


@pytest.mark.parametrize("size", [(7, 9), (3, 4), (61, 5), (200, 300)])
def test_label_maps_in_bands_equal_the_whole(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(2, 5, 7, 9, generator=torch.Generator().manual_seed(3))
    whole = enlarge_logits(logits, size).argmax(dim=1).numpy()
    monkeypatch.setattr("denselab.engine.enlarge.BAND_BYTES", 4 * 10 * size[1] * 2)  # two rows at a time
    np.testing.assert_array_equal(np.stack(label_maps(logits, size)), whole)


@pytest.mark.parametrize(("classes", "dtype"), [(1, np.uint8), (255, np.uint8), (256, np.uint16), (300, np.uint16)])
def test_arg_max_of_tensors_and_of_arrays_is_the_same(classes: int, dtype: type) -> None:
    """Ties go to the first, as the label table orders them; the dtype is the smallest that also holds an ignored index."""
    planes = torch.randint(0, 5, (classes, 6, 7), generator=torch.Generator().manual_seed(classes)).float()
    found = arg_max(planes)
    assert found.dtype == arg_max(planes.numpy()).dtype == dtype
    assert np.array_equal(found, planes.numpy().argmax(axis=0))
    assert np.array_equal(arg_max(planes.numpy()), found)
