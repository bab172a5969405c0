""".caffemodel files: both generations, every way to write a number, and files that are meant to do harm."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denselab.encoders.caffe import read_caffemodel
from denselab.errors import CheckpointError
from denselab.wire import Damaged, dimensions, fields, map_file, signed, varint

RNG = np.random.default_rng(0)
LAYERS = {
    "conv1_1": [RNG.normal(size=(4, 3, 3, 3)).astype("f4"), RNG.normal(size=4).astype("f4")],
    "bn": [RNG.normal(size=(1, 4, 1, 1)).astype("f4"), RNG.normal(size=(1, 4, 1, 1)).astype("f4")],
    "large": [RNG.normal(size=(40, 50)).astype("f4")],  # above the size from which a run stays mapped
}


@pytest.mark.parametrize("generation", ["layer", "layers"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("double", [True, False])
def test_what_is_written_is_read(write, tmp_path: Path, generation: str, packed: bool, double: bool) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(write.caffemodel(LAYERS, generation=generation, packed=packed, double=double))
    read = {layer.name: layer.blobs for layer in read_caffemodel(path)}
    assert list(read) == list(LAYERS)
    for name, arrays in LAYERS.items():
        for blob, array in zip(read[name], arrays, strict=True):
            assert blob.dtype == (np.float64 if double else np.float32)
            np.testing.assert_array_equal(blob, array)


def test_the_old_shape_has_four_sides(write, tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(
        write.caffemodel({"fc6": [np.ones((5, 7), "f4"), np.ones(5, "f4")]}, generation="layers", legacy=True)
    )
    (layer,) = read_caffemodel(path)
    assert [blob.shape for blob in layer.blobs] == [(1, 1, 5, 7), (1, 1, 1, 5)]


def test_layers_without_weights_and_unknown_fields_are_passed_over(write, tmp_path: Path) -> None:
    relu = write.chunk(100, write.chunk(1, b"relu1") + write.chunk(2, b"ReLU"))
    extra = write.number(999, 3) + write.varint(998 << 3 | 5) + b"abcd" + write.varint(997 << 3 | 1) + b"abcdefgh"
    path = tmp_path / "net.caffemodel"
    path.write_bytes(relu + extra + write.caffemodel({"a": [np.ones(3, "f4")]}))
    assert [layer.name for layer in read_caffemodel(path)] == ["a"]


def test_every_cut_of_a_file_is_an_error_or_fewer_layers(write, tmp_path: Path) -> None:
    whole = write.caffemodel({k: LAYERS[k] for k in ("conv1_1", "bn")})
    path = tmp_path / "cut.caffemodel"
    outcomes = set()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        try:
            outcomes.add(len(read_caffemodel(path)))
        except CheckpointError:
            outcomes.add(-1)
    assert -1 in outcomes
    assert outcomes <= {-1, 1, 2}


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_end_in_values_or_in_damaged(content: bytes) -> None:
    try:
        for _, _, _, value in fields(memoryview(content)):
            dimensions(value)
    except Damaged:
        pass


@given(st.binary(min_size=1, max_size=120))
@settings(max_examples=100)
def test_any_file_is_layers_or_one_clear_error(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "x.caffemodel"
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match="x.caffemodel"
    ):  # no 120 bytes at random are a layer with a shape that fits
        read_caffemodel(path)


def broken(write, name: str) -> bytes:
    shape = write.chunk(7, write.chunk(1, write.varint(1 << 40) + write.varint(1 << 20)))
    layer = lambda body: write.chunk(100, write.chunk(1, b"x") + body)  # noqa: E731
    return {
        "a shape of 10^18 values": layer(write.chunk(7, shape + write.chunk(5, b"\0" * 8))),
        "a size beyond the file": write.varint(100 << 3 | 2) + write.varint(1 << 60) + b"abc",
        "a number without an end": b"\xff" * 40,
        "a group": write.varint(100 << 3 | 3) + b"abc",
        "negative sides": layer(write.chunk(7, write.number(1, (1 << 64) - 3) + write.chunk(5, b"\0" * 4))),
        "half a float": layer(write.chunk(7, write.chunk(5, b"\0" * 6))),
        "a shape of many dimensions": layer(write.chunk(7, write.chunk(7, write.chunk(1, b"\1" * 5000)))),
        "thousands of arrays": layer(write.chunk(7, write.chunk(5, b"\0" * 4)) * 5000),
        "two layers of one name": write.caffemodel({"a": [np.ones(1, "f4")]}) * 2,
        "many layers": b"".join(write.caffemodel({f"l{i}": [np.ones(1, "f4")]}) for i in range(10_050)),
        "nothing": b"",
        "no weights": write.chunk(100, write.chunk(1, b"relu")),
        "an HDF5 file": b"\x89HDF\r\n\x1a\n" + b"\0" * 100,
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        *("a shape of 10^18 values", "a size beyond the file", "a number without an end", "a group", "negative sides"),
        *("half a float", "a shape of many dimensions", "thousands of arrays", "two layers of one name", "many layers"),
        *("nothing", "no weights", "an HDF5 file"),
    ],
)
def test_hostile_files_are_refused(write, tmp_path: Path, name: str) -> None:
    path = tmp_path / "bad.caffemodel"
    path.write_bytes(broken(write, name))
    with pytest.raises(CheckpointError, match=r"bad\.caffemodel") as caught:
        read_caffemodel(path)
    assert caught.value.exit_code == 6


def test_nesting_does_not_recurse(write, tmp_path: Path) -> None:
    """A message within a message, ten thousand deep: only known fields are entered, so it is passed over."""
    inner = b""
    for _ in range(10_000):
        inner = write.chunk(3, inner)
    path = tmp_path / "deep.caffemodel"
    path.write_bytes(inner + write.caffemodel({"a": [np.ones(1, "f4")]}))
    assert len(read_caffemodel(path)) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.caffemodel cannot be read: No such file"):
        map_file(tmp_path / "none.caffemodel")


def test_varints_by_hand() -> None:
    """150 is 0x96 0x01 in the specification; -1 is ten bytes."""
    assert varint(memoryview(b"\x96\x01"), 0) == (150, 2)
    value, _ = varint(memoryview(b"\xff" * 9 + b"\x01"), 0)
    assert signed(value) == -1
