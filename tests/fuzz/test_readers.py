"""Every reader of files of others, on arbitrary and on damaged content: a value, or its own error in words. Nothing else.

The examples are contents on which a reader once fell or hung.
"""

import atexit
import contextlib
import io
import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from denselab.config.read import read_settings, read_words
from denselab.convert.conventions import read_label_table
from denselab.convert.tensorflow import read_frozen_graph, read_tensorflow
from denselab.data.described.yaml_file import read_settings as read_data_yaml
from denselab.data.finding.recognise import recognise
from denselab.data.listing.json_file import read_json
from denselab.data.listing.tree import read_tree
from denselab.data.names.name_json import names_of_json
from denselab.data.names.names import read_names
from denselab.data.pixels.images import (
    picture_bits,
    picture_mode,
    picture_size,
    read_image,
    read_label_pixels,
    read_palette,
)
from denselab.data.splits.lists import read_list
from denselab.data.splits.split_tables import read_table
from denselab.encoders.caffe import read_caffemodel
from denselab.encoders.weights import read_weights
from denselab.errors import DenseLabError
from denselab.files import unpack_json
from denselab.folders import read_folder
from denselab.labels import LabelSpace
from denselab.refine.probability_files import read_scores
from denselab.tensors import pack_tensors, read_torch_file, unpack_tensors

FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))  # one for all: hypothesis calls a test many times
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


def tried(read: Callable[[Path], Any], name: str, content: bytes) -> None:
    """The reader on a file of this content: a value or a DenseLabError."""
    path = FOLDER / name
    path.write_bytes(content)
    with contextlib.suppress(DenseLabError):
        read(path)


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, with sums that fit."""
    body = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
TIFF = io.BytesIO()
tifffile.imwrite(TIFF, np.arange(63, dtype=np.uint16).reshape(9, 7), compression="zlib")
PICTURES = {
    "a.png": encoded(NOISE, "PNG"),
    "p.png": encoded(NOISE.quantize(8), "PNG"),
    "a.jpg": encoded(NOISE, "JPEG"),
    "a.gif": encoded(NOISE.quantize(8), "GIF"),
    "a.webp": encoded(NOISE, "WEBP"),
    "a.bmp": encoded(NOISE, "BMP"),
    "a.ppm": encoded(NOISE, "PPM"),
    "a.tif": TIFF.getvalue(),
}


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A content with some bytes replaced, left out or repeated."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        what = draw(st.sampled_from(["set", "cut", "drop", "repeat"]))
        if what == "set" and changed:
            changed[at] = draw(st.integers(0, 255))
        elif what == "cut":
            del changed[at:]
        elif what == "drop":
            del changed[at : at + draw(st.integers(1, 9))]
        else:
            changed[at:at] = changed[at : at + draw(st.integers(1, 9))]
    return bytes(changed)


@pytest.mark.parametrize("name", PICTURES)
@FEW
@given(data=st.data())
def test_damaged_pictures(name: str, data: st.DataObject) -> None:
    content = data.draw(damaged(PICTURES[name]))
    for read in (read_image, read_label_pixels, picture_size, picture_mode, picture_bits, read_palette):
        tried(read, name, content)


@pytest.mark.parametrize(
    "content",
    [
        png((b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))),
        png((b"IHDR", struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0))),
        png((b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")),
        png((b"IHDR", b"")),
        b"P6 99999999999999999999 1 255\n",
        b"P5 4 4 99999\n",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II+\0\x08\0\0\0" + b"\xff" * 40,
        b"GIF89a" + b"\xff" * 30,
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    ],
)
def test_pictures_that_once_were_or_might_be_trouble(content: bytes) -> None:
    for name in ("x.png", "x.tif", "x.ppm"):
        for read in (read_image, read_label_pixels, picture_size, picture_mode, picture_bits, read_palette):
            tried(read, name, content)


TEXTS = st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode(errors="surrogatepass"))


@FEW
@given(TEXTS)
@example(b"\xff\xfe")
@example(b"\0")
@example(b'"')
@example(b"a" * 200_000)
@example(b'"' + b"a" * 200_000)
@example("\ufeff# x\n\u2028".encode())
def test_lists_and_tables(content: bytes) -> None:
    for name in ("a.txt", "a.csv"):
        tried(read_list, name, content)
    tried(read_table, "b.csv", content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9) | st.sampled_from(["id", "name", "labels", "classes", "images", "label_map"]), inner, max_size=4),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode())  # fmt: skip


@FEW
@given(JSON | TEXTS)
@example(b"[" * 100_000)
@example(b'{"a":' * 50_000)
@example(b"1" * 5000)
@example(b'{"images": {}}')
@example(b'{"label_map": {"1": null}, "segmentation_colors": [[1]]}')
@example(b'{"1e400": 1e400}')
def test_json(content: bytes) -> None:
    for read in (read_json, names_of_json, read_table, read_label_table, lambda p: unpack_json(p.read_bytes(), "x")):
        tried(read, "a.json", content)


@FEW
@given(JSON | TEXTS)
@example(b"&a [*a]")
@example(b"a: &a [1]\nb: {<<: *a}")
@example(b"2024-01-01: 1")
@example(b"labels: {99999999999999999999999: a}")
@example(b"labels: [{id: 1.0e+400}]")
@example(b"seed: 99999999999999999999999")
@example(b"lr: " + b"9" * 5000)
@example(b"? {a: 1}\n: 2")
@example(b"!!python/object/apply:os.system [echo]")
def test_yaml(content: bytes) -> None:
    for read in (read_settings, read_data_yaml, read_label_table):
        tried(read, "a.yaml", content)
    tried(lambda p: read_words([f"losses={p.read_bytes().decode(errors='replace')}"]), "a.yaml", content)


@pytest.mark.parametrize(
    "name", ["dataset_meta.json", "labelmap.txt", "class_dict.csv", "_classes.csv", "classes.txt", "id2label.json"]
)
@FEW
@given(content=JSON | TEXTS)
@example(content=b"name,r,g,b\na,1,2")
@example(content=b"Pixel Value, Class\n1")
@example(content=b"a:300,1,1::")
@example(content="name\n\u0663".encode())
def test_names_files(name: str, content: bytes) -> None:
    folder = FOLDER / "names"
    folder.mkdir(exist_ok=True)
    for other in folder.iterdir():
        other.unlink()
    tried(lambda path: read_names(read_tree(folder)), f"names/{name}", content)


XML = st.sampled_from([
    b"<annotations><image name='a.png' width='%s' height='9'><polygon label='x' points='%s'/></image></annotations>",
    b"<annotations><image name='a.png' width='7' height='9'><mask label='x' left='0' top='0' width='%s' height='3' rle='%s'/></image></annotations>",
    b"<annotations><meta><task><labels><label><name>%s</name><color>%s</color></label></labels></task></meta></annotations>",
])  # fmt: skip


@FEW
@given(
    XML,
    st.sampled_from([b"7", b"-1", b"", b"x", b"1e9", b"99999999999", b"0,0;1,1;2,0"]),
    st.sampled_from([b"0,0;5,0;5,5", b"1,2", b"", b"9999999999999", b"nan,nan;inf,1;2,2", b"-5"]),
)
@example(b"<!DOCTYPE a [<!ENTITY b 'x'><!ENTITY c '&b;&b;'>]><annotations>&c;%s%s</annotations>", b"", b"")
@example(b"<annotations>%s%s", b"", b"")
@example(b"%s%s<a/>", b"\xff", b"\0")
def test_xml(form: bytes, first: bytes, second: bytes) -> None:
    folder = FOLDER / "xml"
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(PICTURES["a.png"])

    def read(path: Path) -> None:
        _, found = recognise(folder)
        for item in found.items:
            item.source.ids()

    tried(read, "xml/a.xml", form % (first, second))


ARRAY = io.BytesIO()
np.save(ARRAY, np.full((2, 9, 7), 0.5, np.float32))
ARRAYS = io.BytesIO()
np.savez(ARRAYS, probs=np.full((2, 9, 7), 0.5, np.float32), ids=np.array([0, 1]), names=np.array(["a", "b"]))


def npy(head: str) -> bytes:
    padded = head.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode()


@FEW
@given(damaged(ARRAY.getvalue()))
@example(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 9, 7)}"))
@example(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 100000, 100000)}"))
@example(npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 9, 7)}"))
@example(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 9, 7)}"))
@example(npy("{'descr': '<f4', 'fortran_order': False, 'shape': 'x'}"))
@example(npy("__import__('os')"))
@example(npy("((((" * 25))
def test_npy(content: bytes) -> None:
    tried(lambda path: read_scores(path, (9, 7)), "a.npy", content)


@FEW
@given(damaged(ARRAYS.getvalue()))
@example(b"PK\x05\x06" + b"\0" * 18)
def test_npz(content: bytes) -> None:
    tried(lambda path: read_scores(path, (9, 7)), "a.npz", content)


def message(*parts: tuple[int, bytes]) -> bytes:
    """A protobuf message of length-delimited fields."""
    return b"".join(bytes([number << 3 | 2]) + bytes([len(body)]) + body for number, body in parts)


LAYER = message((4, b"conv"), (6, message((5, struct.pack("<4f", 1, 2, 3, 4)))))
NET = b"\x12" + bytes([len(LAYER)]) + LAYER
NODE = message((1, b"w"), (2, b"Const"))
GRAPH = b"\x0a" + bytes([len(NODE)]) + NODE


@FEW
@given(damaged(NET) | damaged(GRAPH) | st.binary(max_size=60))
@example(b"\xff" * 20)
@example(b"\x0a\xff\xff\xff\xff\x0f")
@example(b"\x12\x03\x32\x01\x00")
@example(b"")
def test_caffemodel_and_frozen_graphs(content: bytes) -> None:
    tried(read_caffemodel, "a.caffemodel", content)
    tried(read_frozen_graph, "a.pb", content)
    tried(read_tensorflow, "a.index", content)


def tensors() -> bytes:
    import torch

    return pack_tensors({"a": torch.ones(2, 3), "b": torch.zeros(1)})


def safetensors(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


@FEW
@given(damaged(tensors()) | st.binary(max_size=60))
@example(struct.pack("<Q", 2**63) + b"{}")
@example(safetensors(b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}', b"1234"))
@example(safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,99]}}', b"1234"))
@example(safetensors(b"[" * 5000))
@example(b"")
def test_safetensors_and_torch_files(content: bytes) -> None:
    tried(lambda path: unpack_tensors(path.read_bytes(), str(path)), "a.safetensors", content)
    tried(read_weights, "a.safetensors", content)
    tried(read_torch_file, "a.pth", content)


@FEW
@given(JSON | TEXTS)
@example(b'{"../x": {"sha256": "%s"}}' % (b"0" * 64))
@example(b'{"x": {"bytes": 1e400, "sha256": ""}}')
@example(b"[" * 100_000)
def test_manifests(content: bytes) -> None:
    folder = FOLDER / "folder"
    folder.mkdir(exist_ok=True)
    tried(lambda path: read_folder(folder), "folder/manifest.json", content)


@FEW
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["id", "name", "colour", "role", "x"]),
            st.integers(-5, 300) | st.text(max_size=4) | st.none() | st.lists(st.integers(-1, 300), max_size=4),
            max_size=4,
        )
        | st.integers(),
        max_size=4,
    )
)
@example([{"id": 0, "role": "nothing"}])
@example([{"id": float("inf")}])
@example([{"id": "9" * 5000}])
def test_label_tables(rows: list[Any]) -> None:
    tried(lambda path: LabelSpace.from_list(rows), "none", b"")
