"""The layer table as text: what is folded, what is written for each kind of layer, and the totals."""

import pytest
import torch
from torch import nn

from denselab.in_words import bytes_in_words
from denselab.inspection.listing import field_words, short, table_lines, total_lines
from denselab.inspection.summary import summarise
from denselab.inspection.table import layer_table, table_of
from denselab.inspection.trace import trace


def deep(blocks: int) -> nn.Module:
    """A stem, then blocks of a pointwise and a depthwise convolution, then a score."""
    block = [
        nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, groups=8))
        for _ in range(blocks)
    ]
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), *block, nn.Conv2d(8, 4, 1))


def test_the_lines_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.MaxPool2d(2), nn.Conv2d(8, 8, (1, 3), groups=8), nn.Flatten())
    assert table_lines(layer_table(net, (32, 64))) == [
        "layer  kind             kernel  stride  pad  channels  output  parameters  mult-adds  sees",
        "0      conv                  3       2    1  3 > 8     16x32          224      111 k     3",
        "1      max pool              2       2    0  8         8x16                              5",
        "2      conv, depthwise     1x3       1    0  8         8x14            32     2.69 k    13",
    ]


def test_dilation_has_a_column_only_where_there_is_one() -> None:
    plain, atrous = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3, dilation=2)
    assert "dilation" not in table_lines(layer_table(nn.Sequential(plain), (9, 9)))[0]
    head, _, row = table_lines(layer_table(nn.Sequential(plain, nn.Conv2d(4, 4, 3, dilation=2)), (9, 9)))
    assert "dilation" in head
    assert row.split()[4:6] == ["0", "2"]
    assert layer_table(atrous, (9, 9))[0].receptive_field == 5


def test_repeated_blocks_of_deep_networks_are_folded() -> None:
    rows = layer_table(deep(40), (64, 64))
    assert len(rows) == 82
    lines = table_lines(rows)
    assert len(lines) == 1 + 1 + 2 + 1 + 1, "head, stem, one block, the fold, the score"
    assert lines[4] == ("    these 2 layers 39 times more, 2.0 to 40.2: 5,928 parameters, 5.43 M, then sees 163")
    assert len(table_lines(rows, unfold=True)) == 83


def test_tables_as_long_as_the_papers_are_not_folded() -> None:
    assert len(table_lines(layer_table(deep(10), (64, 64)))) == 1 + 22


def test_totals() -> None:
    net = deep(2)
    net[0].weight.requires_grad_(False)
    traced = trace(net, (64, 64))
    summary = summarise(net, traced)
    rows = table_of(traced, (64, 64), norms=True)
    assert (
        summary.learnable + summary.fixed
        == sum(row.parameters for row in rows)
        == sum(p.numel() for p in net.parameters())
    )
    assert (summary.fixed, summary.norm_layers, summary.norm_parameters) == (216, 2, 32)
    assert summary.multiply_adds == sum(row.multiply_adds for row in rows)
    assert (summary.receptive_field, summary.output_stride, summary.logits_stride) == (11, 2, 2)
    lines = total_lines(summary)
    assert lines[0] == "parameters       380 learnable; 216 fixed, of them 32 in 2 normalisations"
    assert lines[2:4] == ["receptive field  11 pixels", "output stride    2"]


def test_the_coarsest_map_and_the_logits_have_strides_of_their_own() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 8), nn.ConvTranspose2d(4, 2, 4, 4))
    summary = summarise(net, trace(net, (64, 64)))
    assert (summary.output_stride, summary.logits_stride) == (8, 2)
    assert total_lines(summary)[3] == "output stride    8; of the logits before their last enlargement 2"


def test_memory_counts_weights_and_maps() -> None:
    """4 maps of 10x10 and 3 of the picture in float32; AdamW keeps four numbers per weight."""
    net = nn.Conv2d(3, 4, 1)
    summary = summarise(net, trace(net, (10, 10)))
    assert summary.memory_forward == 16 * 4 + 7 * 400
    assert summary.memory_training == 4 * 16 * 4 + 7 * 400


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (12_345_678, "12.3 M"),
        (189_700_000_000, "190 G"),
        (2 * 10**12, "2 T"),
        (999_999, "1 M"),
        (999_499, "999 k"),
        (99_960, "100 k"),
        (999_700_000, "1 G"),
    ],
)
def test_counts_in_short(count: int, text: str) -> None:
    assert short(count) == text


def test_words() -> None:
    assert [field_words(f) for f in (1404, None)] == ["1,404 pixels", "the whole picture"]
    assert [bytes_in_words(b) for b in (3 * 2**20, 3 * 2**29)] == ["3 MiB", "1.5 GiB"]


def test_the_whole_picture_in_the_table() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1))
    assert [line.split()[-1] for line in table_lines(layer_table(net, (9, 9)))] == ["sees", "3", "all", "all"]
