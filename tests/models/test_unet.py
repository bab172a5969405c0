"""U-Net as its figure 1 states it, and the border outside of it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from denselab.encoders.timm_encoder import TimmEncoder
from denselab.errors import ConfigError, ShapeError
from denselab.models.unet import UNet, UNetCore, UNetEncoder, UNetPaper, _missing

COUNTS = {  # (inputs, classes), reference/unet.md, section 1
    (1, 2): 31_030_658,
    (3, 2): 31_031_810,
    (1, 1): 31_030_593,
    (3, 21): 31_033_045,
    (3, 11): 31_032_395,
}
THIN = (2, 2, 4, 4, 8)


def full_core(in_channels: int = 1, num_classes: int = 2, *, padded: bool = False) -> UNetCore:
    with torch.device("meta"):
        return UNetCore(in_channels, num_classes, padded=padded, batch_norm=False)


@pytest.mark.parametrize(("in_channels", "num_classes"), COUNTS)
def test_parameters(in_channels: int, num_classes: int) -> None:
    for padded in (False, True):
        core = full_core(in_channels, num_classes, padded=padded)
        assert sum(p.numel() for p in core.parameters()) == COUNTS[in_channels, num_classes]


def test_twenty_three_convolutions() -> None:
    layers = [m for m in full_core().modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    assert len(layers) == 23


def test_figure_1() -> None:
    """572 -> 388, and every size on the way; the crops are 4, 16, 40, 88 per side."""
    core = full_core()
    sizes: list[int] = []
    for block in [*core.down, *core.up]:
        block.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[-1]))
    assert core(torch.empty(1, 1, 572, 572, device="meta")).shape == (1, 2, 388, 388)
    assert sizes == [568, 280, 136, 64, 28, 52, 100, 196, 388]
    enlarged = [2 * size for size in sizes[4:8]]
    assert [(skip - up) // 2 for skip, up in zip(sizes[3::-1], enlarged, strict=True)] == [4, 16, 40, 88]


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
    """The logits of a 388 picture are the core's on the picture with its border mirrored, nothing else."""
    torch.manual_seed(0)
    model = UNetPaper(UNetCore(1, 2, padded=False, batch_norm=False, widths=THIN)).eval()
    image = torch.randn(1, 1, 100, 100)  # 100 + 184 = 284 = 16 * 14 + 60
    mirrored = torch.nn.functional.pad(image, (92, 92, 92, 92), mode="reflect")
    with torch.no_grad():
        assert torch.equal(model(image), model.core(mirrored))


def test_the_unpadded_core_sees_no_border() -> None:
    """Shift the picture by one deepest cell, and the output shifts with it exactly: there is no padding inside."""
    torch.manual_seed(0)
    core = UNetCore(1, 2, padded=False, batch_norm=False, widths=THIN).eval()
    image = torch.randn(1, 1, 236, 220)
    with torch.no_grad():
        whole, shifted = core(image), core(image[..., 16:, :])
    torch.testing.assert_close(shifted, whole[..., 16:, :], atol=1e-5, rtol=1e-4)


def test_dropout_at_the_end_of_the_contracting_path() -> None:
    core = UNetCore(1, 2, padded=True, batch_norm=False, widths=THIN).train()
    x = torch.randn(1, 1, 32, 32)
    assert not torch.equal(core(x), core(x))
    assert torch.equal(core.eval()(x), core(x))


def test_batch_norm_replaces_the_biases() -> None:
    model = UNet(UNetCore(3, 2, padded=True, batch_norm=True, dropout=0.0, widths=THIN))
    convs = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.bias is None for m in convs] == [True] * 18 + [False]  # the score keeps its own


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
