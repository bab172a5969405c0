"""U-Net as its figure 1 states it, and the border around it."""

import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from denselab.encoders.timm_encoder import TimmEncoder
from denselab.errors import ConfigError, ShapeError
from denselab.models.base import ModelOptions
from denselab.models.unet import UNet, UNetCore, UNetEncoder, UNetPaper, Up, _missing, build_unet_release, up_first

COUNTS = {  # (inputs, classes): parameters of figure 1's network
    (1, 2): 31_030_658,
    (3, 2): 31_031_810,
    (1, 1): 31_030_593,
    (3, 21): 31_033_045,
    (3, 11): 31_032_395,
}
RELEASE_COUNT = 31_100_354  # (1, 2), with the release's up-convolutions
SIZES = [  # figure 1 for 572x572: module, channels, side
    ("down.0.conv1", 64, 570),
    ("down.0.conv2", 64, 568),
    ("pool.0", 64, 284),
    ("down.1.conv1", 128, 282),
    ("down.1.conv2", 128, 280),
    ("pool.1", 128, 140),
    ("down.2.conv1", 256, 138),
    ("down.2.conv2", 256, 136),
    ("pool.2", 256, 68),
    ("down.3.conv1", 512, 66),
    ("down.3.conv2", 512, 64),
    ("pool.3", 512, 32),
    ("down.4.conv1", 1024, 30),
    ("down.4.conv2", 1024, 28),
    ("up.0.upconv", 512, 56),
    ("up.0.conv.conv1", 512, 54),
    ("up.0.conv.conv2", 512, 52),
    ("up.1.upconv", 256, 104),
    ("up.1.conv.conv1", 256, 102),
    ("up.1.conv.conv2", 256, 100),
    ("up.2.upconv", 128, 200),
    ("up.2.conv.conv1", 128, 198),
    ("up.2.conv.conv2", 128, 196),
    ("up.3.upconv", 64, 392),
    ("up.3.conv.conv1", 64, 390),
    ("up.3.conv.conv2", 64, 388),
    ("score", 2, 388),
]
CROPS = (4, 16, 40, 88)  # pixels off each side of the skips, deepest first
THIN = (2, 2, 4, 4, 8)


def full_core(in_channels: int = 1, num_classes: int = 2, *, padded: bool = False, release: bool = False) -> UNetCore:
    with torch.device("meta"):
        return UNetCore(in_channels, num_classes, padded=padded, batch_norm=False, release=release)


def sizes_of(core: UNetCore) -> list[tuple[str, int, int]]:
    """(module, channels, side) of every convolution, pool and up-convolution at 572x572, in order of computation."""
    found: list[tuple[str, int, int]] = []
    for name, module in core.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d | torch.nn.MaxPool2d):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: found.append((name, output.shape[1], output.shape[-1]))
            )
    core(torch.empty(1, 1, 572, 572, device="meta"))
    return found


@pytest.mark.parametrize(("in_channels", "num_classes"), COUNTS)
def test_parameters(in_channels: int, num_classes: int) -> None:
    for padded in (False, True):
        core = full_core(in_channels, num_classes, padded=padded)
        assert sum(p.numel() for p in core.parameters()) == COUNTS[in_channels, num_classes]


def test_twenty_three_convolutions() -> None:
    """18 of 3x3, 4 up-convolutions, one of 1x1."""
    layers = [m for m in full_core().modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    assert len(layers) == 23


def test_figure_1() -> None:
    """Every box and arrow of the figure, 572 -> 388."""
    assert sizes_of(full_core()) == SIZES


def test_the_release_differs_in_its_last_up_convolution_only() -> None:
    changed = [("up.3.upconv", 128, 392) if row[0] == "up.3.upconv" else row for row in SIZES]
    core = full_core(release=True)
    assert sizes_of(core) == changed
    assert core.up[3].upconv.weight.shape == (128, 128, 2, 2)
    assert core.up[3].conv.conv1.weight.shape == (64, 192, 3, 3)


def test_the_release_has_its_parameters() -> None:
    with torch.device("meta"):
        model = build_unet_release(ModelOptions(2, in_channels=1))
    assert sum(p.numel() for p in model.parameters()) == RELEASE_COUNT


@pytest.mark.parametrize("release", [False, True])
def test_only_the_release_has_relu_after_its_up_convolutions(release: bool) -> None:
    """Seen in the next convolution's input: up-convolved channels come first in the release and last in the others."""
    torch.manual_seed(0)
    core = UNetCore(1, 2, padded=True, batch_norm=False, widths=THIN, release=release).eval()
    lowest: list[float] = []
    for up in core.up:
        enlarged = up.upconv.out_channels
        part = slice(enlarged) if release else slice(-enlarged, None)
        up.conv.conv1.register_forward_pre_hook(
            lambda module, inputs, part=part: lowest.append(float(inputs[0][:, part].min()))
        )
    with torch.no_grad():
        core(torch.randn(1, 1, 64, 64))
    assert len(lowest) == 4
    assert all((value >= 0) == release for value in lowest)


@pytest.mark.parametrize("release", [False, True])
def test_the_order_of_what_is_joined(release: bool) -> None:
    """Figure 1 has the skip first; the release's Concat has the up-convolved map first (u3a, then d3cc, and so on)."""
    torch.manual_seed(0)
    core = UNetCore(1, 2, padded=True, batch_norm=False, dropout=0.0, widths=THIN, release=release).eval()
    seen: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
    for step, up in enumerate(core.up):
        maps: list[torch.Tensor] = []
        up.register_forward_pre_hook(lambda module, inputs, maps=maps: maps.append(inputs[1]))
        up.upconv.register_forward_hook(lambda module, inputs, output, maps=maps: maps.append(output.clone()))
        up.conv.conv1.register_forward_pre_hook(
            lambda module, inputs, maps=maps, step=step: seen.__setitem__(step, (*maps, inputs[0]))
        )
    with torch.no_grad():
        core(torch.randn(1, 1, 64, 64))
    for skip, enlarged, joined in seen.values():
        expected = [enlarged.relu(), skip] if release else [skip, enlarged]
        assert torch.equal(joined, torch.cat(expected, dim=1))
    assert len(seen) == 4


def test_stored_weights_of_the_release_with_the_skip_first_give_the_same_logits() -> None:
    """`up_first` turns weights for [skip, up], and nothing else, into weights for [up, skip].

    unet_release once had unet_paper's order with the release's layers; folders of that time hold such weights.
    """
    torch.manual_seed(0)
    core = UNetCore(1, 2, padded=True, batch_norm=False, widths=THIN, release=True).eval()
    stored = {f"core.{name}": torch.randn_like(tensor) * 0.3 for name, tensor in core.state_dict().items()}
    images = torch.randn(1, 1, 64, 64)
    now = up_first(stored)
    core.load_state_dict({name.removeprefix("core."): tensor for name, tensor in now.items()})
    with torch.no_grad():
        logits = core(images)
        expected = skip_first_logits({name.removeprefix("core."): t for name, t in stored.items()}, images)
    assert float(expected.std()) > 0.05
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    changed = [name for name in stored if not torch.equal(stored[name], now[name])]
    assert changed == [f"core.up.{step}.conv.conv1.weight" for step in range(4)]


def skip_first_logits(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """unet_release as it was, padded, written with functions alone."""

    def double(path: str, x: torch.Tensor) -> torch.Tensor:
        for conv in ("conv1", "conv2"):
            x = F.relu(F.conv2d(x, weights[f"{path}.{conv}.weight"], weights[f"{path}.{conv}.bias"], padding=1))
        return x

    skips = []
    for level in range(5):
        x = double(f"down.{level}", F.max_pool2d(x, 2) if level else x)
        skips.append(x)
    for step in range(4):
        up = F.conv_transpose2d(x, weights[f"up.{step}.upconv.weight"], weights[f"up.{step}.upconv.bias"], stride=2)
        x = double(f"up.{step}.conv", torch.cat([skips[3 - step], up.relu()], dim=1))
    return F.conv2d(x, weights["score.weight"], weights["score.bias"])


def test_the_crops_of_figure_1() -> None:
    """At 572x572 the middle of each skip is joined: 4, 16, 40 and 88 pixels are taken off each side."""
    torch.manual_seed(0)
    core = UNetCore(1, 2, padded=False, batch_norm=False, dropout=0.0, widths=THIN).eval()
    skips: list[torch.Tensor] = []
    joined: list[torch.Tensor] = []
    for up in core.up:
        up.register_forward_pre_hook(lambda module, inputs: skips.append(inputs[1]))
        up.conv.conv1.register_forward_pre_hook(lambda module, inputs: joined.append(inputs[0]))
    with torch.no_grad():
        core(torch.randn(1, 1, 572, 572))
    for skip, both, crop in zip(skips, joined, CROPS, strict=True):
        assert torch.equal(both[:, : skip.shape[1]], skip[..., crop:-crop, crop:-crop])


@pytest.mark.parametrize("size", [188, 204, 572, 588])
def test_valid_sizes_lose_184(size: int) -> None:
    assert full_core()(torch.empty(1, 1, size, size, device="meta")).shape[-1] == size - 184


@pytest.mark.parametrize("size", [172, 187, 189, 512])
def test_other_sizes_are_refused_with_the_remedy(size: int) -> None:
    """512 is not valid for the paper's net (the data set of its first experiment has that size)."""
    with pytest.raises(ShapeError, match=rf"{size}x188.*16k \+ 60.*UNetPaper"):
        full_core()(torch.empty(1, 1, size, 188, device="meta"))
    with pytest.raises(ShapeError, match="multiples of 16"):
        full_core(padded=True)(torch.empty(1, 1, 20, 32, device="meta"))


@given(st.integers(1, 3000))
def test_the_mirrored_size_is_the_next_valid_one(side: int) -> None:
    given_size = side + 2 * 92 + _missing(side)
    assert given_size >= 188
    assert (given_size - 60) % 16 == 0
    assert 0 <= _missing(side) < 16


def test_an_exact_size_gets_92_mirrored_pixels_at_each_side() -> None:
    """The logits of a 388 picture are exactly the core's on the picture with its border mirrored."""
    torch.manual_seed(0)
    model = UNetPaper(UNetCore(1, 2, padded=False, batch_norm=False, widths=THIN)).eval()
    image = torch.randn(1, 1, 100, 100)  # 100 + 184 = 284 = 16 * 14 + 60
    mirrored = torch.nn.functional.pad(image, (92, 92, 92, 92), mode="reflect")
    with torch.no_grad():
        assert torch.equal(model(image), model.core(mirrored))


def test_the_unpadded_core_sees_no_border() -> None:
    """If the picture shifts by one deepest cell, the output shifts with it exactly: there is no padding inside."""
    torch.manual_seed(0)
    core = UNetCore(1, 2, padded=False, batch_norm=False, widths=THIN).eval()
    image = torch.randn(1, 1, 236, 220)
    with torch.no_grad():
        whole, shifted = core(image), core(image[..., 16:, :])
    torch.testing.assert_close(shifted, whole[..., 16:, :], atol=1e-5, rtol=1e-4)


def test_the_receptive_field_by_the_reach_of_a_gradient() -> None:
    """188 pixels for the first 4 of every 16 outputs, 204 for the others, whose 2x2 cells pull in one more deep cell.

    Weights are positive and averages replace maxima, so that nothing on the way is zero.
    """
    core = UNetCore(1, 1, padded=False, batch_norm=False, widths=THIN).double().eval()
    core.pool = torch.nn.ModuleList(torch.nn.AvgPool2d(2) for _ in range(4))
    for parameter in core.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    image = torch.rand(1, 1, 236, 188, dtype=torch.float64, requires_grad=True)
    logits = core(image)
    for row, expected in ((16, 188), (19, 188), (20, 204), (31, 204), (32, 188)):
        (gradient,) = torch.autograd.grad(logits[0, 0, row, 0], image, retain_graph=True)
        reached = gradient[0, 0].sum(dim=1).nonzero().flatten()
        assert int(reached[-1] - reached[0]) + 1 == expected


def test_dropout_after_the_last_two_levels_of_the_contracting_path() -> None:
    """Ratio 0.5, after the second convolution of levels 3 and 4 and nowhere else; the skip takes what is left."""
    core = UNetCore(1, 2, padded=True, batch_norm=False, widths=(2, 2, 4, 8, 8)).train()
    dropouts = {name: m.p for name, m in core.named_modules() if isinstance(m, torch.nn.Dropout)}
    assert dropouts == {"drop3": 0.5, "drop4": 0.5}
    into: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name in dropouts:
        core.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: into.__setitem__(name, (inputs[0], output))
        )
    levels: list[torch.Tensor] = []
    for down in core.down:
        down.register_forward_hook(lambda module, inputs, output: levels.append(output))
    skips: list[torch.Tensor] = []
    core.up[0].register_forward_pre_hook(lambda module, inputs: skips.extend(inputs))
    core(torch.randn(1, 1, 64, 64))
    assert torch.equal(into["drop3"][0], levels[3])
    assert torch.equal(into["drop4"][0], levels[4])
    assert torch.equal(skips[0], into["drop4"][1])
    assert torch.equal(skips[1], into["drop3"][1])
    assert (into["drop3"][1] == 0).sum() > (levels[3] == 0).sum()


def test_landmarks_name_the_expanding_path() -> None:
    for model in (UNetPaper(full_core()), UNet(full_core(padded=True))):
        assert list(model.landmarks())[::2] == [f"core.up.{step}.upconv" for step in range(4)]
        assert all(isinstance(model.get_submodule(path), torch.nn.Module) for path in model.landmarks())


def test_batch_norm_replaces_the_biases() -> None:
    model = UNet(UNetCore(3, 2, padded=True, batch_norm=True, dropout=0.0, widths=THIN))
    convs = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.bias is None for m in convs] == [True] * 18 + [False]  # the score layer keeps its bias


@pytest.mark.parametrize(("name", "finest"), [("test_resnet", 2), ("test_convnext", 4)])
def test_on_an_encoder_the_decoder_ends_at_the_finest_map(name: str, finest: int) -> None:
    model = UNetEncoder(TimmEncoder(name), 2).eval()
    with torch.no_grad():
        assert model.coarse_logits(torch.randn(1, 3, 37, 64)).shape == (1, 2, -(-37 // finest), 64 // finest)


def test_an_encoder_without_fine_maps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'test_vit' has feature maps at strides \[16\], but \[4\] is needed"):
        UNetEncoder(TimmEncoder("test_vit"), 2)


def test_a_dilated_encoder_gives_fewer_steps() -> None:
    model = UNetEncoder(TimmEncoder("test_resnet", output_stride=8), 2)
    assert model.strides == (8, 4, 2)
    assert len(model.up) == 2


def test_what_an_up_convolution_made_goes_before_the_next_convolution() -> None:
    """At the finest level it was a fifth of what a run held at once: 150 MB of 768x768 pixels."""
    up, made, gone = Up(4, 4, 4, padding=1, batch_norm=False), [], []
    up.upconv.register_forward_hook(lambda module, given, found: made.append(weakref.ref(found)))
    up.conv.register_forward_pre_hook(lambda module, given: gone.append(made[0]() is None))
    with torch.no_grad():
        up(torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 16, 16))
    assert gone == [True]
