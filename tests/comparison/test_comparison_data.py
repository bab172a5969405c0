"""The data of a comparison: folds that every run shares, and no sequence on both sides of one."""

from dataclasses import replace
from pathlib import Path

import pytest

from denselab.comparison import data
from denselab.comparison.compare import prepare
from denselab.comparison.data import FOLDS, Data, _read, open_data, write_folds
from denselab.comparison.plan import Candidate, Plan
from denselab.data import Dataset, Item
from denselab.data.folds import folds_of
from denselab.data.item import FileLabels
from denselab.errors import CheckpointError
from denselab.labels import LabelEntry, LabelSpace
from denselab.training.detail import Detail

SPACE = LabelSpace((LabelEntry(0, "a", (0, 0, 0)), LabelEntry(1, "b", (9, 9, 9))))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_no_sequence_is_on_both_sides_of_a_fold(folds: int, seed: int, tmp_path: Path) -> None:
    """Clips of 1 to 7 frames, some of which the data themselves had divided between train and val."""
    path = tmp_path / "missing.png"
    frames = [f"clip{clip}_{frame:03}" for clip in range(7) for frame in range(clip + 1)]
    names = [f"{split}/{frame}" for frame in frames for split in ("train", "val")]
    items = tuple(Item(name, path, FileLabels(tmp_path / f"{name}.png"), name.split("/")[0]) for name in names)
    dataset = Dataset(tmp_path, "test", "index", SPACE, items)
    data, held = Data(dataset, folds_of(dataset, folds, seed)), []
    for fold in range(folds):
        part = data.of_fold(fold)
        sides = [{item.name.split("/")[1].split("_")[0] for item in part.of_split(s)} for s in ("train", "val")]
        assert not sides[0] & sides[1]
        assert len(part.of_split("train")) + len(part.of_split("val")) == len(items)
        held += [item.name for item in part.of_split("val")]
    assert sorted(held) == sorted(names)


def test_folds_on_disk_rule_when_a_comparison_goes_on(tiny_data: Dataset, tmp_path: Path) -> None:
    """Also where this version would draw others: runs that were trained before have seen what these say."""
    plan = Plan(str(tiny_data.root), (Candidate("unet"), Candidate("segnet")), ("steps", 1.0), folds=2)
    turned = Data(tiny_data, {name: 1 - fold for name, fold in folds_of(tiny_data, 2).items()})
    write_folds(turned, tmp_path)
    assert open_data(plan, tmp_path).fold_of == turned.fold_of
    (tmp_path / FOLDS).write_text("image,part\na,b\n")
    with pytest.raises(CheckpointError, match="is not a table of folds"):
        _read(tmp_path / FOLDS, tiny_data)


@pytest.mark.parametrize("name", ["=2+3", "-a", "@a", "'=2+3", "a\nb", "caf\udce9", "a,b", 'a"b', " a"])
def test_folds_of_pictures_with_odd_names_are_read_again(name: str, tmp_path: Path) -> None:
    """A name in bytes that are no UTF-8 was in no fold when the comparison went on; the cells guard formulas."""
    path = tmp_path / "missing.png"
    dataset = Dataset(tmp_path, "test", "index", SPACE, tuple(Item(n, path, FileLabels(path)) for n in (name, "b")))
    data = Data(dataset, {name: 0, "b": 1, "gone": 1})
    write_folds(data, tmp_path)
    assert _read(tmp_path / FOLDS, dataset) == data.fold_of
    cells = [line.split(",")[0] for line in (tmp_path / FOLDS).read_text().splitlines()]
    assert not any(cell.startswith(("=", "-", "@")) for cell in cells)


def test_all_networks_see_the_same_crops_of_the_same_size(
    tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe's for pictures of 600x800, also in the command that repeats the comparison; a crop of the user stays."""
    monkeypatch.setattr(data, "median_size", lambda sizes: (600, 800))
    monkeypatch.setattr(data, "find_detail", lambda *found: Detail(0.5, "pole", 0.9, 300 * 400))
    plan = Plan(str(tiny_data.root), (Candidate("unet_small"), Candidate("segnet")), ("steps", 1.0))
    prepared, _ = prepare(plan, tmp_path, "cpu")
    assert (prepared.imgsz, prepared.given) == ((288, 400), {"crop": [192, 256]})
    one = prepared.settings(prepared.members()[0])
    assert (one.imgsz, one.crop) == ((288, 400), (192, 256))
    assert "'crop=[192, 256]'" in prepared.command()
    prepared, _ = prepare(replace(plan, given={"crop": [64, 80]}), tmp_path, "cpu")
    assert (prepared.imgsz, prepared.given) == ((600, 800), {"crop": [64, 80]})
