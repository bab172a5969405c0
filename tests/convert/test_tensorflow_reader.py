"""TensorFlow checkpoints and frozen graphs, written here from the formats' descriptions."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denselab.convert.checksum import crc32c, crc_of_bytes, crc_table
from denselab.convert.sstable import table_entries
from denselab.convert.tensorflow import read_checkpoint, read_frozen_graph, read_tensorflow
from denselab.errors import CheckpointError

RNG = np.random.default_rng(1)
VARIABLES = {
    f"xception_65/middle_flow/block1/unit_{i}/BatchNorm/{leaf}": RNG.normal(size=(5, i)).astype(dtype)
    for i in range(1, 9)
    for leaf, dtype in (("gamma", "f4"), ("beta", "f8"), ("moving_mean", "f2"))
}


def test_checksum_known_values(write) -> None:
    """RFC 3720, B.4: 32 zeros, 32 ones, ascending; and the usual check value of "123456789"."""
    vectors = {b"\0" * 32: 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E, b"123456789": 0xE3069283}
    for data, expected in vectors.items():
        assert crc32c(memoryview(data)) == expected == write.crc32c(data)
        assert crc_of_bytes(np.frombuffer(data, np.uint8), crc_table()) == expected


@pytest.mark.parametrize("shards", [1, 3])
def test_a_checkpoint(write, tmp_path: Path, shards: int) -> None:
    steps = {"global_step": np.array(30000, np.int64)}
    index = write.write_checkpoint(tmp_path / "model.ckpt-30000", VARIABLES | steps, shards)
    read = read_checkpoint(index)
    assert set(read) == set(VARIABLES)
    for name, values in VARIABLES.items():
        assert read[name].dtype == values.dtype
        np.testing.assert_array_equal(read[name], values)


def test_a_checkpoint_by_any_of_its_names(write, tmp_path: Path) -> None:
    index = write.write_checkpoint(tmp_path / "model.ckpt", {"w": np.ones(3, "f4")})
    for name in (index, tmp_path / "model.ckpt", tmp_path / "model.ckpt.data-00000-of-00001", tmp_path):
        assert list(read_tensorflow(name)) == ["w"]
    write.write_checkpoint(tmp_path / "other.ckpt", {"w": np.ones(3, "f4")})
    with pytest.raises(CheckpointError, match=r"2 checkpoints \(model\.ckpt\.index, other\.ckpt\.index\)"):
        read_tensorflow(tmp_path)
    with pytest.raises(CheckpointError, match="neither a checkpoint"):
        read_tensorflow(tmp_path / "none")


def test_every_byte_of_an_index_that_changes_is_noticed(write, tmp_path: Path) -> None:
    """Blocks have checksums. Only the empty meta index and the footer's padding are not read; they change nothing."""
    few = dict(list(VARIABLES.items())[:4])
    index = write.write_checkpoint(tmp_path / "m", few)
    whole, unread = index.read_bytes(), 0
    for at in range(0, len(whole), 3):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            read = read_checkpoint(index)
        except CheckpointError:
            continue
        unread += 1
        assert read.keys() == few.keys() or at >= len(whole) - 48, f"byte {at} changed unseen"
        assert all(np.array_equal(read[name], few[name]) for name in read)
    assert unread < len(whole) / 6


def test_changed_values_are_noticed(write, tmp_path: Path) -> None:
    index = write.write_checkpoint(tmp_path / "m", {"w": np.ones(5, "f4")})
    data = tmp_path / "m.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1] + b"\x41")
    with pytest.raises(CheckpointError, match="values of 'w' do not have their checksum"):
        read_checkpoint(index)
    data.write_bytes(b"\0\0")
    with pytest.raises(CheckpointError, match="more bytes than its data files have"):
        read_checkpoint(index)
    data.unlink()
    with pytest.raises(CheckpointError, match="data-00000-of-00001 cannot be read"):
        read_checkpoint(index)


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=9)), max_size=40), st.integers(1, 9))
@settings(max_examples=60)
def test_tables_of_any_keys(write, rows: list[tuple[bytes, bytes]], per_block: int) -> None:
    rows = sorted(dict(rows).items())
    read = [(key, bytes(value)) for key, value in table_entries(memoryview(write.sstable(rows, per_block)))]
    assert read == rows


def test_a_frozen_graph(write, tmp_path: Path) -> None:
    path = tmp_path / "frozen_inference_graph.pb"
    path.write_bytes(write.frozen_graph(VARIABLES | {"ResizeBilinear/size": np.array([513, 513], np.int64)}))
    read = read_frozen_graph(path)
    assert set(read) == set(VARIABLES)
    for name, values in VARIABLES.items():
        np.testing.assert_array_equal(read[name], values)


def constant(write, tensor: bytes) -> bytes:
    return write.node("c", "Const", {"value": write.chunk(8, tensor)})


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (3, 0)])
def test_a_scalar_and_an_empty_tensor_of_a_graph(write, tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    """TensorFlow lists them: float_val, double_val, half_val. A scalar's shape has no dimensions, and a value was broadcast to
    it from a shape of one: "cannot broadcast a non-scalar", for the mul/x and sub/y of every released graph.
    """
    array = np.full(shape, 0.25, dtype)
    path = tmp_path / "g.pb"
    path.write_bytes(write.frozen_graph({"mul/x": array}))
    read = read_frozen_graph(path)["mul/x"]
    assert (read.shape, read.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize("stored", [0, 1, 3, 6])
def test_the_last_of_fewer_listed_values_stands_for_the_rest(write, tmp_path: Path, dtype: str, stored: int) -> None:
    """So TensorFlow shortens a list whose end repeats itself; without any value it is all zeros."""
    values = RNG.normal(size=stored).astype(dtype)
    header = write.number(1, {"f4": 1, "f8": 2, "f2": 19}[dtype]) + write.chunk(2, write.shape_proto((2, 3)))
    path = tmp_path / "g.pb"
    path.write_bytes(constant(write, header + write.listed_values(values)))
    expected = np.array([values[min(i, stored - 1)] if stored else 0 for i in range(6)], dtype).reshape(2, 3)
    read = read_frozen_graph(path)["c"]
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)


def test_more_listed_values_than_the_shape_has_are_refused(write, tmp_path: Path) -> None:
    header = write.number(1, 1) + write.chunk(2, write.shape_proto((2,)))
    path = tmp_path / "g.pb"
    path.write_bytes(constant(write, header + write.listed_values(np.ones(3, "f4"))))
    with pytest.raises(CheckpointError, match=r"g\.pb.*constant|variable 'c': shape \(2,\) with 3 values"):
        read_frozen_graph(path)


def test_one_listed_value_stands_for_all_without_memory(write, tmp_path: Path) -> None:
    """2^50 values from one or none: a view, so nothing is allocated. From two they would have to be made, and are refused."""
    path = tmp_path / "g.pb"
    for stored in (1, 0):
        value = write.number(1, 1) + write.listed_values(np.full(stored, 0.5, "f4"))
        path.write_bytes(constant(write, value + write.chunk(2, write.shape_proto((1 << 25, 1 << 25)))))
        assert read_frozen_graph(path)["c"].strides == (0, 0)
        path.write_bytes(constant(write, value + write.chunk(2, write.shape_proto((1 << 40, 1 << 40)))))
        with pytest.raises(CheckpointError, match=r"g\.pb"):
            read_frozen_graph(path)
    two = write.number(1, 1) + write.listed_values(np.ones(2, "f4")) + write.chunk(2, write.shape_proto((1 << 29,)))
    path.write_bytes(constant(write, two))
    with pytest.raises(CheckpointError, match=r"g\.pb.*more than 268435456 values in it are repeated ones"):
        read_frozen_graph(path)


@given(st.binary(min_size=1, max_size=150))
@settings(max_examples=100)
def test_any_file_is_refused_by_name(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "x.pb"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pb"):
        read_frozen_graph(path)
    index = path.with_suffix(".index")
    index.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.index"):
        read_checkpoint(index)
