"""Supervisely's json: meta.json with the classes, and DATASET/img/a.jpg beside DATASET/ann/a.jpg.json.

Bitmaps (a PNG, packed with zlib, at its origin), polygons with holes, boxes, lines and points; the later object covers
the earlier. Pixels without an object are background. https://docs.supervisely.com (Supervisely JSON format)
"""

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from denselab.data.item import Found, NamedLabel
from denselab.data.label_files.label_table import table_of_names
from denselab.data.label_files.polygons import Size
from denselab.data.label_files.shapes import Shape
from denselab.data.layouts.annotated import Annotated, LeftOut, found_drawn, points_in
from denselab.data.layouts.drawn import overlaps
from denselab.data.listing.json_file import hex_colour, read_json
from denselab.data.listing.tree import SPLIT_WORDS, Tree
from denselab.data.names.name_files import named
from denselab.data.pixels.images import PICTURE_SUFFIXES
from denselab.data.pixels.opening import MAX_PIXELS
from denselab.errors import DataError

HEADERS = 2**16  # bytes of a PNG that are no pixels
OUTLINES = ("rectangle", "polygon", "line", "polyline", "point")  # types with points


def find_supervisely(tree: Tree) -> Found | None:
    """The pictures of a Supervisely project, or of one data set of it; None where there is no meta.json with classes.

    A picture's tag train, val or test is its split; without one, the name of its data set. Raises DataError for an
    object of a class that meta.json lacks.
    """
    if not tree.has("meta.json") or not isinstance(meta := read_json(tree.path("meta.json")), dict):
        return None
    files = [f for f in tree.with_suffix(".json") if f.parent.name == "ann"]
    if not isinstance(meta.get("classes"), list) or not files:
        return None
    ids = {str(row["title"]): number for number, row in enumerate(meta["classes"], start=1)}
    notes = (
        "labels from Supervisely's json; pixels without an object are background",
        overlaps("in the order of the objects, the later covers the earlier", list(ids)),
    )
    table = table_of_names([named(0, "background"), *_classes(meta["classes"])])
    return found_drawn(
        tree,
        (_annotated(tree, file) for file in files),
        partial(_shape, ids),
        Found("Supervisely", (), table, encoding_text="shapes of Supervisely", notes=notes),
        among=[f for f in tree.pictures if f.parent.name == "img"],
        way="export the project with its images",
    )


def _annotated(tree: Tree, file: PurePosixPath) -> Annotated:
    image = _picture_of(tree, file)
    if image is None:
        return Annotated(file, None)
    data = read_json(tree.path(file))
    told = data.get("size") or {}
    size = (told.get("height"), told.get("width"))
    return Annotated(file, image, things=data["objects"], size=size, split=_split_of(data.get("tags", [])))


def _classes(rows: list[dict[str, Any]]) -> list[NamedLabel]:
    return [named(number, str(row["title"]), hex_colour(row.get("color"))) for number, row in enumerate(rows, start=1)]


def _picture_of(tree: Tree, file: PurePosixPath) -> PurePosixPath | None:
    """img/a.jpg of ann/a.jpg.json; of ann/a.json, as older exports have it, the picture of that stem."""
    folder, stem = file.parent.parent / "img", file.name.removesuffix(".json")
    names = [stem, *(stem + suffix for suffix in PICTURE_SUFFIXES)]
    return next((folder / name for name in names if tree.has(str(folder / name))), None)


def _split_of(tags: Sequence[Any]) -> str | None:
    names = (str(tag.get("name") if isinstance(tag, dict) else tag).lower() for tag in tags)
    return next((SPLIT_WORDS[name] for name in names if name in SPLIT_WORDS), None)


def _shape(ids: Mapping[str, int], thing: Mapping[str, Any], size: Size) -> Shape | LeftOut:
    title, kind = str(thing.get("classTitle")), str(thing.get("geometryType"))
    if title not in ids:
        raise DataError(
            f"an object of class {title!r}, which meta.json lacks ({', '.join(ids)}); export the project again"
        )
    if kind in ("bitmap", "alpha_mask"):
        patch = bitmap(thing["bitmap"]["data"], size)
        return Shape(ids[title], "patch", np.array([thing["bitmap"]["origin"]], dtype=np.float64), patch)
    if kind not in OUTLINES:
        return LeftOut("object", "without an area (cuboids, graphs)")
    points = points_in(thing["points"], "exterior")
    if kind == "rectangle":  # the corner pixels are inside
        return Shape(ids[title], "rectangle", np.array([points.min(axis=0), points.max(axis=0) + 1]))
    if kind == "polygon":
        return Shape(ids[title], "rings", points, [points, *thing["points"].get("interior", [])])
    return Shape(ids[title], "point" if kind == "point" else "line", points)


def bitmap(text: str, size: Size) -> NDArray[np.bool_]:
    """(h, w) mask of a bitmap: base64 of a zlib-packed PNG, grey or palette, or RGBA whose alpha is the mask.

    size: (H, W) of the picture that it lies in
    Raises DataError, without the file, where it holds no picture, or a larger one than that.
    """
    try:
        most = min(size[0] * size[1], MAX_PIXELS)
        with PillowImage.open(io.BytesIO(_inflated(base64.b64decode(text), 5 * most + HEADERS))) as picture:
            if picture.size[0] * picture.size[1] > most:
                raise ValueError(f"it claims {picture.size[1]}x{picture.size[0]} pixels (height x width)")
            pixels = np.array(picture.convert("RGBA") if picture.mode in ("RGBA", "LA") else picture)
    except (OSError, ValueError, zlib.error, PillowImage.DecompressionBombError) as error:
        raise DataError(f"a bitmap holds no PNG ({error}); export the project again") from None
    return np.asarray((pixels[..., 3] if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels) > 0)


def _inflated(packed: bytes, most: int) -> bytes:
    """What was packed by zlib. Raises ValueError for more bytes than `most`: a short text may unpack to any size."""
    inflate = zlib.decompressobj()
    content = inflate.decompress(packed, most)
    if not inflate.eof:
        raise ValueError(f"it is cut, or unpacks to more than {most:,} bytes")
    return content
