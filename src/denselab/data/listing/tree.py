"""The files of a data set, listed once, and what the words in their names say about them."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

from denselab.data.pixels.images import MAT_SUFFIX, PICTURE_SUFFIXES
from denselab.data.pixels.stored_bands import NPY
from denselab.errors import DataError
from denselab.paths import require_path

DATA = "the folder of a data set, or its data.yaml"
# what systems keep beside files: hidden, of macOS archives, thumbnails and bins of Synology, QNAP and Windows
OF_SYSTEMS = (".", "__MACOSX", "@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN")
MAX_FILES = 5_000_000  # more than any public segmentation set; a whole disk was given by mistake

IMAGE_WORDS = frozenset((
    "image", "images", "img", "imgs", "im", "picture", "pictures", "pic", "pics", "photo", "photos", "jpegimages",
    "jpeg", "jpegs", "rgb", "input", "inputs", "frame", "frames", "patch", "patches", "tile", "tiles", "raw",
))  # fmt: skip
LABEL_WORDS = frozenset((
    "label", "labels", "lbl", "lbls", "lab", "mask", "masks", "msk", "annotation", "annotations", "annot", "annots",
    "anno", "annos", "ann", "gt", "gts", "groundtruth", "truth", "target", "targets", "seg", "segs", "segmentation",
    "segmentations", "segmentationclass", "semantic", "semantics", "manual", "labelmap", "labelmaps", "trainid",
    "trainids", "labelid", "labelids", "cls",
))  # fmt: skip
OTHER_WORDS = frozenset((
    "prediction", "predictions", "pred", "preds", "result", "results", "output", "outputs", "overlay", "overlays",
    "viz", "vis", "visualization", "visualizations", "object", "objects", "instance", "instances", "panoptic",
    "depth", "disparity", "edge", "edges", "contour", "contours", "scribble", "scribbles", "preview", "previews",
    "thumbnail", "thumbnails", "visualized", "visualised",
))  # fmt: skip
SPLITS = ("train", "val", "test")
SPLIT_WORDS = {
    "train": "train", "training": "train", "tr": "train", "trn": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "minival": "val", "eval": "val",
    "evaluation": "val",
    "test": "test", "testing": "test", "ts": "test", "te": "test", "tst": "test", "holdout": "test", "heldout": "test",
}  # fmt: skip
BARE_WORDS = IMAGE_WORDS | LABEL_WORDS | {"training", "left", "bit", "sat"}  # in names, of which they tell no two apart
# Written in one word behind a split: trainlist, valset, testdata.
GLUED_WORDS = frozenset(("list", "lists", "set", "sets", "split", "file", "files", "names", "ids", "data", "fold"))
GLUED = re.compile(r"^(training|train|validation|valid|val|testing|test)(.+)$")

FolderRole = Literal["image", "label", "other"]


@dataclass(frozen=True)
class Choices:
    """What data.yaml says of annotations that can be read in more than one way; None where it does not say.

    class_attribute: the attribute of a region that holds its class (VIA).
    run_order: whether run lengths go down the columns or along the rows (csv, COCO).
    unlisted: what pictures are that the annotations do not name (csv).
    annotator: whose annotations count where a picture has several (Label Studio).
    """

    class_attribute: str | None = None
    run_order: Literal["columns", "rows"] | None = None
    unlisted: Literal["background", "left out"] | None = None
    annotator: int | None = None


@dataclass(frozen=True)
class Tree:
    """A folder and all files below it (hidden ones left out), as sorted relative posix paths.

    choices: what data.yaml says of the annotations.
    passed_over: what could not be listed or is no file, and why.
    """

    root: Path
    files: tuple[PurePosixPath, ...]
    choices: Choices = Choices()
    passed_over: tuple[tuple[PurePosixPath, str], ...] = ()

    @cached_property
    def pictures(self) -> tuple[PurePosixPath, ...]:
        """Files whose suffix is that of a picture; arrays (.npy) only in folders that hold no other pictures."""
        found = [f for f in self.files if f.suffix.lower() in PICTURE_SUFFIXES]
        folders = {f.parent for f in found}
        arrays = [f for f in self.files if f.suffix.lower() == NPY and f.parent not in folders]
        return tuple(sorted([*found, *arrays]) if arrays else found)

    @cached_property
    def label_files(self) -> tuple[PurePosixPath, ...]:
        """Pictures, and MATLAB's files, which hold label maps only."""
        return tuple(sorted((*self.pictures, *(f for f in self.files if f.suffix.lower() == MAT_SUFFIX))))

    @cached_property
    def folders(self) -> frozenset[str]:
        """All folders that hold a file at any depth, as relative posix paths; the root itself is "."."""
        return frozenset(str(parent) for f in self.files for parent in f.parents)

    @cached_property
    def top(self) -> tuple[str, ...]:
        """The folders directly below the root, sorted."""
        return tuple(sorted({f.parts[0] for f in self.files if len(f.parts) > 1}))

    def path(self, relative: PurePosixPath | str) -> Path:
        """The real path of a relative one."""
        return self.root / relative

    def path_inside(self, relative: PurePosixPath | str, source: Path) -> Path:
        """The real path of one that an annotation names. Raises DataError, naming `source`, for one that leads out."""
        where = os.path.normpath(relative)
        if os.path.isabs(where) or where.split(os.sep)[0] == os.pardir:
            raise DataError(f"{source}: names {str(relative)!r}, which is outside {self.root}; correct the annotation")
        return self.root / where

    def has(self, relative: str) -> bool:
        """Whether a file or folder of this relative path exists."""
        return relative in self.folders or PurePosixPath(relative) in self._set

    @cached_property
    def _set(self) -> frozenset[PurePosixPath]:
        return frozenset(self.files)

    def below(self, folder: str) -> "Tree":
        """The tree of a sub-folder."""
        inside = tuple(f.relative_to(folder) for f in self.files if f.is_relative_to(folder))
        return Tree(self.root / folder, inside, self.choices)

    def with_suffix(self, *suffixes: str) -> tuple[PurePosixPath, ...]:
        """Files with one of these suffixes (lower case, with dot)."""
        return tuple(f for f in self.files if f.suffix.lower() in suffixes)


def read_tree(root: Path) -> Tree:
    """List a folder, and what links lead to. Raises NoSuchPath, or DataError where it is no folder or far too large."""
    if not require_path(root, DATA).is_dir():
        raise DataError(f"{root} is not a folder; give {DATA}")
    found: list[PurePosixPath] = []
    passed_over: list[tuple[PurePosixPath, str]] = []

    def pass_over(folder: PurePosixPath, error: OSError) -> None:
        if str(folder) == ".":
            raise DataError(f"{root} cannot be listed ({error.strerror}); give a folder that can be read") from None
        passed_over.append((folder, f"the folder cannot be listed ({error.strerror})"))

    for folder, entries in walk_folders(root, pass_over):
        for entry in entries:
            if _is_file(entry):
                found.append(folder / entry.name)
            else:
                passed_over.append(
                    (folder / entry.name, "neither a file nor a folder: a pipe, a device, or a lost link")
                )
        if len(found) > MAX_FILES:
            raise DataError(f"{root}: more than {MAX_FILES:,} files; give the folder of one data set")
    return Tree(root, tuple(sorted(found)), passed_over=tuple(sorted(passed_over)))


def walk_folders(
    root: Path, pass_over: Callable[[PurePosixPath, OSError], None], without: Path | None = None
) -> Iterator[tuple[PurePosixPath, list["os.DirEntry[str]"]]]:
    """A folder and those below it, also through links: each as a path relative to `root`, and what is no folder in it.

    Depth first, sorted; hidden ones are left out. No link is followed in a circle, or to what has a place of its own.
    pass_over: gets a folder that cannot be listed.
    without: a folder, as a real path, that is left out with all below it.
    """
    waiting: list[tuple[PurePosixPath, tuple[Path, ...]]] = [(PurePosixPath("."), (root.resolve(),))]
    while waiting:
        folder, way = waiting.pop()
        try:
            with os.scandir(root / folder) as entries:
                listed = [e for e in entries if not e.name.startswith(OF_SYSTEMS)]
        except OSError as error:
            pass_over(folder, error)
            continue
        listed.sort(key=lambda entry: entry.name)
        files, folders = [], []
        for entry in listed:
            if not leads_to_folder(entry):
                files.append(entry)
            elif farther := _way_into(entry, way, without):
                folders.append((folder / entry.name, farther))
        yield folder, files
        waiting += reversed(folders)


def _way_into(entry: "os.DirEntry[str]", way: tuple[Path, ...], without: Path | None) -> tuple[Path, ...] | None:
    if without and Path(entry.path).resolve().is_relative_to(without):
        return None
    return way if entry.is_dir(follow_symlinks=False) else way_through(Path(entry.path), way)


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that points at itself
        return False


def leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a folder or a link to one; not so a link that points at itself, at which the system raises."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def way_through(link: Path, way: tuple[Path, ...]) -> tuple[Path, ...] | None:
    """The way through a link to a folder; None where it leads back, or to what is listed at its own place.

    way: the folder that is listed, then the targets of the links on the way; all are real paths.
    """
    target = link.resolve()
    back = any(place.is_relative_to(target) for place in way)
    return None if back or target.is_relative_to(way[0]) else (*way, target)


@lru_cache(maxsize=100_000)
def words(name: str) -> tuple[str, ...]:
    """The words and numbers in a name, lower case: "SegmentationClassPNG" -> segmentation, class, png."""
    tokens: list[str] = []
    for token in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name):
        lower = token.lower()
        glued = GLUED.match(lower)
        if lower not in LABEL_WORDS and glued and glued[2] in IMAGE_WORDS | LABEL_WORDS | GLUED_WORDS:
            tokens.extend((glued[1], glued[2]))
        else:
            tokens.append(lower)
    return tuple(tokens)


def folder_role(name: str) -> FolderRole | None:
    """What a folder of this name holds; None where the name does not say."""
    tokens = set(words(name)) | {name.lower()}
    if "with" in tokens:  # RUGD_frames-with-annotations holds frames
        tokens = set(words(name.lower().partition("with")[0]))
    if tokens & OTHER_WORDS and not (tokens & OTHER_WORDS <= {"object"} and "gt" in tokens):  # COD10K's GT_Object
        return "other"
    if tokens & LABEL_WORDS or tokens == {"ground", "truth", name.lower()} or {"labeled", "approved"} <= tokens:
        return "label"
    return "image" if tokens & IMAGE_WORDS else None


def role_of_folders(file: PurePosixPath) -> FolderRole | None:
    """What the innermost folder of a file that has a role holds; None where none has one."""
    return next((role for part in reversed(file.parts[:-1]) if (role := folder_role(part))), None)


def lies_in(file: PurePosixPath, *roles: FolderRole) -> bool:
    """Whether a folder of a file, the innermost or one above, has one of these roles."""
    return any(folder_role(part) in roles for part in file.parts[:-1])


def split_in_name(name: str) -> str | None:
    """train, val or test where a name says so ("train", "images_val", "ImagesTr"); None otherwise."""
    found = {SPLIT_WORDS[token] for token in words(name) if token in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


def split_of_folders(file: PurePosixPath) -> str | None:
    """The split that the innermost folder of a file which names one says; None where none does."""
    return next((split for part in reversed(file.parts[:-1]) if (split := split_in_name(part))), None)


def bare_stem(stem: str) -> str:
    """A stem without the words that tell pictures from labels: "img_0001", "0001_gt" -> "0001"."""
    return "_".join(word for word in words(stem) if word not in BARE_WORDS)


def starts(stem: str) -> list[str]:
    """What stands before each mark in a stem: a and a_1 of a_1-red."""
    return [stem[: match.start()] for match in re.finditer(r"[_\-. ]", stem)]
