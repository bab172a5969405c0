"""What a model that left its run tells of its pictures: which split each was in, by content, and no name."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.data import Dataset, open_dataset
from denselab.data.recorded import divided
from denselab.data.seen import read_seen, seen_of
from denselab.errors import CheckpointError
from denselab.files import json_bytes

SPLITS = {"a": "train", "b": "train", "c": "train", "d": "val"}


def opened(folder: Path, contents: dict[str, int]) -> Dataset:
    """Pictures by name, each of one grey, with the labels 0 and 1."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, grey in contents.items():
        PILImage.new("RGB", (6, 4), (grey, 0, 0)).save(folder / "images" / f"{name}.png")
        PILImage.fromarray(np.eye(4, 6, dtype=np.uint8)).save(folder / "labels" / f"{name}.png")
    (folder / "data.yaml").write_text("labels: [{id: 0, name: ground}, {id: 1, name: red}]\n")
    return open_dataset(folder)


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A model folder that tells of a, b, c for training and d held out."""
    dataset = opened(tmp_path / "data", {"a": 1, "b": 2, "c": 3, "d": 4})
    trained = divided(dataset, {f"images/{name}": split for name, split in SPLITS.items()})
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "splits.json").write_bytes(json_bytes(seen_of(trained.items)))
    return tmp_path / "exported"


def splits_in(dataset: Dataset, shipped: Path) -> str:
    seen = read_seen(shipped)
    assert seen is not None
    return ", ".join(f"{name[7:]} {split}" for name, split in sorted(seen.splits_in(dataset).items()))


def test_no_name_and_no_place_goes_out_with_a_model(shipped: Path) -> None:
    stored = json.loads((shipped / "splits.json").read_text(encoding="utf-8"))
    assert {split: len(digests) for split, digests in stored.items()} == {"train": 3, "val": 1}
    assert all(len(digest) == 32 and int(digest, 16) for digests in stored.values() for digest in digests)
    assert "data" not in (shipped / "splits.json").read_text(encoding="utf-8").replace("train", "")


def test_pictures_are_known_by_content_whatever_they_are_called(shipped: Path, tmp_path: Path) -> None:
    renamed = opened(tmp_path / "renamed", {"p": 4, "q": 3, "r": 2, "s": 1})
    assert splits_in(renamed, shipped) == "p val, q train, r train, s train"
    grown = opened(tmp_path / "grown", {"a": 1, "b": 2, "c": 3, "d": 4, **{f"new{i}": 50 + i for i in range(9)}})
    assert splits_in(grown, shipped) == "a train, b train, c train, d val"
    assert splits_in(opened(tmp_path / "part", {"d": 4, "x": 3}), shipped) == "d val, x train"


def test_other_data_with_a_copy_of_one_picture_are_other_data(shipped: Path, tmp_path: Path) -> None:
    """The one picture would have been all that is measured."""
    assert not splits_in(opened(tmp_path / "other", {"a": 11, "b": 12, "c": 13, "d": 4}), shipped)


def test_equal_pictures_keep_a_split_each(tmp_path: Path) -> None:
    dataset = opened(tmp_path / "data", {"a": 1, "b": 1, "c": 3})
    trained = divided(dataset, {"images/a": "val", "images/b": "train", "images/c": "train"})
    (tmp_path / "splits.json").write_bytes(json_bytes(seen_of(trained.items)))
    assert splits_in(dataset, tmp_path) == "a val, b train, c train"
    more = opened(tmp_path / "data", {"a": 1, "b": 1, "c": 3, "d": 1})
    assert splits_in(more, tmp_path).endswith("d train"), "a further copy was trained on too"


def test_a_lost_picture_and_one_without_a_split_are_left_out(tmp_path: Path) -> None:
    dataset = opened(tmp_path / "data", {"a": 1, "b": 2, "c": 3})
    items = [replace(item, split=split) for item, split in zip(dataset.items, ("train", None, "val"), strict=True)]
    dataset.items[2].image.unlink()
    assert list(seen_of(items)) == ["train"]


@pytest.mark.parametrize("content", ["", "[]", '{"train": 5}', '{"train": [[]]}', "[" * 100_000])
def test_a_damaged_record_is_told(tmp_path: Path, content: str) -> None:
    assert read_seen(tmp_path) is None
    (tmp_path / "splits.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"splits\.json is damaged"):
        read_seen(tmp_path)
