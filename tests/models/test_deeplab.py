"""DeepLabV3+: parameter counts, output strides, the decoder's grid, the auxiliary head."""

import pytest
import torch

from denselab.encoders.timm_encoder import TimmEncoder
from denselab.errors import ConfigError
from denselab.models.base import ModelOptions
from denselab.models.deeplab import DeepLabV3Plus, build_deeplabv3plus

COUNTS = {  # (encoder, separable), C = 21, reference/deeplab.md, section 4.3
    ("resnet50", False): 40_352_181,
    ("resnet101", False): 59_344_309,
    ("resnet101", True): 45_688_261,
}


@pytest.mark.parametrize(("encoder", "separable"), COUNTS)
def test_parameters(encoder: str, separable: bool) -> None:
    with torch.device("meta"):
        model = DeepLabV3Plus(TimmEncoder(encoder, output_stride=16), 21, separable=separable)
    assert sum(p.numel() for p in model.parameters()) == COUNTS[encoder, separable]


@pytest.mark.parametrize(("output_stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
def test_atrous_rates_follow_the_output_stride(output_stride: int, rates: list[int]) -> None:
    with torch.device("meta"):
        model = DeepLabV3Plus(TimmEncoder("test_resnet", output_stride=output_stride), 2, separable=False)
    assert [branch[0].dilation[0] for branch in model.aspp.atrous] == rates
    assert model.encoder.stages[-1].stride == output_stride


def test_the_decoder_works_at_stride_4_on_304_channels() -> None:
    with torch.device("meta"):
        model = DeepLabV3Plus(TimmEncoder("resnet50", output_stride=16), 21, separable=False)
        assert model.coarse_logits(torch.empty(1, 3, 513, 500)).shape == (1, 21, 129, 125)
    assert model.decoder_conv0[0].in_channels == 304
    assert model.encoder.stages[model.low_level].channels == 256


def test_the_padding_does_not_show() -> None:
    """A 40-row picture is padded to 48 rows by zeros; given 48 rows with zeros there, the logits are the same."""
    torch.manual_seed(0)
    model = DeepLabV3Plus(TimmEncoder("test_efficientnet", output_stride=16), 2, channels=16).eval()
    image = torch.randn(1, 3, 40, 48)
    padded = torch.nn.functional.pad(image, (0, 0, 0, 8))
    with torch.no_grad():
        torch.testing.assert_close(model.coarse_logits(image), model.coarse_logits(padded)[..., :10, :])


def test_the_auxiliary_head_sits_on_the_stage_before_the_last() -> None:
    model = DeepLabV3Plus(TimmEncoder("test_efficientnet", output_stride=16), 2, channels=16, aux=True)
    main, aux = model.train_logits(torch.randn(2, 3, 40, 48))
    assert main.shape == aux.shape == (2, 2, 40, 48)
    aux.sum().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert not any(n.startswith(("aspp", "decoder", "logits")) for n in reached)
    assert any(n.startswith("aux_head") for n in reached)
    assert any(n.startswith("encoder.backbone") for n in reached)


def test_an_encoder_without_a_map_at_stride_4_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"test_vit.*resnet50"):
        DeepLabV3Plus(TimmEncoder("test_vit"), 2)


def test_an_encoder_that_cannot_be_dilated_keeps_its_own_stride(capsys: pytest.CaptureFixture[str]) -> None:
    """DenseNet has no output stride in timm; asked for outright it is refused, else the network says what it does."""
    with torch.device("meta"):
        model = build_deeplabv3plus(ModelOptions(2, encoder="densenet121"))
        assert model.encoder.multiple == 32
        assert "densenet121 cannot be dilated to output stride 16; using its own, 32" in capsys.readouterr().err
        build_deeplabv3plus(ModelOptions(2, encoder="densenet121", output_stride=32))
        with pytest.raises(ConfigError, match="'densenet121' as an encoder with output_stride=16"):
            build_deeplabv3plus(ModelOptions(2, encoder="densenet121", output_stride=16))
