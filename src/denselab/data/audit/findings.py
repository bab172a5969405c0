"""What reading one picture and its labels shows: sizes, pixels per class, a fingerprint, and their own faults."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from denselab.data.audit.turned import Fits, fits_of
from denselab.data.dataset import Dataset, Item
from denselab.data.item import FileLabels
from denselab.data.label_files.encodings import count_values
from denselab.data.label_files.shapes import ShapeLabels
from denselab.data.pixels.images import is_lossy, lossy_form, picture_mode, picture_size, read_label_pixels
from denselab.data.pixels.opening import MAX_PIXELS, exif_orientation, refuse_empty
from denselab.data.pixels.tiff import TIFF_SUFFIXES, read_tags
from denselab.data.splits.likenesses import Look, look_of
from denselab.data.weak_labels import has_mask
from denselab.errors import DataError
from denselab.in_words import number_of
from denselab.labels import NODATA
from denselab.types import LabelMap, Pixels

Kind = Literal[
    "no pictures", "one picture", "empty split", "one class",
    "unreadable picture", "unreadable label", "size mismatch", "rotation", "unknown id",
    "label missing", "picture missing", "all ignored", "lossy labels", "absent class", "duplicate", "leak",
    "lost shape", "covered class", "not readable", "alpha", "rectangles", "unlabelled", "turned",
]  # fmt: skip
Severity = Literal["error", "warning"]
Size = tuple[int, int]

# Enlarging or reducing labels with a smooth filter puts a value between the two sides on every border; borders where
# three classes happen to follow each other in rising order are rare in drawn labels (under 0.1 on all sets we have).
SMEARED_SHARE = 0.3
SMEARED_BORDERS = 40  # fewer borders than this in a file say nothing
MAX_MISFIT = 50_000_000  # pixels: above it, a picture and a label of different sizes are not decoded


@dataclass(frozen=True)
class Fault:
    """One thing wrong.

    kind: of the fault
    severity: error: training would fail or learn nonsense; warning: it would work, but needs a look
    file: below the data set's root if it is there; "" if the fault is not of one file
    message: what is wrong
    fix: what to do
    """

    kind: Kind
    severity: Severity
    file: str
    message: str
    fix: str


@dataclass(frozen=True)
class ItemFindings:
    """What was found in one item.

    size, label_size: (H, W) of the picture and of its labels, None where unreadable.
    counts: (K,) int64 pixels per class, None if not counted.
    ignored: pixels that belong to no class.
    covered: {id: (pixels drawn, pixels of these that shapes of other ids cover)}, where labels are drawn from shapes.
    alpha: whether the picture has an alpha channel, which is dropped.
    digest: of the decoded pixels; equal for equal pictures.
    look: the picture in small; None where it is too uniform.
    fits: how much better the labels would fit the picture if they were turned, see audit.turned.
    """

    item: Item
    size: Size | None = None
    label_size: Size | None = None
    counts: NDArray[np.int64] | None = None
    ignored: int = 0
    covered: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    alpha: bool = False
    digest: bytes = b""
    look: Look | None = None
    fits: Fits = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()

    @property
    def split(self) -> str:
        """The split of the item; every item of an opened data set has one."""
        return self.item.split or "train"


def read_headers(dataset: Dataset, item: Item) -> ItemFindings:
    """Sizes only, from the headers, or for labels drawn from shapes from the annotation."""
    finding = ItemFindings(item)
    try:
        size = header_size(item.image, orientation(item.image))
        finding = replace(finding, size=size, alpha=_has_alpha(item.image))
    except (DataError, OSError) as error:
        return replace(finding, faults=(_unreadable(dataset, "unreadable picture", item.image, error),))
    if isinstance(item.source, ShapeLabels):
        finding = replace(finding, label_size=item.source.size)
        return replace(finding, faults=_size_faults(dataset, finding))
    if not isinstance(item.source, FileLabels):
        return finding
    try:
        finding = replace(finding, label_size=header_size(item.source.path, 1))
    except (DataError, OSError) as error:
        return replace(finding, faults=(_unreadable(dataset, "unreadable label", item.source.path, error),))
    return replace(finding, faults=_size_faults(dataset, finding))


def read_fully(dataset: Dataset, item: Item) -> ItemFindings:
    """Every pixel of a picture and its labels; never raises for a fault of a file, but reports it."""
    headers = read_headers(dataset, item)
    largest = max(height * width for height, width in (headers.size or (0, 0), headers.label_size or (0, 0)))
    if largest > MAX_MISFIT and any(fault.kind == "size mismatch" for fault in headers.faults):
        return headers  # nothing of the pair is used: one of the two is far too large, by mistake or on purpose
    image, image_faults = _image_of(dataset, item)
    labels, label_faults = _labels_of(dataset, item)
    finding = ItemFindings(item, faults=image_faults + label_faults, alpha=headers.alpha)
    if image is not None:
        digest = hashlib.blake2b(repr(image.shape).encode() + image.tobytes(), digest_size=16).digest()
        look = look_of(dataset.shown(image))
        finding = replace(finding, size=image.shape[:2], digest=digest, look=look)
    if labels is not None:
        finding = _with_counts(finding, dataset, labels)
    if image is not None and labels is not None:
        finding = replace(finding, fits=fits_of(dataset.shown(image), labels))
    if labels is not None and isinstance(item.source, ShapeLabels):
        finding = _with_losses(finding, dataset, item.source)
    return replace(finding, faults=finding.faults + _size_faults(dataset, finding))


def _has_alpha(path: Path) -> bool:
    return picture_mode(path) in ("RGBA", "LA", "La", "PA")


def relative(dataset: Dataset, path: Path) -> str:
    """A file as it is named in faults: below the root where it is there, with / on every system."""
    return (path.relative_to(dataset.root) if path.is_relative_to(dataset.root) else path).as_posix()


def _image_of(dataset: Dataset, item: Item) -> tuple[Pixels | None, tuple[Fault, ...]]:
    try:
        return dataset.read_image(item), ()
    except (DataError, OSError) as error:
        return None, (_unreadable(dataset, "unreadable picture", item.image, error),)


def _labels_of(dataset: Dataset, item: Item) -> tuple[LabelMap | None, tuple[Fault, ...]]:
    """Labels, with ids that are not in the table taken as ignore and reported."""
    try:
        labels = dataset.read_labels(item)
    except (DataError, OSError) as error:
        try:
            ids = item.source.ids()
        except (DataError, OSError) as worse:
            return None, (_unreadable_label(dataset, item, worse),)
        known = {NODATA, *(entry.id for entry in dataset.label_space.entries)}
        strangers = {value: count for value, count in count_values(ids).items() if value not in known}
        if not strangers:
            return None, (_unreadable_label(dataset, item, error),)
        labels = dataset.label_space.encode(ids, unknown="ignore")
        return labels, (_unknown_ids(dataset, item, strangers), *_lossy_faults(dataset, item, labels))
    return labels, _lossy_faults(dataset, item, labels)


def _unreadable(dataset: Dataset, kind: Kind, path: Path, error: DataError | OSError) -> Fault:
    """A DataError ("file: what came; what to do") or an OSError as a fault."""
    text = str(error).removeprefix(f"{path}: ")
    message, _, fix = text.rpartition("; ")
    return Fault(
        kind, "error", relative(dataset, path), message or text, fix if message else "replace it or take it out"
    )


def _unreadable_label(dataset: Dataset, item: Item, error: DataError | OSError) -> Fault:
    """The same for labels; those of one file for many pictures are told with the picture."""
    fault = _unreadable(dataset, "unreadable label", item.source.path, error)
    if not isinstance(item.source, ShapeLabels) or item.image.name in fault.message:
        return fault
    return replace(fault, message=f"{relative(dataset, item.image)}: {fault.message}")


def _unknown_ids(dataset: Dataset, item: Item, strangers: dict[int, int]) -> Fault:
    often = sorted(strangers.items(), key=lambda pair: -pair[1])
    listed = ", ".join(f"id {value} ({number_of(count, 'pixel')})" for value, count in often[:5])
    more = f" and {len(often) - 5} more" if len(often) > 5 else ""
    return Fault(
        "unknown id", "error", relative(dataset, item.source.path), f"{listed}{more} not in the label table",
        f"correct the file, or write in data.yaml {dataset.label_space.line_with([value for value, _ in often[:20]])}",
    )  # fmt: skip


def _with_counts(finding: ItemFindings, dataset: Dataset, labels: LabelMap) -> ItemFindings:
    classes, ignore = dataset.label_space.num_classes, dataset.label_space.ignore_index
    counted = np.bincount(labels.ravel(), minlength=ignore + 1).astype(np.int64)
    faults = finding.faults
    if labels.size and counted[ignore] == labels.size and has_mask(finding.item):
        file = relative(dataset, finding.item.source.path)
        message = "every pixel is ignored: nothing to learn or to measure"
        faults += (Fault("all ignored", "warning", file, message, "label it or take the pair out"),)
    size = (labels.shape[0], labels.shape[1])
    return replace(finding, label_size=size, counts=counted[:classes], ignored=int(counted[ignore]), faults=faults)


def _with_losses(finding: ItemFindings, dataset: Dataset, source: ShapeLabels) -> ItemFindings:
    """The finding with what the shapes cover of each other, and a fault for shapes that have no pixel."""
    losses = source.losses()
    faults = finding.faults
    if losses.empty:
        picture = relative(dataset, finding.item.image)
        message = f"{losses.empty} of {number_of(losses.shapes, 'shape')} of {picture}: no pixel in the picture"
        fix = "they lie outside it or have no area: correct the annotation, or remove them"
        faults += (Fault("lost shape", "warning", relative(dataset, source.path), message, fix),)
    if losses.cut:
        picture = relative(dataset, finding.item.image)
        message = f"{losses.cut} of {number_of(losses.shapes, 'shape')} of {picture}: mostly outside of it"
        fix = "the coordinates may be those of another size, or per cent: correct the annotation"
        faults += (Fault("lost shape", "warning", relative(dataset, source.path), message, fix),)
    return replace(finding, covered=losses.covered, faults=faults)


def _size_faults(dataset: Dataset, finding: ItemFindings) -> tuple[Fault, ...]:
    """Whether picture and label have the same size, with and without the rotation in the picture's tags."""
    if finding.size is None or finding.label_size is None:
        return ()
    (height, width), (label_height, label_width) = finding.size, finding.label_size
    turned = orientation(finding.item.image)
    file = relative(dataset, finding.item.image)
    label = relative(dataset, finding.item.source.path)
    if finding.size == finding.label_size:
        label_turned = orientation(finding.item.source.path) if _is_tiff(finding.item.source.path) else 1
        if turned == label_turned or (turned >= 5 and height != width and not _is_measured(finding.item)):
            return ()
        message = (
            f"EXIF turns the picture (orientation {turned}); whether {label} is turned with it, its size cannot tell"
        )
        return (Fault("rotation", "warning", file, message, "look at the overlay; if it is off, remove the tag"),)
    if turned >= 5 and (width, height) == finding.label_size:
        message = f"EXIF turns the picture to {height}x{width} (height x width), but {label} fits it unturned"
        fix = "remove the picture's orientation tag (exiftool -Orientation= FILE), or turn the label the same way"
        return (Fault("rotation", "error", file, message, fix),)
    message = f"picture {height}x{width} but label {label_height}x{label_width} in {label} (height x width)"
    fix = "export the label at the picture's size, or take the pair out"
    if (width, height) == finding.label_size:
        fix = "height and width are exchanged: transpose the label, or exchange both in its annotation"
    return (Fault("size mismatch", "error", file, message, fix),)


def _is_measured(item: Item) -> bool:
    """Whether the labels have their size from the picture, so that it cannot tell whether they are turned with it."""
    return isinstance(item.source, ShapeLabels) and item.source.measured


def header_size(path: Path, turned: int) -> Size:
    """(H, W) after the EXIF orientation `turned`, from the header. Raises DataError like read_image."""
    if _is_tiff(path):
        return picture_size(path)
    refuse_empty(path)
    try:
        with PillowImage.open(path) as picture:
            width, height = picture.size
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError):
        return picture_size(path)  # says in words what is wrong
    if width * height > MAX_PIXELS:
        return picture_size(path)
    return (width, height) if turned >= 5 else (height, width)


def orientation(path: Path) -> int:
    """The orientation that EXIF or a TIFF's tag says, 1 (upright) to 8; 1 where the file cannot be opened."""
    try:
        if _is_tiff(path):
            return read_tags(path).orientation
        refuse_empty(path)
        with PillowImage.open(path) as picture:
            return exif_orientation(picture)
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError, DataError):
        return 1


def _is_tiff(path: Path) -> bool:
    """Whether labels in it are turned by its orientation tag, as pictures are; EXIF turns pictures only."""
    return path.suffix.lower() in TIFF_SUFFIXES


def _lossy_faults(dataset: Dataset, item: Item, labels: LabelMap) -> tuple[Fault, ...]:
    """Labels whose values were changed by compression or by a smooth filter: one warning at most."""
    source = item.source
    if not isinstance(source, FileLabels) or source.encoding.kind not in ("index", "two-valued"):
        return ()
    message = ""
    if source.encoding.kind == "two-valued":
        pixels = read_label_pixels(source.path)
        between = float(np.mean((pixels > 0) & (pixels < 255)))
        if between:
            message = (
                f"{between:.2%} of the values are neither 0 nor 255; {source.encoding.threshold} and above count as 255"
            )
    elif smeared(labels):  # class indices rise with the ids
        message = "values between the ids stand along the borders: the label was resized or smoothed like a photo"
    if not message and is_lossy(source.path):
        message = f"the label is a {lossy_form(source.path)}, which changes values"
    if not message:
        return ()
    fix = "export it as PNG, resized by nearest neighbour if at all"
    return (Fault("lossy labels", "warning", relative(dataset, source.path), message, fix),)


def smeared(values: NDArray[Any]) -> bool:
    """Whether many borders of a (H, W) label map pass through a value in between, as after smooth resizing."""
    left, middle, right = (values[:, k : max(values.shape[1] - 2 + k, 0)] for k in range(3))
    between = ((left < middle) & (middle < right)) | ((left > middle) & (middle > right))
    borders = int(np.count_nonzero(left != middle))
    return borders >= SMEARED_BORDERS and int(np.count_nonzero(between)) > SMEARED_SHARE * borders
