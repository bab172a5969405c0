"""TensorFlow's SAME padding as constants: the same maps as timm's, and sizes that a tracer can follow."""

import pytest
import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from denselab.encoders.same_padding import AlignedConv2d, align_same_convolutions
from denselab.encoders.timm_encoder import TimmEncoder


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(1, 2, 1), (3, 2, 1), (5, 2, 1), (3, 2, 2), (2, 4, 1)])
def test_as_timm_pads_multiples_of_the_stride(kernel: int, stride: int, dilation: int) -> None:
    theirs = nn.Sequential(Conv2dSame(3, 4, kernel, stride, dilation=dilation, bias=kernel == 3))
    maps = torch.randn(2, 3, 8, 12)
    expected = theirs(maps)
    state = torch.get_rng_state()
    align_same_convolutions(theirs)
    assert torch.equal(torch.get_rng_state(), state), "weights that are drawn later stay"
    assert type(theirs[0]) is AlignedConv2d
    assert torch.equal(theirs(maps), expected)
    assert expected.shape == (2, 4, 8 // stride, 12 // stride)


def test_a_backbone_of_tensorflow_gives_timm_s_maps() -> None:
    encoder = TimmEncoder("tf_mobilenetv3_small_minimal_100").eval()
    assert any(isinstance(module, AlignedConv2d) for module in encoder.modules())
    assert not any(isinstance(module, Conv2dSame) for module in encoder.modules())
    plain = timm.create_model(encoder.name, features_only=True).eval()
    plain.load_state_dict(encoder.backbone.state_dict())
    picture = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for ours, theirs in zip(encoder.forward_stages(picture), plain(picture), strict=True):
            assert torch.equal(ours, theirs)


def test_traced_sizes_stay_short() -> None:
    """EfficientNet was not traced within minutes: the formula of a side had thousands of terms after five strides."""
    stack = nn.Sequential(*(Conv2dSame(1, 1, 3, 2) for _ in range(3)))
    align_same_convolutions(stack)
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.export.export(stack, (torch.zeros(1, 1, 64, 96),), dynamic_shapes=({2: dynamic, 3: dynamic},))
    (output,) = program.graph.output_node().args[0]
    assert output.meta["val"].shape[2].node.expr.count_ops() < 10  # 115 with timm's padding
