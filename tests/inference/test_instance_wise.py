"""Instance-wise inference against results by hand, against a plain loop, and in every order and batch size."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from denselab.data.resizing.resample import resample_image
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, ShapeError
from denselab.inference import instance_wise
from denselab.inference.instance_wise import boxes_of, cut
from denselab.inference.instances import PRESETS, InstanceWise, instances_for
from denselab.inference.plan import Plan, plan_for
from denselab.inference.run import labels_of, planes_of, probs_of
from denselab.labels import LabelEntry, LabelSpace
from denselab.models.base import SegmentationModel

COLOURS = ((0, 0, 0), (255, 0, 0), (0, 255, 0))


class Mean(SegmentationModel):
    """The score of each class is one number for all of a crop: the mean of its colour channel, -10 to 10."""

    def __init__(self) -> None:
        super().__init__(3)
        self.batches: list[int] = []

    def coarse_logits(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return (images.mean(dim=(2, 3), keepdim=True) * 20 - 10).expand(-1, -1, *images.shape[2:])

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return coarse


class Pixels(Mean):
    """The score of each class is the colour channel at each pixel, -10 to 10."""

    def coarse_logits(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return images * 20 - 10


def engine_of(network: Mean, side: int = 8) -> TorchEngine:
    space = LabelSpace(tuple(LabelEntry(i, f"c{i}", c) for i, c in enumerate(COLOURS)))
    spec = ModelSpec(Architecture("fake", 3), space, Preprocessing((side, side), (0.0,) * 3, (1.0,) * 3))  # type: ignore[arg-type]
    return TorchEngine(spec, network.eval(), torch.device("cpu"))


def given_boxes(*rows: tuple[int, int, int, int], **fields: Any) -> InstanceWise:
    boxes = np.array(rows, np.int64).reshape(-1, 4)
    return InstanceWise(**{"proposals": lambda image: boxes, "whole": False, "scores": "logits", **fields})


def raw(engine: TorchEngine, how: InstanceWise, image: np.ndarray) -> np.ndarray:
    """The joined scores before any softmax, (K, H, W)."""
    from denselab.inference.instance_wise import joined_bands

    boxes = boxes_of(how, image, engine.spec.preprocessing.imgsz)
    return np.concatenate([band for _, band in joined_bands(engine, how, image, boxes)], axis=1)


def halves() -> np.ndarray:
    """4x6: the left half has red 255, green 0, blue 51; the right half red 51, green 255, blue 0."""
    image = np.zeros((4, 6, 3), np.uint8)
    image[:, :3] = (255, 0, 51)
    image[:, 3:] = (51, 255, 0)
    return image


def test_maximum_and_mean_by_hand() -> None:
    """Two boxes, one of each half, and a third that covers columns 2 to 4: half of it is of either colour.

    A channel's mean is turned into a score by 20 x - 10: left (10, -10, -6), right (-6, 10, -10), middle (2, 0, -8).
    """
    boxes = [(0, 0, 4, 3), (0, 3, 4, 6), (0, 2, 4, 4)]
    engine = engine_of(Mean(), side=2)
    largest = raw(engine, given_boxes(*boxes, aggregate="max"), halves())
    assert largest[:, 0, 0] == pytest.approx([10, -10, -6])
    assert largest[:, 0, 2] == pytest.approx([10, 0, -6])
    assert largest[:, 3, 3] == pytest.approx([2, 10, -8])
    assert largest[:, 3, 5] == pytest.approx([-6, 10, -10])
    mean = raw(engine, given_boxes(*boxes, aggregate="mean"), halves())
    assert mean[:, 0, 0] == pytest.approx([10, -10, -6])
    assert mean[:, 0, 2] == pytest.approx([6, -5, -7])
    assert mean[:, 3, 3] == pytest.approx([-2, 5, -9])
    floor = raw(engine, given_boxes(*boxes, aggregate="max", floor=0.0), halves())
    assert floor[:, 0, 0] == pytest.approx([10, 0, 0])
    assert floor[:, 3, 3] == pytest.approx([2, 10, 0])


def test_probabilities_are_joined_and_sum_to_one() -> None:
    """Maximum: each class's largest share, divided by their sum."""
    boxes = [(0, 0, 4, 3), (0, 3, 4, 6), (0, 2, 4, 4)]
    plan = Plan((engine_of(Mean(), side=2),), instances=given_boxes(*boxes, aggregate="max", scores="probs"))
    probs = probs_of(plan, halves())
    left, middle = (np.exp(v) / np.exp(v).sum() for v in (np.array([10.0, -10, -6]), np.array([2.0, 0, -8])))
    largest = np.maximum(left, middle)
    assert probs[:, 0, 2] == pytest.approx(largest / largest.sum(), rel=1e-5)
    assert probs.sum(axis=0) == pytest.approx(np.ones((4, 6)))
    assert np.array_equal(labels_of(plan, halves()), probs.argmax(axis=0))
    raw_plan = Plan(plan.engines, instances=given_boxes(*boxes, aggregate="max"))
    expected = np.exp([10.0, 0, -6])
    assert probs_of(raw_plan, halves())[:, 0, 2] == pytest.approx(expected / expected.sum(), rel=1e-5)


def test_boxes_that_leave_the_picture_see_black() -> None:
    """A box of 4x4 of which a quarter lies in the picture: the mean is a quarter of the colour."""
    engine = engine_of(Mean(), side=2)
    image = np.full((4, 4, 3), 255, np.uint8)
    scores = raw(engine, given_boxes((-2, -2, 2, 2), aggregate="max"), image)
    assert scores[:, 0, 0] == pytest.approx([-5, -5, -5], abs=0.05)
    assert scores[:, 3, 3] == pytest.approx([0, 0, 0]), "no box shows it"
    assert cut(image, (-1, 2, 2, 6))[..., 0].tolist() == [[0, 0, 0, 0], [255, 255, 0, 0], [255, 255, 0, 0]]


def test_one_pixel_none_and_outside() -> None:
    engine, image = engine_of(Mean(), side=4), halves()
    one = raw(engine, given_boxes((1, 5, 2, 6), aggregate="max", floor=0.0), image)
    assert one[:, 1, 5] == pytest.approx([0, 10, 0])
    assert np.count_nonzero(one) == 1
    none = Plan((engine,), instances=given_boxes())
    assert probs_of(none, image) == pytest.approx(np.full((3, 4, 6), 1 / 3))
    assert labels_of(none, image).max() == 0
    outside = given_boxes((-5, 0, 0, 3), (4, 0, 9, 3), (0, 6, 2, 8), (0, -4, 2, 0))
    assert len(boxes_of(outside, image, (4, 4))) == 0
    only_whole = replace(outside, whole=True)
    assert boxes_of(only_whole, image, (4, 4)).tolist() == [[0, 0, 4, 6]]


def test_a_box_without_pixels_is_an_error() -> None:
    with pytest.raises(ShapeError, match="has no pixels"):
        labels_of(Plan((engine_of(Mean()),), instances=given_boxes((2, 2, 2, 5))), halves())


def by_loop(engine: TorchEngine, how: InstanceWise, boxes: list[tuple[int, ...]], image: np.ndarray) -> np.ndarray:
    """The joined scores by whole arrays per box, as one would write them down first."""
    height, width = image.shape[:2]
    layers = []
    for top, left, bottom, right in boxes:
        crop = np.zeros((bottom - top, right - left, 3), np.uint8)
        for y in range(max(top, 0), min(bottom, height)):
            for x in range(max(left, 0), min(right, width)):
                crop[y - top, x - left] = image[y, x]
        stretched = np.empty((1, *engine.spec.preprocessing.imgsz, 3), np.uint8)
        resample_image(crop, stretched.shape[1:3], (0, 0, *stretched.shape[1:3]), stretched[0])
        logits = engine.logits(stretched)
        # In one go, and of a map in channels_last: torch reduces a contiguous one to a width of 1 wrongly.
        stored = logits.contiguous(memory_format=torch.channels_last)
        back = torch.nn.functional.interpolate(
            stored, size=crop.shape[:2], mode="bilinear", align_corners=False, antialias=True
        )[0].numpy()
        layer = np.full((3, height, width), np.nan)
        for y in range(max(top, 0), min(bottom, height)):
            for x in range(max(left, 0), min(right, width)):
                layer[:, y, x] = back[:, y - top, x - left]
        layers.append(layer)
    stack = np.stack(layers)
    seen = ~np.isnan(stack).all(axis=0)
    joined = np.full((3, height, width), how.floor or 0.0)
    with np.errstate(all="ignore"):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            chosen = np.nanmax(stack, axis=0) if how.aggregate == "max" else np.nanmean(stack, axis=0)
    joined[seen] = chosen[seen]
    return joined if how.floor is None or how.aggregate == "mean" else np.maximum(joined, how.floor)


BOX = st.tuples(st.integers(-4, 18), st.integers(-4, 22), st.integers(1, 20), st.integers(1, 24)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(max_examples=40)
@given(
    st.lists(BOX, min_size=1, max_size=6, unique=True),
    st.sampled_from(["max", "mean"]),
    st.sampled_from([None, 0.0]),
    st.integers(1, 7),
    st.randoms(use_true_random=False),
)
def test_equal_to_a_plain_loop_for_any_order_and_batch(
    boxes: list[tuple[int, int, int, int]], aggregate: str, floor: float | None, batch: int, random: Any
) -> None:
    image = np.random.default_rng(3).integers(0, 256, (19, 23, 3), dtype=np.uint8)
    engine = engine_of(Pixels(), side=6)
    met = [b for b in boxes if b[0] < 19 and b[1] < 23 and b[2] > 0 and b[3] > 0]
    how = given_boxes(*boxes, aggregate=aggregate, floor=floor, batch=batch)
    joined = raw(engine, how, image)
    if met:
        assert joined == pytest.approx(by_loop(engine, how, met, image), abs=1e-4)
    shuffled = list(boxes)
    random.shuffle(shuffled)
    again = raw(engine, given_boxes(*shuffled, aggregate=aggregate, floor=floor, batch=7), image)
    assert np.array_equal(joined, again)


def test_bands_of_rows_join_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(4).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    how = given_boxes((0, 0, 40, 30), (-3, 5, 20, 28), (15, 2, 18, 9), (30, 20, 45, 36), aggregate="mean", batch=2)
    engine = engine_of(Pixels())
    whole = raw(engine, how, image)
    monkeypatch.setattr(instance_wise, "BAND_BYTES", 4 * 9 * 30 * 7)  # 7 rows
    assert raw(engine, how, image) == pytest.approx(whole, abs=1e-5)


def test_memory_holds_the_boxes_that_a_band_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes below a band are not run before their turn; those above it are dropped."""
    from denselab.inference.instance_wise import joined_bands

    monkeypatch.setattr(instance_wise, "BAND_BYTES", 4 * 9 * 8 * 10)  # 10 rows
    rows = [(10 * i, 0, 10 * i + 10, 8) for i in range(10)]
    engine = engine_of(Mean())
    how = given_boxes(*rows, batch=1)
    image = np.zeros((100, 8, 3), np.uint8)
    bands = joined_bands(engine, how, image, boxes_of(how, image, (8, 8)))
    for number, _ in enumerate(bands, 1):
        assert len(engine.network.batches) <= number + 1
    assert len(engine.network.batches) == 10


def test_the_whole_picture_as_the_only_box_is_the_plain_run() -> None:
    image = np.random.default_rng(5).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    engine = engine_of(Pixels())
    how = given_boxes(whole=True, scores="probs")
    assert planes_of(Plan((engine,), instances=how), image) == pytest.approx(
        planes_of(Plan((engine,)), image), abs=1e-6
    )


def test_the_smallest_side_counts_after_enlarging_and_the_best_boxes_are_taken() -> None:
    boxes = [(0, 0, 111, 200), (0, 0, 112, 112), (5, 5, 120, 130), (0, 0, 300, 300)]
    image = np.zeros((300, 300, 3), np.uint8)
    how = given_boxes(*boxes, smallest=112, boxes=2)
    assert boxes_of(how, image, (8, 8)).tolist() == [list(boxes[1]), list(boxes[2])]


def test_the_batch_size_bounds_a_run() -> None:
    engine = engine_of(Mean())
    labels_of(Plan((engine,), instances=given_boxes(*[(0, 0, 4, i) for i in range(1, 6)], batch=2)), halves())
    assert engine.network.batches == [2, 2, 1]


def test_the_released_readout_is_off_by_one() -> None:
    engine = engine_of(Pixels(), side=4)
    image = np.random.default_rng(6).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    how = given_boxes((1, 2, 7, 8), aggregate="max", floor=0.0)
    shifted = raw(engine, replace(how, shift=1), image)
    assert np.array_equal(shifted[:, 1:, 1:], raw(engine, how, image)[:, :-1, :-1])
    assert not shifted[:, 0].any()


def test_options_become_a_value_or_are_refused() -> None:
    assert instances_for() is None
    assert instances_for("release") == PRESETS["release"]
    assert instances_for("paper", boxes=10) == replace(PRESETS["paper"], boxes=10)
    assert instances_for(proposals="windows", aggregate="max") == InstanceWise(aggregate="max")
    for wrong, message in (
        ({"preset": "released"}, "did you mean release"),
        ({"proposals": "edgebox"}, "did you mean edgeboxes"),
        ({"aggregate": "sum"}, "`aggregate` 'sum'"),
        ({"boxes": 0}, "`boxes` is 0; expected a whole number of 1 or more"),
    ):
        with pytest.raises(ConfigError, match=message):
            instances_for(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="enlarge 0.5"):
        InstanceWise(enlarge=0.5)


@pytest.mark.parametrize("options", [{"window": (32, 32)}, {"tta": True}, {"samples": 3}])
def test_boxes_and_what_else_chooses_the_view_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="boxes choose what the network sees"):
        plan_for(engine_of(Mean()), instances=InstanceWise(), **options)
