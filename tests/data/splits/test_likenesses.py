"""Pictures in small, and which of them show one scene."""

import numpy as np
import pytest
from PIL import Image

from denselab.data.splits import likenesses
from denselab.data.splits.likenesses import alike, look_of, looks


def smooth(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC))


def test_pairs_by_position_and_none_between_even_pictures():
    even = look_of(np.zeros((50, 50, 3), np.uint8))
    assert even is None
    found = [
        look_of(smooth(1)),
        even,
        look_of(smooth(2)),
        look_of(np.clip(smooth(1).astype(int) + 9, 0, 255).astype(np.uint8)),
        even,
    ]
    assert [(pair.one, pair.other) for pair in alike(found)] == [(0, 3)]
    assert alike([even, even]) == alike([]) == []


def test_a_quick_look_at_a_jpeg_is_that_of_the_picture(tmp_path):
    large = np.asarray(Image.fromarray(smooth(3)).resize((1600, 1200), Image.Resampling.BICUBIC))
    Image.fromarray(large).save(tmp_path / "a.jpg", quality=95)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    quick, damaged = looks([tmp_path / "a.jpg", tmp_path / "b.jpg"])
    assert damaged is None
    assert quick is not None
    whole = look_of(large)
    assert whole is not None
    assert np.bitwise_count(quick.bits ^ whole.bits).sum() <= 8


def test_nothing_is_looked_at_where_it_would_take_minutes(save, monkeypatch: pytest.MonkeyPatch):
    paths = [save(f"{n}.png", smooth(n)) for n in range(3)]
    assert all(looks(paths))
    monkeypatch.setattr(likenesses, "PIXELS", 3 * 160 * 120 - 1)
    assert looks(paths) == [None, None, None]
