"""Monte-Carlo dropout: on a network whose samples are known, and as files and JSON of `predict --uncertainty`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from torch import Tensor, nn

from denselab.cli.predict import predict
from denselab.engine.dropout import dropout_layers
from denselab.engine.folder import save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError
from denselab.inference import Prediction, Predictor
from denselab.inference.collection import predict_files
from denselab.inference.inputs import find_sources
from denselab.inference.job import Job
from denselab.inference.plan import SAMPLES, plan_for
from denselab.inference.stores import LocalPlace
from denselab.labels import LabelSpace
from denselab.models.base import SegmentationModel
from denselab.models.segnet import SegNetBasic

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 28, 3), dtype=np.uint8)
SPACE = LabelSpace.from_list([{"id": i, "name": f"c{i}"} for i in range(2)])


class Undecided(SegmentationModel):
    """Class 1 where a value that is 1 survives dropout, class 0 where it does not; the left half has no doubt: class 0.

    `runs` keeps the logits of each forward pass; `fail_at` makes the pass of that number fail.
    """

    def __init__(self, share: float = 0.5, fail_at: int = 0) -> None:
        super().__init__(2)
        self.dropout, self.norm, self.fail_at = nn.Dropout(share), nn.BatchNorm2d(3), fail_at
        self.runs: list[Tensor] = []

    def coarse_logits(self, images: Tensor) -> Tensor:
        self.norm(images)  # would move its statistics in training mode
        kept = self.dropout(torch.ones_like(images[:, :1])) > 0
        kept[..., : images.shape[-1] // 2] = False
        self.runs.append(torch.cat([~kept, kept], dim=1).float() * 200 - 100)  # a softmax of 0 or 1
        if len(self.runs) == self.fail_at:
            raise RuntimeError("out of luck")
        return self.runs[-1]

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return coarse


def engine_of(model: SegmentationModel, name: str = "undecided", imgsz: tuple[int, int] = (20, 28)) -> TorchEngine:
    preprocessing = Preprocessing(imgsz, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 1.0)
    return TorchEngine(ModelSpec(Architecture(name, 2), SPACE, preprocessing), model.eval(), torch.device("cpu"))


def sampled(model: SegmentationModel, **options: object) -> Prediction:
    return Predictor(engine_of(model))(IMAGE, uncertainty=True, **options)  # type: ignore[arg-type]


def test_mean_and_variance_are_those_of_the_samples() -> None:
    """numpy over the softmax of every run; half of the picture has no doubt at all."""
    model = Undecided(0.3)
    result = sampled(model, samples=7)
    runs = torch.stack(model.runs).softmax(dim=2)[:, 0].numpy()
    assert runs.shape == (7, 2, 20, 28)
    assert np.allclose(result.probs, runs.mean(axis=0), atol=1e-6)
    assert result.uncertainty is not None
    assert result.uncertainty.dtype == np.float32
    assert np.allclose(result.uncertainty, runs.var(axis=0).mean(axis=0), atol=1e-6)
    assert np.array_equal(result.labels, runs.mean(axis=0).argmax(axis=0))
    assert not result.uncertainty[:, :14].any()
    assert (result.uncertainty[:, 14:] > 0).mean() > 0.5


def test_variance_approaches_that_of_a_coin() -> None:
    """Kept with probability 1/2: each class's variance is 1/4, and so is their mean."""
    uncertainty = sampled(Undecided(0.5), samples=60).uncertainty
    assert uncertainty is not None
    assert float(uncertainty[:, 14:].mean()) == pytest.approx(0.25, abs=0.01)


def test_the_same_picture_gives_the_same_and_the_caller_s_random_numbers_stay() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = sampled(Undecided())
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(99)
    model = Undecided()
    second = sampled(model)
    assert len(model.runs) == SAMPLES
    assert np.array_equal(first.probs, second.probs)
    assert np.array_equal(first.uncertainty, second.uncertainty)  # type: ignore[arg-type]
    assert not np.array_equal(first.uncertainty, sampled(Undecided(), samples=3).uncertainty)  # type: ignore[arg-type]


def test_after_an_error_the_model_is_in_evaluation() -> None:
    model = Undecided(fail_at=2)
    with pytest.raises(RuntimeError, match="out of luck"):
        sampled(model)
    assert not any(module.training for module in model.modules())
    assert len(model.runs) == 2


@pytest.mark.parametrize("options", [{"tta": True}, {"window": (16, 16)}, {"window": (16, 20), "tta": True}])
def test_with_windows_and_views(options: dict[str, object]) -> None:
    model = Undecided()
    result = sampled(model, samples=4, **options)
    assert result.uncertainty is not None
    assert result.uncertainty.shape == result.labels.shape == (20, 28)
    assert np.allclose(result.probs.sum(axis=0), 1, atol=1e-5)
    assert 0 < float(result.uncertainty.max()) <= 0.25


def test_a_plain_prediction_has_no_uncertainty() -> None:
    model = Undecided()
    result = Predictor(engine_of(model))(IMAGE)
    assert result.uncertainty is None
    assert len(model.runs) == 2, "the first looks for a form of the network that predicts faster"
    assert np.array_equal(result.labels, np.repeat([[0, 1]], 14, axis=1).repeat(20, axis=0))  # all values are kept
    with pytest.raises(ConfigError, match="no uncertainty; ask for it"):
        result.uncertainty_map()


def test_the_heat_map_has_one_scale_for_all_pictures(tmp_path: Path) -> None:
    """Of two classes the largest variance is 1/4: drawn as the palest colour; none as the darkest."""
    values = np.array([[0.0, 0.25]], dtype=np.float32)
    image, labels = np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2), np.uint8)
    result = Prediction("a", image, labels, SPACE, lambda: np.full((2, 1, 2), 0.5, np.float32), values)
    assert np.asarray(result.uncertainty_map()).tolist() == [[[0, 0, 4], [252, 253, 191]]]
    written = result.save(tmp_path, probs="npz")
    assert written["uncertainty"] == tmp_path / "uncertainty" / "a.png"
    with np.load(written["probs"]) as stored:
        assert np.array_equal(stored["uncertainty"], values)


@pytest.mark.parametrize("samples", [1, 0, -3])
def test_fewer_than_two_samples_are_refused(samples: int) -> None:
    with pytest.raises(ConfigError, match=f"`samples` {samples}; .* 2 at least"):
        sampled(Undecided(), samples=samples)


def test_a_network_without_dropout_is_refused_with_names_of_others(tmp_path: Path) -> None:
    """A share of 0 is no dropout either. Files are refused before anything is written."""
    for model, name in ((SegNetBasic(3, 2, widths=(4, 4, 4, 4)), "segnet_basic"), (Undecided(0.0), "segnet")):
        assert dropout_layers(model) == []
        with pytest.raises(ConfigError, match=rf"'{name}' has no dropout layer.*bayesian_segnet"):
            Predictor(engine_of(model, name))(IMAGE, uncertainty=True)
    PILImage.fromarray(IMAGE).save(tmp_path / "a.png")
    sources, _ = find_sources([str(tmp_path / "a.png")], tmp_path / "out")
    with pytest.raises(ConfigError, match="no dropout"):
        predict_files(Job(plan_for(engine_of(model, name), samples=2), LocalPlace(tmp_path / "out")), sources)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the smallest Bayesian network, untrained; pictures of 32x40."""
    torch.manual_seed(0)
    architecture = Architecture("bayesian_segnet_basic", 2)
    engine = engine_of(architecture.create(), "bayesian_segnet_basic", imgsz=(32, 40))
    target = tmp_path_factory.mktemp("run") / "model"
    save_engine(engine, target)
    return target


def test_predict_writes_a_heat_map_beside_the_overlay(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        PILImage.fromarray(IMAGE).save(tmp_path / "in" / name)
    documents = []
    for out in ("first", "second"):
        place = str(tmp_path / "in"), tmp_path / out
        predict(str(folder), [place[0]], place[1], probs="npz", uncertainty=True, samples=3, device="cpu", as_json=True)
        documents.append(json.loads(capsys.readouterr().out))
    rows = documents[0]["results"]
    assert [row["mean_uncertainty"] for row in rows] == [row["mean_uncertainty"] for row in documents[1]["results"]]
    assert rows[0]["mean_uncertainty"] == rows[1]["mean_uncertainty"] > 0  # equal pictures, one after the other
    for row in rows:
        with PILImage.open(row["uncertainty"]) as picture:
            assert (picture.size, picture.mode) == ((28, 20), "RGB")
        with np.load(row["probs"]) as stored:
            assert float(stored["uncertainty"].mean(dtype=np.float64)) == row["mean_uncertainty"]
    predict(str(folder), [str(tmp_path / "in")], tmp_path / "plain", device="cpu", as_json=True)
    assert "uncertainty" not in capsys.readouterr().out


def test_samples_alone_and_too_few_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--samples 5 without --uncertainty"):
        predict(str(folder), ["in"], tmp_path / "out", samples=5)
    with pytest.raises(ConfigError, match="`samples` 1; .* 2 at least"):
        predict(str(folder), ["in"], tmp_path / "out", uncertainty=True, samples=1)
