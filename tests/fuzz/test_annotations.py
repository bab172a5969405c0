"""Whole data sets with an annotation file that is wrong in one or two places: a data set, or a DataError. Nothing else.

The files are what the tools write; a value in them is replaced by one of another kind, left out, or repeated. The examples
are those on which a layout once fell.
"""

import base64
import contextlib
import copy
import io
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from denselab.data import open_dataset
from denselab.errors import DenseLabError

FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
SQUARE = [[1, 1], [5, 1], [5, 3], [1, 3]]
PERCENT = {"original_width": 8, "original_height": 6, "image_rotation": 0}
BUFFER = io.BytesIO()
Image.new("L", (2, 2), 255).save(BUFFER, "PNG")
BRUSH = [0, 0, 0, 192, 57, 27, 254, 191, 255]  # Label Studio's packing of 8 x 6 pixels that all are set
BITMAP = base64.b64encode(zlib.compress(BUFFER.getvalue())).decode()
FORMS: dict[str, Any] = {  # file: its content
    "instances.json": {
        "images": [{"id": i, "file_name": f"{n}.jpg", "height": 6, "width": 8} for i, n in enumerate("ab")],
        "categories": [{"id": 1, "name": "cat", "color": [1, 2, 3]}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 3]], "area": 4.0, "iscrowd": 0},
            {
                "id": 2,
                "image_id": 1,
                "category_id": 3,
                "segmentation": {"counts": [3, 4, 41], "size": [6, 8]},
                "area": 4.0,
                "iscrowd": 1,
            },
            {"id": 3, "image_id": 1, "category_id": 3, "segmentation": {"counts": "34X1", "size": [6, 8]}, "iscrowd": 0},
        ],
    },
    "a.json": {
        "imagePath": "a.jpg",
        "imageData": None,
        "imageHeight": 6,
        "imageWidth": 8,
        "shapes": [
            {"label": "cat", "points": SQUARE, "shape_type": "polygon", "group_id": None},
            {"label": "dog", "points": [[1, 1], [3, 3]], "shape_type": "rectangle"},
            {"label": "dog", "points": [[3, 3], [4, 4]], "shape_type": "circle"},
        ],
    },
    "via.json": {
        f"{name}.jpg1": {
            "filename": f"{name}.jpg",
            "size": 1,
            "regions": [
                {
                    "shape_attributes": {"name": "polygon", "all_points_x": [1, 5, 5], "all_points_y": [1, 1, 3]},
                    "region_attributes": {"kind": "rust"},
                },
                {
                    "shape_attributes": {"name": "rect", "x": 2, "y": 2, "width": 4, "height": 2},
                    "region_attributes": {"kind": "tar"},
                },
            ],
            "file_attributes": {},
        }
        for name in "ab"
    },
    "export.json": [
        {
            "id": 1,
            "data": {"image": "/data/upload/1/0a1b2c3d-c.jpg"},
            "annotations": [
                {
                    "was_cancelled": False,
                    "result": [
                        {
                            **PERCENT,
                            "type": "rectanglelabels",
                            "value": {
                                "x": 50,
                                "y": 50,
                                "width": 25,
                                "height": 50,
                                "rotation": 0,
                                "rectanglelabels": ["A"],
                            },
                        },
                        {
                            **PERCENT,
                            "type": "polygonlabels",
                            "value": {"points": [[0, 50], [50, 50], [50, 99]], "polygonlabels": ["B"]},
                        },
                        {**PERCENT, "type": "brushlabels", "value": {"format": "rle", "rle": BRUSH, "brushlabels": ["C"]}},
                    ],
                }
            ],
        }
    ],
    "meta.json": {
        "classes": [{"title": "car", "shape": "any", "color": "#FF0000", "id": 7}, {"title": "road", "shape": "any"}],
        "tags": [],
    },
    "ds1/ann/a.jpg.json": {
        "size": {"height": 6, "width": 8},
        "tags": [{"name": "train"}],
        "objects": [
            {"classTitle": "road", "geometryType": "polygon", "points": {"exterior": SQUARE, "interior": [SQUARE]}},
            {"classTitle": "car", "geometryType": "rectangle", "points": {"exterior": [[1, 1], [2, 3]], "interior": []}},
            {"classTitle": "car", "geometryType": "bitmap", "bitmap": {"data": BITMAP, "origin": [3, 1]}},
        ],
    },
    "dataset.json": {
        "channel_names": {"0": "red"},
        "labels": {"background": 0, "road": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
        "numTraining": 2,
        "file_ending": ".png",
    },
    "data.yaml": {
        "layout": "folders",
        "images": "images",
        "masks": "labels",
        "pattern": {"image": "*", "mask": "*"},
        "splits": {"train": ["a"], "val": ["b"], "test": "all"},
        "encoding": "index",
        "labels": [{"id": 0, "name": "a", "colour": [0, 0, 0]}, {"id": 1, "name": "b", "role": "class"}],
        "ignore": [255],
    },
}  # fmt: skip
BESIDE = {"ds1/ann/a.jpg.json": "meta.json", "meta.json": "ds1/ann/a.jpg.json"}  # files that belong together
ODD = st.sampled_from(
    [None, True, -1, 0, 3, 10**6, 10**30, 0.5, float("nan"), float("inf"), "", "x", "../x", "a.jpg", [], [[]], {}, [1], [None], {"a": 1}]
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all values of a document, but for the document itself."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [p for key in keys for p in ((*path, key), *places(value[key], (*path, key)))]


def changed(document: Any, changes: list[tuple[int, str, Any]]) -> Any:
    """A copy with some values replaced, left out, or, in lists, repeated."""
    made = copy.deepcopy(document)
    for number, what, odd in changes:
        everywhere = places(made)
        if not everywhere:
            break
        *parents, last = everywhere[number % len(everywhere)]
        at = made
        for key in parents:
            at = at[key]
        if what == "out":
            del at[last]
        elif what == "twice" and isinstance(at, list):
            at.insert(last, copy.deepcopy(at[last]))
        else:
            at[last] = copy.deepcopy(odd)
    return made


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures wherever one of the layouts looks for them."""
    folder = tmp_path_factory.mktemp("annotated")
    for name in ("images/a.jpg", "images/b.jpg", "a.jpg", "b.jpg", "c.jpg", "ds1/img/a.jpg"):
        save(folder / "jpg" / name, PIXELS)
    for name in "ab":
        save(folder / "table" / f"images/{name}.jpg", PIXELS)
    (folder / "table" / "data.yaml").write_text("run_order: columns\n")
    for case in ("road_001", "road_002"):
        save(folder / "cases" / f"imagesTr/{case}_0000.png", PIXELS)
        save(folder / "cases" / f"labelsTr/{case}.png", PIXELS[..., 0] % 3)
    for name in "abc":
        save(folder / "masks" / f"images/{name}.png", PIXELS)
        save(folder / "masks" / f"labels/{name}.png", PIXELS[..., 0] % 2)
    return folder


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def opened(root: Path, name: str, text: str, beside: str | None = None) -> int:
    """Open the data set of these files and read its label maps, which are counted; a DenseLabError is an answer, too."""
    kept = {"dataset.json": "cases", "data.yaml": "masks", "table.csv": "table"}.get(name, "jpg")
    folder = root / "now"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / kept, folder)
    for file, content in ((name, text), (beside, json.dumps(FORMS[beside]) if beside else "")):
        if file:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(content)
    count = 0
    with contextlib.suppress(DenseLabError):
        dataset = open_dataset(folder)
        for item in dataset.items:
            with contextlib.suppress(DenseLabError):
                dataset.read_labels(item)
                count += 1
    return count


@pytest.mark.parametrize("name", FORMS)
def test_each_is_read_as_it_is(root: Path, name: str) -> None:
    """Else what is changed in it would prove nothing."""
    assert opened(root, name, json.dumps(FORMS[name]), BESIDE.get(name)) > 0


@pytest.mark.parametrize("name", FORMS)
@FEW
@given(changes=st.lists(st.tuples(st.integers(0, 999), st.sampled_from(["set", "out", "twice"]), ODD), max_size=3))
@example(changes=[(18, "set", float("inf"))])
@example(changes=[(16, "set", float("inf"))])
@example(changes=[(66, "out", None), (220, "out", None), (97, "set", float("inf"))])
def test_a_document_with_odd_values(root: Path, name: str, changes: list[tuple[int, str, Any]]) -> None:
    opened(root, name, json.dumps(changed(FORMS[name], changes)), BESIDE.get(name))


TABLE = "ImageId,EncodedPixels,ClassId\na.jpg,1 3 9 2,3\nb.jpg,4 4,4\n"
OUTLINE = "1 0.25 0.0 0.75 0.0 0.75 0.5 0.25 0.5\n0 0.5 0.75 0.5 0.5\n"


@FEW
@given(
    st.integers(0, 80),
    st.integers(0, 6),
    st.sampled_from(["", "-1", "0", "9" * 30, "nan", "inf", "1e9", "x", ",", "\n", '"', " "]),
)
@example(0, 0, "")
@example(44, 2, "1e9")
def test_tables_and_outlines_with_odd_values(root: Path, at: int, dropped: int, odd: str) -> None:
    assert opened(root, "table.csv", TABLE) == 2
    opened(root, "table.csv", TABLE[:at] + odd + TABLE[at + dropped :])
    (root / "jpg" / "data.yaml").write_text("train: images\nval: images\nnames: [rust, tar]\n")
    try:
        opened(root, "labels/a.txt", OUTLINE[:at] + odd + OUTLINE[at + dropped :])
    finally:
        (root / "jpg" / "data.yaml").unlink()
