"""Receptive fields carried layer by layer, against a brute-force count of the pixels that each cell reads."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denselab.inspection.reach import PIXEL, Reach, gathered, joined, resized, shifted, spread, whole, windows

MARGIN = 4000  # cells on each side of the brute-force picture: more than any case here reads
Sight = Callable[[int], set[int]]
Step = tuple[str, int, int, int, int]


def brute(step: Step, below: Sight) -> Sight:
    """The set of pixels that cell i sees, straight from the definition of the layer."""
    kind, kernel, stride, pad, dilation = step

    def window(i: int) -> set[int]:
        return set().union(*(below(i * stride - pad + t * dilation) for t in range(kernel)))

    def transposed(i: int) -> set[int]:
        taps = [i + pad - t * dilation for t in range(kernel)]
        return set().union(*(below(j // stride) for j in taps if j % stride == 0), set())

    def bilinear(i: int) -> set[int]:
        twice = 2 * i + 1 - stride  # 2 * stride times the source coordinate (i + 0.5) / stride - 0.5
        j, remainder = divmod(twice, 2 * stride)
        return below(j) | (below(j + 1) if remainder else set())

    return {"window": window, "transposed": transposed, "bilinear": bilinear}[kind]


def carried(step: Step, below: Reach) -> Reach:
    kind, kernel, stride, pad, dilation = step
    if kind == "window":
        return windows(below, kernel, stride, pad, dilation)
    if kind == "transposed":
        return spread(below, kernel, stride, pad, dilation)
    return resized(below, MARGIN, MARGIN * stride, 2)


steps = st.tuples(
    st.sampled_from(["window", "transposed", "bilinear"]),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 3),
    st.integers(1, 3),
)


@given(st.lists(steps, min_size=1, max_size=4), st.integers(-20, 20))
@settings(max_examples=150)
def test_any_stack_of_layers_sees_what_counting_says(stack: list[Step], cell: int) -> None:
    sight: Sight = lambda i: {i}  # noqa: E731
    reach = PIXEL
    for step in stack:
        sight, reach = brute(step, sight), carried(step, reach)
    seen = sight(cell)
    interval = reach.interval(cell)
    assert interval is not None
    if seen:
        assert interval == (min(seen), max(seen))
    else:
        assert interval[0] > interval[1], "a cell between nails sees nothing"


def test_vgg_by_hand() -> None:
    """conv3 and pool2: 3, 5, 6 | 10, 14, 16 | 24 ..: each convolution adds (k - 1) jumps, each pool one and doubles it."""
    reach, fields = PIXEL, []
    for convs in (2, 2, 3, 3, 3):
        for _ in range(convs):
            reach = windows(reach, 3, pad=1)
        reach = windows(reach, 2, 2)
        fields.append((reach.extent, reach.jump))
    assert fields == [(6, 2), (16, 4), (44, 8), (100, 16), (212, 32)]
    assert windows(reach, 7).extent == 404


def test_where_a_cell_looks() -> None:
    """conv 3/2/1: cell 0 sees the pixels -1, 0, 1; cell 4 sees 7, 8, 9."""
    reach = windows(PIXEL, 3, 2, 1)
    assert reach.interval(0) == (-1, 1)
    assert reach.interval(4) == (7, 9)


def test_where_a_cell_lies() -> None:
    """Down by 8 and up again, behind a pad and its crop, a cell is back on its pixel."""
    coarse = windows(windows(PIXEL, 3, 1, 1), 8, 8)
    assert coarse.centre == 3.5
    assert spread(coarse, 8, 8).centre == 0
    assert spread(coarse, 16, 8, 4).centre == 0
    assert resized(coarse, 10, 80, 2).centre == 0
    assert resized(coarse, 10, 73, 2, align_corners=True).centre == 3.5
    assert shifted(windows(PIXEL, 1, 1, 100), 100).centre == 0
    assert joined([whole(), coarse]).centre == 3.5
    assert windows(whole(4.0, 1.5), 3, 2, 1).centre == 1.5


def test_an_unpooled_map_then_a_convolution() -> None:
    """pool 2 (sees 2), unpool 2 (still 2), conv 3: at least two pools' cells, 4 pixels, wherever it stands."""
    unpooled = spread(windows(PIXEL, 2, 2), 2, 2)
    assert unpooled.extent == 2
    assert unpooled.jump == 1
    after = windows(unpooled, 3, pad=1)
    assert [after.interval(i) for i in (0, 1)] == [(-2, 1), (0, 3)]
    assert after.extent == 4
    assert windows(after, 3, pad=1).extent == 6


def test_a_bed_of_nails_has_cells_that_see_nothing() -> None:
    nails = spread(windows(PIXEL, 2, 2), 1, 2)
    assert nails.interval(2) == (2, 3)
    assert nails.interval(3) == (float("inf"), float("-inf"))
    assert windows(nails, 3, pad=1).extent == 4


def test_joined_is_the_union_with_its_offset() -> None:
    coarse, fine = windows(PIXEL, 8, 8), windows(PIXEL, 3, pad=1)
    both = joined([fine, shifted(spread(coarse, 8, 8), 4)])
    assert both.interval(0) == (-1, 7)
    assert both.interval(3) == (0, 7)
    assert both.interval(4) == (3, 15)
    assert joined([fine, whole()]).is_whole
    assert joined([fine, whole()]).jump == 1


@pytest.mark.parametrize(("before", "after"), [(19, 37), (5, 3), (33, 65)])
@pytest.mark.parametrize("align", [True, False])
def test_odd_factors_are_bounded(before: int, after: int, align: bool) -> None:
    """Never less than what interpolation reads, and at most one cell more at each side."""
    reach = resized(windows(PIXEL, 2, 2), before, after, 2, align)
    step = (before - 1) / (after - 1) if align else before / after
    for i in range(1, after - 1):
        source = i * step if align else (i + 0.5) * step - 0.5
        low, high = 2 * int(source // 1), 2 * int(-(-source // 1)) + 1
        interval = reach.interval(i)
        assert interval is not None
        assert low - 2.01 <= interval[0] <= low + 1e-6
        assert high - 1e-6 <= interval[1] <= high + 2.01


def test_flattening_gathers_every_cell() -> None:
    assert gathered(windows(PIXEL, 3, 2, 1), 7).extent == 3 + 6 * 2


def test_a_picture_wide_value_stays_so() -> None:
    for reach in (windows(whole(4.0), 3, 2), spread(whole(4.0), 4, 2), resized(whole(4.0), 3, 6, 2)):
        assert reach.extent is None
        assert reach.interval(0) is None
    assert [windows(whole(4.0), 3, 2).jump, spread(whole(4.0), 4, 2).jump] == [8, 2]


def test_the_extent_never_shrinks() -> None:
    reach = PIXEL
    extents = [1]
    for kernel, stride in ((11, 4), (3, 2), (5, 1), (3, 2), (3, 1), (3, 1), (3, 1), (3, 2), (6, 1)):
        reach = windows(reach, kernel, stride)
        extents.append(reach.extent or 0)
    assert all(a <= b for a, b in pairwise(extents))
    assert extents[-1] == 355, "CaffeNet up to fc6, FCN paper, table 1"
