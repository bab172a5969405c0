"""Whole files of Caffe and TensorFlow with bytes changed: values, or a CheckpointError that names the file. Nothing else.

Bytes of a checkpoint's index are changed below its checksums, as one would who means harm.
"""

import atexit
import contextlib
import shutil
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from denselab.convert.sstable import table_entries
from denselab.convert.tensorflow import read_tensorflow
from denselab.encoders.caffe import read_caffemodel
from denselab.errors import CheckpointError
from denselab.wire import Damaged

FOLDER = Path(tempfile.mkdtemp(prefix="damaged-"))  # one for all: hypothesis calls a test many times
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
FEW = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
RNG = np.random.default_rng(3)
VARIABLES = {
    "a/weights": RNG.normal(size=(3, 3, 2, 4)).astype("f4"),
    "a/biases": RNG.normal(size=4).astype("f8"),
    "scale": np.float32(0.5),
    "half": RNG.normal(size=(2, 2)).astype("f2"),
}
LAYERS = {"conv1_1": [VARIABLES["a/weights"], VARIABLES["a/biases"]], "bn": [np.ones((1, 4, 1, 1), "f4")] * 2}
CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.sampled_from(["set", "cut", "drop", "repeat"]), st.integers(0, 255)
    ),
    min_size=1,
    max_size=3,
)


def changed(content: bytes, changes: list[tuple[float, str, int]]) -> bytes:
    """The content with bytes set, the end cut off, and pieces left out or repeated; places are shares of its length."""
    out = bytearray(content)
    for share, what, value in changes:
        at = int(share * len(out))
        if what == "set" and out:
            out[at] = value
        elif what == "cut":
            del out[at:]
        elif what == "drop":
            del out[at : at + 1 + value % 9]
        else:
            out[at:at] = out[at : at + 1 + value % 9]
    return bytes(out)


def arrays_of(path: Path) -> Iterable[np.ndarray]:
    """All arrays of a file."""
    if path.suffix == ".caffemodel":
        return [blob for layer in read_caffemodel(path) for blob in layer.blobs]
    return read_tensorflow(path).values()


def in_words(path: Path) -> None:
    """Read every value; nothing is raised but a CheckpointError that names the file."""
    told = path.stem
    try:
        for array in arrays_of(path):
            if array.size < 10**6:  # a constant may stand for 2^50 values without holding them
                np.array(array)
    except CheckpointError as error:
        told = str(error)
    assert path.stem in told


@FEW
@given(CHANGES, st.sampled_from(["layer", "layers"]), st.booleans(), st.booleans())
def test_a_caffemodel(
    write: Any, changes: list[tuple[float, str, int]], generation: str, legacy: bool, packed: bool
) -> None:
    path = FOLDER / "damaged.caffemodel"
    whole = write.caffemodel(LAYERS, generation=generation, legacy=legacy, packed=packed)
    path.write_bytes(changed(whole, changes))
    in_words(path)


@FEW
@given(CHANGES)
def test_a_frozen_graph(write: Any, changes: list[tuple[float, str, int]]) -> None:
    path = FOLDER / "damaged.pb"
    path.write_bytes(changed(write.frozen_graph(VARIABLES), changes))
    in_words(path)


@FEW
@given(st.lists(st.tuples(st.integers(0, 9), CHANGES), max_size=3), CHANGES | st.none())
def test_a_checkpoint(
    write: Any, entries: list[tuple[int, list[tuple[float, str, int]]]], data: list[tuple[float, str, int]] | None
) -> None:
    index = write.write_checkpoint(FOLDER / "damaged", VARIABLES, 2)
    rows = [(bytes(key), bytes(value)) for key, value in table_entries(memoryview(index.read_bytes()))]
    for number, changes in entries:
        key, value = rows[number % len(rows)]
        rows[number % len(rows)] = (key, changed(value, changes))
    index.write_bytes(write.sstable(rows))
    if data:
        shard = FOLDER / "damaged.data-00001-of-00002"
        shard.write_bytes(changed(shard.read_bytes(), data))
    in_words(index)


@FEW
@given(CHANGES)
def test_the_blocks_of_an_index(write: Any, changes: list[tuple[float, str, int]]) -> None:
    """A table of one block whose content is changed and whose checksum fits."""
    content = changed(write.block([(f"key{i}".encode(), bytes([i] * i)) for i in range(9)]), changes)
    summed = content + b"\0" + struct.pack("<I", write.masked(write.crc32c(content + b"\0")))
    handle = write.varint(0) + write.varint(len(content))
    inner = write.block([(b"z", handle)], interval=1)
    index = inner + b"\0" + struct.pack("<I", write.masked(write.crc32c(inner + b"\0")))
    footer = handle + write.varint(len(summed)) + write.varint(len(inner))
    table = summed + index + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    with contextlib.suppress(Damaged):
        list(table_entries(memoryview(table)))
