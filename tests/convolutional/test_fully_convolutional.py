"""A classifier and its fully convolutional form: the same scores on one window, a map of windows on a larger picture.

FCN, arXiv 1411.4038, section 3.1 and figure 2.
"""

import copy
from collections.abc import Callable
from typing import TypeVar

import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import swin_transformer
from torchvision.models.vgg import cfgs, make_layers

import denselab
from denselab.convolutional.fully_convolutional import FullyConvolutional, convolutionalize, without_padding
from denselab.convolutional.layers import SlidingLinear
from denselab.errors import ShapeError
from denselab.layers.windows import run_windows

Network = TypeVar("Network", bound=nn.Module)


def thin_vgg(width: int = 4) -> nn.Sequential:
    """torchvision's VGG-16 with a hundredth of the channels: features, 7x7 pool, three linear layers with dropout."""
    thin = [v if v == "M" else width for v in cfgs["D"]]
    hidden = [nn.Linear(width * 49, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 16), nn.ReLU(), nn.Dropout()]
    model = nn.Sequential(
        make_layers(thin), nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Sequential(*hidden, nn.Linear(16, 5))
    )
    return awake(model)


def thin_alexnet(width: int = 4) -> nn.Sequential:
    """torchvision's AlexNet with few channels, including the convolutions' padding."""
    features = [
        *(nn.Conv2d(3, width, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(width, width, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(layer for _ in range(3) for layer in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU())),
        nn.MaxPool2d(3, 2),
    ]
    head = [nn.Dropout(), nn.Linear(width * 36, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 16), nn.ReLU()]
    return awake(
        nn.Sequential(nn.Sequential(*features), nn.AdaptiveAvgPool2d(6), nn.Flatten(), *head, nn.Linear(16, 5))
    )


def awake(model: Network) -> Network:
    """He initialisation, with nonzero biases and statistics, so that scores depend on the picture."""
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.1)
        elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return model.eval()


def close(actual: Tensor, expected: Tensor) -> None:
    scale = float(expected.std())
    assert scale > 1e-4
    torch.testing.assert_close(actual / scale, expected / scale, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "stride"),
    [
        (lambda: torchvision.models.alexnet(), 32),
        (lambda: torchvision.models.resnet18(), 32),
        (lambda: torchvision.models.googlenet(init_weights=False), 32),
        (lambda: torchvision.models.mobilenet_v2(width_mult=0.25), 32),
        (lambda: torchvision.models.squeezenet1_1(), 16),
        (lambda: timm.create_model("resnet10t"), 32),
        (lambda: timm.create_model("test_efficientnet"), 32),
        (thin_vgg, 32),
    ],
    ids=["alexnet", "resnet18", "googlenet", "mobilenet_v2", "squeezenet", "timm resnet", "timm efficientnet", "vgg"],
)
def test_the_same_scores_at_the_training_size(make: Callable[[], nn.Module], stride: int) -> None:
    classifier = awake(make())
    model = convolutionalize(classifier)
    assert model.stride == (stride, stride)
    picture = torch.randn(1, 3, *model.window)
    with torch.no_grad():
        scores, vector = model(picture), classifier(picture)
        assert scores.shape == (*vector.shape, 1, 1)
        close(scores.flatten(1), vector)
        larger = torch.randn(1, 3, model.window[0] + stride, model.window[1] + 2 * stride)
        assert model(larger).shape == (1, vector.shape[1], 2, 3)


@pytest.mark.parametrize("name", ["vgg11", "vgg16_bn"])
def test_torchvision_and_timm_vgg_by_their_shapes(name: str) -> None:
    """138 million parameters, on the meta device; timm's VGG asks for the size of its map and branches on it."""
    for make in (getattr(torchvision.models, name), lambda: timm.create_model(name)):
        with torch.device("meta"):
            model = convolutionalize(make())
            assert (model.window, model.stride) == ((224, 224), (32, 32))
            assert model(torch.empty(1, 3, 500, 500)).shape == (1, 1000, 9, 9)


@pytest.mark.parametrize(("make", "field"), [(thin_vgg, 404), (thin_alexnet, 355)], ids=["vgg16", "alexnet"])
def test_without_padding_each_cell_is_the_classifier_on_its_window(
    make: Callable[[], nn.Sequential], field: int
) -> None:
    """The window of the unpadded network is its receptive field, 404 and 355 pixels (FCN, table 1)."""
    classifier = without_padding(make())
    model = convolutionalize(classifier, field)
    assert model.borders == ()
    picture = torch.randn(1, 3, field + 40, field + 64)
    with torch.no_grad():
        cells = model(picture)
        windows = run_windows(classifier, picture, model.window, model.stride)
        assert cells.shape == windows.shape == (1, 5, 2, 3)
        close(cells, windows)
        for row, column in ((0, 0), (1, 2)):
            rows, columns = model.window_of(row, column)
            close(cells[:, :, row, column], classifier(picture[..., rows, columns]))
    with pytest.raises(ShapeError, match="grid"):
        convolutionalize(classifier, field - 1)  # with one pixel less, the last cell of the head's grid is missing


@settings(max_examples=30)
@given(
    kernels=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 2)), min_size=1, max_size=3),
    pooled=st.sampled_from([None, 1, 2, (2, 1)]),
    more=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    spare=st.integers(0, 3),
)
def test_any_unpadded_stack_slides(
    kernels: list[tuple[int, int]], pooled: int | tuple[int, int] | None, more: tuple[int, int], spare: int
) -> None:
    """Random kernels and strides; a head over the whole grid of 4x4 cells, or over an adaptive pool of it.

    Spare pixels that no cell of the window sees (227 instead of 224) change nothing.
    """
    torch.manual_seed(0)
    side, total, layers, channels = 4, 1, list[nn.Module](), 2
    for kernel, stride in reversed(kernels):
        side = (side - 1) * stride + kernel
    for kernel, stride in kernels:
        layers += [nn.Conv2d(channels, 3, kernel, stride), nn.ReLU()]
        channels, total = 3, total * stride
    grid = {None: 16, 1: 1, 2: 4, (2, 1): 2}[pooled]
    if pooled is not None:
        layers.append(nn.AdaptiveAvgPool2d(pooled))
    classifier = nn.Sequential(*layers, nn.Flatten(), nn.Linear(3 * grid, 4), nn.Tanh(), nn.Linear(4, 3)).eval()
    side += min(spare, total - 1)
    model = convolutionalize(classifier, side)
    assert model.stride == (total, total)
    picture = torch.randn(1, 2, side + more[0], side + more[1])
    with torch.no_grad():
        cells = model(picture)
        windows = run_windows(classifier, picture, model.window, model.stride)
        torch.testing.assert_close(cells[..., : windows.shape[2], : windows.shape[3]], windows, atol=1e-5, rtol=1e-4)


def test_with_padding_a_cell_is_the_classifier_in_its_surroundings() -> None:
    """VGG-16 reaches 404 pixels, 90 on each side of its window of 224.

    Run alone, a window sees zeros there and scores differently. In two pictures that agree on these 404 pixels and
    nowhere else, the cell is the same.
    """
    classifier = thin_vgg()
    model = convolutionalize(classifier)
    assert len(model.borders) == 13
    assert model.borders[0] == "0.0: pads by (1, 1)"
    picture = torch.randn(1, 3, 448, 448, requires_grad=True)
    cells = model(picture)
    (reach,) = torch.autograd.grad(cells[0, :, 3, 3].sum(), picture)
    rows = reach.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    assert (int(rows[0]), int(rows[-1])) == (96 - 90, 96 + 224 + 90 - 1)

    other = torch.randn(1, 3, 448, 448)
    field = slice(96 - 90, 96 + 224 + 90)
    other[..., field, field] = picture.detach()[..., field, field]
    with torch.no_grad():
        elsewhere, alone = model(other), classifier(picture[..., 96:320, 96:320])
    close(elsewhere[:, :, 3, 3], cells.detach()[:, :, 3, 3])
    assert (elsewhere[:, :, 0, 0] - cells[:, :, 0, 0]).abs().max() > 1e-3
    assert (alone - cells[:, :, 3, 3]).abs().max() > 1e-3


def test_the_work_of_overlapping_windows_is_shared() -> None:
    """A 500x500 picture has 9x9 windows of 224 at stride 32.

    FCN, section 3.1: 22 ms for the map of AlexNet against 1.2 ms for one of its windows, more than five times faster
    than window by window.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = convolutionalize(torchvision.models.alexnet())
        with FlopCounterMode(display=False) as one:
            model(torch.empty(1, 3, 224, 224))
        with FlopCounterMode(display=False) as whole:
            cells = model(torch.empty(1, 3, 500, 500))
    assert cells.shape[-2:] == (9, 9)
    assert 81 * one.get_total_flops() > 5 * whole.get_total_flops()


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), ((2, 3), (2, 1))])
def test_a_linear_layer_slides_alike_as_matrix_product_and_as_convolution(
    kernel: int | tuple[int, int], dilation: int | tuple[int, int]
) -> None:
    """Few cells are one matrix product on a CPU, many a convolution: the same numbers."""
    layer = SlidingLinear(3, 5, kernel, dilation=dilation)
    for size in ((9, 8), (40, 50)):
        x = torch.randn(2, 3, *size)
        with torch.no_grad():
            close(layer(x), nn.functional.conv2d(x, layer.weight, layer.bias, dilation=dilation))
    with pytest.raises(RuntimeError, match="can't be greater than actual input size"):
        SlidingLinear(3, 5, 4)(torch.randn(1, 3, 3, 9))


def test_squeeze_and_excitation_keeps_its_view_of_the_whole_map() -> None:
    """It is converted and equal at the training size; `borders` says that cells of larger maps see all of the map."""
    model = convolutionalize(timm.create_model("test_efficientnet").eval())
    assert any("looks at the whole map" in reason for reason in model.borders)
    plain = convolutionalize(torchvision.models.resnet18().eval())
    assert not any("whole" in reason for reason in plain.borders)


class Functional(nn.Module):
    """A head written in functions, with normalisation and softmax; it asks for its batch size, as many do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 5, stride=3)
        self.norm = nn.BatchNorm1d(6)
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        x = x.mean((2, 3)).view(x.size(0), -1)
        x = nn.functional.dropout(torch.tanh(self.first(self.norm(x))), 0.5, self.training)
        return torch.nn.functional.relu(self.last(x) + 1)


def test_heads_written_in_functions() -> None:
    classifier = awake(Functional())
    model = convolutionalize(classifier, (20, 26))
    assert (model.window, model.stride, model.borders) == ((20, 26), (3, 3), ())
    picture = torch.randn(2, 3, 30, 33)
    with torch.no_grad():
        close(model(picture), run_windows(classifier, picture, (20, 26), (3, 3)))


@pytest.mark.parametrize("last", [nn.Softmax(dim=1), nn.LogSoftmax(dim=-1)])
def test_softmax_goes_over_the_classes(last: nn.Module) -> None:
    classifier = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(2, 3), last)
    model = convolutionalize(awake(classifier), 6)
    picture = torch.randn(1, 1, 9, 9)
    with torch.no_grad():
        close(model(picture), run_windows(classifier, picture, (6, 6)))


def test_the_classifier_is_left_as_it_is() -> None:
    """Its layers, mode and weights stay; the copy has its own weights, under the same names."""
    classifier = thin_alexnet().train()
    before = copy.deepcopy(classifier.state_dict())
    model = convolutionalize(classifier, 224)
    assert model.training
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert isinstance(classifier[4], nn.Linear)
    assert set(model.network.state_dict()) == set(before)
    assert model.network.get_parameter("4.weight").shape == (16, 4, 6, 6)


def test_dropout_is_kept() -> None:
    model = convolutionalize(thin_alexnet()).train()
    picture = torch.randn(1, 3, 224, 224)
    assert not torch.equal(model(picture), model(picture))
    model.eval()
    assert torch.equal(model(picture), model(picture))


class Tuple(nn.Module):
    """Returns more than scores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x).mean((2, 3)), x


class Loop(nn.Module):
    """Its layers depend on the numbers in the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3)) if x.sum() > 0 else x.mean((2, 3))


def head(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), *layers)


@pytest.mark.parametrize(
    ("classifier", "size", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 8, "has no convolution"),
        (lambda: timm.create_model("test_vit"), None, "step view of VisionTransformer.*folds positions"),
        (head(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 2)), 8, "grid of 6x6 to 4x4 by windows of several"),
        (head(nn.Flatten(), nn.LayerNorm(144), nn.Linear(144, 2)), 8, r"layer 2 \(LayerNorm\) of Sequential"),
        (head(nn.Flatten()), 8, "the scores must come from a map"),
        (head(), 8, "the scores must come from a map"),
        (head(nn.Flatten(), nn.Linear(144, 2)), 9, "cannot be followed on 3x9x9 pictures"),
        (head(nn.AdaptiveAvgPool2d(3), nn.Conv2d(4, 2, 3), nn.Flatten()), 8, "only cellwise layers can stand"),
        (Tuple(), 8, "one tensor of scores"),
        (Loop(), 8, "cannot be followed"),
        (head(nn.Upsample((3, 3)), nn.Flatten(), nn.Linear(36, 2)), 8, "does not grow with the picture"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    classifier: nn.Module | Callable[[], nn.Module], size: int | None, message: str
) -> None:
    network = classifier if isinstance(classifier, nn.Module) else classifier()
    with pytest.raises(ShapeError, match=message):
        convolutionalize(network.eval(), size)


def small_swin(version: str) -> nn.Module:
    """torchvision's Swin, one block with plain windows and one with shifted ones."""
    block = {"v1": None, "v2": swin_transformer.SwinTransformerBlockV2}[version]
    return swin_transformer.SwinTransformer(
        *([4, 4], 8, [2], [2], [7, 7]), num_classes=5, **({} if block is None else {"block": block})
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small_swin("v1"), "step shifted_window_attention of SwinTransformer .*move or mix positions"),
        (lambda: small_swin("v2"), "step shifted_window_attention of SwinTransformer .*move or mix positions"),
        (lambda: torchvision.models.maxvit_t(), "step reshape of MaxVit .*folds positions"),
        (lambda: torchvision.models.vit_b_16(), "step reshape of VisionTransformer .*folds positions"),
    ],
    ids=["swin", "swin v2", "maxvit", "vit"],
)
def test_transformers_are_refused_with_the_operation(make: Callable[[], nn.Module], message: str) -> None:
    """torchvision's Swin was accepted with empty `borders`; its cell (1, 1) was 0.29 off its window's score of 1.6.

    The windows were rolled by a function that the search for padding did not know.
    """
    with torch.device("meta"):
        classifier = make()
    with pytest.raises(ShapeError, match=message):
        convolutionalize(classifier.eval())


class Step(nn.Module):
    """One step between a convolution without padding, 3 channels to 4, and the head."""

    def __init__(self, step: Callable[[Tensor], Tensor], channels: int = 4) -> None:
        super().__init__()
        self.step, self.conv, self.last = step, nn.Conv2d(3, 4, 3), nn.Linear(channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.step(self.conv(x)).mean((2, 3)))
        return scores


def shuffled(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, -1, height, width)


def changed_in_place(x: Tensor) -> Tensor:
    """timm's normalizer-free networks do so; the step's result is unused, and the step was removed with the sizes."""
    x.mul_(x.sigmoid() - 2)
    return x


def of_two_channels(x: Tensor) -> Tensor:
    first, second = torch.unsqueeze(x[:, 0], 1), x[:, 1:2]
    return torch.cat([first * 2 + 1, second], dim=1) * torch.stack([first, second], 1).sum(1).softmax(1)


@pytest.mark.parametrize(
    ("step", "channels"),
    [
        (shuffled, 4),
        (lambda x: x.permute(0, 2, 3, 1).clamp(min=0).permute(0, 3, 1, 2), 4),
        (lambda x: x.transpose(1, 3).pow(2).transpose(-1, 1), 4),
        (of_two_channels, 2),
        (changed_in_place, 4),
        (lambda x: torch.cat(x.chunk(2, dim=1)[::-1], 1) - x, 4),
        (lambda x: x[:, :, 1:-1, 2:] + nn.functional.avg_pool2d(x, 3, 1), 4),
        (lambda x: x * x.mean(1, keepdim=True).sigmoid(), 4),
        (lambda x: nn.functional.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2), 4),
    ],
)
def test_steps_that_keep_positions_apart_slide(step: Callable[[Tensor], Tensor], channels: int) -> None:
    classifier = awake(Step(step, channels))
    model = convolutionalize(classifier, 12)
    assert model.borders == ()
    picture = torch.randn(1, 3, 15, 17)
    with torch.no_grad():
        close(model(picture), run_windows(classifier, picture, model.window, model.stride))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda x: torch.roll(x, 1, 2), "step roll of Step .*move or mix positions"),
        (lambda x: x.flip(3), "step flip of"),
        (lambda x: x.flatten(2).softmax(-1).view(x.shape), "step flatten of Step .*folds positions"),
        (lambda x: x.softmax(3), "step softmax of Step .*over rows or columns"),
        (lambda x: x @ x, "step matmul"),
        (lambda x: x + x.transpose(2, 3), "step add of Step .*different dimensions"),
        (lambda x: torch.einsum("bchw,bcvw->bchv", x, x), "step einsum"),
        (lambda x: nn.functional.scaled_dot_product_attention(x, x, x), "step scaled_dot_product_attention"),
        (lambda x: x + x.new_ones(x.shape).cumsum(3), "step new_ones"),
        (lambda x: x + torch.linspace(0, 1, x.shape[3], device="meta"), "step linspace of Step .*tensor of its own"),
        (lambda x: x * x.shape[2], "size of the picture"),
        (lambda x: x * x.mean(3).unsqueeze(3), "step mean of Step .*over rows or columns"),
        (lambda x: torch.cat([x, x], 2), "step cat of Step .*over rows or columns"),
        (lambda x: x[:, :, 3:9], "step getitem"),
        (lambda x: nn.functional.layer_norm(x, (10,)), "step layer_norm of Step .*over rows or columns"),
    ],
)
def test_steps_that_mix_positions_are_refused(step: Callable[[Tensor], Tensor], message: str) -> None:
    """Each by name: a step that is not known to be local is not accepted."""
    with pytest.raises(ShapeError, match=message):
        convolutionalize(Step(step).eval(), 12)


class Rolled(nn.Conv2d):
    """A convolution by its class, but something else by what it does."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(torch.roll(input, 1, 3))


class Cosine(nn.Linear):
    """A linear layer only by its class: as a convolution it would lose its normalisation."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(nn.functional.normalize(input), self.weight)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((Rolled(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), "step roll"),
        ((nn.AdaptiveAvgPool2d(1), nn.Flatten(), Cosine(4, 2)), "only linear layers"),
        ((nn.Unflatten(1, (2, 2)), nn.Flatten(1, 2), nn.Softmax(3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "Softmax"),
        ((nn.PixelShuffle(2), nn.Flatten(), nn.Linear(144, 2)), r"layer 1 \(PixelShuffle\).*move or mix positions"),
    ],
)
def test_layers_are_known_by_what_they_do(layers: tuple[nn.Module, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        convolutionalize(head(*layers).eval(), 8)


def test_a_look_at_the_whole_map_in_functions_is_a_border() -> None:
    """Gates by a mean without kept dimensions; normalisation with the numbers of the current picture."""
    gated = convolutionalize(Step(lambda x: x * x.mean((2, 3)).sigmoid()[:, :, None, None]).eval(), 12)
    assert gated.borders == ("mean: looks at the whole map",)
    normed = convolutionalize(head(nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.Linear(144, 2)), 8)
    assert normed.borders == ("1: looks at the whole map",)
    for name, norm in (
        ("group_norm", lambda x: nn.functional.group_norm(x, 2)),
        ("batch_norm", lambda x: nn.functional.batch_norm(x, None, None, training=True)),
    ):
        assert convolutionalize(Step(norm).eval(), 12).borders == (f"{name}: looks at the whole map",)


def test_borders_of_functions() -> None:
    """Padding, a last window that is cut, a map that is enlarged."""

    def borders(step: Callable[[Tensor], Tensor]) -> tuple[str, ...]:
        return convolutionalize(Step(step).eval(), 12).borders

    assert borders(lambda x: nn.functional.max_pool2d(x, 2)) == ()
    assert borders(lambda x: nn.functional.max_pool2d(x, 3, 2, 1)) == ("max_pool2d: pads by 1",)
    assert "rounds up" in borders(lambda x: nn.functional.max_pool2d(x, 2, ceil_mode=True))[0]
    enlarged = borders(lambda x: nn.functional.max_pool2d(nn.functional.interpolate(x, scale_factor=2), 2))
    assert enlarged == ("interpolate: enlarges the map",)
    with pytest.raises(ShapeError, match="grows by several cells at once"):
        borders(lambda x: nn.functional.interpolate(x, scale_factor=2))


def test_a_residual_network_cannot_lose_its_padding() -> None:
    with torch.device("meta"):
        network = without_padding(torchvision.models.resnet18())
        with pytest.raises(ShapeError, match="ResNet cannot be followed on 3x224x224 pictures.*54"):
            convolutionalize(network)


def test_smaller_pictures_are_refused() -> None:
    model = convolutionalize(thin_alexnet())
    with pytest.raises(ShapeError, match="picture 224x200 is smaller than the window 224x224"):
        model(torch.randn(1, 3, 224, 200))


def test_other_precisions() -> None:
    classifier = thin_alexnet().double()
    picture = torch.randn(1, 3, 224, 224, dtype=torch.float64)
    with torch.no_grad():
        close(convolutionalize(classifier)(picture).flatten(1), classifier(picture))


def test_the_public_name() -> None:
    assert denselab.convolutionalize is convolutionalize
    assert isinstance(denselab.convolutionalize(thin_alexnet()), FullyConvolutional)
