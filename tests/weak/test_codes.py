"""Codes in label maps: what the E-step makes of each kind, by hand; and the loss of a mixed batch."""

import numpy as np
import pytest
import torch

from denselab.errors import DataError
from denselab.weak.codes import CodeBook, box_sets
from denselab.weak.marginal import marginal_loss
from denselab.weak.mixed_loss import mixed_loss


def book(**changes: object) -> CodeBook:
    return CodeBook(3, 255, 0, **changes)  # type: ignore[arg-type]


def test_certain_classes_ignore_the_scores() -> None:
    """Bbox-Rect and Bbox-Seg: the class stands in the code."""
    own = book()
    coded = own.certain(np.array([[0, 1], [2, 255]], np.uint8))
    assert coded.tolist() == [[3, 4], [5, 255]]
    labels, weak = own.decided(torch.randn(1, 3, 2, 2), torch.from_numpy(coded.astype(np.int64))[None])
    assert labels.tolist() == [[[0, 1], [2, 255]]]
    assert weak.tolist() == [True]


def test_strong_pictures_stay_as_they_are() -> None:
    plain = torch.tensor([[[0, 1, 255]]])
    labels, weak = book().decided(torch.randn(1, 3, 1, 3), plain)
    assert labels is plain
    assert weak.tolist() == [False]


def test_boxes_lift_their_classes_inside_and_the_background_everywhere() -> None:
    """Bbox-EM-Fixed with biases 5 and 6: scores 0 0 0.5 become 5 0 0.5 outside, 5 6 0.5 in a box of 1, 5 6 6.5 in both."""
    own = book(tags="em-fixed")
    codes = torch.tensor([[[own.boxed([]), own.boxed([1]), own.boxed([2, 1]), 255]]])
    scores = torch.tensor([0.0, 0.0, 0.5])[None, :, None, None].expand(1, 3, 1, 4)
    labels, _ = own.decided(scores, codes)
    assert labels.tolist() == [[[0, 1, 2, 255]]]
    confident = torch.tensor([0.0, 0.0, 9.0])[None, :, None, None].expand(1, 3, 1, 4)
    assert own.decided(confident, codes)[0].tolist() == [[[2, 2, 2, 255]]], "a bias is no ban"


def test_tags_by_em_adapt_leave_out_what_is_padding() -> None:
    """Of 5 pixels, 2 are lifted to the background, 1 to the class of the tag; the sixth is padding."""
    own = book()
    codes = torch.full((1, 1, 6), own.tagged([2]))
    codes[..., 5] = 255
    scores = torch.zeros(1, 3, 1, 6)
    scores[0, 1] = 9.0  # absent, and sure of itself
    scores[0, 2, 0] = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.5, 7.0])
    labels, _ = own.decided(scores, codes)
    assert labels.tolist() == [[[2, 2, 0, 0, 0, 255]]]
    fixed = book(tags="em-fixed")
    assert fixed.decided(scores, torch.full((1, 1, 6), fixed.tagged([2])))[0][0, 0].tolist() == [2, 1, 1, 1, 1, 2]


def test_codes_pass_over_the_number_of_ignored_pixels() -> None:
    own = CodeBook(200, 255, None)
    codes = own.certain(np.arange(200, dtype=np.uint8)[None])
    assert 255 not in codes
    assert len(set(codes[0].tolist())) == 200
    labels, _ = own.decided(torch.zeros(1, 200, 1, 200), torch.from_numpy(codes.astype(np.int64))[None])
    assert labels[0, 0].tolist() == list(range(200))
    with pytest.raises(DataError, match="more than 65535"):
        CodeBook(40_000, 65_535, None).certain(np.zeros((1, 1), np.uint16))


def test_tags_may_leave_every_pixel_open() -> None:
    """With 200 classes the codes of sets begin behind the number of ignored pixels, and class codes end before them."""
    own = CodeBook(200, 255, 0, tags="marginal")
    certain = torch.from_numpy(own.certain(np.full((1, 3), 199, np.uint8)).astype(np.int64))
    tagged = torch.tensor([[own.tagged([7]), own.tagged([7]), 255]])
    labels = torch.stack([torch.zeros(1, 3, dtype=torch.int64), tagged, certain])
    ((picture, classes, here),) = own.latent(labels)
    assert (picture, classes, here.tolist()) == (1, (0, 7), [[True, True, False]])
    decided, weak = own.decided(torch.randn(3, 200, 1, 3), labels)
    assert decided.tolist() == [[[0] * 3], [[255] * 3], [[199] * 3]]
    assert weak.tolist() == [False, True, True]
    assert CodeBook(200, 255, 0).latent(labels) == []


def test_the_marginal_loss_by_hand() -> None:
    """Probabilities 1/2, 1/4, 1/4 and 1/8, 1/8, 3/4; classes 0 and 1 may be there; the third pixel is padding."""
    scores = torch.tensor([[[2.0, 1.0, 9.0]], [[1.0, 1.0, 0.0]], [[1.0, 6.0, 0.0]]]).log().requires_grad_()
    here = torch.tensor([[True, True, False]])
    loss = marginal_loss(scores, (0, 1), here)
    assert float(loss.detach()) == pytest.approx((np.log(4 / 3) + np.log(4)) / 2)
    loss.backward()
    soft = np.array([[2 / 3, 1 / 2], [1 / 3, 1 / 2], [0, 0]])  # of the exact E-step
    own = np.array([[1 / 2, 1 / 8], [1 / 4, 1 / 8], [1 / 4, 3 / 4]])
    assert scores.grad is not None
    assert scores.grad[:, 0, :2].numpy() == pytest.approx((own - soft) / 2, abs=1e-6)
    assert not scores.grad[..., 2].any()


def test_a_picture_that_shows_every_class_teaches_nothing_and_no_pixel_is_no_loss() -> None:
    scores = torch.randn(3, 2, 2, requires_grad=True)
    everything = marginal_loss(scores, (0, 1, 2), torch.ones(2, 2, dtype=torch.bool))
    nothing = marginal_loss(scores, (0,), torch.zeros(2, 2, dtype=torch.bool))
    (everything + nothing).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert float(everything.detach()) == float(nothing.detach()) == 0
    assert scores.grad.abs().max() < 1e-7


def test_a_batch_of_masks_boxes_and_tags_weighs_every_weak_picture_alike() -> None:
    """One strong picture with a loss of 2, one of boxes with 4, two of tags whose only classes have probability 1/3."""
    own = book(tags="marginal")
    tagged = torch.full((1, 2), own.tagged([]))
    labels = torch.stack([torch.tensor([[0, 1]]), torch.tensor([[4, 4]]), tagged, tagged])

    def criterion(logits: tuple[torch.Tensor, ...], found: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        assert len(found) == 1
        return logits[0].mean() * 0 + (2.0 if found.tolist() == [[[0, 1]]] else 4.0)

    value = mixed_loss(criterion, own, (torch.zeros(4, 3, 1, 2),), labels, None, 0.7)
    assert float(value) == pytest.approx(0.7 * 2 + 0.3 * (4 + 2 * np.log(3)) / 3)


def test_regions_of_boxes_fill_the_picture_once() -> None:
    """Two boxes of class 1 and one of class 2 that overlaps one of them."""
    places = [(slice(0, 2), slice(0, 2)), (slice(0, 2), slice(3, 4)), (slice(1, 3), slice(1, 4))]
    found = dict(box_sets([1, 1, 2], places, (3, 4)))
    drawn = np.full((3, 4), "", object)
    for members, mask in found.items():
        drawn[mask] += "".join(map(str, members)) or "."
    assert ["".join(f"{cell:>3}" for cell in row) for row in drawn] == ["  1  1  .  1", "  1 12  2 12", "  .  2  2  2"]


def test_a_mixed_batch_weighs_its_two_parts() -> None:
    """Losses of 2 for the strong picture and 4 for the weak ones: 0.7 * 2 + 0.3 * 4."""
    own = book()
    labels = torch.tensor([[[0, 1]], [[own.boxed([1])] * 2], [[3, 4]]])
    seen: list[list[int]] = []

    def criterion(logits: tuple[torch.Tensor, ...], found: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        assert weights is not None
        assert [len(one) for one in logits] == [len(found)] * 2 == [len(weights)] * 2
        assert int(found.max()) < 3, "no code reaches the loss"
        seen.append([len(found)])
        return logits[0].mean() * 0 + (2.0 if len(found) == 1 else 4.0)

    logits = (torch.zeros(3, 3, 1, 2), torch.zeros(3, 3, 1, 2))
    value = mixed_loss(criterion, own, logits, labels, torch.ones(3, 1, 2), 0.7)
    assert float(value) == pytest.approx(0.7 * 2 + 0.3 * 4)
    alone = mixed_loss(criterion, own, (logits[0][1:], logits[1][1:]), labels[1:], torch.ones(2, 1, 2), 0.7)
    assert float(alone) == 4.0, "a batch of one kind has its ordinary loss"
