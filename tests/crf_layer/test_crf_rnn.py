"""Mean field in torch against denselab.crf: its exact definition, and its fast path with the same lattice."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from denselab.config import TrainConfig
from denselab.crf import PRESETS, Parameters, crf_for, exact
from denselab.crf_layer.crf_rnn import CRFRNN, EXACT_PIXELS, CRFSettings, bilateral_features
from denselab.errors import ConfigError, ShapeError

SIZE, K = (17, 23), 3


def scene(size: tuple[int, int] = SIZE, batch: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Smooth logits (B, K, H, W) float64 and smooth pictures (B, 3, H, W) of whole numbers 0..255."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, 4, 5, generator=draw, dtype=torch.float64) * 255
    logits = torch.randn(batch, K, 5, 6, generator=draw, dtype=torch.float64) * 2
    return (
        F.interpolate(logits, size=size, mode="bilinear"),
        F.interpolate(coarse, size=size, mode="bilinear").round(),
    )


def settings_of(p: Parameters) -> CRFSettings:
    return CRFSettings(**{**asdict(p), "test_iterations": p.iterations})


def reference(logits: Tensor, image: Tensor, p: Parameters, compatibility: np.ndarray | None = None) -> np.ndarray:
    """Marginals (K, N) from denselab.crf.exact."""
    picture = image.permute(1, 2, 0).to(torch.uint8).numpy()
    matrix = np.ones((K, K)) - np.eye(K) if compatibility is None else compatibility
    terms = [
        exact.Term(exact.position_features(*SIZE, p.theta_gamma), p.w2 * matrix, p.normalization),
        exact.Term(exact.bilateral_features(picture, p.theta_alpha, p.theta_beta), p.w1 * matrix, p.normalization),
    ]
    return exact.mean_field(-logits.reshape(K, -1).numpy(), terms, p.iterations)


@pytest.mark.parametrize("name", PRESETS)
def test_exact_equals_the_definition(name: str) -> None:
    """All four presets, so "after", "symmetric" and "none"; in float64 only rounding remains."""
    logits, images = scene()
    layer = CRFRNN(K, settings_of(PRESETS[name]), "exact").double().eval()
    marginals = layer(logits, images)[0].exp().detach().reshape(K, -1).numpy()
    np.testing.assert_allclose(marginals, reference(logits[0], images[0], PRESETS[name]), atol=1e-8)


def test_exact_with_a_full_compatibility_before_filtering() -> None:
    logits, images = scene(seed=1)
    parameters = replace(PRESETS["deeplab_v2"], normalization="before")
    layer = CRFRNN(K, settings_of(parameters), "exact").double().eval()
    matrix = np.array([[0.0, 1.5, 0.3], [1.5, -0.2, 0.8], [0.3, 0.8, 0.1]])
    with torch.no_grad():
        layer.compatibility.copy_(torch.from_numpy(matrix))
    marginals = layer(logits, images)[0].exp().detach().reshape(K, -1).numpy()
    np.testing.assert_allclose(marginals, reference(logits[0], images[0], parameters, matrix), atol=1e-8)


def test_the_compatibility_acts_from_neighbour_to_label() -> None:
    """compatibility[0, 1]: label 0 pays for pixels likely to have label 1, not the other way round."""
    logits, images = torch.zeros(1, 2, 1, 1), torch.zeros(1, 3, 1, 1)
    layer = CRFRNN(2, CRFSettings(iterations=1, test_iterations=1, w1=1.0, w2=0.0)).eval()
    with torch.no_grad():
        layer.compatibility.copy_(torch.tensor([[0.0, 4.0], [0.0, 0.0]]))
    expected = torch.tensor([-2.0, 0.0]).log_softmax(0)  # half of the pixel itself is label 1: energy 4 / 2
    torch.testing.assert_close(layer(logits, images)[0, :, 0, 0].detach(), expected)


@pytest.mark.parametrize("name", ["deeplab_v1", "deeplab_v2", "pydensecrf"])
def test_the_lattice_is_that_of_denselab_crf(name: str) -> None:
    """float32 against float32; single pixels on the edge between two simplices or labels may differ more."""
    logits, images = scene((40, 50))
    crf = crf_for(images[0].permute(1, 2, 0).to(torch.uint8).numpy(), K, PRESETS[name])
    crf.set_unary(-logits[0].numpy())
    theirs = crf.infer(PRESETS[name].iterations).marginals
    layer = CRFRNN(K, settings_of(PRESETS[name]), "lattice").eval()
    ours = layer(logits.float(), images)[0].exp().detach().numpy()
    difference = np.abs(ours - theirs)
    assert difference.mean() < 1e-4
    assert (ours.argmax(0) == theirs.argmax(0)).mean() > 0.999


@pytest.mark.parametrize("method", ["exact", "lattice"])
@pytest.mark.parametrize("normalization", ["symmetric", "before", "after", "none"])
def test_gradients_by_finite_differences(method: str, normalization: str) -> None:
    """Through three iterations, into the logits, the kernels' weights and the compatibility; two pictures at once."""
    logits, images = scene((4, 5), batch=2)
    settings = CRFSettings(5.0, 40.0, 0.7, 2.0, 0.5, 3, normalization, 3)  # type: ignore[arg-type]
    layer = CRFRNN(K, settings, method).double()  # type: ignore[arg-type]
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().clone() + 0.1 * torch.randn_like(p) for p in layer.parameters()]

    def refine(given: Tensor, *parameters: Tensor) -> Tensor:
        stand_ins = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, stand_ins, (given, images))

    inputs = [value.requires_grad_() for value in (logits, *values)]
    assert torch.autograd.gradcheck(refine, inputs, fast_mode=True)


def test_the_picture_gets_no_gradient() -> None:
    logits, images = scene()
    images.requires_grad_()
    CRFRNN(K, CRFSettings(iterations=2)).double()(logits.requires_grad_(), images).sum().backward()
    assert images.grad is None
    assert logits.grad is not None


def test_iterations_of_training_and_of_use() -> None:
    logits, images = scene()
    layer = CRFRNN(K, CRFSettings(iterations=0, test_iterations=2)).double()
    torch.testing.assert_close(layer(logits, images), logits.log_softmax(1))
    assert not torch.allclose(layer.eval()(logits, images), logits.log_softmax(1))


@pytest.mark.parametrize("method", ["exact", "lattice"])
def test_pictures_of_a_batch_do_not_meet(method: str) -> None:
    logits, images = scene(batch=3)
    layer = CRFRNN(K, method=method).double().eval()  # type: ignore[arg-type]
    together = layer(logits, images)
    for i in range(3):
        torch.testing.assert_close(layer(logits[i : i + 1], images[i : i + 1]), together[i : i + 1])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (37, 53)])
def test_any_size_and_memory_format(size: tuple[int, int]) -> None:
    logits, images = scene(size)
    layer = CRFRNN(K).eval()
    plain = layer(logits.float(), images.float())
    assert plain.shape == (1, K, *size)
    torch.testing.assert_close(plain.exp().sum(1), torch.ones(1, *size))
    last = layer(logits.float().to(memory_format=torch.channels_last), images.float())
    torch.testing.assert_close(last, plain)


def test_half_precision_is_computed_in_float32() -> None:
    """16-bit sums over a picture would not do, and 16 bits cannot number its pixels."""
    logits, images = scene()
    layer = CRFRNN(K).eval()
    expected = layer(logits.bfloat16().float(), images)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(logits.bfloat16(), images), expected)


def test_auto_is_exact_only_where_pictures_are_tiny() -> None:
    side = int(EXACT_PIXELS**0.5)
    for size, method in (((side, side), "exact"), ((side, side + 1), "lattice")):
        logits, images = scene(size)
        chosen, named = (CRFRNN(K, method=m).double().eval()(logits, images) for m in ("auto", method))
        assert torch.equal(chosen, named)


def test_shapes_on_the_meta_device() -> None:
    layer = CRFRNN(K).to("meta")
    assert layer(torch.empty(2, K, 200, 300, device="meta"), torch.empty(2, 3, 200, 300, device="meta")).is_meta


def test_features_are_in_the_order_of_the_other_filters() -> None:
    _, images = scene()
    picture = images[0].permute(1, 2, 0).to(torch.uint8).numpy()
    expected = exact.bilateral_features(picture, 8.0, 3.0)
    np.testing.assert_allclose(bilateral_features(images, 8.0, 3.0)[0].T.numpy(), expected)


def test_what_is_refused() -> None:
    layer = CRFRNN(K)
    with pytest.raises(ShapeError, match=r"\(1, 4, 5, 5\), expected \(B, 3, H, W\)"):
        layer(torch.zeros(1, 4, 5, 5), torch.zeros(1, 3, 5, 5))
    with pytest.raises(ShapeError, match=r"\(1, 3, 6, 5\), expected \(1, 3, 5, 5\)"):
        layer(torch.zeros(1, 3, 5, 5), torch.zeros(1, 3, 6, 5))
    with pytest.raises(ConfigError, match="theta_beta is 0; expected more than 0"):
        CRFSettings(theta_beta=0)
    with pytest.raises(ConfigError, match="iterations is -1"):
        CRFSettings(iterations=-1)
    with pytest.raises(ConfigError, match="test_iterations is -1"):
        CRFSettings(test_iterations=-1)
    with pytest.raises(ConfigError, match="normalization is 'both'"):
        CRFSettings(normalization="both")  # type: ignore[arg-type]


def test_weights_that_are_learnt_may_begin_below_zero() -> None:
    assert CRFSettings(w1=-1.0).w1 == -1.0
    with pytest.raises(ConfigError, match=r"w1 is -1\.0; expected 0"):
        replace(PRESETS["deeplab_v2"], w1=-1.0)


def test_the_settings_of_a_run_begin_with_the_layers_own() -> None:
    """The numbers are in TrainConfig too, which lies below the layer, and the two must stay equal."""
    given = {f"crf_{name}": value for name, value in asdict(CRFSettings()).items()}
    assert given.items() <= {name: field.default for name, field in TrainConfig.model_fields.items()}.items()
