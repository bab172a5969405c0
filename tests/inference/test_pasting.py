"""Objects pasted by score, each step by hand, and the whole way through a model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError
from denselab.inference.instance_wise import boxes_of, growing
from denselab.inference.instances import InstanceWise
from denselab.inference.pasting import PastedObject, background_of, best_objects, object_of, pasted
from denselab.inference.plan import plan_for
from denselab.inference.run import labels_of, probs_of
from denselab.labels import LabelEntry, LabelSpace
from denselab.models.base import SegmentationModel

SPACE = LabelSpace(
    (
        LabelEntry(0, "ground", (0, 0, 0), "background"),
        LabelEntry(1, "red", (255, 0, 0)),
        LabelEntry(2, "blue", (0, 0, 255)),
    )
)
PIECES = np.repeat(np.array([[0, 0, 1, 1, 2, 2]], np.int32), 4, axis=0)  # three superpixels of 4x2
SIZES = np.array([8, 8, 8])


def probs(*of_class_1: float, other: float = 0.0) -> np.ndarray:
    """(3, 4, N): the probability of class 1 in each column, `other` for class 2, the rest for background."""
    first = np.tile(np.array(of_class_1, np.float32), (4, 1))
    second = np.full_like(first, other)
    return np.stack([1 - first - second, first, second])


def test_an_object_covers_superpixels_that_its_heat_map_fills_by_half() -> None:
    """Columns 1 to 4: superpixel 0 has half of its pixels in the box, at 0.9 a mean of 0.45."""
    found = object_of((0, 1, 4, 5), probs(0.9, 0.8, 0.6, 0.2), PIECES, SIZES, 0)
    assert found is not None
    assert (found.label, found.pieces.tolist()) == (1, [1])
    assert found.score == pytest.approx(0.7)
    assert object_of((0, 0, 4, 6), probs(*(0.4,) * 6), PIECES, SIZES, 0) is None


def test_the_class_is_that_of_the_largest_sum_without_background() -> None:
    found = object_of((0, 0, 4, 6), probs(*(0.1,) * 6, other=0.6), PIECES, SIZES, 0)
    assert found is not None
    assert (found.label, found.pieces.tolist()) == (2, [0, 1, 2])


def test_a_box_may_leave_the_picture_and_is_stretched_over_all_of_itself() -> None:
    """Twice as wide as its heat map, from two columns left of the picture on."""
    values = probs(0.0, 1.0, 1.0)
    found = object_of((-2, -2, 6, 4), np.concatenate([values, values], axis=1)[:, :4], PIECES, SIZES, 0)
    assert found is not None
    assert found.pieces.tolist() == [0, 1]


def thing(label: int, score: float, *pieces: int) -> PastedObject:
    return PastedObject(label, score, np.array(pieces))


def test_of_a_class_the_better_of_two_that_meet_stays() -> None:
    objects = [thing(1, 0.6, 0, 1), thing(1, 0.9, 1, 2), thing(2, 0.7, 1), thing(1, 0.55, 3)]
    assert [one.score for one in best_objects(objects)] == [0.9, 0.7, 0.55]
    assert [one.score for one in best_objects(objects, most=1)] == [0.9]


def test_the_best_lies_on_top() -> None:
    label, score = pasted(best_objects([thing(1, 0.6, 0, 1), thing(2, 0.9, 1, 2)]), 4, 0)
    assert label.tolist() == [1, 2, 2, 0]
    assert score.tolist() == pytest.approx([0.6, 0.9, 0.9, 1.0])


class Colours(SegmentationModel):
    """Scores of class 1 and 2 are the red and blue of a pixel, -8 to 8; background has 0."""

    def __init__(self) -> None:
        super().__init__(3)

    def coarse_logits(self, images: Tensor) -> Tensor:
        scores = images * 16 - 8
        return torch.stack([torch.zeros_like(scores[:, 0]), scores[:, 0], scores[:, 2]], dim=1)

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return coarse


def engine(space: LabelSpace = SPACE) -> TorchEngine:
    spec = ModelSpec(Architecture("fake", 3), space, Preprocessing((16, 16), (0.0,) * 3, (1.0,) * 3))
    return TorchEngine(spec, Colours().eval(), torch.device("cpu"))


def blocks() -> np.ndarray:
    """64x64 grey: a red square at the upper left, a blue one at the lower right."""
    image = np.full((64, 64, 3), 20, np.uint8)
    image[8:32, 8:32], image[32:56, 32:56] = (255, 20, 20), (20, 20, 255)
    return image


def paste(*boxes: tuple[int, int, int, int]) -> InstanceWise:
    return InstanceWise(lambda image: np.array(boxes, np.int64), aggregate="paste")


def test_two_boxes_paste_their_objects() -> None:
    how = paste((4, 4, 36, 36), (28, 28, 60, 60))
    plan, image = plan_for(engine(), instances=how), blocks()
    assert boxes_of(how, image, (16, 16)).tolist() == [[4, 4, 36, 36], [28, 28, 60, 60]], (
        "the whole picture is no object"
    )
    labels = labels_of(plan, image)
    expected = np.zeros((64, 64), np.uint8)
    expected[8:32, 8:32], expected[32:56, 32:56] = 1, 2
    assert (labels == expected).mean() > 0.97  # heat maps are a little blurred at their borders
    values = probs_of(plan, image)
    assert (values.argmax(0) == labels).all()
    np.testing.assert_allclose(values.sum(0), 1, atol=1e-6)


def test_without_a_box_all_is_background() -> None:
    assert not labels_of(plan_for(engine(), instances=paste((60, 60, 64, 64))), blocks()).any()


def test_what_cannot_be_pasted_is_told() -> None:
    space = LabelSpace(tuple(replace(entry, role="class") for entry in SPACE.classes))
    with pytest.raises(ConfigError, match="use max or mean"):
        background_of(space)
    with pytest.raises(ConfigError, match="takes probabilities"):
        replace(paste((0, 0, 4, 4)), scores="logits")
    with pytest.raises(ConfigError, match="use max or mean"):
        growing(engine(), paste((0, 0, 4, 4)), blocks(), [1])
    assert "pasted by score" in paste((0, 0, 4, 4)).told()
