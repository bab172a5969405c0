"""Which maps are shown, what is kept of them, and what an explanation holds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.data.resizing.resize import resize_image
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError
from denselab.inference import Predictor
from denselab.inspection.activations import landmarks_of, part_in_picture, watch
from denselab.inspection.explanation import class_index, explain, square_of, untrained
from denselab.inspection.reach import PIXEL, spread, whole, windows
from denselab.inspection.trace import trace
from denselab.labels import LabelEntry, LabelSpace
from denselab.models.base import SegmentationModel
from denselab.models.fcn import FCN


class Small(SegmentationModel):
    """Two strides down, one up, a score; its own list names the decoder."""

    def __init__(self) -> None:
        super().__init__(3)
        self.one = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(inplace=True))
        self.two = nn.Conv2d(4, 12, 3, 2, 1)
        self.up = nn.ConvTranspose2d(12, 5, 2, 2)
        self.score = nn.Conv2d(5, 3, 1)

    def coarse_logits(self, images: Tensor) -> Tensor:
        return self.score(self.up(F.relu(self.two(self.one(images)), inplace=True)))

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(coarse, size=size)

    def landmarks(self) -> dict[str, str]:
        return {"up": "back to stride 2", "score": "the scores"}


def test_the_encoder_s_stages_come_before_the_model_s_own_list() -> None:
    marks = landmarks_of(Small(), trace(Small(), (32, 48)))
    assert list(marks) == ["one", "two", "up", "score"]
    assert marks["up"] == "back to stride 2"
    assert marks["one"] == "the last map of stride 2 on the way down"
    assert marks["two"] == "the last map of stride 4 on the way down"


def test_without_a_list_the_stages_are_chosen_by_size() -> None:
    class Plain(Small):
        def landmarks(self) -> dict[str, str]:
            return {}

    model = Plain()
    traced = trace(model, (32, 48))
    marks = landmarks_of(model, traced)
    assert list(marks) == ["one", "two"]
    layers, _ = watch(model, torch.zeros(1, 3, 32, 48), traced, marks)
    assert [layer.path for layer in layers] == ["one", "two", "coarse logits"], "scores are never left out"
    assert layers[-1].scores is not None


class Block(nn.Module):
    """It strides in its second layer, as residual blocks do."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4, 1)
        self.conv2 = nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


def test_the_first_layers_of_a_block_are_no_stage() -> None:
    class Blocks(Small):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Sequential(Block(3), nn.Sequential(Block(4)))
            self.two = nn.Conv2d(4, 12, 3, 1, 1)

    marks = landmarks_of(Blocks(), trace(Blocks(), (32, 48)))
    assert list(marks) == ["one.0.conv1", "one.0", "two", "up", "score"]


def test_what_is_kept_of_a_map() -> None:
    """The channels with the greatest spread, as they were before the in-place ReLU after them; scores whole."""
    torch.manual_seed(0)
    model, images = Small().eval(), torch.randn(1, 3, 32, 48)
    traced = trace(model, (32, 48))
    layers, logits = watch(model, images, traced, landmarks_of(model, traced))
    by_path = {layer.path: layer for layer in layers}
    with torch.no_grad():
        two = model.two(model.one(images))[0].numpy()
        torch.testing.assert_close(logits, model(images))
    layer = by_path["two"]
    assert (layer.channels, layer.size, layer.jump, layer.receptive_field) == (12, (8, 12), 4, 7)
    order = np.argsort(-two.reshape(12, -1).std(axis=1))
    assert [i for i, _ in layer.strongest] == list(order[:9])
    np.testing.assert_allclose(layer.strongest[0][1], two[order[0]], rtol=1e-6)
    assert two.min() < 0
    np.testing.assert_allclose(layer.mean, np.abs(two).mean(axis=0), rtol=1e-5)
    assert by_path["score"].scores is not None
    assert by_path["score"].scores.shape == (3, 16, 24)
    assert layer.scores is None
    assert all(values.base is None for _, values in layer.strongest), "a view kept all 12 channels in memory"
    assert not model.two._forward_hooks


def test_margins_are_cut() -> None:
    """FCN's pad of 100: of 16 cells of 32 pixels over a picture of 500, those that touch it."""
    grid = windows(PIXEL, 64, 32, 100)
    part = part_in_picture(grid, 22, 500)
    centres = [-100 + 31.5 + 32 * i for i in range(22)]
    assert [i for i, c in enumerate(centres) if -16 <= c < 515] == list(range(part.start, part.stop))
    assert part_in_picture(PIXEL, 500, 500) == slice(0, 500)
    assert part_in_picture(whole(), 1, 500) == slice(0, 1)
    assert part_in_picture(spread(windows(PIXEL, 2, 2), 2, 2), 10, 10) == slice(0, 10)
    assert part_in_picture(windows(PIXEL, 1, 4, 400), 10, 8) == slice(0, 10), "nothing of it lies in the picture"


def test_fcn_s_maps_show_the_picture_alone() -> None:
    thin = ((2, 2), (2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    model = FCN(VGG16(first_pad=100, blocks=thin), VGG16Classifier(0, in_channels=2, channels=2), 3, 8).eval()
    traced = trace(model, (64, 96))
    layers, _ = watch(model, torch.randn(1, 3, 64, 96), traced, landmarks_of(model, traced))
    assert layers
    for layer in layers:
        rows, columns = layer.mean.shape
        assert abs(rows * layer.jump - 64) <= 2 * layer.jump, layer.path
        assert abs(columns * layer.jump - 96) <= 2 * layer.jump, layer.path


def test_squares_about_a_pixel() -> None:
    effect = np.zeros((9, 9), dtype=np.float32)
    effect[4, 4], effect[4, 6], effect[0, 0] = 6, 3, 1
    assert [square_of(effect, (4, 4), share) for share in (0.5, 0.9, 1.0)] == [1, 5, 9]
    assert square_of(np.zeros((3, 3), dtype=np.float32), (1, 1), 0.5) == 0


def engine() -> TorchEngine:
    torch.manual_seed(0)
    space = LabelSpace(tuple(LabelEntry(i, name, (i, i, i)) for i, name in enumerate(("sky", "road", "car"))))
    architecture = Architecture("unet_small", 3)
    model = architecture.create().eval()
    preprocessing = Preprocessing((32, 48), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    return TorchEngine(ModelSpec(architecture, space, preprocessing), model, torch.device("cpu"))


def fitted(known: TorchEngine, **changes: object) -> TorchEngine:
    """The same network with another preprocessing."""
    preprocessing = replace(known.spec.preprocessing, **changes)  # type: ignore[arg-type]
    return replace(known, spec=replace(known.spec, preprocessing=preprocessing))


def test_an_explanation() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    known = engine()
    result = explain(known, image, pixel=(10, 94), class_name="car", quiet=True)
    assert result.working.shape == (32, 48, 3)
    assert result.labels.shape == (64, 96)
    np.testing.assert_array_equal(result.labels, Predictor(known).labels(image))
    np.testing.assert_allclose(result.probs.sum(axis=0), 1, atol=1e-5)
    assert (result.effect.pixel, result.effect.class_index) == ((5, 47), 2)
    assert result.effect.effect.shape == (32, 48)
    assert result.effect.box is not None
    assert result.effect.box.left <= 47 <= result.effect.box.right
    assert 1 <= result.effect.squares[0] <= result.effect.squares[1]
    assert result.layers
    assert result.summary.receptive_field == 204
    centre = explain(known, image, quiet=True)
    assert centre.pixel == (32, 48)
    logits = known.logits(resize_image(image, (32, 48))[None])[0, :, 16, 24]
    assert centre.effect.class_index == int(logits.argmax())


def test_an_explanation_on_a_canvas_is_that_of_the_prediction() -> None:
    """A converted DeepLab is padded to 513x513: labels are `predict`'s, and what is shown has the picture's size."""
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    plain = engine()
    known = fitted(plain, fit="shrink", pad_to=(64, 80))
    result = explain(known, image, quiet=True)
    np.testing.assert_allclose(result.probs, Predictor(known).probs(image), atol=1e-5)
    assert np.abs(result.probs - Predictor(fitted(plain, imgsz=(20, 30))).probs(image)).max() > 1e-4
    np.testing.assert_array_equal(result.labels, Predictor(known).labels(image))
    assert result.working.shape == (20, 30, 3)
    assert result.effect.effect.shape == (20, 30)
    for layer in result.layers:
        assert abs(layer.mean.shape[0] * layer.jump - 20) <= 2 * layer.jump, layer.path


@pytest.mark.parametrize("pixel", [(64, 0), (0, 96), (-1, 0)])
def test_a_pixel_outside_is_refused(pixel: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"is not in the picture of 64x96; rows come first"):
        explain(engine(), np.zeros((64, 96, 3), dtype=np.uint8), pixel=pixel, quiet=True)


def test_an_unknown_class_is_refused_with_the_nearest() -> None:
    assert class_index(engine().spec.label_space, "road") == 1
    with pytest.raises(ConfigError, match=r"class 'rod' .* did you mean road"):
        class_index(engine().spec.label_space, "rod")


def test_an_untrained_network_is_the_same_each_time_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, second = untrained("unet_small", "cpu"), untrained("unet_small", "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True))
    assert first.spec.label_space.names[15] == "person"
    assert not first.network.training
