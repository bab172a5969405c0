"""A data set on disk, and "models" whose predictions are the truth with known changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as PILImage

from denselab.data import Dataset, Item
from denselab.data.item import FileLabels
from denselab.evaluation.evaluation import count_pictures
from denselab.labels import LabelEntry, LabelSpace, default_colour
from denselab.measure.evaluate import Measured
from denselab.measure.kept import KeptLabels

Change = Callable[[int, np.ndarray], np.ndarray]


def space_of(num_classes: int) -> LabelSpace:
    entries = [LabelEntry(i, f"class <{i}>", default_colour(i)) for i in range(num_classes)]
    return LabelSpace((*entries, LabelEntry(255 if num_classes < 255 else 65000, "void", (9, 9, 9), "ignore")))


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Dataset]:
    """make_dataset(num_classes, pictures, stripes): 24x32 label maps of vertical stripes, the left column ignored."""

    def make(num_classes: int, pictures: int, stripes: int = 8) -> Dataset:
        space, items = space_of(num_classes), []
        rng = np.random.default_rng(0)
        for index in range(pictures):
            indices = np.arange(32)[None, :].repeat(24, axis=0) * min(num_classes, stripes) // 32
            ids = indices.astype(np.uint8)
            ids[:, 0] = 255
            image = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            PILImage.fromarray(image).save(tmp_path / f"p{index}.png")
            PILImage.fromarray(ids).save(tmp_path / f"l{index}.png")
            source = FileLabels(tmp_path / f"l{index}.png")
            items.append(Item(f"sub/p{index}", tmp_path / f"p{index}.png", source, "val"))
        return Dataset(tmp_path, "folders", "index", space, tuple(items))

    return make


@pytest.fixture
def make_measured() -> Callable[[Dataset, Change], Measured]:
    """make_measured(dataset, change): change(position, truth) is what the model predicted; ignored pixels come as 0."""

    def make(dataset: Dataset, change: Change) -> Measured:
        kept = KeptLabels()
        results = []
        for position, item in enumerate(dataset.items):
            truth = dataset.read_labels(item)
            prediction = change(position, np.where(truth == 255, 0, truth).astype(np.uint8))
            kept.keep(item.name, prediction)
            results.append((item.name, truth, prediction))
        return Measured(count_pictures(results, dataset.label_space), kept, dataset, dataset.items)

    return make


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """write_run(dataset, validations): the records of a run, as training leaves them."""

    def write(dataset: Dataset, validations: int = 3, **summary: Any) -> Path:
        run = tmp_path / "run"
        run.mkdir()
        space = dataset.label_space
        config = {
            "data": "some/streets",
            "model": "unet",
            "encoder": "resnet18",
            "imgsz": [24, 32],
            "losses": [{"name": "dice"}],
        }
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        (run / "env.json").write_text(json.dumps({"versions": {"torch": "9.9"}, "device": "cpu", "commit": None}))
        pixels = {name: 100 * i for i, name in enumerate(space.names)}
        record = {"root": "some/streets", "layout": "folders", "encoding": "index", "labels": space.to_list(),
                  "splits": {"train": ["a", "b"], "val": ["c"]}, "class_pixels": pixels, "notes": ["a note & more"],
                  "warnings": ["val has no pixel of <car>"],
                  "choices": [{"key": "batch", "value": 8, "reason": "fits"}, {"key": "imgsz", "value": [96, 128], "reason": "-"},
                              {"key": "losses", "value": [{"name": "dice", "weight": 1.0, "options": {}},
                                                          {"name": "focal", "weight": 2.0, "options": {}}], "reason": "-"}]}  # fmt: skip
        (run / "dataset.json").write_text(json.dumps(record))
        lines = [{"kind": "step", "step": s, "loss": 2 - s / 40, "lr": 0.1} for s in range(10 * validations + 1)]
        for v in range(validations):
            iou = {name: (v + 1) / (i + 5) for i, name in enumerate(space.names)} | {space.names[0]: None}
            lines.append({"kind": "validation", "step": 10 * (v + 1), "train_loss": 2 - v / 4, "val_loss": 2 - v / 5,
                          "miou": 0.1 * v, "pixel_accuracy": 0.2 * v, "class_iou": iou})  # fmt: skip
        (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"kind": "val')  # killed in a line
        told = {"best_miou": {"step": 30, "miou": 0.2, "val_loss": 1.6}, "best_loss": {"step": 20, "miou": 0.1, "val_loss": 1.5},
                "stopped": "time", "seconds": 601.0, "parameters": 5_812_233, "command": "denselab train some/streets"}  # fmt: skip
        (run / "summary.json").write_text(json.dumps(told | summary))
        return run

    return write
