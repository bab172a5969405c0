"""torchvision's segmentation networks: the same names, counts and logits as torchvision's own modules."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import segmentation

from denselab.build import create_model
from denselab.models.base import SegmentationModel
from denselab.models.torchvision_forms import DeepLabHead, FCNHead, LRASPPHead, MobileNetV3, TorchvisionForm

NAMES = (
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)
names = pytest.mark.parametrize("name", NAMES)


def theirs(name: str, classes: int, aux: bool) -> nn.Module:
    options = {} if name.startswith("lraspp") else {"aux_loss": aux}
    module: nn.Module = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=classes, **options)
    return module.eval()


def stir(model: nn.Module) -> None:
    """Make statistics and affine parameters of normalisation differ from 0 and 1, so that leaving one out shows.

    The last of each residual branch is small: 33 sums of full size would leave logits of several hundred and float32's
    rounding at 1e-4.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            if name.endswith("bn3"):
                nn.init.uniform_(module.weight, 0.1, 0.3)
            nn.init.normal_(module.bias, std=0.1)


@cache
def pair(name: str) -> tuple[nn.Module, SegmentationModel]:
    """torchvision's module and ours with the same random weights, loaded strictly by name, both in evaluation mode."""
    torch.manual_seed(0)
    reference = theirs(name, 5, aux=True)
    stir(reference)
    ours = create_model(name, 5, aux=not name.startswith("lraspp"))
    ours.load_state_dict(reference.state_dict())
    return reference, ours.eval()


@names
def test_the_logits_are_torchvision_s(name: str) -> None:
    """At an odd size."""
    reference, ours = pair(name)
    images = torch.randn(1, 3, 33, 47)
    with torch.no_grad():
        expected: dict[str, Tensor] = reference(images)
        actual = ours.train_logits(images)
        torch.testing.assert_close(actual[0], expected["out"], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours(images), actual[0], atol=1e-5, rtol=1e-5)
        assert len(actual) == len(expected)
        if "aux" in expected:
            torch.testing.assert_close(actual[1], expected["aux"], atol=1e-5, rtol=1e-5)
    assert expected["out"].std() > 0.02, "nothing to compare"


@pytest.mark.parametrize(
    ("name", "aux"), [(name, aux) for name in NAMES for aux in (False, True) if aux <= ("lraspp" not in name)]
)
def test_names_and_shapes_are_torchvision_s(name: str, aux: bool) -> None:
    with torch.device("meta"):
        expected = {n: t.shape for n, t in theirs(name, 21, aux).state_dict().items()}
        ours = {n: t.shape for n, t in create_model(name, 21, aux=aux).state_dict().items()}
    assert ours == expected


@pytest.mark.parametrize(
    ("name", "total", "parts", "entries"),
    [  # parameters with the auxiliary head; backbone, classifier, aux_classifier; entries of the state dict
        ("fcn_resnet50", 35_322_218, (23_508_032, 9_448_981, 2_365_205), 334),
        ("fcn_resnet101", 54_314_346, (42_500_160, 9_448_981, 2_365_205), 640),
        ("deeplabv3_resnet50", 42_004_074, (23_508_032, 16_130_837, 2_365_205), 370),
        ("deeplabv3_resnet101", 60_996_202, (42_500_160, 16_130_837, 2_365_205), 676),
        ("deeplabv3_mobilenet_v3_large", 11_029_328, (2_971_952, 8_053_525, 3_851), 360),
        ("lraspp_mobilenet_v3_large", 3_221_538, (2_971_952, 249_586), 319),
    ],
)
def test_counts(name: str, total: int, parts: tuple[int, ...], entries: int) -> None:
    with torch.device("meta"):
        model = create_model(name, 21, aux=len(parts) == 3)
    children = [model.get_submodule(n) for n in ("backbone", "classifier", "aux_classifier")[: len(parts)]]
    assert tuple(sum(p.numel() for p in child.parameters()) for child in children) == parts
    assert sum(p.numel() for p in model.parameters()) == total
    assert len(model.state_dict()) == entries


def test_deeplabv3_without_the_auxiliary_head() -> None:
    """Not the paper's 39,048,533: the head has one more 3x3 convolution."""
    with torch.device("meta"):
        assert sum(p.numel() for p in create_model("deeplabv3_resnet50", 21).parameters()) == 39_638_869


def test_sizes_at_520() -> None:
    """Output stride 8 on ResNet (65 cells), 16 on MobileNetV3 (33 cells), whose low map has 65 and 40 channels."""
    with torch.device("meta"):
        images = torch.empty(1, 3, 520, 520)
        assert create_model("fcn_resnet50", 21).coarse_logits(images).shape == (1, 21, 65, 65)
        maps = MobileNetV3()(images)
        assert maps["stride8"].shape == (1, 40, 65, 65)
        assert maps["last"].shape == (1, 960, 33, 33)
        assert create_model("lraspp_mobilenet_v3_large", 21).coarse_logits(images).shape == (1, 21, 65, 65)


def test_lraspp_is_a_gate_and_a_sum() -> None:
    """A 1x1 map by hand: scores = low + high * (relu(w x) sigmoid(v x))."""
    head = LRASPPHead(1, 1, 1, channels=1).eval()
    for weight, value in (
        (head.cbr[0].weight, 2.0),
        (head.scale[1].weight, 0.5),
        (head.low_classifier.weight, 3.0),
        (head.high_classifier.weight, 10.0),
    ):
        nn.init.constant_(weight, value)
    nn.init.constant_(head.low_classifier.bias, 0.25)
    nn.init.constant_(head.high_classifier.bias, 0.0)
    head.cbr[1].eps = 0.0
    scores = head(torch.full((1, 1, 1, 1), 4.0), torch.full((1, 1, 1, 1), 1.0))
    gate = torch.sigmoid(torch.tensor(0.5))
    torch.testing.assert_close(scores.flatten(), (3 * 4 + 0.25 + 10 * 2 * gate).reshape(1))


def test_one_picture_in_training_uses_the_running_statistics_of_the_pooled_map() -> None:
    """torch refuses a batch of one there; the pooled branch then gives what it gives in evaluation mode."""
    torch.manual_seed(0)
    pooling = DeepLabHead(8, 3, channels=4)[0].convs[4]
    x = torch.randn(1, 8, 5, 5)
    training = pooling.train()(x)
    torch.testing.assert_close(training, pooling.eval()(x))
    pooling.train()(torch.randn(2, 8, 5, 5))
    assert pooling[2].num_batches_tracked == 1


def test_dropout_as_declared() -> None:
    assert [m.p for m in DeepLabHead(8, 2).modules() if isinstance(m, nn.Dropout)] == [0.5]
    assert [m.p for m in FCNHead(8, 2).modules() if isinstance(m, nn.Dropout)] == [0.1]


def test_the_first_convolution_takes_any_number_of_channels() -> None:
    with torch.device("meta"):
        for name in ("fcn_resnet50", "lraspp_mobilenet_v3_large"):
            assert create_model(name, 2, in_channels=1)(torch.empty(1, 1, 20, 20)).shape == (1, 2, 20, 20)


def test_landmarks_are_modules() -> None:
    with torch.device("meta"):
        model = create_model("deeplabv3_resnet50", 2)
    assert isinstance(model, TorchvisionForm)
    paths = dict(model.named_modules())
    assert model.landmarks()
    assert set(model.landmarks()) <= set(paths)
