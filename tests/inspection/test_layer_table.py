"""The layer table against layers built by hand: names, windows, sizes, costs, and what each value sees."""

import re
from functools import cache
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.build import create_model
from denselab.inspection.layout import Layout, layout_of
from denselab.inspection.outline import outline_of
from denselab.inspection.table import LayerRow, layer_table
from denselab.inspection.trace import Trace, trace
from denselab.models import MODELS
from denselab.models.base import SegmentationModel
from denselab.report.diagram import Heading, diagram


class Functional(nn.Module):
    """Functions in the place of modules, a nested part, a skip, a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.depthwise = nn.Conv2d(8, 8, 3, padding=4, dilation=4, groups=8)
        self.up = nn.ConvTranspose2d(8, 4, 4, 2, 1)
        self.score = nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.stem(x)
        pooled, switches = F.max_pool2d(fine, 2, return_indices=True)
        deep = self.depthwise(pooled)
        both = torch.cat([self.up(deep), F.max_unpool2d(deep, switches, 2)], dim=1)
        return F.interpolate(self.score(both), scale_factor=2, mode="bilinear")


def by_name(rows: list[LayerRow]) -> dict[str, LayerRow]:
    return {row.name: row for row in rows}


def test_every_column_by_hand() -> None:
    rows = layer_table(Functional(), (20, 24))
    assert [(r.name, r.kind) for r in rows] == [
        ("stem.0", "conv"),
        ("max_pool2d", "max pool"),
        ("depthwise", "conv"),
        ("up", "transposed conv"),
        ("max_unpool2d", "unpool"),
        ("score", "conv"),
        ("interpolate_bilinear", "interpolation"),
    ]
    stem, pool, depthwise, up, unpool, score, enlarged = rows
    assert (stem.kernel, stem.stride, stem.pad, stem.dilation, stem.groups) == (3, 1, 1, 1, 1)
    assert (stem.in_channels, stem.out_channels, stem.size) == (3, 8, (20, 24))
    assert (stem.parameters, stem.multiply_adds) == (3 * 8 * 9 + 8, 20 * 24 * 3 * 8 * 9)
    assert (pool.kernel, pool.stride, pool.size, pool.parameters) == (2, 2, (10, 12), 0)
    assert (depthwise.dilation, depthwise.groups, depthwise.multiply_adds) == (4, 8, 10 * 12 * 8 * 9)
    assert (up.kernel, up.stride, up.pad, up.size) == (4, 2, 1, (20, 24))
    assert up.multiply_adds == 10 * 12 * 8 * 4 * 16, "each input value meets each weight of its channel once"
    assert (unpool.size, unpool.out_channels, score.in_channels) == ((20, 24), 8, 12)
    assert (enlarged.size, enlarged.out_channels, enlarged.kernel) == ((40, 48), 2, None)


def test_what_each_layer_sees_by_hand() -> None:
    """3; +1 for the pool; +8 jumps of 2 for 3x3 at dilation 4; two more cells through k4 s2; none through an unpooling."""
    rows = by_name(layer_table(Functional(), (20, 24)))
    fields = {name: (row.receptive_field, row.jump) for name, row in rows.items()}
    assert fields == {
        "stem.0": (3, 1),
        "max_pool2d": (4, 2),
        "depthwise": (20, 2),
        "up": (22, 1),
        "max_unpool2d": (20, 1),
        "score": (22, 1),
        "interpolate_bilinear": (24, 0.5),
    }


def test_norms_only_when_asked_for() -> None:
    assert "stem.1" not in by_name(layer_table(Functional(), (8, 8)))
    row = by_name(layer_table(Functional(), (8, 8), norms=True))["stem.1"]
    assert (row.kind, row.parameters, row.kernel) == ("norm", 16, None)


class Shared(nn.Module):
    """One layer used twice, and functions called twice by a part that has parts."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Module()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.avg_pool2d(self.conv(x), 2)), 2)


def test_a_shared_layer_counts_its_weights_once_and_its_work_twice() -> None:
    rows = layer_table(Shared(), (16, 16))
    assert [r.name for r in rows] == ["conv", "avg_pool2d", "conv", "avg_pool2d_2"]
    assert [r.parameters for r in rows] == [84, 0, 0, 0]
    assert [r.multiply_adds for r in rows] == [81 * 256, 0, 81 * 64, 0]


def test_picture_wide_operations() -> None:
    """A mean over the picture, normalisation over it, attention: every value sees everything from there on."""
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    rows = layer_table(pooled, (9, 9))
    assert [(r.kind, r.receptive_field) for r in rows] == [("conv", 3), ("global pool", None), ("linear", None)]
    assert (rows[2].parameters, rows[2].multiply_adds, rows[2].size) == (10, 8, (1, 1))
    grouped = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 3))
    assert [r.receptive_field for r in layer_table(grouped, (9, 9))] == [3, None]
    assert [r.receptive_field for r in layer_table(nn.Sequential(*grouped[:1], *grouped[2:]), (9, 9))] == [3, 5]


def test_a_fully_connected_layer_sees_the_map_that_it_flattens() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Flatten(), nn.Linear(4 * 16, 5))
    rows = layer_table(net, (9, 9))
    assert [(r.kind, r.receptive_field) for r in rows] == [("conv", 3), ("linear", 3 + 3 * 2)]
    assert rows[1].multiply_adds == 64 * 5


def test_maps_by_module_and_memory() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    traced = trace(net, (10, 10))
    assert traced.maps["0"].channels == 4
    assert traced.maps[""].view.receptive_field == 3
    planes = 400  # bytes of one 10x10 map of float32
    assert traced.forward_bytes == (4 + 4) * planes, "the convolution's output and the ReLU's, at the same time"


def test_the_network_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.BatchNorm2d(4)).train()
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trace(net, (8, 8))
    assert [m.training for m in net] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net[0]._forward_hooks
    assert not net[0]._forward_pre_hooks


def test_hooks_go_when_it_fails() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)).train()
    with pytest.raises(RuntimeError):
        trace(net, (8, 8))
    assert not net[0]._forward_hooks
    assert net.training


def overlaps(layout: Layout) -> list[tuple[str, str]]:
    """Pairs of labels that cover one another, and labels on the boxes of others."""
    labels = [(box.label.text, box.label.box) for box in layout.boxes if box.label]
    boxes = [("box", (box.x, box.y, box.x + box.width, box.y + box.height)) for box in layout.boxes]
    pairs = [(a, b) for i, a in enumerate(labels) for b in labels[i + 1 :] + boxes]
    return [
        (a, b)
        for (a, one), (b, other) in pairs
        if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    ]


@cache
def of_network(name: str) -> tuple[SegmentationModel, Trace]:
    """A network of eleven classes and its trace at 360x480."""
    with torch.device("meta"):
        model = create_model(name, 11)
    return model, trace(model, (360, 480))


@pytest.mark.parametrize("name", MODELS)
def test_every_network_has_a_table(name: str) -> None:
    """Sizes end at the picture's own, fields never shrink below a pixel, and the weights of the rows are all there is."""
    model, traced = of_network(name)
    assert traced.coarse is not None
    assert traced.maps[""].view.size == (360, 480)
    total = sum(p.numel() for p in model.parameters())
    counted = sum(o.parameters for o in traced.operations)
    assert 0.98 * total < counted <= total, "layer scales and the like are no rows; auxiliary heads do not run"
    assert all((o.view.receptive_field or 1) >= 1 for o in traced.operations)
    assert all(o.name for o in traced.operations)
    assert set(model.landmarks()) <= set(traced.maps), "explain shows only modules that run and give one map"


@pytest.mark.parametrize("name", MODELS)
def test_every_network_has_a_diagram(name: str) -> None:
    """Well-formed, on a page of its size; every size in it is a map's of the trace; no label covers another."""
    _, traced = of_network(name)
    layout = layout_of(outline_of(traced))
    drawn = diagram(layout, Heading(name, "a <paper>"), traced.size)
    words = [
        "".join(text.itertext()) for text in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")
    ]
    true = {f"{o.out_channels} @ {o.view.size[0]}x{o.view.size[1]}" for o in traced.operations}
    true |= {f"3 @ {o.reads[0]}x{o.reads[1]}" for o in traced.operations} | {"3 @ 360x480"}
    shown = [word for word in words if " @ " in word]
    assert {re.match(r"\d+ @ \d+x\d+", word)[0] for word in shown} <= true  # type: ignore[index]
    assert {"a <paper>", "3 @ 360x480"} <= set(words)
    assert overlaps(layout) == []
    for box in layout.boxes:
        assert min(box.x, box.y) >= 0
        assert box.x + box.width <= layout.width
        assert box.y + box.height <= layout.height
    assert layout.width <= 1250, "with more its letters are too small on a page of 1000"


@pytest.mark.parametrize(
    "encoder", ["resnet18", "mobilenetv3_large_100", "convnext_atto", "swin_tiny_patch4_window7_224"]
)
def test_timm_encoders(encoder: str) -> None:
    with torch.device("meta"):
        model = create_model("unet", 2, encoder=encoder)
    rows = layer_table(model, (96, 128))
    assert rows[-1].size == (96, 128)
    assert rows[-1].jump == 1
    wide = {"resnet18": False, "mobilenetv3_large_100": True, "convnext_atto": False}.get(encoder, True)
    assert (rows[-1].receptive_field is None) == wide


def joins(name: str, size: tuple[int, int]) -> list[tuple[str, str, object]]:
    """(name, kind, offset of a crop) of every place where maps meet or are cut."""
    with torch.device("meta"):
        model = create_model(name, 21)
    rows = layer_table(model, size, joins=True)
    return [(r.name, r.kind, r.pad) for r in rows if r.kind in ("sum", "concat", "crop")]


def test_fcn8s_crops_as_its_release_does() -> None:
    """voc-fcn8s/net.py: score_pool4c is cut at 5, score_pool3c at 9, the score at 31; each crop is added to a coarser map."""
    assert joins("fcn8s", (500, 500)) == [
        ("fuse_pool4.crop", "crop", 5),
        ("fuse_pool4.sum", "sum", None),
        ("fuse_pool3.crop", "crop", 9),
        ("fuse_pool3.sum", "sum", None),
        ("crop", "crop", 31),
    ]


def test_unet_crops_and_concatenates_four_times() -> None:
    """Figure 1 of arXiv 1505.04597 at 388: the maps of 64, 136, 280 and 568 are cut to 56, 104, 200 and 392."""
    found = [(kind, pad) for name, kind, pad in joins("unet_paper", (388, 388)) if name.startswith("core.")]
    assert found == [x for cut in (4, 16, 40, 88) for x in (("crop", cut), ("concat", None))]


def test_without_joins_the_table_is_that_of_the_layers() -> None:
    with torch.device("meta"):
        model = create_model("fcn8s", 21)
    rows = layer_table(model, (64, 64), joins=True)
    assert [r for r in rows if r.kind not in ("sum", "crop")] == layer_table(model, (64, 64))
