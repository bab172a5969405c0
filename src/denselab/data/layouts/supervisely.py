"""Supervisely's json: meta.json with the classes, and DATASET/img/a.jpg beside DATASET/ann/a.jpg.json.

Bitmaps (a PNG, packed with zlib, at its origin), polygons with holes, boxes, lines and points; the later object covers
the earlier. Pixels without an object are background. https://docs.supervisely.com (Supervisely JSON format)
"""

import base64
import io
import zlib
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from denselab.data.item import Found, Item, NamedLabel
from denselab.data.layouts.drawn import overlaps
from denselab.data.layouts.folder import item_of, unique_names, without_item
from denselab.data.layouts.json_file import hex_colour, read_json, split_in_path
from denselab.data.read.images import PICTURE_SUFFIXES
from denselab.data.read.label_table import table_of_names
from denselab.data.read.names import named
from denselab.data.read.opening import MAX_PIXELS
from denselab.data.read.shapes import Shape, ShapeLabels
from denselab.data.read.tree import SPLIT_WORDS, Tree
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

HEADERS = 2**16  # bytes of a PNG that are no pixels


def find_supervisely(tree: Tree) -> Found | None:
    """The pictures of a Supervisely project, or of one data set of it; None where there is no meta.json with classes.

    A picture's tag train, val or test is its split; without one, the name of its data set. Raises DataError for an
    object of a class that meta.json lacks.
    """
    if not tree.has("meta.json") or not isinstance(meta := read_json(tree.path("meta.json")), dict):
        return None
    annotations = [f for f in tree.with_suffix(".json") if f.parent.name == "ann"]
    if not isinstance(meta.get("classes"), list) or not annotations:
        return None
    labels = [named(0, "background"), *_classes(meta["classes"])]
    ids = {str(row["title"]): number for number, row in enumerate(meta["classes"], start=1)}
    items: list[Item] = []
    missing: list[str] = []
    left_out = 0
    for file in annotations:
        image = _picture_of(tree, file)
        if image is None:
            missing.append(str(file))
            continue
        data = read_json(tree.path(file))
        size = (int(data["size"]["height"]), int(data["size"]["width"]))
        shapes = [_shape(tree, file, thing, ids, size) for thing in data["objects"]]
        left_out += shapes.count(None)
        source = ShapeLabels(tree.path(file), size, tuple(shape for shape in shapes if shape is not None))
        items.append(item_of(tree, image, source, _split_of(data, image)))
    if not items:
        raise DataError(
            f"{tree.root}: Supervisely's annotations without pictures ({first_few(missing)}); "
            "export the project with its images"
        )
    notes = ["labels from Supervisely's json; pixels without an object are background"]
    notes.append(overlaps("in the order of the objects, the later covers the earlier", list(ids)))
    if left_out:
        notes.append(f"{number_of(left_out, 'object')} without an area (cuboids, graphs), left out")
    if missing:
        notes.append(f"{number_of(len(missing), 'json file')} without a picture: {first_few(missing)}")
    lonely = without_item(tree, (f for f in tree.pictures if f.parent.name == "img"), items)
    text = "shapes of Supervisely"
    table = table_of_names(labels)
    return Found(
        "Supervisely", unique_names(items), table, encoding_text=text, notes=tuple(notes), without_label=lonely
    )


def _classes(rows: list[dict[str, Any]]) -> list[NamedLabel]:
    return [named(number, str(row["title"]), hex_colour(row.get("color"))) for number, row in enumerate(rows, start=1)]


def _picture_of(tree: Tree, file: PurePosixPath) -> PurePosixPath | None:
    """img/a.jpg of ann/a.jpg.json; of ann/a.json, as older exports have it, the picture of that stem."""
    folder, stem = file.parent.parent / "img", file.name.removesuffix(".json")
    names = [stem, *(stem + suffix for suffix in PICTURE_SUFFIXES)]
    return next((folder / name for name in names if tree.has(str(folder / name))), None)


def _split_of(data: dict[str, Any], image: PurePosixPath) -> str | None:
    tags = [tag.get("name") if isinstance(tag, dict) else tag for tag in data.get("tags", [])]
    named_split = next((SPLIT_WORDS[str(tag).lower()] for tag in tags if str(tag).lower() in SPLIT_WORDS), None)
    return named_split or split_in_path(image.parent)


def _shape(
    tree: Tree, file: PurePosixPath, thing: dict[str, Any], ids: dict[str, int], size: tuple[int, int]
) -> Shape | None:
    """An object as a shape; None for one without an area."""
    title, kind = str(thing.get("classTitle")), str(thing.get("geometryType"))
    if title not in ids:
        raise DataError(
            f"{tree.path(file)}: an object of class {title!r}, which meta.json lacks ({', '.join(ids)}); "
            "export the project again"
        )
    if kind in ("bitmap", "alpha_mask"):
        patch = bitmap(thing["bitmap"]["data"], size, str(tree.path(file)))
        return Shape(ids[title], "patch", np.array([thing["bitmap"]["origin"]], dtype=np.float64), patch)
    outline = thing.get("points")
    exterior = outline.get("exterior", []) if isinstance(outline, dict) else []
    points = np.asarray(exterior, dtype=np.float64).reshape(-1, 2)
    if kind == "rectangle":  # the corner pixels are inside
        corners = np.array([points.min(axis=0), points.max(axis=0) + 1])
        return Shape(ids[title], "rectangle", corners)
    if kind == "polygon":
        return Shape(ids[title], "rings", points, [points, *thing["points"].get("interior", [])])
    if kind in ("line", "polyline"):
        return Shape(ids[title], "line", points)
    return Shape(ids[title], "point", points) if kind == "point" else None


def bitmap(text: str, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """(h, w) mask of a bitmap: base64 of a zlib-packed PNG, grey or palette, or RGBA whose alpha is the mask.

    size: (H, W) of the picture that it lies in
    where: the file to name in messages
    Raises DataError where it holds no picture, or a larger one than that.
    """
    try:
        most = min(size[0] * size[1], MAX_PIXELS)
        with PillowImage.open(io.BytesIO(_inflated(base64.b64decode(text), 5 * most + HEADERS))) as picture:
            if picture.size[0] * picture.size[1] > most:
                raise ValueError(f"it claims {picture.size[1]}x{picture.size[0]} pixels (height x width)")
            pixels = np.array(picture.convert("RGBA") if picture.mode in ("RGBA", "LA") else picture)
    except (OSError, ValueError, zlib.error, PillowImage.DecompressionBombError) as error:
        raise DataError(f"{where}: a bitmap holds no PNG ({error}); export the project again") from None
    return np.asarray((pixels[..., 3] if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels) > 0)


def _inflated(packed: bytes, most: int) -> bytes:
    """What was packed by zlib. Raises ValueError for more bytes than `most`: a short text may unpack to any size."""
    inflate = zlib.decompressobj()
    content = inflate.decompress(packed, most)
    if not inflate.eof:
        raise ValueError(f"it is cut, or unpacks to more than {most:,} bytes")
    return content
