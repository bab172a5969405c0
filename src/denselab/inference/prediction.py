"""The result of predicting one picture: class indices, original ids, probabilities, pictures of them, and files."""

import io
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import PngImagePlugin

from denselab.documents import parse_json, read_bytes
from denselab.errors import ConfigError, DataError
from denselab.files import write_bytes, write_json
from denselab.inference.marks import END, MARK, sealed
from denselab.labels import LabelSpace
from denselab.numbers import flags
from denselab.types import Image, LabelMap
from denselab.visualize import colour_map, heat_map, overlay

logger = logging.getLogger(__name__)

NOTEBOOK_SIDE = 1024  # pixels: a notebook displays no more, and stores the picture in its file
PNG_IDS = 65536  # an index PNG holds ids 0..65535: unsigned 16 bits
TABLE = "labels.json"  # beside the results: what the ids in the label maps mean
RESULT_FOLDERS = frozenset({"labels", "overlays", "uncertainty", "steps", "probs"})
OVERLAY_SIDE = 16384  # pixels: JPEG ends at 65,500, and many viewers long before
ProbsFormat = Literal["none", "npz", "png"]


@dataclass(frozen=True)
class Prediction:
    """What a Predictor returns. All arrays have the picture's own height and width.

    name: the picture's name, and the stem of its files.
    image: (H, W, 3) uint8 RGB.
    labels: (H, W) class indices 0..K-1 of label_space.
    label_space: the model's label table.
    compute_probs: called when `probs` is first used; probabilities of a huge picture need a lot of memory.
    uncertainty: (H, W) float32 variance over samples of the network, averaged over the classes; None: not asked for.
    confidence: mean over the picture of the largest probability, from a part of the pixels; None: not known.
    """

    name: str
    image: Image = field(repr=False)
    labels: LabelMap = field(repr=False)
    label_space: LabelSpace = field(repr=False)
    compute_probs: Callable[[], NDArray[np.float32]] = field(repr=False, compare=False)
    uncertainty: NDArray[np.float32] | None = field(default=None, repr=False)
    confidence: float | None = None

    def __repr__(self) -> str:
        height, width = self.labels.shape
        unsure = ", with uncertainty" if self.uncertainty is not None else ""
        return f"Prediction({self.name!r}, {height}x{width}, {self.label_space.num_classes} classes{unsure})"

    @cached_property
    def probs(self) -> NDArray[np.float32]:
        """(K, H, W) float32 that sum to 1 at each pixel; computed on first use, then kept."""
        return self.compute_probs()

    @cached_property
    def ids(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """(H, W) label ids as in the training data's files; uint16 if an id is above 255.

        Class indices instead, if the table's ids do not fit into unsigned 16 bits.
        """
        return file_table(self.label_space)[self.labels]

    def colours(self) -> PILImage.Image:
        """The label map in the classes' colours."""
        return PILImage.fromarray(colour_map(self.labels, self.label_space))

    def overlay(self, alpha: float = 0.5) -> PILImage.Image:
        """The picture with the classes' colours over it; alpha 0..1."""
        return PILImage.fromarray(overlay(self.image, self.labels, self.label_space, alpha))

    def uncertainty_map(self) -> PILImage.Image:
        """The uncertainty as a heat map: dark violet where all samples agree, pale yellow where they differ most.

        It shows the standard deviation relative to the largest that K classes allow, so all pictures share one scale.
        Raises ConfigError where no uncertainty was asked for.
        """
        if self.uncertainty is None:
            raise ConfigError("this prediction has no uncertainty; ask for it: predictor(picture, uncertainty=True)")
        classes = self.label_space.num_classes
        largest = (1 - 1 / classes) / classes  # variance of samples that are each certain of a different class
        return PILImage.fromarray(heat_map(np.sqrt(self.uncertainty), high=largest**0.5))

    def save(
        self,
        folder: str | Path,
        probs: ProbsFormat = "none",
        stem: str | None = None,
        mark: str = "",
        *,
        overlay: bool = True,
    ) -> dict[str, Path]:
        """Write labels/STEM.png (ids, with palette), overlays/STEM.jpg, and probs/ if asked; returns the paths by kind.

        An uncertainty goes to uncertainty/STEM.png.
        probs: "npz" stores `probs` (K, H, W) float16, `ids`, `names`, and `uncertainty` (H, W) float32 if there is one;
            "png" stores one 8-bit picture per class, 255 = certain.
        stem: by default the prediction's name.
        mark: what the prediction was made from, a text that goes into the label PNG; "": none.
        overlay: whether to write it; a large one takes as long as a small network.
        Existing results are replaced, each in one step. Raises ResourceError where it cannot write.
        """
        flags(overlay=overlay)
        if probs not in ("none", "npz", "png"):
            raise ConfigError(f'probabilities as {probs!r}; use "npz" or "png", or "none"')
        kinds = {"uncertainty": self.uncertainty is not None, "overlay": overlay}
        written = result_paths(Path(folder), PurePosixPath(stem or self.name), probs, **kinds)
        if overlay:
            picture = self.overlay()
            picture.thumbnail((OVERLAY_SIDE, OVERLAY_SIDE))
            write_bytes(written["overlay"], _encoded(picture, "JPEG", quality=90))
        if self.uncertainty is not None:
            write_bytes(written["uncertainty"], _encoded(self.uncertainty_map(), "PNG"))
        if probs == "npz":
            write_bytes(written["probs"], _probs_npz(self.probs, self.label_space, self.uncertainty))
        elif probs == "png":
            for index, name in enumerate(self.label_space.names):
                grey = PILImage.fromarray((self.probs[index] * 255 + 0.5).astype(np.uint8))
                write_bytes(written["probs"] / f"{index:03d}_{_file_name(name)}.png", _encoded(grey, "PNG"))
        write_bytes(written["labels"], label_png(self.ids, self.label_space, mark))  # last: its mark says all are there
        return written

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the overlay, at most 1024 pixels wide and high."""
        picture = self.overlay()
        picture.thumbnail((NOTEBOOK_SIDE, NOTEBOOK_SIDE))
        return _encoded(picture, "PNG")


def result_paths(
    folder: Path,
    stem: PurePosixPath,
    probs: ProbsFormat,
    *,
    uncertainty: bool = False,
    steps: bool = False,
    overlay: bool = True,
) -> dict[str, Path]:
    """Where the results of one picture go below the output folder; the stem mirrors the input's tree."""
    paths = {"labels": folder / "labels" / f"{stem}.png"}
    if overlay:
        paths["overlay"] = folder / "overlays" / f"{stem}.jpg"
    if uncertainty:
        paths["uncertainty"] = folder / "uncertainty" / f"{stem}.png"
    if steps:
        paths["steps"] = folder / "steps" / str(stem)
    if probs != "none":
        paths["probs"] = folder / "probs" / (f"{stem}.npz" if probs == "npz" else str(stem))
    return paths


def geotiff_path(folder: Path, stem: PurePosixPath) -> Path:
    """Where the label map of a georeferenced picture goes below the output folder."""
    return folder / "geotiff" / f"{stem}.tif"


def file_table(label_space: LabelSpace) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(ignore_index + 1,) id written to files for each class index: the table's own, if an index PNG can hold it."""
    ids = [entry.id for entry in label_space.classes]
    if min(ids) < 0 or max(ids) >= PNG_IDS:
        ids = list(range(len(ids)))
    void = next((e.id for e in label_space.entries if e.role == "ignore"), label_space.ignore_index)
    narrow = max(ids) <= 255 and label_space.num_classes <= 255
    if not 0 <= void <= (255 if narrow else 65535):
        void = 0  # a prediction has no ignored pixels, but the table must hold the value
    rows = label_space.ignore_index + 1
    table: LabelMap = np.full(rows, void, np.uint8) if narrow else np.full(rows, void, np.uint16)
    table[: len(ids)] = ids
    return table


def file_palette(label_space: LabelSpace) -> NDArray[np.uint8]:
    """(256, 3) uint8 RGB of the ids in an 8-bit label file; black for those that are no class."""
    palette = np.zeros((256, 3), np.uint8)
    palette[file_table(label_space)[: label_space.num_classes]] = label_space.palette
    return palette


def write_table(path: Path, label_space: LabelSpace) -> None:
    """Write the label table that goes beside label PNGs, with the ids they hold.

    Logs a remark if those ids differ from the table's own.
    Raises ConfigError where label maps of other classes lie there, of which it would tell wrongly, and ResourceError.
    """
    held = _held_by_files(label_space)
    refuse_other_classes(path, label_space)
    if held is not label_space:
        ids = [entry.id for entry in label_space.classes]
        logger.info(
            f"label ids {min(ids)} to {max(ids)} do not fit into label PNGs (0 to {PNG_IDS - 1}): the files hold "
            f"0 to {len(ids) - 1} instead, and {path.name} lists those"
        )
    write_json(path, held.to_list())


def refuse_other_classes(path: Path, label_space: LabelSpace) -> None:
    """Raise ConfigError where label maps of other classes lie beside a table, which would tell wrongly of them.

    path: of the table that is to be written there.
    """
    there, held = read_table(path), _held_by_files(label_space)
    if there is None or _classes(there) == _classes(held) or not (path.parent / "labels").is_dir():
        return
    own, new = (", ".join(f"{entry.id} {entry.name}" for entry in space.classes[:6]) for space in (there, held))
    raise ConfigError(
        f"{path.parent} holds label maps of other classes ({own}), of which its {path.name} would tell as {new}; "
        "choose another `out` folder, or remove that one"
    )


def read_table(path: Path) -> LabelSpace | None:
    """The label table in a file that `write_table` wrote; None where there is none."""
    try:
        return LabelSpace.from_list(parse_json(read_bytes(path)))
    except (OSError, ValueError, TypeError, DataError):
        return None


def _classes(space: LabelSpace) -> list[tuple[int, str]]:
    return [(entry.id, entry.name) for entry in space.classes]


def _held_by_files(label_space: LabelSpace) -> LabelSpace:
    """The label table with the ids of `file_table`; unchanged if they are its own.

    Ignored ids, which no prediction holds, are dropped if they would now mean a class or do not fit either.
    """
    own = [entry.id for entry in label_space.classes]
    held = dict(zip(own, file_table(label_space)[: len(own)].tolist(), strict=True))
    if all(number == i for i, number in held.items()):
        return label_space
    free = range(len(own), PNG_IDS)
    entries = (replace(e, id=held.get(e.id, e.id)) for e in label_space.entries if e.id in held or e.id in free)
    return LabelSpace(tuple(entries))


def label_png(ids: NDArray[np.uint8] | NDArray[np.uint16], label_space: LabelSpace, mark: str = "") -> bytes:
    """An index PNG: 8-bit with a palette that colours each id, or 16-bit grey where ids are above 255.

    mark: a text that marks.read_mark finds; "": none.
    """
    picture = PILImage.fromarray(ids)
    if ids.dtype == np.uint8:
        picture = picture.convert("L")
        picture.putpalette(file_palette(label_space).tobytes(), "RGB")
    text = PngImagePlugin.PngInfo()
    if mark:
        text.add_text(MARK, mark)
    # level 4: label maps are flat, higher levels are only slower
    whole = _encoded(picture, "PNG", compress_level=4, pnginfo=text)
    return b"".join(sealed([whole.removesuffix(END)]))


def _probs_npz(probs: NDArray[np.float32], label_space: LabelSpace, uncertainty: NDArray[np.float32] | None) -> bytes:
    buffer = io.BytesIO()
    ids = np.array([entry.id for entry in label_space.classes], dtype=np.int64)
    more: dict[str, Any] = {} if uncertainty is None else {"uncertainty": uncertainty}
    np.savez_compressed(buffer, probs=probs.astype(np.float16), ids=ids, names=np.array(label_space.names), **more)
    return buffer.getvalue()


def _encoded(picture: PILImage.Image, kind: Literal["PNG", "JPEG"], **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _file_name(name: str) -> str:
    """A class name as part of a file name that is valid on every system."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "class"
