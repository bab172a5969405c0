"""DeconvNet's crops: what each stage sees, by hand; and a staged run from end to end."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denselab.config import make_config, make_settings, merged, read_settings
from denselab.configs import find_config
from denselab.data import Dataset, Item
from denselab.errors import DataError
from denselab.inference.instance_wise import cut
from denselab.labels import LabelEntry, LabelSpace
from denselab.models import MODELS
from denselab.run_folder import STAGE_PROPOSALS
from denselab.training.crops import JUDGED, CropItem, balanced, judged, object_crops, only, proposal_crops
from denselab.training.optim import lr_factor
from denselab.training.stages import (
    _own_settings,
    chain_of,
    cropping,
    first_stage,
    of_crops,
    run_stages,
    stage_length,
)

SPACE = LabelSpace(
    (
        LabelEntry(0, "background", (0, 0, 0), "background"),
        LabelEntry(1, "cat", (9, 0, 0)),
        LabelEntry(2, "dog", (0, 9, 0)),
    )
)


class Source:
    """Labels in memory."""

    path = Path("labels")

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def ids(self) -> np.ndarray:
        return self.labels

    def summary(self) -> dict[int, int]:
        return {}


def scene() -> np.ndarray:
    """40x40: a cat of rows 0 to 19 and columns 0 to 19, and a dog that touches it, columns 20 to 29."""
    labels = np.zeros((40, 40), np.uint8)
    labels[:20, :20], labels[:20, 20:30] = 1, 2
    return labels


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    from PIL import Image as PILImage

    path = tmp_path / "p.png"
    PILImage.fromarray(np.repeat(scene()[..., None] * 100 + 20, 3, axis=2).astype(np.uint8)).save(path)
    items = [Item(name, path, Source(scene()), split) for name, split in (("a", "train"), ("b", "val"))]
    return Dataset(tmp_path, "test", "index", SPACE, tuple(items))


def test_stage_one_labels_the_object_of_its_box_alone(dataset: Dataset) -> None:
    """The cat's box is enlarged to rows -2 to 21: there is black and unlabelled, and the dog is background."""
    crops = object_crops(dataset, (224, 224), quiet=True)
    cat = next(item for item in crops.items if isinstance(item, CropItem) and item.index == 1)
    assert cat.box == (-2, -2, 22, 22)
    sample = crops.read(cat)
    assert sample.image.shape == (250, 250, 3)
    assert sample.labels.shape == (250, 250)
    assert set(np.unique(sample.labels)) == {0, 1, 255}
    assert sample.labels[125, 125] == 1
    assert sample.labels[5, 125] == 255
    assert sample.image[5, 125].tolist() == [0, 0, 0]
    assert sample.labels[125, 240] == 0, "the dog"
    assert crops.names_of("train") == ["a"]


def test_a_run_s_split_has_pictures_without_a_crop_too(dataset: Dataset) -> None:
    """`eval` told of them as added since the training, and did not measure them: 1 of 4 on coco_fruit; nor those of test."""
    path = dataset.items[0].image
    bare = [Item("c", path, Source(np.zeros_like(scene())), "val"), Item("d", path, Source(scene()), "test")]
    crops = object_crops(replace(dataset, items=(*dataset.items, *bare)), (64, 64), quiet=True)
    assert {split: crops.names_of(split) for split in ("train", "val", "test")} == {
        "train": ["a"],
        "val": ["b", "c"],
        "test": ["d"],
    }


def test_stage_two_has_all_classes(dataset: Dataset, tmp_path: Path) -> None:
    crops = proposal_crops(dataset, (64, 64), "windows", tmp_path, quiet=True)
    seen = [set(np.unique(crops.read_labels(item))) for item in crops.of_split("train")]
    assert any({1, 2} <= classes for classes in seen)
    stored = json.loads((tmp_path / STAGE_PROPOSALS).read_bytes())
    assert stored["source"] == "windows"
    assert len(stored["boxes"]["a"]) == len(crops.of_split("val"))
    again = proposal_crops(dataset, (64, 64), "windows", tmp_path, quiet=True)
    assert [item.name for item in again.items] == [item.name for item in crops.items]


@pytest.mark.parametrize("stage", [1, 2])
def test_crops_of_one_picture_read_its_labels_once(dataset: Dataset, stage: int, tmp_path: Path) -> None:
    """Each crop read them anew, and every object's file: 2,758 nuclei kept a run of a minute from its first step."""
    crops = object_crops(dataset, (64, 64), quiet=True) if stage == 1 else proposal_crops(dataset, (64, 64), "windows")
    items = crops.of_split("train")
    source, reads = items[0].of.source, []  # type: ignore[attr-defined]
    source.ids = lambda: reads.append(1) or scene()
    alone = [replace(crops).read_labels(item) for item in items]
    assert len(reads) == len(items) * (3 - stage)
    reads.clear()
    together = [crops.read_labels(item) for item in items]
    assert len(reads) == 3 - stage
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_rare_classes_are_repeated_under_names_of_their_own() -> None:
    def crop(name: str, index: int) -> CropItem:
        return CropItem(name, Path("x"), Source(scene()), "train", index=index)

    found = balanced([crop("a", 1), crop("b", 1), crop("c", 1), crop("d", 2)])
    assert [item.name for item in found] == ["a", "b", "c", "d", "dx2", "dx3"]
    many = balanced([*(crop(f"m{i}", 1) for i in range(50)), crop("r", 2)])
    assert len(many) == 60, "at most ten of one"


def test_validations_see_a_share_of_many_crops_of_a_class() -> None:
    """Nuclei have 458 objects in 12 validation pictures: a run of a minute could not validate on them once."""

    def crop(name: str, index: int) -> CropItem:
        return CropItem(name, Path("x"), Source(scene()), "val", index=index)

    many = [crop(f"m{i}", 1) for i in range(4 * JUDGED)]
    few = [crop(f"f{i}", 2) for i in range(3)]
    found = judged([*many[:10], *few, *many[10:]])
    assert [item for item in found if item.index == 2] == few
    assert [item.name for item in found if item.index == 1] == [f"m{4 * i}" for i in range(JUDGED)], "of all pictures"
    assert judged(many[:JUDGED]) == many[:JUDGED]


def test_cut_and_only_by_hand() -> None:
    labels = np.array([[1, 2], [255, 0]], np.uint8)
    assert cut(labels, (-1, 1, 2, 3), (255,)).tolist() == [[255, 255], [2, 255], [0, 255]]
    assert cut(labels, (-4, 0, -2, 2), (255,)).tolist() == [[255, 255]] * 2, "a box beside the picture shows none of it"
    assert only(labels, labels == 2, 0, 255).tolist() == [[0, 2], [255, 0]]


def test_a_split_without_an_object_is_an_error_with_a_remedy(dataset: Dataset) -> None:
    empty = replace(
        dataset, items=tuple(replace(item, source=Source(np.zeros((40, 40), np.uint8))) for item in dataset.items)
    )
    with pytest.raises(DataError, match="no object in train to train stages on"):
        object_crops(empty, (64, 64), quiet=True)


def test_deconvnet_s_stages_are_of_crops() -> None:
    assert chain_of("deconvnet") == ("deconvnet", "deconvnet")
    assert of_crops(chain_of("deconvnet_1024"))
    assert not of_crops(chain_of("fcn8s"))
    settings = cropping(make_settings({"model": "deconvnet", "epochs": 3, "scale_max": 1.5}))
    assert (settings.imgsz, settings.scale_max, settings.max_class_share) == ((224, 224), 1.5, 1.0)
    assert settings.scale_min == pytest.approx(250 / 224)
    assert [stage_length(settings, 2, number, 0).epochs for number in (0, 1)] == [1, 2]


def test_the_recipe_has_the_release_s_schedules() -> None:
    """001_stage_1: 20,000 iterations, a tenth after each 9,000; 002_stage_2: 40,000, after each 10,000; both from 0.01.

    The recipe had `poly` and about as many steps as 30 epochs make.
    """
    settings = merged(read_settings(find_config("deconvnet-voc-stages")), make_settings({"data": "VOC"}))
    assert (settings.lr, settings.batch, settings.accumulate) == (0.01, 8, 8)
    released = ((20_000, 9_000), (40_000, 10_000))
    for number, (steps, every) in enumerate(released):
        assert stage_length(settings, 2, number, 0).given() == {"steps": steps}
        own = merged(settings, _own_settings(settings, chain_of(settings.model), number))
        for step in (0, every - 1, every, 2 * every - 1, 2 * every, steps - 1):
            assert lr_factor(step / steps, make_config(own.given())) == pytest.approx(0.1 ** (step // every)), step
    chosen = merged(settings, make_settings({"lr_drop": 0.5}))
    assert _own_settings(chosen, chain_of(settings.model), 1).lr_drop is None, "what the user sets holds for both"
    assert first_stage(settings).lr_drop == 0.45


def test_a_staged_run_from_end_to_end(
    tiny_data: Dataset, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of the one loop, the second from the first's weights; the folder names pictures, not crops.

    DeconvNet itself has too many weights for a test; a small network is trained in its stages.
    """
    name = tiny["model"]
    monkeypatch.setitem(MODELS, name, replace(MODELS[name], stages=(name,)))
    run = tmp_path / "run"
    run_stages(make_settings({**tiny, "stages": True}), tiny_data, run, command="denselab train tiny --stages")
    stages = json.loads((run / "stages.json").read_bytes())["stages"]
    assert [stage["model"] for stage in stages] == [name] * 2
    assert stages[0]["lr"] == stages[1]["lr"]
    recorded = json.loads((run / "dataset.json").read_bytes())
    assert recorded["splits"]["val"] == [item.name for item in tiny_data.of_split("val")]
    assert json.loads((run / STAGE_PROPOSALS).read_bytes())["source"] == "windows"
