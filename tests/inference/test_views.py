"""Views at several sizes and mirrored, averaged as probabilities."""

import tracemalloc

import numpy as np
import torch

from denselab.engine.enlarge import softmax
from denselab.engine.torch_engine import TorchEngine
from denselab.inference.views import Seen, mean_probs, run_views


def test_probabilities_are_averaged_not_logits() -> None:
    """Softmax (0.9, 0.1) and (0.2, 0.8) give (0.55, 0.45); the mean of the logits would be (0.6, 0.4)."""
    first = torch.tensor([0.9, 0.1]).log().view(2, 1, 1)
    second = torch.tensor([0.2, 0.8]).log().view(2, 1, 1)
    probs = Seen(mean_probs([first, second]), logits=False).probs((3, 4))
    assert probs.shape == (2, 3, 4)
    assert np.allclose(probs[:, 1, 2], [0.55, 0.45])


def test_one_view_is_enlarged_as_logits_and_then_made_probabilities() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    full = torch.nn.functional.interpolate(logits[None], size=(9, 11), mode="bilinear")[0]
    assert np.allclose(Seen(logits, logits=True).probs((9, 11)), full.softmax(dim=0).numpy(), atol=1e-6)


def test_mirrored_views_come_back_mirrored(engine: TorchEngine) -> None:
    """A pixelwise network must give the mirrored view the same logits as the plain one."""
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    plain, mirrored = run_views(engine, image, [(32, 32)], flip=True)
    assert torch.allclose(plain, mirrored, atol=1e-5)
    assert not torch.allclose(plain, plain.flip(2), atol=1e-2)


def test_each_size_is_one_run(engine: TorchEngine) -> None:
    image = np.zeros((20, 40, 3), dtype=np.uint8)
    views = run_views(engine, image, [(8, 16), (16, 32), (32, 64)])
    assert [tuple(view.shape) for view in views] == [(4, 8, 16), (4, 16, 32), (4, 32, 64)]
    assert engine.network.runs == [(1, 3, 8, 16), (1, 3, 16, 32), (1, 3, 32, 64)]


def test_probabilities_at_the_networks_own_size_are_made_a_few_rows_at_a_time() -> None:
    values = np.random.default_rng(0).normal(size=(4, 600, 1000)).astype(np.float32)  # 9.6 MB
    tracemalloc.start()
    probs = Seen(values, logits=True).probs((600, 1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(probs, softmax(values))
    assert peak < values.nbytes * 1.5, "not the result twice"
