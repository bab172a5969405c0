"""The networks that look at boxes, superpixels and segments, from a data set to label maps: train, eval, predict.

They learn from examples of their own instead of pixels, so the loop that all networks share is tried on them as well.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import denselab as dl
from denselab.config import make_settings
from denselab.data import Dataset
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.models import MODELS
from denselab.models.base import ModelOptions, SegmentationModel
from denselab.models.hypercolumn import Hypercolumn
from denselab.models.msra_cfm import MSRACFM, vgg_trunk
from denselab.models.zoomout import Zoomout
from denselab.regions.search import Search
from denselab.run_folder import REGIONS
from denselab.training.run import run_training

THIN = ((8, 8), (8, 8), (16, 16, 16), (16, 16, 16), (16, 16, 16))


def hypercolumn(options: ModelOptions) -> Hypercolumn:
    classifier = VGG16Classifier(0, 16, 32, dropout=0.0, kernel=2)
    return Hypercolumn(VGG16(blocks=THIN), classifier, options.num_classes, {"pool3": 16, "pool4": 16}, 64, 2)


def zoomout(options: ModelOptions) -> Zoomout:
    return Zoomout(VGG16(blocks=THIN), VGG16Classifier(0, 16, 32, dropout=0.0), options.num_classes, (8,))


def cfm(options: ModelOptions) -> MSRACFM:
    small = Search("single", most=40, least_side=4)
    return MSRACFM(vgg_trunk(blocks=THIN), options.num_classes, fc_channels=16, levels=(3, 1), searches=(small, small))


NETWORKS: dict[str, Callable[[ModelOptions], SegmentationModel]] = {
    "hypercolumn": hypercolumn,
    "zoomout16": zoomout,
    "msra_cfm": cfm,
}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_it_trains_is_measured_and_predicts(
    tiny_data: Dataset, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(MODELS, name, replace(MODELS[name], build=NETWORKS[name]))
    settings = {**tiny, "model": name, "encoder": None, "epochs": 1, "validations": 1}
    run = tmp_path / "run"
    summary = run_training(make_settings(settings), tiny_data, run)
    measured = dl.evaluate(run, tiny_data, "val").evaluation
    assert summary.best_miou is not None
    assert measured.miou == pytest.approx(summary.best_miou["miou"], abs=1e-6), "the saved network is the validated one"
    item = tiny_data.of_split("val")[0]
    labels = dl.load(run)(tiny_data.read_image(item)).labels
    assert labels.shape == (48, 64)
    assert labels.max() < tiny_data.label_space.num_classes
    kept = list((run / REGIONS).glob("*.npz")) if (run / REGIONS).is_dir() else []
    assert len(kept) == (4 if name == "msra_cfm" else 0), "the segments of each validation picture are kept once"
