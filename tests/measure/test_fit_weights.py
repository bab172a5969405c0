"""Fitted weights: never worse than the best model, found where they are known, and judged on other pictures."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from tests.conftest import NearestColour

from denselab.console import progress
from denselab.data import Dataset, Item
from denselab.data.folds import halves
from denselab.engine.torch_engine import TorchEngine
from denselab.inference.ensembles import Model, ensemble_of
from denselab.inference.plan import Ensemble, joint_plan
from denselab.inference.predictor import Predictor
from denselab.measure.ensembles import evaluate_ensemble
from denselab.measure.evaluate import measure
from denselab.measure.fit_weights import PASSES, fit_weights


@dataclass(frozen=True)
class Source:
    """Labels in memory."""

    path: Path
    values: np.ndarray

    def ids(self) -> np.ndarray:
        return self.values

    def summary(self) -> dict[int, int]:
        return {}


@pytest.fixture
def noisy(space: Any, tmp_path: Path) -> Dataset:
    """Four pictures in random colours of the classes, with noise; labels are the colours before the noise."""
    rng, items = np.random.default_rng(1), []
    palette = np.array([entry.colour for entry in space.classes])
    ids = np.array([entry.id for entry in space.classes], np.uint8)
    for number in range(4):
        truth = rng.integers(0, 4, (12, 16))
        image = np.clip(palette[truth] + rng.normal(0, 140, (12, 16, 3)), 0, 255).astype(np.uint8)
        path = tmp_path / f"p{number}.png"
        PILImage.fromarray(image).save(path)
        items.append(Item(f"p{number}", path, Source(path, ids[truth]), "val", group="ab"[number // 2]))
    return Dataset(tmp_path, "test", "index", space, tuple(items))


class Biased(NearestColour):
    """Sees one colour channel less."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.channel = channel

    def coarse_logits(self, images: Any) -> Any:
        dimmed = images.clone()
        dimmed[:, self.channel] *= 0.3
        return super().coarse_logits(dimmed)


def blind(engine: TorchEngine, channel: int) -> TorchEngine:
    return replace(engine, network=Biased(channel).eval())


def pair(engine: TorchEngine) -> Ensemble:
    return ensemble_of([Model(blind(engine, channel)) for channel in (0, 1)])


def fitted(ensemble: Ensemble, dataset: Dataset, items: list[Item]) -> tuple[tuple[float, ...], float]:
    with progress("fit", PASSES * len(items), "pictures", quiet=True) as bar:
        return fit_weights(ensemble, dataset, items, bar)


def test_never_worse_than_the_best_model_and_truly_what_the_ensemble_scores(
    engine: TorchEngine, noisy: Dataset
) -> None:
    ensemble, items = pair(engine), list(noisy.items)
    weights, score = fitted(ensemble, noisy, items)
    alone = [
        measure(joint_plan(replace(ensemble, members=(one,))), noisy, items, quiet=True).miou
        for one in ensemble.members
    ]
    assert score >= max(alone)
    assert sum(weights) == pytest.approx(1)
    assert measure(joint_plan(replace(ensemble, weights=weights)), noisy, items, quiet=True).miou == pytest.approx(
        score
    )


def test_three_models_are_never_worse_than_the_best_and_the_mean(engine: TorchEngine, noisy: Dataset) -> None:
    ensemble = ensemble_of([Model(blind(engine, channel)) for channel in range(3)])
    items = list(noisy.items)
    _, score = fitted(ensemble, noisy, items)
    parts = [replace(ensemble, members=(one,)) for one in ensemble.members]
    assert score >= max(measure(joint_plan(part), noisy, items, quiet=True).miou for part in (*parts, ensemble))


def test_each_half_is_judged_with_the_weights_of_the_other(engine: TorchEngine, noisy: Dataset) -> None:
    """By hand: weights from one half, counts of the other, both ways round; they differ, so a mix-up would show."""
    networks = [Predictor(blind(engine, channel)) for channel in (0, 1)]
    result = evaluate_ensemble(networks, noisy, "fit", device="cpu", cache=False, quiet=True)
    ensemble, parts = pair(engine), halves(noisy.items)
    weights = [fitted(ensemble, noisy, part)[0] for part in parts]
    assert weights[0] != weights[1]
    counts = sum(
        measure(joint_plan(replace(ensemble, weights=own)), noisy, judged, quiet=True).evaluation.counts
        for own, judged in zip(weights, reversed(parts), strict=True)
    )
    assert (result.measured.evaluation.counts == counts).all()
    assert result.joint.weights == fitted(ensemble, noisy, list(noisy.items))[0]


def test_a_model_that_is_wrong_everywhere_gets_no_weight(engine: TorchEngine, noisy: Dataset) -> None:
    wrong = NearestColour().eval()
    wrong.colours = wrong.colours[[1, 2, 3, 0]]
    ensemble = ensemble_of([Model(replace(engine, network=wrong)), Model(engine)])
    weights, _ = fitted(ensemble, noisy, list(noisy.items))
    assert weights[1] > 0.5
