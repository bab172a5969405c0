"""data.yaml: the user says what is where. All keys are optional; an unknown one is refused with the nearest.

path: .                        # the folder, from data.yaml's own
layout: folders                # try only this layout
images: pictures               # folder of the pictures; or [a, b]; or {train: a, val: b}
masks: annotations             # folder of the label files; or [a, b]; or {train: a, val: b}
pattern: {image: "*_img", mask: "*_gt"}     # file names without suffix; * is what both share; or {train: {...}, ...}
                               # a second * in that of pictures: several pictures of one label
ignore_mask: fov               # folder of masks that are 0 where no label counts (field of view); or {train: a, val: b}
annotations: instances.json    # COCO file, or csv of run lengths; or {train: a.json, val: b.json}
boxes: boxes.json              # COCO file of boxes for pictures without a mask; or {train: a.json}
tags: tags.txt                 # which classes pictures without a mask show: a picture and its tags in a line
splits: {train: train.txt, val: [name1, name2], test: all}  # all: the rest; or one csv or json file
fold: 0                        # of a file with several folds
encoding: index                # index, colour, two-valued, objects, divided, ade20k, red
threshold: 128                 # two-valued: from this value on it is 255
divisor: 1000                  # divided: class * divisor + instance
labels: [{id: 0, name: road, colour: [128, 64, 128], role: class}, ...]     # or [road, car], or {0: road, 7: car}
ignore: [255]                  # ids to leave out
priority: [sign, car]          # shapes that overlap: these classes lie on top, the first uppermost
rectangles: boxes              # rectangles among drawn shapes: boxes around objects, or masks
class_attribute: kind          # VIA: the attribute of a region that holds its class
run_order: rows                # run lengths in csv or COCO: along the rows, or down the columns
unlisted: background           # pictures that a csv does not name: without any class, or left out
annotator: 3                   # Label Studio: whose annotations count
transparent: ignore            # transparent pixels of label pictures: ignore, or keep (the colour below counts)
white: 4095                    # the number for white in pictures of more than 8 bits
bands: [blue, green, red, nir] # of pictures that are not RGB; or 4; or {1: blue, 8: nir} to use some of a file's bands
display_bands: [red, green, blue]           # which are shown, by name or number; one is shown as grey
band_files: {blue: "*_B02", nir: "*_B08"}   # one file per band: names without suffix; * is what all share
"""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from denselab.config.strict import Strict
from denselab.data.described.described import (
    Folders,
    Pattern,
    SeveralFolders,
    Split,
    by_split,
    described_folders,
    with_ignore_masks,
)
from denselab.data.item import FileLabels, Found, Item, NamedLabel
from denselab.data.label_files.encodings import Encoding, Kind
from denselab.data.label_files.label_table import table_of_names
from denselab.data.layouts import RECOGNISERS, malformed_as_data_error
from denselab.data.layouts.coco import find_coco_files
from denselab.data.layouts.drawn import with_priority
from denselab.data.layouts.rectangles import Rectangles
from denselab.data.layouts.rle_csv import find_rle_csv_files
from denselab.data.layouts.yolo import KEYS as YOLO_KEYS
from denselab.data.layouts.yolo import Described, described, find_described_yolo
from denselab.data.listing.tree import Choices, Tree
from denselab.data.names.name_files import named
from denselab.data.splits.lists import ALL, apply_lists, read_list, weak_held_out
from denselab.data.splits.split_tables import read_table
from denselab.documents import parse_yaml, read_text
from denselab.errors import DataError
from denselab.in_words import first_few, number_of
from denselab.labels import LabelSpace

YAML_NAMES = ("data.yaml", "data.yml")
LABELS_FORMS = "[road, car] or {0: road, 7: car} or [{id: 0, name: road, colour: [128, 64, 128], role: class}, ...]"
LABEL_KEYS = ("id", "name", "colour", "role")
Layout = Literal[
    "camvid", "cityscapes", "mapillary", "kitti", "ade20k", "voc", "coco", "labelme", "labelme-xml", "cvat",
    "label-studio", "label-studio-json", "supervisely", "via", "bdd100k", "nnunet", "rle-csv", "yolo", "objects",
    "cell-tracking", "folders",
]  # fmt: skip


class Settings(Strict):
    """What data.yaml may hold."""

    model_config = ConfigDict(extra="forbid")
    path: str | None = None
    layout: Layout | None = None
    images: SeveralFolders = None
    masks: SeveralFolders = None
    pattern: Pattern | None = None
    annotations: Folders = None
    boxes: Folders = None
    tags: Folders = None
    splits: str | dict[Split, str | list[str]] | None = None
    fold: int = Field(default=0, ge=0)
    encoding: Kind | None = None
    threshold: int = Field(default=128, ge=1, le=255)
    divisor: int = Field(default=1000, ge=2)
    labels: list[str] | list[dict[str, Any]] | dict[int, str] | None = None
    ignore: list[int] = Field(default=[])
    ignore_mask: Folders = None
    priority: list[str] | None = None
    rectangles: Rectangles | None = None
    class_attribute: str | None = None
    run_order: Literal["columns", "rows"] | None = None
    unlisted: Literal["background", "left out"] | None = None
    annotator: int | None = None
    white: int | None = Field(default=None, ge=1, le=65535)
    bands: int | list[str] | dict[int, str] | None = None
    display_bands: str | int | list[str | int] | None = None
    band_files: list[str] | dict[str, str] | None = None
    transparent: Literal["ignore", "keep"] | None = None

    def choices(self) -> Choices:
        """What it says of annotations that can be read in more than one way."""
        return Choices(self.class_attribute, self.run_order, self.unlisted, self.annotator)


# Which layouts a choice is about.
CHOSEN_IN = {
    "class_attribute": ("VIA",),
    "run_order": ("run lengths in csv", "COCO instances"),
    "unlisted": ("run lengths in csv",),
    "annotator": ("Label Studio json",),
}


def read_settings(path: Path) -> tuple[Settings, Described | None]:
    """The settings of a data.yaml, and what it says where it is Ultralytics'.

    Raises DataError naming the file, the key and the nearest valid key; further keys of Ultralytics are passed over.
    """
    try:
        data = parse_yaml(read_text(path))
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not YAML that can be read: {error}; correct it") from None
    if not isinstance(data or {}, dict):
        raise DataError(f"{path}: holds {type(data).__name__}; expected keys such as images, masks, labels")
    told = described(data, path) if data and not set(data).isdisjoint(YOLO_KEYS) else None
    if told is not None:
        of_pictures = not {"masks", "pattern", "layout"}.isdisjoint(data)  # then the names are those of their numbers
        names = {"labels": dict(told.names)} if of_pictures and told.names else {}
        data = {key: value for key, value in {**names, **data}.items() if key in Settings.model_fields}
    try:
        return Settings.model_validate(data or {}), told
    except ValidationError as error:
        raise DataError(f"{path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    fault = error.errors()[0]
    if not fault["loc"]:
        return f"{fault['msg']}; correct it"
    if fault["loc"][0] == "labels":
        return f"labels: {LABELS_FORMS} was expected (got {fault['input']!r}); correct it"
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] != "extra_forbidden":
        return f"{fault['loc'][0]!s}: {fault['msg']} (got {fault['input']!r}); correct it"
    valid = list(Pattern.model_fields if len(fault["loc"]) > 1 else Settings.model_fields)
    near = difflib.get_close_matches(str(fault["loc"][-1]), valid, n=1, cutoff=0.5)
    return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"valid keys are {', '.join(valid)}")


def find_described(tree: Tree, settings: Settings, told: Described | None, source: Path) -> Found | None:
    """What images, masks, annotations, layout or Ultralytics' keys point to; None where data.yaml leaves that open."""
    if settings.masks is not None or settings.pattern is not None:
        return described_folders(tree, settings.images, settings.masks, settings.pattern, source)
    if settings.images is not None and settings.layout is None and settings.annotations is None:
        raise DataError(f"{source}: images needs `masks: FOLDER` beside it, the folder of their label pictures")
    if settings.annotations is not None:
        files = by_split(settings.annotations)
        for name in files.values():
            if not tree.has(name):
                raise DataError(f"{source}: annotations: {name} does not exist below {tree.root}; correct the path")
        named_files = [(PurePosixPath(name), split) for split, name in files.items()]
        if all(name.lower().endswith(".csv") for name in files.values()):
            return find_rle_csv_files(tree, named_files)
        return malformed_as_data_error(lambda tree: find_coco_files(tree, named_files))(tree)
    if settings.layout is None:
        return None if told is None else find_described_yolo(tree, told, source)
    found = dict(RECOGNISERS)[settings.layout](tree)
    if found is None:
        raise DataError(
            f"{source}: layout {settings.layout} does not fit {tree.root}; leave the key out to have it recognised"
        )
    return found


def apply_settings(tree: Tree, root: Path, found: Found, settings: Settings, source: Path) -> Found:
    """What was found, with the splits, the encoding and the table that data.yaml says.

    root: where the data set was found: the tree's, or a folder below; list files may be given from either.
    """
    if settings.ignore_mask is not None:
        found = with_ignore_masks(tree, found, settings.ignore_mask, source)
    if settings.splits is not None:
        named_splits = _named_splits(tree.root, root, found.items, settings, source)
        items, notes = apply_lists(found.items, named_splits, source.name)
        weak = weak_held_out(found.weak, named_splits)
        found = replace(found, items=items, weak=weak, notes=(*found.notes, *notes), divided=True)
    for key, layouts in CHOSEN_IN.items():
        if getattr(settings, key) is not None and found.layout not in layouts:
            raise DataError(
                f"{source}: {key} goes with {' or '.join(layouts)}, but the data are {found.layout}; take it out"
            )
    found = replace(found, white=settings.white, transparent=settings.transparent)
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


def _named_splits(
    top: Path, root: Path, items: Sequence[Item], settings: Settings, source: Path
) -> dict[str, list[str] | str]:
    """{split: names, or ALL}; a folder stands for the pictures in it."""
    splits = settings.splits
    if isinstance(splits, str):
        return dict(_fold_of(_there(top, root, splits), settings.fold, source))
    named_splits: dict[str, list[str] | str] = {}
    for split, value in (splits or {}).items():
        if isinstance(value, list) or value == ALL:
            named_splits[split] = value
        elif (top / value).is_dir():
            inside = (top / value).resolve()
            named_splits[split] = [item.name for item in items if item.image.resolve().is_relative_to(inside)]
            if not named_splits[split]:
                raise DataError(f"{source}: splits.{split}: no labelled picture in {top / value}; correct the folder")
        else:
            named_splits[split] = read_list(_there(top, root, value))
    if list(named_splits.values()).count(ALL) > 1:
        raise DataError(f"{source}: splits: `all` stands twice; only one split can have the rest")
    return named_splits


def _there(top: Path, root: Path, name: str) -> Path:
    return top / name if (top / name).exists() or not (root / name).exists() else root / name


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
        added = tuple(e for e in table_of_names(names).entries if e.id not in drawn)
        entries = added + tuple(
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
        listed = first_few((f"{e.id} {e.name}" for e in added), 8)
        more = [f"classes of data.yaml that no shape has: {listed}"] if added else []
        table = LabelSpace(tuple(sorted(entries, key=lambda e: e.id)))
        return replace(found, table=table, notes=(*found.notes, *more))
    return replace(found, names=names, table=None, named_fully=True)


def _ignoring(table: LabelSpace, ids: list[int]) -> LabelSpace:
    return LabelSpace(tuple(replace(e, role="ignore") if e.id in ids else e for e in table.entries))
