"""Supervisely's json with bitmaps, polygons with holes and boxes."""

import base64
import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from denselab.data import open_dataset
from denselab.errors import DataError

CLASSES = [
    {"title": "car", "shape": "any", "color": "#FF0000", "id": 7},
    {"title": "road", "shape": "any", "color": "#00FF00"},
]
HOLED = {"exterior": [[0, 0], [8, 0], [8, 6], [0, 6]], "interior": [[[2, 2], [4, 2], [4, 4], [2, 4]]]}
IHDR = struct.pack(">4sIIBBBBB", b"IHDR", 2**15, 10**5, 8, 0, 0, 0, 0)
CLAIMS = (
    b"\x89PNG\r\n\x1a\n"
    + struct.pack(">I", 13)
    + IHDR
    + struct.pack(">I", zlib.crc32(IHDR))
    + struct.pack(">I4sI", 0, b"IDAT", 0)
)


def bitmap(mask, mode="L"):
    buffer = io.BytesIO()
    picture = Image.fromarray(np.asarray(mask, dtype=np.uint8) * 255)
    if mode == "RGBA":
        picture = Image.merge("RGBA", [Image.new("L", picture.size, 255)] * 3 + [picture])
    picture.save(buffer, format="PNG")
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode()


def annotation(*objects, tags=()):
    return json.dumps(
        {"size": {"height": 6, "width": 8}, "tags": [{"name": t} for t in tags], "objects": list(objects)}
    )


def thing(title, kind, points=None, **more):
    return {"classTitle": title, "geometryType": kind, "points": points or {"exterior": [], "interior": []}, **more}


@pytest.fixture
def project(save, photo, write):
    write("meta.json", json.dumps({"classes": CLASSES, "tags": []}))
    brush = thing("car", "bitmap", bitmap={"data": bitmap([[1, 0], [1, 1]], "RGBA"), "origin": [3, 1]})
    files = {
        "ds1/a.jpg": annotation(thing("road", "polygon", HOLED), brush, tags=("train",)),
        "ds1/b.jpg": annotation(
            thing("car", "rectangle", {"exterior": [[1, 1], [2, 3]], "interior": []}), tags=("val",)
        ),
        "ds1/c.jpg": annotation(thing("car", "bitmap", bitmap={"data": bitmap([[1, 1]]), "origin": [0, 0]})),
    }
    for name, text in files.items():
        folder, file = name.split("/")
        save(f"{folder}/img/{file}", photo())
        write(f"{folder}/ann/{file}.json", text)


def test_bitmaps_polygons_and_boxes(project, tmp_path):
    data = open_dataset(tmp_path)
    assert data.layout == "Supervisely"
    assert [(e.id, e.name, e.colour) for e in data.label_space.entries][1:] == [
        (1, "car", (255, 0, 0)),
        (2, "road", (0, 255, 0)),
    ]
    first = data.read_labels(data.items[0])
    expected = np.full((6, 8), 2)
    expected[2:4, 2:4] = 0  # the hole
    expected[1, 3] = expected[2, 3] = expected[2, 4] = 1  # the bitmap, later and so above
    assert first.tolist() == expected.tolist()
    box = np.zeros((6, 8), int)
    box[1:4, 1:3] = 1  # corner pixels are inside
    assert data.read_labels(data.items[1]).tolist() == box.tolist()
    assert [item.split for item in data.items] == ["train", "val", "train"]


def test_an_unknown_class_is_named(project, tmp_path, write):
    write("ds1/ann/a.jpg.json", annotation(thing("bus", "polygon", HOLED)))
    with pytest.raises(DataError, match="class 'bus', which meta.json lacks"):
        open_dataset(tmp_path)


def test_a_damaged_bitmap_is_named(project, tmp_path, write):
    write("ds1/ann/a.jpg.json", annotation(thing("car", "bitmap", bitmap={"data": "AAAA", "origin": [0, 0]})))
    with pytest.raises(DataError, match=r"a\.jpg\.json: a bitmap holds no PNG"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("content", [b"\0" * 2**24, CLAIMS], ids=["unpacks to 16 MB", "claims 3 * 10^9 pixels"])
def test_a_bitmap_is_no_larger_than_its_picture(project, tmp_path, write, content):
    """A text of 1 MB could unpack to 1 GB, and a claim beyond Pillow's limit was a fault of ours."""
    packed = base64.b64encode(zlib.compress(content)).decode()
    write("ds1/ann/a.jpg.json", annotation(thing("car", "bitmap", bitmap={"data": packed, "origin": [0, 0]})))
    with pytest.raises(DataError, match=r"a\.jpg\.json: a bitmap holds no PNG .*(unpacks to more than|pixels)"):
        open_dataset(tmp_path)


def test_annotations_without_pictures(tmp_path, write):
    write("meta.json", json.dumps({"classes": CLASSES}))
    write("ds/ann/a.jpg.json", annotation())
    with pytest.raises(DataError, match="without pictures"):
        open_dataset(tmp_path)


def test_an_alpha_mask_is_drawn_and_a_cuboid_left_out(project, tmp_path, write):
    """ "a record lacks something ('list' object has no attribute 'get')"."""
    mask = thing("car", "alpha_mask", bitmap={"data": bitmap(np.ones((2, 3))), "origin": [1, 1]})
    write("ds1/ann/a.jpg.json", annotation(mask, thing("road", "cuboid", [[1, 1], [2, 1]])))
    data = open_dataset(tmp_path)
    assert (data.read_labels(next(item for item in data.items if item.name.endswith("a"))) == 1).sum() == 6
    assert any("1 object without an area" in note for note in data.notes)
