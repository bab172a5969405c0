"""nnU-Net's folders: imagesTr with CASE_0000.png, labelsTr with CASE.png, dataset.json; imagesTs and labelsTs are test.

One file for each case and channel; the names of the ids stand in dataset.json (`labels`).
https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md
"""

import re
from pathlib import PurePosixPath
from typing import Any

from denselab.data.folders.folder import make_item
from denselab.data.folders.placing import placed_in
from denselab.data.item import Found, NamedLabel
from denselab.data.listing.json_file import read_json
from denselab.data.listing.tree import Tree
from denselab.data.names.name_files import named
from denselab.data.names.names import read_names
from denselab.data.yaml_text import in_yaml
from denselab.errors import DataError
from denselab.in_words import first_few

CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")
VOLUMES = (".nii", ".gz", ".nrrd", ".mha", ".mhd")
PARTS = (("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test"))


def find_nnunet(tree: Tree) -> Found | None:
    """The cases that have a label; None where there is no labelsTr beside a dataset.json.

    Raises DataError for volumes, and for several channels of a case.
    """
    if "labelsTr" not in tree.top or "imagesTr" not in tree.top or not tree.has("dataset.json"):
        return None
    _refuse_volumes(tree)
    items, lonely = [], []
    for images, masks, split in PARTS:
        pictures = {_case(f): f for f in _channel(tree, images)}
        labels = {f.stem: f for f in tree.pictures if str(f.parent) == masks}
        known = split if masks == "labelsTs" else None  # what is in Tr may be divided by folds
        for case, picture in sorted(pictures.items()):
            label = labels.get(case, labels.get(picture.stem))  # by mistake named with the channel, as the picture
            if label is not None:
                items.append(make_item(tree, placed_in(picture, known), placed_in(label, known)))
            elif split == "train":
                lonely.append(tree.path(picture))
    if not items:
        raise DataError(f"{tree.root}: no case of imagesTr (CASE_0000) has a label of its name in labelsTr")
    names, notes = _names(tree)
    return Found("nnU-Net", tuple(items), names=names, notes=tuple(notes), without_label=tuple(lonely))


def _refuse_volumes(tree: Tree) -> None:
    volumes = [f for f in tree.files if f.parts[0] in ("imagesTr", "labelsTr") and f.suffix.lower() in VOLUMES]
    if volumes:
        raise DataError(
            f"{tree.root}: nnU-Net with volumes ({volumes[0]}), which are not read; "
            "save their slices as PNG or TIFF: imagesTr/CASE_SLICE_0000.png and labelsTr/CASE_SLICE.png"
        )


def _case(file: PurePosixPath) -> str:
    match = CHANNEL.match(file.stem)
    return match["case"] if match else file.stem


def _channel(tree: Tree, folder: str) -> list[PurePosixPath]:
    """The pictures of the only channel. Raises DataError for several, with the lines that take one of them."""
    files = [f for f in tree.pictures if str(f.parent) == folder]
    channels = sorted({match["channel"] for f in files if (match := CHANNEL.match(f.stem))})
    if len(channels) < 2:
        return files
    lines = " or ".join(
        f"`images: {folder}` and `masks: labelsTr` and `pattern: {in_yaml({'image': f'*_{channel}', 'mask': '*'})}`"
        for channel in channels
    )
    raise DataError(
        f"{tree.root}: nnU-Net with {len(channels)} channels in files of their own, of which one is read: "
        f"write in data.yaml {lines}, or join them into RGB pictures CASE_0000.png"
    )


def _names(tree: Tree) -> tuple[tuple[NamedLabel, ...], list[str]]:
    """The names of dataset.json. Regions (a name with several ids) overlap: their ids are classes of their own."""
    names, file = read_names(tree)
    table: Any = read_json(tree.path("dataset.json")).get("labels")
    if names or not isinstance(table, dict):
        return names, [f"class names from {file}"] if file else []
    for name, ids in table.items():
        if not all(type(i) is int for i in (ids if isinstance(ids, list) else [ids])):
            raise DataError(
                f"{tree.path('dataset.json')}: the label {name!r} has {ids!r}; a whole number was expected, "
                "or for a region a list of them"
            )
    single = {ids: name for name, ids in table.items() if isinstance(ids, int)}
    regions = {name: ids for name, ids in table.items() if isinstance(ids, list)}
    known = {*single, *(i for ids in regions.values() for i in ids)}
    labels = tuple(named(i, single.get(i, f"class {i}")) for i in sorted(known))
    note = f"regions of several ids ({first_few(regions)}) overlap: each id is a class of its own"
    return labels, ["class names from dataset.json", note]
