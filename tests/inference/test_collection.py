"""Files in, result files out; items of a data set for the scores."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.console import Progress
from denselab.data import Dataset, Item
from denselab.engine.segmenter import Segmenter
from denselab.errors import ConfigError, DataError, ResourceError
from denselab.inference import Options, Predictor
from denselab.inference.collection import KeptLabels, class_shares, predict_files, predict_items
from denselab.inference.inputs import find_sources
from denselab.labels import LabelSpace

PLAIN = Options()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three flat pictures of different sizes in a tree, and two files that are none."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name, size, colour in (
        ("a.png", (5, 7), (255, 0, 0)),
        ("b.png", (1, 1), (0, 0, 255)),
        ("sub/c.png", (90, 40), (0, 255, 0)),
    ):
        PILImage.new("RGB", size, colour).save(folder / name)
    (folder / "bad.png").write_text("no picture")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


@pytest.mark.parametrize("probs", ["none", "npz"])
def test_results_mirror_the_tree_at_the_pictures_size(
    segmenter: Segmenter, pictures: Path, tmp_path: Path, probs: str
) -> None:
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    results, skipped = predict_files(Predictor(segmenter), sources, tmp_path / "out", PLAIN, probs, quiet=True)  # type: ignore[arg-type]
    assert [r.source.name for r in results] == ["a.png", "b.png", "c.png"]
    assert [r.shares for r in results] == [{"red": 1.0}, {"blue": 1.0}, {"green": 1.0}]
    found = np.asarray(PILImage.open(tmp_path / "out" / "labels" / "sub" / "c.png"))
    assert found.shape == (40, 90)
    assert (found == 20).all()
    assert [Path(s.path).name for s in skipped] == ["bad.png", "empty.jpg"]
    assert all(str(pictures) not in s.reason for s in skipped)


def test_a_picture_too_large_for_its_probabilities_is_skipped_alone(
    segmenter: Segmenter, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "denselab.inference.predictor.total_memory", lambda: 40_000
    )  # 90x40x4 classes need 57,600 bytes
    monkeypatch.setattr("denselab.inference.predictor.BYTES_PER_PIXEL", 1)
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    results, skipped = predict_files(Predictor(segmenter), sources, tmp_path / "out", PLAIN, "npz", quiet=True)
    assert [r.source.name for r in results] == ["a.png", "b.png"]
    assert "90x40 pixels and 4 classes" in skipped[-1].reason


def test_the_label_table_lists_what_the_label_pngs_hold(
    segmenter: Segmenter, space: LabelSpace, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An index PNG holds no id below 0: it got class indices, and labels.json still said -1."""
    shifted = LabelSpace(tuple(replace(entry, id=entry.id - 1) for entry in space.entries))
    predictor = Predictor(replace(segmenter, label_space=shifted))
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    predict_files(predictor, sources, tmp_path / "out", PLAIN, quiet=True)
    table = {row["name"]: row["id"] for row in json.loads((tmp_path / "out" / "labels.json").read_text())}
    for name, colour in (("a", "red"), ("b", "blue"), ("sub/c", "green")):
        assert (np.asarray(PILImage.open(tmp_path / "out" / "labels" / f"{name}.png")) == table[colour]).all()
    assert capsys.readouterr().err.count("do not fit into label PNGs") == 1


def test_inputs_are_never_touched(segmenter: Segmenter, pictures: Path) -> None:
    labels = pictures / "labels"
    labels.mkdir()
    PILImage.new("RGB", (2, 2)).save(labels / "a.png")
    sources, _ = find_sources([str(labels / "a.png")], pictures)
    before = (labels / "a.png").read_bytes()
    with pytest.raises(ConfigError, match="overwrite"):
        predict_files(Predictor(segmenter), sources, pictures, PLAIN, quiet=True)
    assert (labels / "a.png").read_bytes() == before


def test_a_place_that_cannot_be_written_ends_the_work(segmenter: Segmenter, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    with pytest.raises(ResourceError, match="out"):
        predict_files(Predictor(segmenter), sources, tmp_path / "out", PLAIN, quiet=True)


def test_class_shares_by_hand(space: LabelSpace) -> None:
    assert class_shares(np.array([[0, 0, 0, 2]], np.uint8), space) == {"ground": 0.75, "green": 0.25}


def test_kept_labels_come_back() -> None:
    kept = KeptLabels()
    wide = np.arange(12, dtype=np.uint16).reshape(3, 4).T
    kept.keep("a", wide)
    assert np.array_equal(kept["a"], wide)
    assert kept["a"].dtype == np.uint16


def test_items_come_in_order_with_truth_and_prediction(segmenter: Segmenter, space: LabelSpace, tmp_path: Path) -> None:
    dataset, items = small_dataset(space, tmp_path)
    kept, bar = KeptLabels(), Progress("test", len(items), "pictures")
    results = list(predict_items(Predictor(segmenter), dataset, items, PLAIN, kept, bar))
    assert [name for name, _, _ in results] == ["p0", "p1", "p2", "p3"]
    assert bar.done == 4
    for index, (name, truth, prediction) in enumerate(results):
        assert (truth == index).all()
        assert (prediction == index).all()
        assert np.array_equal(kept[name], prediction)


def test_an_unreadable_item_is_an_error(segmenter: Segmenter, space: LabelSpace, tmp_path: Path) -> None:
    dataset, items = small_dataset(space, tmp_path)
    items[2].image.write_bytes(b"")
    with pytest.raises(DataError, match="p2"):
        list(predict_items(Predictor(segmenter), dataset, items, PLAIN, KeptLabels(), Progress("test", 4, "pictures")))


def small_dataset(space: LabelSpace, folder: Path) -> tuple[Dataset, list[Item]]:
    """Picture i is flat in the colour of class i."""
    from denselab.data.item import FileLabels

    items = []
    for index, entry in enumerate(space.classes):
        PILImage.new("RGB", (6, 4), entry.colour).save(folder / f"p{index}.png")
        PILImage.fromarray(np.full((4, 6), entry.id, np.uint8)).save(folder / f"l{index}.png")
        items.append(Item(f"p{index}", folder / f"p{index}.png", FileLabels(folder / f"l{index}.png"), "val"))
    return Dataset(folder, "test", "index", space, tuple(items)), items
