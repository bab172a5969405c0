"""The label table: ids in files, class indices in arrays."""

import json
import re

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from denselab.errors import DataError
from denselab.labels import LabelEntry, LabelSpace, default_colour, partners

SPACE = LabelSpace(
    (
        LabelEntry(11, "void", (0, 0, 0), "ignore"),
        LabelEntry(7, "road", (1, 2, 3)),
        LabelEntry(0, "ground", (4, 5, 6), "background"),
    )
)


def test_indices_follow_rising_ids_without_the_ignored() -> None:
    assert SPACE.names == ("ground", "road")
    assert SPACE.palette.tolist() == [[4, 5, 6], [1, 2, 3]]
    ids = np.array([[0, 7], [11, 7]], dtype=np.uint8)
    indices = SPACE.encode(ids)
    assert indices.tolist() == [[0, 1], [255, 1]]
    assert indices.dtype == np.uint8
    assert SPACE.decode(indices).tolist() == ids.tolist()


def test_a_stranger_is_named() -> None:
    with pytest.raises(DataError, match=r"id 3 is not in the label table \(ids 0, 7, 11\)"):
        SPACE.encode(np.array([0, 3]))
    assert SPACE.encode(np.array([0, 3]), unknown="ignore").tolist() == [0, 255]


@given(
    st.sets(st.integers(-5, 70000), min_size=1, max_size=30),
    st.sampled_from([np.int64, np.int32]),
    st.randoms(use_true_random=False),
)
def test_decode_undoes_encode(ids: set[int], dtype: type, random: object) -> None:
    space = LabelSpace(tuple(LabelEntry(i, f"c{i}", (0, 0, 0)) for i in ids))
    values = np.array(sorted(ids), dtype=dtype).repeat(2).reshape(2, -1, order="F")
    assert space.decode(space.encode(values)).tolist() == values.tolist()


def test_more_than_255_classes_use_16_bits() -> None:
    space = LabelSpace(tuple(LabelEntry(i, f"c{i}", (0, 0, 0)) for i in range(300)))
    assert (space.dtype, space.ignore_index) == (np.uint16, 65535)
    assert space.encode(np.array([299])).dtype == np.uint16


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": 0}, {"id": 0, "name": "b"}], "id 0 is listed twice"),
        ([{"id": 0, "name": "a"}, {"id": 1, "name": "a"}], "name 'a' is listed twice"),
        ([{"id": 0, "role": "ignore"}], "no entry is a class"),
        ([{"id": 0, "role": "void"}], "role 'void'"),
        ([{"name": "a"}], "row 0"),
        ([{"id": 0, "colour": [1, 2]}], "three numbers"),
        (["road"], "row 0"),
        ([{"id": 1.7}], "the id in row 0 is 1.7; expected a whole number"),
        ([{"id": True}], "the id in row 0 is True"),
        ([{"id": "1.5"}], "the id in row 0 is '1.5'"),
        ([{"id": 0, "name": False}], "the name of id 0 is False; write it in quotes"),  # YAML's `name: no`
        ([{"id": 0, "name": None}], "the name of id 0 is None"),
        ([{"id": 0, "colour": [1.5, 2, 3]}], "the colour of 'class 0' is 1.5; expected a whole number"),
        ([{"id": 0, "colour": "123"}], "the colour of 'class 0' is '1'"),
        ([{"id": 0, "colour": 7}], "three numbers"),
        ([{"id": 0, "colour": [1, 2, 256]}], "three numbers"),
        ([{"id": 0, "colour": [1, 2, -1]}], "is -1; expected a whole number of 0 or more"),
    ],
)
def test_tables_that_are_none(rows: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        LabelSpace.from_list(rows)  # type: ignore[arg-type]


def test_list_round_trip_and_default_colours() -> None:
    assert LabelSpace.from_list(SPACE.to_list()) == SPACE
    colours = [default_colour(i) for i in range(60)]
    assert len(set(colours)) == 60
    assert LabelSpace.from_list([{"id": 1, "name": 5}]).names == ("5",)
    assert LabelSpace.from_list([{"id": "7"}, {"id": 2.0}]).names == ("class 2", "class 7")  # JSON's keys are texts


def test_an_entry_of_numpy_s_numbers_is_plain() -> None:
    entry = LabelEntry(np.int64(3), "road", np.array([1, 2, 3], np.uint8))  # type: ignore[arg-type]
    assert entry == LabelEntry(3, "road", (1, 2, 3))
    assert json.loads(json.dumps(LabelSpace((entry,)).to_list()))[0]["colour"] == [1, 2, 3]


def test_names_that_begin_at_1_are_told_both_readings_of_0() -> None:
    """The only line that was offered left the background out: the model never learnt what is no crack."""
    space = LabelSpace.from_list([{"id": 1, "name": "crack"}])
    with pytest.raises(DataError) as told:
        space.encode(np.array([0, 1]))
    background, left_out = (
        yaml.safe_load(line)["labels"] for line in re.findall(r"`(labels: [^`]*)`", str(told.value))
    )
    assert [entry["name"] for entry in background] == ["background", "crack"]
    assert LabelSpace.from_list(background).encode(np.array([0, 1])).tolist() == [0, 1]
    assert LabelSpace.from_list(left_out).encode(np.array([0, 1])).tolist() == [255, 0]
    assert str(told.value).endswith("where it is left out")
    assert "background" not in space.line_with([7])


def test_a_slip_in_what_unknown_ids_become_leaves_none_out() -> None:
    with pytest.raises(DataError, match="id 3 is not in the label table"):
        SPACE.encode(np.array([0, 3]), unknown="ignroe")  # type: ignore[arg-type]


def test_labels_that_are_no_whole_numbers() -> None:
    with pytest.raises(DataError, match="float64"):
        SPACE.encode(np.zeros((2, 2)))


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint64, np.int64])
def test_ids_of_any_whole_kind(dtype: type) -> None:
    """A mask of truth values ended in numpy: it was taken for a choice of places."""
    space = LabelSpace((LabelEntry(0, "no", (0, 0, 0)), LabelEntry(1, "yes", (1, 1, 1))))
    assert space.encode(np.array([[0, 1, 1], [0, 0, 1]], dtype)).tolist() == [[0, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize("index", [-1, 2, 254, 256, 300])
def test_what_is_no_index_has_no_id(index: int) -> None:
    """-1 and what lay between the classes and 255 became the id of ignored pixels, without a word."""
    space = LabelSpace(
        (LabelEntry(3, "a", (0, 0, 0)), LabelEntry(4, "b", (1, 1, 1)), LabelEntry(9, "v", (2, 2, 2), "ignore"))
    )
    assert space.decode(np.array([0, 1, 255])).tolist() == [3, 4, 9]
    with pytest.raises(DataError, match=f"index {index} is no class: there are 2, from 0, and 255 for ignored"):
        space.decode(np.array([0, index]))
    with pytest.raises(DataError, match="indices have dtype float64"):
        space.decode(np.zeros(2))


@pytest.mark.parametrize(
    ("names", "known", "found"),
    [
        (("rust", "Leaf"), ("Rust", "leaf", "sky"), {"rust": "Rust", "Leaf": "leaf"}),
        (("Rust", "rust"), ("rust", "Rust"), {"Rust": "Rust", "rust": "rust"}),
        (("Rust", "rust"), ("rust",), {"rust": "rust"}),
        (("RUST",), ("Rust", "rust"), {}),
        (("sky",), ("rust",), {}),
    ],
)
def test_names_that_differ_in_capitals_alone_are_not_mixed_up(
    names: tuple[str, ...], known: tuple[str, ...], found: dict[str, str]
) -> None:
    assert partners(names, known) == found
