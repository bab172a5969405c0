"""Labels in forms that are known and not read: what they are called, and the way to a form that is read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from denselab.data.listing.json_file import json_or_lines
from denselab.data.listing.tree import Tree
from denselab.documents import Unreadable, open_ordinary, read_bytes

HEAD = 2**26  # bytes of a json that is looked into: more is not read for its name alone
LS_TASK = re.compile(r"^task-\d+-annotation-.*\.npy$")
LOOKED_AT = 3  # json files, and tables
TOP = 4096  # bytes of a table, in which its header stands

COCO = "export it as COCO json"
PNG = "as PNG, with the picture's name, into a folder labels/ beside images/"
FILES = f"save pictures as files, and their masks {PNG}"


@dataclass(frozen=True)
class UnreadForm:
    """name: of the form. way: to one that is read."""

    name: str
    way: str


VOLUME = UnreadForm("volumes of slices", f"save each slice as a PNG or TIFF, and its labels {PNG}")
GIS = UnreadForm(
    "vector labels of a GIS",
    "burn them into a raster of the picture's size: gdal_rasterize -a CLASS -ts W H FILE label.tif",
)
HEIC_SUFFIXES = (".heic", ".heif")
HEIC = UnreadForm("HEIC pictures", "save them as JPEG: magick mogrify -format jpg *.heic")
APERIO = UnreadForm("outlines of Aperio ImageScope", f"draw them into pictures, and save these {PNG}")
LS_NUMPY = UnreadForm("brush labels of Label Studio as NumPy", "export the project as JSON, or its brush labels as PNG")
ROIS = UnreadForm("ROIs of ImageJ", f"save a label map from the ROI Manager {PNG}")
NUMBERS = UnreadForm("rows of numbers as text", f"save what `np.loadtxt(FILE)` reads {PNG}")
STACK = UnreadForm(
    "many pictures in one array",
    "save each picture and its label map as files: `PIL.Image.fromarray(X[0]).save('images/0.png')`, and with Y[0] "
    "'labels/0.png'",
)
ROI_ARCHIVE = re.compile(r"roi(?:s|_?set)?\.zip$", re.IGNORECASE)  # of ImageJ's ROI Manager
FEWEST_NUMBERS = 16  # in the first line of a text that may be a label map
QUPATH = UnreadForm("QuPath", f"export labelled images from QuPath {PNG}")
BY_SUFFIX: Mapping[str, UnreadForm] = {
    **dict.fromkeys((".nii", ".nrrd", ".mha", ".mhd"), VOLUME),
    **dict.fromkeys((".dcm", ".dicom"), UnreadForm("DICOM", "save the pictures as PNG or TIFF of 16 bits")),
    **dict.fromkeys((".geojson", ".shp", ".gpkg", ".kml"), GIS),
    **dict.fromkeys((".tfrecord", ".tfrecords", ".record"), UnreadForm("TensorFlow records", COCO)),
    ".parquet": UnreadForm("Parquet (Hugging Face datasets)", FILES),
    **dict.fromkeys((".h5", ".hdf5"), UnreadForm("HDF5", FILES)),
    ".npz": UnreadForm("NumPy archives", FILES),
    **dict.fromkeys((".lmdb", ".mdb"), UnreadForm("LMDB", FILES)),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), UnreadForm("an archive", "unpack it and give the folder")),
    ".roi": ROIS,
    ".qpdata": QUPATH,
    ".arrow": UnreadForm("Arrow (Hugging Face datasets)", FILES),
    **dict.fromkeys(HEIC_SUFFIXES, HEIC),
    ".xcf": UnreadForm("layers of GIMP", f"export the layer with the labels {PNG}"),
    **dict.fromkeys((".psd", ".psb"), UnreadForm("layers of Photoshop", f"export the layer with the labels {PNG}")),
    ".svg": UnreadForm("outlines as SVG", f"draw them into pictures of the same size, and save these {PNG}"),
    ".ndjson": UnreadForm("Labelbox", f"export the masks {PNG}"),
}
ZARR = UnreadForm("Zarr", FILES)
# They may as well be something else beside the data, such as the weights of a network.
AT_LAST: Mapping[str, UnreadForm] = {
    **dict.fromkeys((".pt", ".pth"), UnreadForm("a file of PyTorch", FILES)),
    **dict.fromkeys((".pkl", ".pickle"), UnreadForm("a pickle", FILES)),
    ".mat": UnreadForm("a file of MATLAB that is no label map of a picture's name", f"save label maps {PNG}"),
}
BY_LAST_SUFFIXES: Mapping[str, UnreadForm] = {".nii.gz": VOLUME, ".tar.gz": BY_SUFFIX[".tar"]}


def unread_form(tree: Tree) -> tuple[str, UnreadForm] | None:
    """A file in such a form, and the form; None where there is none."""
    for file in tree.files:
        double = "".join(suffix.lower() for suffix in file.suffixes[-2:])
        form = BY_LAST_SUFFIXES.get(double) or BY_SUFFIX.get(file.suffix.lower())
        form = ROIS if ROI_ARCHIVE.search(file.name) else form
        form = ZARR if any(part.endswith(".zarr") for part in file.parts) else form
        if form is not None:
            return str(file), (_of_json(tree.path(file), file) or form) if form is GIS else form
    for file in (*tree.with_suffix(".json")[:LOOKED_AT], *tree.with_suffix(".jsonl")[:LOOKED_AT]):
        form = _of_json(tree.path(file), file)
        if form is not None:
            return str(file), form
    stack = next((file for file in tree.with_suffix(".npy")[:LOOKED_AT] if _is_stack(tree.path(file))), None)
    if stack is not None:
        return str(stack), STACK
    for file in tree.with_suffix(".npy", ".xml"):
        if LS_TASK.match(file.name) or (file.suffix.lower() == ".xml" and _is_aperio(tree.path(file))):
            return str(file), LS_NUMPY if LS_TASK.match(file.name) else APERIO
    for file in tree.with_suffix(".txt", ".csv")[:LOOKED_AT]:
        if _is_of_numbers(tree.path(file)):
            return str(file), NUMBERS
    for file in tree.with_suffix(".csv")[:LOOKED_AT]:
        form = _of_table(tree.path(file))
        if form is not None:
            return str(file), form
    return next(((str(file), AT_LAST[file.suffix.lower()]) for file in tree.with_suffix(*AT_LAST)), None)


def _is_stack(path: Path) -> bool:
    """Whether an array has more than the three axes of a picture."""
    try:
        stack: bool = np.load(path, mmap_mode="r", allow_pickle=False).ndim > 3
    except (ValueError, OSError, EOFError):
        return False
    return stack


def _is_aperio(path: Path) -> bool:
    try:
        with open_ordinary(path) as stream:
            return b"<Annotations" in stream.read(TOP)
    except (OSError, Unreadable):
        return False


def _is_of_numbers(path: Path) -> bool:
    """Whether the first line of a text is a row of whole numbers, as those of a label map."""
    try:
        with open_ordinary(path) as stream:
            cells = re.split(rb"[\s,;]+", stream.readline(2**20).strip())
    except (OSError, Unreadable):
        return False
    return len(cells) >= FEWEST_NUMBERS and all(re.fullmatch(rb"-?\d+", cell) for cell in cells)


def _of_table(path: Path) -> UnreadForm | None:
    """The form of a csv by the names of its columns."""
    try:
        with open_ordinary(path) as stream:
            head = stream.readline(TOP).lower()
    except (OSError, Unreadable):
        return None
    return next((form for columns, form in BY_COLUMNS if all(name in head for name in columns)), None)


def _of_json(path: Path, file: PurePosixPath) -> UnreadForm | None:
    try:
        content = read_bytes(path, HEAD)
        data = json_or_lines(content)
    except (OSError, ValueError):
        return None
    first = data[0] if isinstance(data, list) and data else data
    if not isinstance(first, dict):
        return None
    if "___" in file.stem:
        return SUPERANNOTATE
    return next((form for form, fits in BY_CONTENT if fits(first)), None)


BY_COLUMNS: tuple[tuple[tuple[bytes, ...], UnreadForm], ...] = (
    ((b"shape-type", b"vertex-index"), UnreadForm("shapes of napari", f"save `layer.to_labels()` {PNG}")),
    ((b"annotation_id", b"annotator"), UnreadForm("a csv of Label Studio", "export the project as JSON")),
    ((b"wkt",), UnreadForm("outlines as WKT", COCO)),
)


def _has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda record: all(key in record for key in keys)


def _is_of_qupath(record: Mapping[str, Any]) -> bool:
    """Whether a json of features, or a feature, says of what type its objects are."""
    features = record.get("features")
    first = features[0] if isinstance(features, list) and features else record
    return "objectType" in _dict(_dict(first).get("properties"))


def _shapes_of_scalabel(record: Mapping[str, Any]) -> list[Any]:
    """The outlines of the first labelled frame, or of a record that is one."""
    frames = [_dict(frame) for frame in _list(record.get("frames"))] or [record]
    labels = [_dict(label) for frame in frames[:LOOKED_AT] for label in _list(frame.get("labels"))]
    return [label["poly2d"] for label in labels if "poly2d" in label]


SUPERANNOTATE = UnreadForm("SuperAnnotate", COCO)
DARWIN = UnreadForm("Darwin json of V7", COCO)
SAM = UnreadForm("masks of Segment Anything, which have no classes", f"give each its class, and save them {PNG}")
BY_CONTENT: tuple[tuple[UnreadForm, Callable[[Mapping[str, Any]], bool]], ...] = (
    (QUPATH, _is_of_qupath),
    (GIS, lambda record: record.get("type") in ("FeatureCollection", "Feature")),
    (DARWIN, _has("item", "annotations")),
    (SAM, lambda record: "crop_box" in _dict(next(iter(_list(record.get("annotations"))), None))),
    (DARWIN, lambda record: "annotations" in record and isinstance(record.get("image"), dict)),  # version 1
    (UnreadForm("Datumaro json", f"{COCO} (`datum convert -f coco` does)"), _has("items", "categories")),
    (
        UnreadForm("Labelbox", f"export the masks {PNG}"),
        lambda record: "data_row" in record or "Labeled Data" in record,
    ),
    (UnreadForm("Encord", COCO), _has("label_hash")),
    (SUPERANNOTATE, _has("metadata", "instances")),
    (
        UnreadForm("a release of Segments.ai", f"{COCO} with segments-ai's export_dataset"),
        lambda record: "samples" in _dict(record.get("dataset")),
    ),
    (UnreadForm("ISAT", f"{COCO} (`ISAT to COCO` in its menu)"), _has("info", "objects")),
    (UnreadForm("Hasty json", COCO), _has("project_name", "label_classes")),
    (UnreadForm("Dataloop json", COCO), _has("annotations", "filename")),
    (UnreadForm("CreateML", "it holds boxes: annotate outlines or masks"), _has("image", "annotations")),
    (UnreadForm("OpenLABEL", COCO), _has("openlabel")),
    (
        UnreadForm("outlines in lines of json", f"draw them into pictures, and save these {PNG}"),
        lambda record: "coordinates" in _dict(next(iter(_list(record.get("annotations"))), None)),
    ),
    (UnreadForm("VoTT", f"draw its polygons into pictures, and save these {PNG}"), _has("assets", "tags")),
    (UnreadForm("Kili", COCO), _has("externalId", "labels")),
    (
        UnreadForm("the json lines of Azure Machine Learning", "export the project as COCO"),
        _has("image_url", "image_details"),
    ),
    (UnreadForm("Prodigy", f"draw its spans into pictures, and save these {PNG}"), _has("_task_hash")),
    (UnreadForm("Scalabel", COCO), lambda record: bool(_shapes_of_scalabel(record))),
    (UnreadForm("lanes of TuSimple", f"draw them, some pixels wide, and save these {PNG}"), _has("lanes", "h_samples")),
    (UnreadForm("LabelU", COCO), lambda record: "fileName" in record and isinstance(record.get("result"), str)),
    (UnreadForm("DeepFashion2", f"{COCO} with the deepfashion2_to_coco.py of its authors"), _has("pair_id", "item1")),
)


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
