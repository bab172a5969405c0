"""Hierarchical grouping against a slow one written from the paper's equations, and each similarity by hand."""

import numpy as np
import pytest

from denselab.regions.graph_segments import graph_segments
from denselab.regions.grouping import ALIKE, Pieces, binned, grouped, measured
from denselab.regions.superpixels import touching


def pieces_of(seed: int) -> Pieces:
    """About a dozen pieces of a made picture."""
    rng = np.random.default_rng(seed)
    channels = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((6, 6, 1))).astype(np.float32)
    channels += rng.uniform(0, 4, channels.shape).astype(np.float32)
    return measured(graph_segments(channels, 60, 10), binned(np.clip(channels, 0, 255)))


def slowly(pieces: Pieces, names: tuple[str, ...]) -> list[tuple[int, int]]:
    """The merges, with masks instead of sums and every similarity computed anew at each step."""
    masks = {n: pieces.labels == n for n in range(len(pieces.sizes))}
    sums = {n: [h[n] * pieces.sizes[n] for h in (pieces.colour, pieces.texture)] for n in masks}
    area = pieces.labels.size

    def alike(a: int, b: int) -> float:
        value = 0.0
        for kind, name in enumerate(("colour", "texture")):
            if name in names:
                value += np.minimum(sums[a][kind] / masks[a].sum(), sums[b][kind] / masks[b].sum()).sum()
        both = masks[a] | masks[b]
        rows, columns = np.nonzero(both)
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        value += (1 - both.sum() / area) * ("size" in names)
        return value + (1 - (box - both.sum()) / area) * ("fill" in names)

    def touch(a: int, b: int) -> bool:
        joined = np.where(masks[a], 1, np.where(masks[b], 2, 0))
        return [1, 2] in touching(joined.astype(np.int32)).tolist()

    merges: list[tuple[int, int]] = []
    while len(masks) > 1:
        pairs = [(a, b) for a in masks for b in masks if a < b and touch(a, b)]
        a, b = max(pairs, key=lambda pair: alike(*pair))
        new = len(pieces.sizes) + len(merges)
        masks[new] = masks.pop(a) | masks.pop(b)
        sums[new] = [x + y for x, y in zip(sums[a], sums[b], strict=True)]
        merges.append((a, b))
    return merges


@pytest.mark.parametrize("names", [ALIKE, ("texture", "size", "fill"), ("colour",), ("colour", "fill")])
def test_the_merges_are_those_of_the_equations(names: tuple[str, ...]) -> None:
    pieces = pieces_of(1)
    assert 8 <= len(pieces.sizes) <= 30
    ours = [tuple(sorted(pair)) for pair in grouped(pieces, names).tolist()]
    assert ours == slowly(pieces, names)


def test_measures_by_hand() -> None:
    """A left half of value 0 and a right half of 255: one bin each, and texture only at the border."""
    labels = np.zeros((4, 6), np.int32)
    labels[:, 3:] = 1
    channels = np.where(labels[..., None] == 1, 255, 0).astype(np.float32)
    pieces = measured(labels, binned(channels))
    assert pieces.sizes.tolist() == [12, 12]
    assert pieces.boxes.tolist() == [[0, 0, 4, 3], [0, 3, 4, 6]]
    assert pieces.colour[0].nonzero()[0].tolist() == [0]
    assert pieces.colour[1].nonzero()[0].tolist() == [24]
    assert pieces.texture.shape == (2, 80)
    np.testing.assert_allclose(pieces.texture.sum(axis=1), 1, rtol=1e-6)


def test_two_groups_that_do_not_touch_end_apart() -> None:
    """Labels are whole pictures in practice; a single piece has nothing to join."""
    one = measured(np.zeros((3, 3), np.int32), binned(np.zeros((3, 3, 1), np.float32)))
    assert grouped(one, ALIKE).shape == (0, 2)
