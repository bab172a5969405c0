"""Classes of a data set go by their names: they fit a model's, are numbered anew, or are refused with both tables."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from denselab.data import Dataset, Item
from denselab.errors import DataError
from denselab.labels import NODATA, LabelEntry, LabelSpace
from denselab.measure.by_name import with_labels_of

MODEL = LabelSpace(
    (LabelEntry(0, "ground", (0, 0, 0)), LabelEntry(4, "tree", (1, 1, 1)), LabelEntry(7, "car", (2, 2, 2)))
)
VOID = LabelEntry(255, "void", (9, 9, 9), "ignore")


@dataclass(frozen=True)
class Drawn:
    """Labels from memory."""

    row: tuple[int, ...]
    path: Path = Path("row.png")

    def ids(self) -> NDArray[np.int64]:
        return np.array([self.row])

    def summary(self) -> dict[int, int]:
        return {i: self.row.count(i) for i in self.row}


def fitted(row: tuple[int, ...], *entries: LabelEntry, others: bool = False) -> list[int]:
    """The class indices of a row of ids, in a data set with these labels, as the model sees them."""
    items = (Item("row", Path("row.png"), Drawn(row)),)
    data = with_labels_of(
        Dataset(Path("data"), "test", "index", LabelSpace(entries), items), MODEL, "data", others=others
    )
    assert data.label_space.names == MODEL.names
    found: list[int] = data.read_labels(data.items[0])[0].tolist()
    return found


def entry(label_id: int, name: str) -> LabelEntry:
    return LabelEntry(label_id, name, (label_id % 256, 5, 5))


def test_labels_without_names_go_by_their_ids(capsys: pytest.CaptureFixture[str]) -> None:
    assert fitted((0, 7, 255), entry(0, "ground"), entry(7, "class 7"), VOID) == [0, 2, 255]
    assert "data does not name its labels" in capsys.readouterr().err  # never silently


def test_pixels_without_data_are_left_out_under_other_ids_too() -> None:
    """A label with NODATA, or under an ignore mask, was refused: "label id -2147483648 stands for no class"."""
    assert fitted((4, NODATA, 0), entry(4, "ground"), entry(0, "car")) == [0, 255, 2]
    assert fitted((4, NODATA), entry(0, "ground"), entry(4, "tree")) == [1, 255]


def test_a_model_without_names_takes_named_labels_by_their_ids() -> None:
    """Two-valued labels without names were "class 0" and "class 255" when older models learnt them."""
    old = LabelSpace((LabelEntry(0, "class 0", (0, 0, 0)), LabelEntry(255, "class 255", (255, 255, 255))))
    items = (Item("row", Path("row.png"), Drawn((255, 0))),)
    named = LabelSpace((entry(0, "background"), entry(255, "foreground")))
    data = with_labels_of(Dataset(Path("data"), "test", "index", named, items), old, "data")
    assert data.label_space.names == old.names
    assert data.read_labels(data.items[0]).tolist() == [[1, 0]]


def test_masks_of_0_and_255_without_names_go_by_their_ids(capsys: pytest.CaptureFixture[str]) -> None:
    """A test folder without the classes.txt of the training was refused: 'foreground' is none of the model's."""
    model = LabelSpace((entry(0, "soil"), entry(255, "weed")))
    items = (Item("row", Path("row.png"), Drawn((255, 0))),)
    unnamed = LabelSpace((entry(0, "background"), entry(255, "foreground")))
    data = with_labels_of(Dataset(Path("data"), "test", "index", unnamed, items), model, "data")
    assert data.read_labels(data.items[0])[0].tolist() == [1, 0]
    assert "data does not name its labels" in capsys.readouterr().err


def test_a_folder_that_lacks_a_class_numbers_the_others_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    """Three classes were learnt, the test folder shows two, which its layout numbers 0 and 1: it could not be measured."""
    assert fitted((0, 1, 255), entry(0, "ground"), entry(1, "car"), VOID) == [0, 2, 255]
    assert "matched by their names: car 1 -> 7" in capsys.readouterr().err
    assert fitted((1, 0), entry(0, "Tree"), entry(1, "ground")) == [0, 1]


def test_classes_that_differ_in_capitals_alone_stay_apart() -> None:
    """ "Rust" and "rust" are two classes to `train`; both were measured as the last of them, on the run's own data too."""
    model = LabelSpace((entry(0, "ground"), entry(1, "Rust"), entry(2, "rust")))
    items = (Item("row", Path("row.png"), Drawn((0, 1, 2))),)
    data = with_labels_of(Dataset(Path("data"), "test", "index", model, items), model, "data")
    assert data.read_labels(data.items[0])[0].tolist() == [0, 1, 2]
    one = LabelSpace((entry(0, "ground"), entry(1, "RUST")))
    with pytest.raises(DataError, match="label 1 'RUST' does not fit"):
        with_labels_of(Dataset(Path("data"), "test", "index", one, items), model, "data")


def test_an_ignored_id_is_no_class_of_the_model() -> None:
    """Where the data's void is 0 and the model's ground is 0, the void was counted as ground."""
    assert fitted((0, 7), replace(VOID, id=0), entry(7, "car")) == [255, 2]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((entry(4, "cars"),), "label 4 'cars' does not fit .* the data have 4 cars, the model 0 ground, 4 tree, 7 car"),
        ((entry(0, "tree"), entry(4, "class 4")), "label 4 'class 4' does not fit"),
        ((entry(5, "class 5"),), "label 5 'class 5' does not fit"),
    ],
)
def test_labels_of_the_data_that_do_not_fit(entries: tuple[LabelEntry, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fitted((0,), *entries)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (((0, "class 0"), (1, "class 1")), ((0, "background"), (255, "foreground"))),
        (((0, "background"), (255, "foreground")), ((0, "class 0"), (1, "class 1"))),
        (((0, "soil"), (1, "weed")), ((0, "background"), (255, "foreground"))),
        (((7, "road"), (8, "kerb"), (11, "house")), ((0, "class 0"), (1, "class 1"), (2, "class 2"))),
    ],
)
def test_labels_without_names_get_a_line_that_names_them(
    model: tuple[tuple[int, str], ...], data: tuple[tuple[int, str], ...]
) -> None:
    """Masks of 0 and 255 for a model that learnt 0 and 1: "name the classes alike" did not say how."""
    own, theirs = (LabelSpace(tuple(entry(*row) for row in rows)) for rows in (model, data))
    items = (Item("row", Path("row.png"), Drawn(tuple(i for i, _ in data))),)
    unfit = Dataset(Path("data"), "test", "index", LabelSpace((*theirs.entries, replace(VOID, id=99))), items)
    with pytest.raises(DataError, match="does not fit") as refused:
        with_labels_of(unfit, own, "data")
    line = str(refused.value).partition("write in data.yaml `labels: ")[2].removesuffix("`")
    mended = with_labels_of(replace(unfit, label_space=LabelSpace.from_list(yaml.safe_load(line))), own, "data")
    assert mended.read_labels(mended.items[0])[0].tolist() == list(range(len(data)))


def test_a_new_class_in_the_runs_data_is_refused_where_it_is_measured_alone() -> None:
    assert fitted((0, 1), entry(0, "ground"), entry(1, "car"), entry(2, "bus"), others=True) == [0, 2]
    with pytest.raises(DataError, match=r"row\.png: label id 2 stands for no class of the model"):
        fitted((2,), entry(0, "ground"), entry(2, "bus"), others=True)


@pytest.mark.parametrize("classes", [256, 300])
def test_more_classes_than_a_byte_holds(classes: int) -> None:
    """An id for what is ignored was looked for below 256: no model of 256 classes or more could be measured."""
    model = LabelSpace(tuple(entry(i, f"kind {i}") for i in range(classes)))
    items = (Item("row", Path("row.png"), Drawn((0, classes - 1, NODATA))),)
    for own in (model, LabelSpace((entry(0, "kind 0"), entry(classes - 1, "kind 7"), replace(VOID, id=5000)))):
        data = with_labels_of(Dataset(Path("data"), "test", "index", own, items), model, "data")
        assert data.label_space.names == model.names
        last = classes - 1 if own is model else 7
        assert data.read_labels(data.items[0]).tolist() == [[0, last, data.label_space.ignore_index]]
