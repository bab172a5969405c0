"""Huge pictures are counted by rows: the same counts, the same baselines, the same files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.data import Dataset, open_dataset
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import DataError
from denselab.evaluation import boundary
from denselab.inference import huge
from denselab.inference.plan import plan_for
from denselab.labels import LabelSpace
from denselab.measure.evaluate import measure

COLOURS = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)])


@pytest.fixture
def data(space: LabelSpace, tmp_path: Path) -> Dataset:
    """Three pictures of 90 x 70 with labels that mostly tell their colours; one label is a TIFF."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in "abc":
            classes = np.kron(rng.integers(0, 4, (10, 8)), np.ones((9, 9), int))[:, :70].astype(np.uint8)
            (tmp_path / "images" / split).mkdir(parents=True, exist_ok=True)
            (tmp_path / "labels" / split).mkdir(parents=True, exist_ok=True)
            PILImage.fromarray(COLOURS[classes].astype(np.uint8)).save(tmp_path / "images" / split / f"{name}.png")
            ids = np.where(rng.random(classes.shape) < 0.05, 99, 10 * classes).astype(np.uint8)
            ids[:5] = 0
            PILImage.fromarray(ids).save(tmp_path / "labels" / split / f"{name}.png")
    names = "\n".join(f"  - {{id: {e.id}, name: {e.name}, role: {e.role}}}" for e in space.entries)
    (tmp_path / "data.yaml").write_text(f"images: images\nmasks: labels\nlabels:\n{names}\n")
    return open_dataset(tmp_path)


def test_by_rows_counts_the_same(
    engine: TorchEngine, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(engine, window=(32, 32))
    items = sorted(data.of_split("val"), key=lambda item: item.name)
    at_once = measure(plan, data, items, quiet=True)
    monkeypatch.setattr(huge, "HUGE_PIXELS", 100)
    monkeypatch.setattr(boundary, "BAND_PIXELS", 700)
    by_rows = measure(plan, data, items, quiet=True)
    assert by_rows.evaluation.to_dict() == at_once.evaluation.to_dict()
    assert by_rows.baseline_facts() == at_once.baseline_facts()
    by_rows.save(tmp_path / "out")
    assert len(list((tmp_path / "out" / "worst").iterdir())) == 2


def test_labels_of_another_size_are_refused(
    engine: TorchEngine, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huge, "HUGE_PIXELS", 100)
    items = sorted(data.of_split("val"), key=lambda item: item.name)
    PILImage.new("L", (70, 80)).save(items[0].source.path)
    with pytest.raises(DataError, match=r"picture 90x70 .* but label 80x70 .*pixel for pixel"):
        measure(plan_for(engine), data, items, quiet=True)
