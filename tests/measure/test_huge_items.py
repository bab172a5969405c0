"""Huge pictures are counted by rows: the same counts, the same baselines, the same files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.data import Dataset, open_dataset
from denselab.data.item import FileLabels
from denselab.data.label_files.encodings import Encoding
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


@pytest.mark.parametrize("kind", ["transparent", "palette"])
def test_labels_whose_rows_do_not_say_all_are_read_whole(
    engine: TorchEngine, data: Dataset, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """By rows, pixels that are transparent counted as labelled: the rows are without the alpha channel."""
    item = min(data.of_split("val"), key=lambda item: item.name)
    ids = np.asarray(PILImage.open(item.source.path))
    classes = np.where(ids == 99, 0, ids // 10)
    if kind == "transparent":
        source = FileLabels(item.source.path, Encoding(clear=True))
        alpha = np.where(np.arange(70) < 20, 0, 255) * np.ones_like(ids)
        PILImage.merge("LA", [PILImage.fromarray(x.astype(np.uint8)) for x in (10 * classes, alpha)]).save(source.path)
    else:
        table = {tuple(int(n) for n in colour): 10 * number for number, colour in enumerate(COLOURS)}
        source = FileLabels(item.source.path, Encoding("colour", colours=tuple(table.items())))  # type: ignore[arg-type]
        picture = PILImage.fromarray(classes.astype(np.uint8))
        picture.putpalette(COLOURS.astype(np.uint8).ravel().tolist())
        picture.save(source.path)
    items = [replace(item, source=source)]
    at_once = measure(plan_for(engine, window=(32, 32)), data, items, quiet=True).evaluation
    monkeypatch.setattr(huge, "HUGE_PIXELS", 100)
    by_rows = measure(plan_for(engine, window=(32, 32)), data, items, quiet=True).evaluation
    assert by_rows.to_dict() == at_once.to_dict()
    assert at_once.counts.sum() == (90 * 50 if kind == "transparent" else 90 * 70)


def test_labels_of_another_size_are_refused(
    engine: TorchEngine, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huge, "HUGE_PIXELS", 100)
    items = sorted(data.of_split("val"), key=lambda item: item.name)
    PILImage.new("L", (70, 80)).save(items[0].source.path)
    with pytest.raises(DataError, match=r"picture 90x70 .* but label 80x70 .*pixel for pixel"):
        measure(plan_for(engine), data, items, quiet=True)
