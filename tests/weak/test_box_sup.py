"""BoxSup's objective by hand, and the choice of one among the best."""

import numpy as np
import pytest

from denselab.data.feed.fit import shrunk_size
from denselab.data.weak_labels import Box
from denselab.regions.segments import segments_of
from denselab.weak.box_sup import NOBODY, choose, masks_of, regression_costs
from denselab.weak.candidates import SIDE, reduced_box

BOX = Box(1, 0, 0, 2, 2)


def masks() -> np.ndarray:
    """Of a picture of 2x4: the box itself, its left column, its upper row and one pixel more, the far right column."""
    found = np.zeros((4, 2, 4), bool)
    found[0, :, :2] = True
    found[1, :, 0] = True
    found[2, 0, :3] = True
    found[3, :, 3] = True
    return found


def probabilities() -> np.ndarray:
    """The class is sure (p = 1) in the left column, and has p = 1/e elsewhere; the background has 1/e everywhere."""
    probs = np.full((2, 2, 4), np.exp(-1), np.float32)
    probs[1, :, 0] = 1.0
    return probs


def test_the_cost_of_the_labels_by_hand() -> None:
    """-log p is 1, but 0 for the class in the left column.

    The box: 2 pixels cost 0, 2 cost 1, over 4 pixels. The column: 0, and the 2 others of the box cost 1 as background,
    over 4. The row: 0 + 1 + 1, and the 2 lower pixels of the box 1 each, over the 5 pixels of both together.
    """
    costs = -np.log(probabilities())
    segments = segments_of(masks()[:3])
    np.testing.assert_allclose(regression_costs(segments, BOX, costs[1], costs[0]), [2 / 4, 2 / 4, 4 / 5], atol=1e-6)
    alone = regression_costs(segments, BOX, costs[1], None)
    np.testing.assert_allclose(alone, [2 / 4, 0, 2 / 3], atol=1e-6)


def test_the_objective_by_hand() -> None:
    """Overlaps of the tightest boxes: 1, 1/2, 2/5 (a box of 1x3), and 0, which is no candidate.

    Without a network the costs are 0, 1/2 and 3/5, with it and lambda 3: 3/2, 2 and 3. A background that is sure of the
    right column takes it from the box: then the column costs 1/2 and nothing more.
    """
    segments = segments_of(masks())
    draw = np.random.default_rng(0)
    assert choose(segments, [BOX], [1], None, 0, draw, best=1) == [0]
    assert choose(segments, [BOX], [1], probabilities(), 0, draw, best=1) == [0]
    sure = probabilities()
    sure[0, :, 1] = 1.0
    assert choose(segments, [BOX], [1], sure, 0, draw, best=1) == [1], "1/2 + 3 * 0 against 0 + 3 * 2/4"
    assert choose(segments, [BOX], [1], sure, 0, draw, weight=0.9, best=1) == [0], "0.45 against 1/2"


def test_one_of_the_best_is_drawn() -> None:
    segments, seen = segments_of(masks()), set[int]()
    for seed in range(40):
        seen |= set(choose(segments, [BOX], [1], None, 0, np.random.default_rng(seed), best=2))
    assert seen == {0, 1}
    every = {choose(segments, [BOX], [1], None, 0, np.random.default_rng(seed), best=5)[0] for seed in range(40)}
    assert every == {0, 1, 2}, "the far column is no candidate"


def test_a_box_that_no_segment_is_near_is_filled() -> None:
    far = Box(1, 0, 3, 1, 4)
    segments = segments_of(masks()[:2])
    assert choose(segments, [far], [1], None, 0, np.random.default_rng(0)) == [NOBODY]
    assert masks_of(segments, [far], [NOBODY])[0].tolist() == [[True]]
    none = segments_of(np.zeros((0, 2, 4), bool))
    assert choose(none, [BOX], [1], None, 0, np.random.default_rng(0)) == [NOBODY]


def test_masks_end_at_their_box() -> None:
    segments = segments_of(masks())
    assert masks_of(segments, [BOX], [2])[0].tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 600, 800), (0, 0, 240, 320)),
        ((10, 20, 12, 21), (4, 8, 5, 9)),
        ((599, 799, 600, 800), (239, 319, 240, 320)),
    ],
)
def test_boxes_on_the_reduced_picture(box: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """600x800 is reduced by 0.4; no box vanishes."""
    assert shrunk_size((600, 800), SIDE) == (240, 320)
    assert reduced_box(Box(3, *box), (600, 800), (240, 320)) == Box(3, *expected)
    assert shrunk_size((100, 50), SIDE) == (100, 50)
    assert shrunk_size((2, 4000), SIDE) == (1, 320)
