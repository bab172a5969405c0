"""Enlarging by rows equals enlarging at once; views are averaged as probabilities."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from denselab.engine import segmenter as segmenter_module
from denselab.engine.segmenter import Segmenter, enlarged_rows, row_bands
from denselab.errors import ConfigError
from denselab.inference.augmented import blended_labels, blended_probs, run_views, view_sizes

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
    assert max(bottom - top for top, bottom in found) * 150 * 3001 * 4 <= segmenter_module.BAND_BYTES
    assert list(row_bands(10**6, (2, 10**6))) == [(0, 1), (1, 2)]


def test_probabilities_are_averaged_not_logits() -> None:
    """Softmax (0.9, 0.1) and (0.2, 0.8) give (0.55, 0.45); the mean of the logits would be (0.6, 0.4)."""
    first = torch.tensor([0.9, 0.1]).log().view(2, 1, 1)
    second = torch.tensor([0.2, 0.8]).log().view(2, 1, 1)
    probs = blended_probs([first, second], (3, 4))
    assert probs.shape == (2, 3, 4)
    assert np.allclose(probs[:, 1, 2], [0.55, 0.45])
    assert (blended_labels([first, second], (3, 4)) == 0).all()


def test_one_view_gives_its_own_arg_max_in_the_smallest_dtype() -> None:
    logits = torch.zeros(300, 2, 2)
    logits[299] = 1
    labels = blended_labels([logits], (5, 5))
    assert labels.dtype == np.uint16
    assert (labels == 299).all()
    assert blended_labels([logits[:3]], (5, 5)).dtype == np.uint8


def test_mirrored_views_come_back_mirrored(segmenter: Segmenter) -> None:
    """A pixelwise network must give the mirrored view the same logits as the plain one."""
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    plain, mirrored = run_views(segmenter, image, (32, 32), flip=True)
    assert torch.allclose(plain, mirrored, atol=1e-5)
    assert not torch.allclose(plain, plain.flip(2), atol=1e-2)


def test_each_scale_is_one_run_at_its_size(segmenter: Segmenter) -> None:
    image = np.zeros((20, 40, 3), dtype=np.uint8)
    views = run_views(segmenter, image, (32, 32), (0.5, 1.0, 2.0))
    assert [tuple(view.shape) for view in views] == [(4, 8, 16), (4, 16, 32), (4, 32, 64)]


def test_scales_are_checked() -> None:
    assert view_sizes((10, 1), (0.25, 1.0)) == ((2, 1), (10, 1))
    for scales in ((), (0.0, 1.0)):
        with pytest.raises(ConfigError, match="scales"):
            view_sizes((10, 10), scales)
