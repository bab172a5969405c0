"""data.yaml: the user says what is where. All keys are optional; an unknown one is refused with the nearest.

path: .                        # the folder, from data.yaml's own
layout: folders                # try only this layout
images: pictures               # folder of the pictures; or {train: a, val: b}
masks: annotations             # folder of the label files; or {train: a, val: b}
pattern: {image: "*_img", mask: "*_gt"}     # file names without suffix; * is what both share; or {train: {...}, ...}
ignore_mask: fov               # folder of masks that are 0 where no label counts (field of view); or {train: a, val: b}
annotations: instances.json    # COCO file; or {train: a.json, val: b.json}
splits: {train: train.txt, val: [name1, name2], test: all}  # all: the rest; or one csv or json file
fold: 0                        # of a file with several folds
encoding: index                # index, colour, two-valued, objects, divided, ade20k
threshold: 128                 # two-valued: from this value on it is 255
divisor: 1000                  # divided: class * divisor + instance
labels: [{id: 0, name: road, colour: [128, 64, 128], role: class}, ...]     # or [road, car], or {0: road, 7: car}
ignore: [255]                  # ids to leave out
priority: [sign, car]          # shapes that overlap: these classes lie on top, the first uppermost
white: 4095                    # the number for white in pictures of more than 8 bits
bands: [blue, green, red, nir] # of pictures that are not RGB; or 4; or {1: blue, 8: nir} to use some of a file's bands
display_bands: [red, green, blue]           # which are shown, by name or number; one is shown as grey
band_files: {blue: "*_B02", nir: "*_B08"}   # one file per band: names without suffix; * is what all share
"""

import difflib
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from denselab.data.item import FileLabels, Found, NamedLabel
from denselab.data.layouts.drawn import with_priority
from denselab.data.layouts.folder import Placed, found_pairs, make_item, pair_placed, place, unique_names
from denselab.data.read.encodings import Encoding, Kind
from denselab.data.read.images import PICTURE_SUFFIXES
from denselab.data.read.lists import ALL, apply_lists, read_list
from denselab.data.read.names import named
from denselab.data.read.split_tables import read_table
from denselab.data.read.tree import Tree, number_of
from denselab.errors import DataError
from denselab.labels import LabelSpace

YAML_NAMES = ("data.yaml", "data.yml")
LABELS_FORMS = "[road, car] or {0: road, 7: car} or [{id: 0, name: road, colour: [128, 64, 128], role: class}, ...]"
LABEL_KEYS = ("id", "name", "colour", "role")
Split = Literal["train", "val", "test"]
Layout = Literal[
    "camvid",
    "cityscapes",
    "mapillary",
    "kitti",
    "ade20k",
    "voc",
    "coco",
    "labelme",
    "labelme-xml",
    "cvat",
    "label-studio",
    "objects",
    "folders",
]


class SplitPattern(BaseModel):
    """File names without suffix, with * for the part that a picture and its label share."""

    model_config = ConfigDict(extra="forbid")
    image: str = "*"
    mask: str = "*"


class Pattern(SplitPattern):
    """The pattern of all files, or one for each split."""

    train: SplitPattern | None = None
    val: SplitPattern | None = None
    test: SplitPattern | None = None

    def of(self, split: str | None) -> SplitPattern:
        """The pattern of a split."""
        return {"train": self.train, "val": self.val, "test": self.test}.get(split or "") or self


class Settings(BaseModel):
    """What data.yaml may hold."""

    model_config = ConfigDict(extra="forbid")
    path: str | None = None
    layout: Layout | None = None
    images: str | dict[Split, str] | None = None
    masks: str | dict[Split, str] | None = None
    pattern: Pattern | None = None
    annotations: str | dict[Split, str] | None = None
    splits: str | dict[Split, str | list[str]] | None = None
    fold: int = Field(default=0, ge=0)
    encoding: Kind | None = None
    threshold: int = Field(default=128, ge=1, le=255)
    divisor: int = Field(default=1000, ge=2)
    labels: list[str] | list[dict[str, Any]] | dict[int, str] | None = None
    ignore: list[int] = []
    ignore_mask: str | dict[Split, str] | None = None
    priority: list[str] | None = None
    white: int | None = Field(default=None, ge=1, le=65535)
    bands: int | list[str] | dict[int, str] | None = None
    display_bands: str | int | list[str | int] | None = None
    band_files: list[str] | dict[str, str] | None = None


def read_settings(path: Path) -> Settings:
    """The settings of a data.yaml. Raises DataError naming the file, the key and the nearest valid key."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: not YAML that can be read: {' '.join(str(error).split())}; correct it") from None
    if not isinstance(data or {}, dict):
        raise DataError(f"{path}: holds {type(data).__name__}; expected keys such as images, masks, labels")
    try:
        return Settings.model_validate(data or {})
    except ValidationError as error:
        raise DataError(f"{path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    fault = error.errors()[0]
    if fault["loc"][0] == "labels":
        return f"labels: {LABELS_FORMS} was expected (got {fault['input']!r}); correct it"
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] != "extra_forbidden":
        return f"{fault['loc'][0]!s}: {fault['msg']} (got {fault['input']!r}); correct it"
    valid = list(Pattern.model_fields if len(fault["loc"]) > 1 else Settings.model_fields)
    near = difflib.get_close_matches(str(fault["loc"][-1]), valid, n=1, cutoff=0.5)
    return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"valid keys are {', '.join(valid)}")


def find_described(tree: Tree, settings: Settings, source: Path) -> Found | None:
    """What images, masks, annotations or layout point to; None where data.yaml leaves that open."""
    from denselab.data.layouts import RECOGNISERS, malformed_as_data_error
    from denselab.data.layouts.coco import find_coco_files

    if settings.masks is not None or settings.pattern is not None:
        return _described_folders(tree, settings, source)
    if settings.annotations is not None:
        files = _by_split(settings.annotations)
        for name in files.values():
            if not tree.has(name):
                raise DataError(f"{source}: annotations: {name} does not exist below {tree.root}; correct the path")
        named_files = [(PurePosixPath(name), split) for split, name in files.items()]
        return malformed_as_data_error(lambda tree: find_coco_files(tree, named_files))(tree)
    if settings.layout is None:
        return None
    found = dict(RECOGNISERS)[settings.layout](tree)
    if found is None:
        raise DataError(
            f"{source}: layout {settings.layout} does not fit {tree.root}; leave the key out to have it recognised"
        )
    return found


def apply_settings(tree: Tree, found: Found, settings: Settings, source: Path) -> Found:
    """What was found, with the splits, the encoding and the table that data.yaml says."""
    if settings.ignore_mask is not None:
        found = _with_ignore_masks(tree, found, settings, source)
    if settings.splits is not None:
        items, notes = apply_lists(found.items, _named_splits(tree, settings, source), source.name)
        found = replace(found, items=items, notes=(*found.notes, *notes))
    found = replace(found, white=settings.white)
    names = _names(settings, source)
    if names:
        found = _with_names(found, names)
    elif settings.ignore and found.table is not None:
        found = replace(found, table=_ignoring(found.table, settings.ignore))
    elif settings.ignore:
        raise DataError(f"{source}: ignore needs `labels` beside it: write the label table out")
    if settings.priority:
        found = with_priority(found, settings.priority, source.name)
    if settings.encoding is not None:
        given = Encoding(settings.encoding, settings.threshold, settings.divisor, settings.divisor)
        open_kinds = ("colour", "index")  # these two are completed from the files
        found = replace(found, kind=settings.encoding, encoding=None if given.kind in open_kinds else given)
        found = replace(found, encoding_text=f"{settings.encoding}, as {source.name} says")
    return replace(found, notes=(*found.notes, f"settings from {source.name}"))


def _by_split(value: str | dict[Split, str]) -> dict[str | None, str]:
    return {None: value} if isinstance(value, str) else dict(value.items())


def _described_folders(tree: Tree, settings: Settings, source: Path) -> Found:
    masks = _files(tree, settings.masks, "masks", source)
    taken = {placed.file for placed in masks}
    images = [p for p in _files(tree, settings.images, "images", source) if settings.pattern or p.file not in taken]
    if settings.pattern is None:
        return found_pairs(tree, {"": images}, {"": masks})
    pattern = settings.pattern
    own = any((pattern.train, pattern.val, pattern.test))  # then equal numbers in two splits are two pictures
    of_image = {
        (own and p.split, key): p for p in images if (key := _middle(p.file, pattern.of(p.split).image)) is not None
    }
    of_mask = {
        (own and p.split, key): p for p in masks if (key := _middle(p.file, pattern.of(p.split).mask)) is not None
    }
    pairs = [
        (placed, of_mask[key])
        for key, placed in of_image.items()
        if key in of_mask and placed.file != of_mask[key].file
    ]
    if not pairs:
        raise DataError(f"{source}: pattern {pattern.image} / {pattern.mask} pairs no file; correct it")
    lonely = tuple(tree.path(p.file) for key, p in of_image.items() if key not in of_mask)
    return Found("folders", unique_names([make_item(tree, a, b) for a, b in pairs]), without_label=lonely)


def _files(tree: Tree, folders: str | dict[Split, str] | None, key: str, source: Path) -> list[Placed]:
    """The picture files of the folders that a key names; all of the tree where it names none."""
    placed = []
    for split, folder in _by_split(folders if folders is not None else ".").items():
        name = str(PurePosixPath(folder))
        inside = [f for f in tree.pictures if name == "." or f.is_relative_to(name)]
        if not inside:
            kinds = ", ".join(PICTURE_SUFFIXES[:4])
            raise DataError(f"{source}: {key}: no picture ({kinds}, ...) in {tree.root / name}; correct the folder")
        for file in inside:
            where = place(file)[1]
            # The folder itself says nothing more; what lies below it must agree on both sides.
            below = file.parent.relative_to(name)
            neutral = "/".join(p for p in below.parts if p not in ("train", "val", "test"))
            placed.append(replace(where, folder="", neutral=neutral, split=split or where.split))
    return placed


def _with_ignore_masks(tree: Tree, found: Found, settings: Settings, source: Path) -> Found:
    """Found whose label files know the mask of their picture; a picture without one counts as a whole."""
    masks = [replace(p, neutral="") for p in _files(tree, settings.ignore_mask, "ignore_mask", source)]
    images = [
        Placed(PurePosixPath(item.image.relative_to(tree.root).as_posix()), "", "", item.split) for item in found.items
    ]
    pairs, _ = pair_placed(images, masks)
    of_image = {tree.path(image.file): tree.path(mask.file) for image, mask in pairs}
    if not of_image:
        raise DataError(f"{source}: ignore_mask: no file there has the name of a picture; correct the folder")
    if not all(isinstance(item.source, FileLabels) for item in found.items):
        raise DataError(f"{source}: ignore_mask goes with label pictures, not with shapes; take it out")
    items = tuple(
        replace(item, source=replace(item.source, ignore_mask=of_image.get(item.image)))
        if isinstance(item.source, FileLabels)
        else item
        for item in found.items
    )
    note = (
        f"left out (ignore) where an ignore mask is 0: {len(of_image)} of {number_of(len(items), 'picture')} have one"
    )
    taken = {path.resolve() for path in of_image.values()}
    unpaired = tuple(path for path in found.without_image if path.resolve() not in taken)
    return replace(found, items=items, notes=(*found.notes, note), without_image=unpaired)


def _middle(file: PurePosixPath, pattern: str) -> str | None:
    """The part of a stem that the star of a pattern stands for."""
    before, _, after = pattern.partition("*")
    stem = file.stem
    if len(stem) <= len(before) + len(after) or not (stem.startswith(before) and stem.endswith(after)):
        return None
    return stem[len(before) : len(stem) - len(after)]


def _named_splits(tree: Tree, settings: Settings, source: Path) -> dict[str, list[str] | str]:
    splits = settings.splits
    if isinstance(splits, str):
        return dict(_fold_of(tree.root / splits, settings.fold, source))
    named_splits: dict[str, list[str] | str] = {}
    for split, value in (splits or {}).items():
        if isinstance(value, list) or value == ALL:
            named_splits[split] = value
        elif (tree.root / value).is_dir():
            raise DataError(f"{source}: splits.{split} is a folder; write it as `images: {{{split}: {value}}}`")
        else:
            named_splits[split] = read_list(tree.root / value)
    if list(named_splits.values()).count(ALL) > 1:
        raise DataError(f"{source}: splits: `all` stands twice; only one split can have the rest")
    return named_splits


def _fold_of(path: Path, fold: int, source: Path) -> dict[str, list[str]]:
    if not path.is_file():
        raise DataError(f"{source}: splits: {path} does not exist; correct the name")
    folds = read_table(path)
    if fold >= len(folds):
        count = number_of(len(folds), "fold") if folds else "no splits"
        raise DataError(f"{source}: fold {fold}, but {path.name} has {count}; write `fold: 0` or another file")
    return folds[fold]


def _names(settings: Settings, source: Path) -> tuple[NamedLabel, ...]:
    labels = settings.labels
    if labels is None:
        return ()
    if isinstance(labels, dict):
        result = [named(label_id, name) for label_id, name in sorted(labels.items())]
    elif labels and isinstance(labels[0], dict):
        _refuse_unknown_keys(labels, source)
        try:
            table = LabelSpace.from_list(labels)
        except DataError as error:
            raise DataError(f"{source}: {error}") from None
        rows = {int(row["id"]): row for row in labels}
        result = [
            NamedLabel(
                e.id, e.name, e.colour if "colour" in rows[e.id] else None, e.role == "ignore", e.role == "background"
            )
            for e in table.entries
        ]
    else:
        result = [named(index, str(name)) for index, name in enumerate(labels)]
    known = {label.id for label in result}
    extra = [
        NamedLabel(i, "ignore" if i == 255 else f"ignore {i}", ignore=True) for i in settings.ignore if i not in known
    ]
    return (*(replace(label, ignore=label.ignore or label.id in settings.ignore) for label in result), *extra)


def _refuse_unknown_keys(rows: list[dict[str, Any]], source: Path) -> None:
    """Raise DataError for an unknown key of a label row, such as `color`: it would be ignored in silence."""
    for key in (key for row in rows for key in row if key not in LABEL_KEYS):
        near = difflib.get_close_matches(str(key), LABEL_KEYS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys are {', '.join(LABEL_KEYS)}"
        raise DataError(f"{source}: labels: unknown key {key!r}; {hint}")


def _with_names(found: Found, names: tuple[NamedLabel, ...]) -> Found:
    """The table of data.yaml in place of what the layout knows; a polygon layout keeps the ids that it draws."""
    if found.items and not isinstance(found.items[0].source, FileLabels):
        assert found.table is not None, "layouts of shapes know their table"
        by_id = {label.id: label for label in names}
        drawn = {entry.id for entry in found.table.entries}
        strange = sorted(set(by_id) - drawn)
        if strange:
            raise DataError(
                f"labels in data.yaml: id {strange[0]} is not drawn by the {found.layout} layout ({sorted(drawn)[:12]})"
            )
        entries = tuple(
            replace(
                e,
                name=by_id[e.id].name,
                colour=by_id[e.id].colour or e.colour,
                role="ignore" if by_id[e.id].ignore else e.role,
            )
            if e.id in by_id
            else e
            for e in found.table.entries
        )
        return replace(found, table=LabelSpace(entries))
    return replace(found, names=names, table=None, named_fully=True)


def _ignoring(table: LabelSpace, ids: list[int]) -> LabelSpace:
    return LabelSpace(tuple(replace(e, role="ignore") if e.id in ids else e for e in table.entries))
