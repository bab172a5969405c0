"""The outline of networks built by hand: what a figure leaves out, and what it must not."""

from itertools import combinations, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.build import create_model
from denselab.inspection.layout import Layout, layout_of, level_of
from denselab.inspection.outline import Drawn, Link, MapKind, outline_of
from denselab.inspection.trace import trace


def drawn(model: nn.Module, size: tuple[int, int] = (32, 48)) -> list[Drawn]:
    return list(outline_of(trace(model, size)).values())


def kinds(model: nn.Module) -> list[str]:
    return [one.kind for one in drawn(model)]


class Residual(nn.Module):
    """A block with a shortcut (projected if the channels change), with squeeze-and-excitation if `gated`."""

    def __init__(self, before: int, after: int, stride: int = 1, gated: bool = False) -> None:
        super().__init__()
        self.narrow = nn.Sequential(nn.Conv2d(before, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.conv = nn.Conv2d(4, 4, 3, stride, 1)
        self.wide = nn.Conv2d(4, after, 1)
        self.gate = nn.Conv2d(4, 4, 1) if gated else None
        self.short = nn.Conv2d(before, after, 1, stride) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.narrow(x))
        if self.gate:
            y = y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        return F.relu(self.wide(y) + self.short(x))


def test_a_residual_block_is_one_map_and_repeats_are_counted() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Residual(8, 16, 2), Residual(16, 16), Residual(16, 16))
    _, conv, block = drawn(model)
    assert (conv.kind, conv.channels, conv.size) == ("conv", 8, (32, 48))
    assert (block.kind, block.channels, block.size, block.times) == ("block", 16, (16, 24), 3)
    assert block.convolutions == 4 + 3 + 3
    assert (block.first, block.last) == ("1.narrow.0", "3.sum")


def test_squeeze_and_excitation_is_no_part_of_the_figure() -> None:
    assert kinds(nn.Sequential(nn.Conv2d(3, 8, 3), Residual(8, 8, gated=True))) == ["picture", "conv", "block"]


def test_a_depthwise_and_a_pointwise_convolution_are_one() -> None:
    separable = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, dilation=2), nn.BatchNorm2d(8), nn.Conv2d(8, 12, 1))
    _, _, one = drawn(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), separable))
    assert (one.kind, one.channels, one.kernel, one.rates, one.convolutions) == ("separable", 12, (3, 3), (2,), 2)
    inverted = nn.Sequential(nn.Conv2d(8, 32, 1), nn.Conv2d(32, 32, 3, groups=32), nn.Conv2d(32, 12, 1))
    assert kinds(nn.Sequential(nn.Conv2d(3, 8, 3), inverted)) == ["picture", "conv", "block"]


class Skips(nn.Module):
    """A pool and its way back: a crop and an enlargement before a concatenation, then three maps added."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.deep = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3)
        self.up = nn.ConvTranspose2d(8, 6, 2, 2)
        self.a, self.b, self.c = (
            nn.Conv2d(10, 2, 3, padding=1),
            nn.Conv2d(10, 2, 5, padding=2),
            nn.Conv2d(10, 2, 7, padding=3),
        )

    def forward(self, x: Tensor) -> Tensor:
        fine = self.conv(x)
        up = self.up(self.deep(F.max_pool2d(fine, 2)))
        both = torch.cat([fine[..., 2:-2, 2:-2], up], dim=1)
        summed = self.a(both) + self.b(both) + self.c(both)
        return F.interpolate(summed, size=x.shape[-2:], mode="bilinear")


def test_crops_and_enlargements_on_the_way_to_a_concatenation_are_part_of_the_link() -> None:
    found = outline_of(trace(Skips(), (32, 48)))
    by_kind = {one.kind: one for one in found.values()}
    names = {key: one.first for key, one in found.items()}
    assert by_kind["concat"].size == (28, 44)
    first, second = by_kind["concat"].links
    assert (names[first.source], first.channels, first.through) == ("conv", 4, ("crop",))
    assert (names[second.source], second.channels, second.through) == ("deep", 6, ("transposed conv",))
    assert [names[link.source] for link in by_kind["sum"].links] == ["a", "b", "c"]
    assert list(found.values())[-1].size == (32, 48)


def test_an_unpooling_knows_the_pool_of_its_switches() -> None:
    with torch.device("meta"):
        found = outline_of(trace(create_model("segnet_basic", 4), (64, 96)))
    unpoolings = [one for one in found.values() if one.kind == "unpool"]
    assert len(unpoolings) == 4
    for one in unpoolings:
        switches = next(link for link in one.links if link.switches)
        pool = found[switches.source]
        assert pool.kind == "max pool"
        assert one.size == found[pool.sources[0]].size


def test_the_same_layer_twice_on_the_same_map_is_one() -> None:
    """patchwise runs its windows in batches."""
    with torch.device("meta"):
        model = create_model("patchwise", 4)
    assert len(outline_of(trace(model, (256, 256)))) == len(outline_of(trace(model, (64, 64)))) == 8


def test_a_branched_encoder_of_hundreds_of_layers_stays_a_figure() -> None:
    """DenseNet concatenates after every layer."""
    with torch.device("meta"):
        model = create_model("unet", 4, encoder="densenet121")
    found = outline_of(trace(model, (128, 128)))
    assert len(found) <= 60
    assert {one.size[0] for one in found.values()} >= {128, 64, 32, 16, 8, 4}


def figure(name: str, side: int) -> Layout:
    with torch.device("meta"):
        model = create_model(name, 2)
    return layout_of(outline_of(trace(model, (side, side))))


def labels(layout: Layout) -> list[str]:
    return [box.label.text for box in layout.boxes if box.label]


def test_u_net_is_figure_1() -> None:
    """572 to 388, five rows, four cropped skips that run level."""
    layout = figure("unet_paper", 388)
    shown = labels(layout)
    for text in ("3 @ 572x572", "64 @ 568x568", "1024 @ 28x28", "1024 @ 56x56", "128 @ 392x392", "2 @ 388x388"):
        assert text in shown
    assert [row.name for row in layout.rows] == [f"stride {2**level}" for level in range(5)]
    skips = [arrow for arrow in layout.arrows if arrow.skips]
    assert [arrow.link.through for arrow in skips] == [("crop",)] * 4
    assert all(len({round(y, 6) for _, y in arrow.points}) == 1 for arrow in skips)
    assert [arrow.link.channels for arrow in skips] == [512, 256, 128, 64]


def test_deconvnet_is_figure_2() -> None:
    """224 down to one cell and back; five unpoolings, each fed by the pool on its level."""
    layout = figure("deconvnet", 224)
    assert {"512 @ 7x7", "4096 @ 1x1", "512 @ 14x14", "64 @ 224x224"} <= set(labels(layout))
    assert layout.rows[-1].name == "1x1"
    switches = [arrow for arrow in layout.arrows if arrow.link.switches]
    assert len(switches) == 5
    assert all(abs(arrow.points[0][1] - arrow.points[-1][1]) < 1e-6 for arrow in switches)


def test_boxes_are_as_high_as_the_map_is_large_and_as_wide_as_it_has_channels() -> None:
    """On logarithmic scales: a quarter of the size costs the same height wherever it begins."""
    boxes = {(box.drawn.channels, box.drawn.size): box for box in figure("unet_small", 256).boxes}
    heights = [boxes[16 * 2**level, (256 // 2**level,) * 2].height for level in range(5)]
    steps = {round(a - b, 6) for a, b in pairwise(heights)}
    assert len(steps) == 1
    assert steps.pop() > 0
    widths = [boxes[16 * 2**level, (256 // 2**level,) * 2].width for level in range(5)]
    assert widths == sorted(widths)


def test_the_row_of_a_map() -> None:
    def level(size: int, stride: float | None) -> int:
        return level_of(Drawn("conv", 1, (size, size), stride, (Link(-1, 1),)), (224, 224))

    assert [level(224, 1), level(222, 1), level(260, 1), level(28, 8), level(7, 32)] == [0, 0, 0, 3, 5]
    assert level(1, 32) == 7, "a map of one cell has a row of its own"
    assert level(56, None) == 2


def test_labels_of_a_rising_run_leave_those_before_it_alone() -> None:
    """HRNet: a map beside one that came up from a lower row has a longer label, which reached over that of the run before."""
    outline: dict[int, Drawn] = {-1: Drawn("picture", 3, (512, 512), 1.0, ())}

    def add(kind: MapKind, side: int, sources: tuple[int, ...], times: int = 1) -> int:
        key = len(outline)
        outline[key] = Drawn(kind, 18, (side, side), 512 / side, tuple(Link(s, 18) for s in sources), times=times)
        return key

    fine = add("conv", 128, (-1,))
    for _ in range(12):
        coarse = add("conv", 64, (fine,))
        joined = add("sum", 128, (fine, coarse))
        fine = add("block", 128, (joined,), times=4)
    labels = [box.label for box in layout_of(outline).boxes if box.label]
    assert len(labels) > 8
    for one, other in combinations(labels, 2):
        (left, top, right, bottom), (left2, top2, right2, bottom2) = one.box, other.box
        assert right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top, (one, other)
