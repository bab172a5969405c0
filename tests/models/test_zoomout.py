"""Zoom-out features: the paper's and the release's counts, regions by hand, and the balanced loss by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from denselab.build import create_model
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.errors import ConfigError
from denselab.losses.class_weights import class_weights
from denselab.losses.pixels import cross_entropy
from denselab.models.zoomout import Zoomout
from denselab.models.zoomout_pixelwise import ZoomoutPixelwise
from denselab.models.zoomout_regions import labels_of_most, subscene_boxes, superpixel_means

THIN_VGG = ((2, 3), (4, 5), (6, 7, 8), (9, 10, 11), (12, 13, 14))
MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
LABELS = np.array([[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]] * 2 + [[5] * 10], np.int32)  # five beside each other, one below


def halves(height: int = 32, width: int = 48) -> torch.Tensor:
    """(1, 3, H, W): dark on the left, light on the right, normalised with MEAN and STD."""
    picture = torch.full((1, 3, height, width), 0.2)
    picture[..., width // 2 :] = 0.8
    return (picture - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)


def thin() -> Zoomout:
    torch.manual_seed(0)
    model = Zoomout(VGG16(blocks=THIN_VGG), VGG16Classifier(0, 14, 20, dropout=0.0), 3, (8,), superpixels=6)
    model.set_normalisation(tuple(MEAN.tolist()), tuple(STD.tolist()))
    return model.eval()


def test_4224_and_12416_features_and_the_mlp_s_parameters() -> None:
    """The paper's: 12,736,533 with one hidden layer, 13,786,133 with two, for 21 classes."""
    for name, expected in (("zoomout16", 12_736_533), ("zoomout16_deep", 13_786_133)):
        with torch.device("meta"):
            model = create_model(name, 21)
            assert isinstance(model, Zoomout)
            images = torch.empty(1, 3, 375, 500)
            assert model.features(images, model.regions(images)).shape == (500, 12_416)
        assert 12_416 == 4_224 + 2 * 4_096
        assert sum(sum(block) for block in model.encoder.blocks) == 4_224
        assert sum(p.numel() for p in model.mlp.parameters()) == expected


def test_features_stand_in_the_order_of_zooming_out() -> None:
    """conv1_1 is averaged over each superpixel itself; the scene is the same for all of them."""
    model, images = thin(), halves()
    regions = model.regions(images)
    with torch.no_grad():
        features = model.features(images, regions)
        first = model.encoder.activations(images)["conv1_1"][0]
    for number in range(len(regions.picture)):
        inside = first[:, regions.pieces[0] == number].mean(1)
        torch.testing.assert_close(features[number, :2], inside)
    scenes = features[:, -20:]
    torch.testing.assert_close(scenes, scenes[:1].expand_as(scenes))
    assert features.shape[1] == sum(sum(block) for block in THIN_VGG) + 2 * 20


def test_a_picture_of_224x224_is_the_same_scene_as_through_vgg() -> None:
    """conv5_3 has 14x14 cells, which pooling to 7x7 takes as pool5 does."""
    torch.manual_seed(0)
    model, images = thin(), torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        maps = model.encoder.activations(images)
        expected = model.classifier(maps["pool5"]).flatten(1)
        whole = torch.tensor([[0, 0, 224, 224]])
        torch.testing.assert_close(model.inside(maps["conv5_3"], torch.zeros(1, dtype=torch.int64), whole), expected)


def test_subscenes_by_hand() -> None:
    """Superpixel 0 reaches 1 and 5 in one step, and through 5 all others in two."""
    own = [[0, 0, 2, 2], [0, 2, 2, 4], [0, 4, 2, 6], [0, 6, 2, 8], [0, 8, 2, 10], [2, 0, 3, 10]]
    assert subscene_boxes(LABELS, 0).tolist() == own
    assert subscene_boxes(LABELS, 1).tolist() == [[0, 0, 3, 10]] * 6  # 5 is as wide as the picture
    row = LABELS[:2]
    assert subscene_boxes(row, 1)[[0, 2, 4]].tolist() == [[0, 0, 2, 4], [0, 2, 2, 8], [0, 6, 2, 10]]
    assert subscene_boxes(row, 2)[[0, 2]].tolist() == [[0, 0, 2, 6], [0, 0, 2, 10]]
    assert subscene_boxes(row, 3)[0].tolist() == [0, 0, 2, 8]


def test_means_over_superpixels_by_hand() -> None:
    x = torch.tensor([[[[1.0, 2.0, 6.0]], [[10.0, 30.0, 50.0]]]])  # (1, 2, 1, 3)
    pieces = torch.tensor([[[0, 0, 1]]])
    assert superpixel_means(x, pieces, 2).tolist() == [[1.5, 20.0], [6.0, 50.0]]


def test_means_in_half_precision_count_all_pixels() -> None:
    """bfloat16 holds no whole number between 256 and 258: a sum of ones stops at 256."""
    ones = torch.ones(1, 1, 30, 30, dtype=torch.bfloat16)
    assert superpixel_means(ones, torch.zeros(1, 30, 30, dtype=torch.int64), 1).item() == 1.0


def test_a_network_in_mixed_precision_gives_nearly_the_same() -> None:
    model, images = thin(), halves()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed = model(images)
    with torch.no_grad():
        torch.testing.assert_close(mixed.float(), model(images), atol=0.05, rtol=0.05)


def test_superpixels_follow_the_colours_and_are_numbered_through_the_batch() -> None:
    found = thin().regions(torch.cat([halves(), halves()]))
    assert int(found.pieces[1].min()) == int(found.pieces[0].max()) + 1
    assert len(found.picture) == len(found.subscenes) == int(found.pieces.max()) + 1
    assert found.picture.tolist() == sorted(found.picture.tolist())
    for number in range(len(found.picture)):
        columns = (found.pieces == number).nonzero()[:, 2]
        assert (columns < 24).all() or (columns >= 24).all(), "no superpixel crosses the border of the two halves"


def test_a_superpixel_has_the_label_of_most_of_its_pixels() -> None:
    labels = torch.tensor([[[2, 2, 0, 1, 255, 255, 0, 255]]])
    pieces = torch.tensor([[[0, 0, 0, 1, 2, 2, 1, 1]]])
    assert labels_of_most(labels, pieces, 3, 3).tolist() == [2, 0, 255]  # of two as frequent the lower


def test_a_superpixel_without_labels_is_ignored_among_many_classes_too() -> None:
    """With more than 255 classes 65535 is ignored, and 255 is a class: unlabelled superpixels were learnt as it."""
    labels = torch.tensor([[[255, 65535, 65535, 65535]]])
    assert labels_of_most(labels, torch.tensor([[[0, 0, 1, 1]]]), 2, 300).tolist() == [255, 65535]


def test_training_compares_superpixels_by_their_labels() -> None:
    model, images = thin(), halves()
    labels = torch.zeros(1, 32, 48, dtype=torch.int64)
    labels[..., 24:] = 1
    labels[0, :3, :3] = 2  # a few pixels of a superpixel
    with torch.no_grad():
        (logits,), found, weights = model.examples(images, labels, None)
        pieces = model.regions(images).pieces[0]
        painted = model(images)
    assert logits.shape == (1, 3, 1, found.shape[-1])
    assert weights is None
    assert (found[0, 0, pieces[:, :24]] == 0).all()
    assert (found[0, 0, pieces[:, 24:]] == 1).all()
    torch.testing.assert_close(logits[0, :, 0][:, pieces], painted[0])
    with pytest.raises(ConfigError, match="border_weight"):
        model.examples(images, labels, torch.ones(1, 32, 48))


def test_superpixels_are_not_exported() -> None:
    with pytest.raises(ConfigError, match="zoomout_pixelwise"):
        torch.export.export(thin(), (halves(),))


def test_all_pixels_of_a_superpixel_have_one_label() -> None:
    model, images = thin(), halves()
    with torch.no_grad():
        logits = model(images)
    pieces = model.regions(images).pieces[0]
    for number in range(int(pieces.max()) + 1):
        inside = logits[0, :, pieces == number]
        torch.testing.assert_close(inside, inside[:, :1].expand_as(inside))


def test_the_balanced_loss_by_hand() -> None:
    """Three pixels of class 0 and one of class 1: each counts one over its class's frequency, 4/3 and 4.

    With probabilities of the true class 0.5, 0.5, 0.25 and 0.8 the classes' mean losses count alike.
    """
    weights = class_weights(np.array([3, 1]), "inverse").weights
    assert weights[1] / weights[0] == pytest.approx((4 / 1) / (4 / 3))
    true = torch.tensor([0.5, 0.5, 0.25, 0.8])
    labels = torch.tensor([[[0, 0, 0, 1]]])
    first = torch.where(labels[0, 0] == 0, true, 1 - true)
    logits = torch.stack([first, 1 - first]).log().view(1, 2, 1, 4)
    by_hand = -(((0.5 * 0.5 * 0.25) ** (1 / 3) * 0.8) ** 0.5)
    loss = cross_entropy(logits, labels, class_weights=torch.from_numpy(weights))
    assert loss.item() == pytest.approx(-np.log(-by_hand))


def test_the_release_s_layers() -> None:
    """8,320 features, 1,000 hidden units twice, 23 scores, and a learnt enlargement of 8x8 from 23 to 21."""
    with torch.device("meta"):
        model = create_model("zoomout_pixelwise", 21)
        assert isinstance(model, ZoomoutPixelwise)
        assert model.features(torch.empty(1, 3, 256, 336)).shape == (1, 8_320, 64, 84)
    counts = [
        sum(p.numel() for p in layer.parameters()) for layer in model.layers if any(True for _ in layer.parameters())
    ]
    assert counts == [8_320 * 1000 + 1000, 1000 * 1000 + 1000, 1000 * 23 + 23, 23 * 21 * 64 + 21]


def test_maps_meet_at_every_4th_pixel() -> None:
    """Finer maps are taken at every 4th pixel, coarser ones repeated, and fc7 is its maximum over the picture."""
    torch.manual_seed(0)
    model = ZoomoutPixelwise(VGG16(blocks=THIN_VGG), VGG16Classifier(3, 14, 20), 3, hidden=8).eval()
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        features, maps = model.features(images)[0], model.encoder.activations(images)
        whole = model.classifier(maps["pool5"])[0]
    torch.testing.assert_close(features[:2, 3, 5], maps["conv1_1"][0, :, 12, 20])
    torch.testing.assert_close(features[14:20, 3, 5], maps["conv3_1"][0, :, 3, 5])
    torch.testing.assert_close(features[-34:-20, 3, 5], maps["conv5_3"][0, :, 0, 1])
    torch.testing.assert_close(features[-20:, 7, 11], whole.flatten(1).amax(1))


def test_dropout_of_the_features_is_that_of_each_source() -> None:
    """fc7 came out of its dropout while training; the release reads it before, and has one behind fc6 alone."""
    torch.manual_seed(0)
    model = ZoomoutPixelwise(VGG16(blocks=THIN_VGG), VGG16Classifier(3, 14, 20), 3, hidden=8)
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        plain, dropped = model.eval().features(images), model.train().features(images)
        assert not torch.equal(dropped, plain)
        model.classifier.drop6.p = 0.0
        assert torch.equal(model.features(images), plain)
        paper = create_model("zoomout16", 3)
    assert isinstance(paper, Zoomout)
    assert paper.classifier.drop6.p == paper.classifier.drop7.p == 0, "its features are fixed before the training"


def test_the_last_layer_starts_as_bilinear_enlargement() -> None:
    model = ZoomoutPixelwise(VGG16(blocks=THIN_VGG), VGG16Classifier(3, 14, 20), 3, hidden=8)
    layer = model.layers.get_submodule("upscore")
    assert isinstance(layer, nn.ConvTranspose2d)
    scores = torch.randn(1, 5, 6, 7)
    expected = nn.functional.interpolate(scores[:, :3], scale_factor=4, mode="bilinear", align_corners=False)
    with torch.no_grad():
        actual = layer(scores)
    torch.testing.assert_close(actual[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4])
