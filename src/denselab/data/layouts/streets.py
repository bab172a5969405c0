"""Street scenes with published tables: Cityscapes (2016), KITTI (2018), Mapillary Vistas (2017)."""

import re
from dataclasses import replace
from pathlib import PurePosixPath

from denselab.data.folders.folder import item_of
from denselab.data.item import FileLabels, Found, Item
from denselab.data.label_files.encodings import Encoding
from denselab.data.label_files.scan import scan
from denselab.data.layouts.tables import CITYSCAPES
from denselab.data.listing.json_file import read_json
from denselab.data.listing.tree import SPLIT_WORDS, Tree
from denselab.data.names.names import read_names
from denselab.data.yaml_text import in_yaml
from denselab.errors import DataError
from denselab.labels import LabelEntry, LabelSpace

# Best first: the original ids, then the ids of training, then instances (id * 1000 + number from 1000 on).
CITYSCAPES_KINDS = ("labelIds", "labelTrainIds", "instanceIds")


def find_cityscapes(tree: Tree) -> Found | None:
    """leftImg8bit beside gtFine or gtCoarse, with or without city folders; None where they are not there."""
    truth = next((folder for folder in ("gtFine", "gtCoarse") if folder in tree.top), None)
    home = next((h for h in ("leftImg8bit", "imgsFine/leftImg8bit") if h in tree.folders), None)  # the second: CVAT
    if home is None or truth is None:
        return None
    images = {_scene(f.relative_to(home), "leftImg8bit"): f for f in tree.pictures if f.is_relative_to(home)}
    for kind in CITYSCAPES_KINDS:
        labels = {
            _scene(f.relative_to(truth), f"{truth}_{kind}"): f
            for f in tree.pictures
            if f.parts[0] == truth and f.stem.endswith(f"_{kind}")
        }
        scenes = sorted(set(images) & set(labels))
        if scenes:
            break
    else:
        colours = any(f.parts[0] == truth and f.stem.endswith(f"_{truth}_color") for f in tree.pictures)
        pattern = in_yaml({"image": "*_leftImg8bit", "mask": f"*_{truth}_color"})
        way = f", or read the colours: write in data.yaml `pattern: {pattern}`" if colours else ""
        raise DataError(
            f"{tree.root}: no *_{truth}_labelIds.png with the name of a picture in leftImg8bit; "
            f"run createTrainIdLabelImgs{way}"
        )
    items = tuple(_cityscapes_item(tree, home, images[s], labels[s]) for s in scenes)
    lonely = tuple(tree.path(images[s]) for s in sorted(set(images) - set(labels)))
    names, file = read_names(tree)
    if names and kind == "labelIds":
        notes = (f"labels from {kind}, classes from {file}",)
        return Found("Cityscapes (CVAT)", items, encoding=Encoding(), names=names, notes=notes, without_label=lonely)
    note = f"labels from {kind}; the 19 classes that Cityscapes scores"
    found = Found("Cityscapes", items, notes=(note,), without_label=lonely)
    if kind == "labelTrainIds":
        return replace(
            found, table=_train_id_table(items), encoding=Encoding(), encoding_text="index, Cityscapes trainIds"
        )
    encoding = Encoding("divided", divisor=1000, minimum=1000) if kind == "instanceIds" else Encoding()
    return replace(found, table=_id_table(), encoding=encoding, encoding_text=f"index, Cityscapes ids from {kind}")


def _scene(file: PurePosixPath, ending: str) -> str:
    """Folders, and the name without its ending: the part that picture and label share."""
    return "/".join((*file.parts[:-1], file.stem.removesuffix(f"_{ending}")))


def _cityscapes_item(tree: Tree, home: str, image: PurePosixPath, label: PurePosixPath) -> Item:
    below = image.relative_to(home).parts
    split = SPLIT_WORDS.get(below[0].split("_")[0].lower()) if len(below) > 1 else None
    city = re.match(r"^(.+_\d{6})_\d{6}_leftImg8bit$", image.stem)  # city_sequence_frame
    group = city[1] if city else ""
    return item_of(tree, image, FileLabels(tree.path(label)), split, group)


def _id_table() -> LabelSpace:
    return LabelSpace(
        tuple(
            LabelEntry(i, name, colour, "ignore" if train == 255 else "class") for i, name, train, colour in CITYSCAPES
        )
    )


def _train_id_table(items: tuple[Item, ...]) -> LabelSpace:
    classes = [LabelEntry(train, name, colour) for _, name, train, colour in CITYSCAPES if train != 255]
    voids = [LabelEntry(255, "void", (0, 0, 0), "ignore")]
    seen = {value for c in scan([item.source.path for item in items[:24]]) for value in c.counts}
    if 19 in seen:  # some tools number void 19 instead of 255
        voids.append(LabelEntry(19, "void (19)", (0, 0, 0), "ignore"))
    return LabelSpace((*classes, *voids))


def find_kitti(tree: Tree) -> Found | None:
    """KITTI's training/image_2 with semantic (Cityscapes ids), instance (id * 256 + number) or the road in gt_image_2.

    Raises DataError where there are only boxes or laser scans.
    """
    training = next(
        (folder for folder in ("training", "data_semantics/training") if f"{folder}/image_2" in tree.folders), None
    )
    if training is None:
        if "velodyne_points" in tree.top:
            raise DataError(
                f"{tree.root}: KITTI raw: pictures and laser scans, no pixel labels; "
                "get KITTI's semantics (data_semantics)"
            )
        return None
    kind = next((k for k in ("semantic", "instance") if f"{training}/{k}" in tree.folders), None)
    if kind is None and f"{training}/gt_image_2" in tree.folders:
        return _kitti_road(tree, training)
    if kind is None:
        raise DataError(
            f"{tree.root}: KITTI boxes (label_2), no pixel labels; "
            "segmentation needs training/semantic or training/instance"
        )
    items = []
    for image in tree.pictures:
        label = PurePosixPath(training, kind, f"{image.stem}.png")
        if str(image.parent) == f"{training}/image_2" and tree.has(str(label)):
            items.append(item_of(tree, image, FileLabels(tree.path(label))))
    encoding = Encoding("divided", divisor=256, minimum=256) if kind == "instance" else Encoding()
    text = "16-bit, id * 256 + number" if kind == "instance" else "index"
    note = f"labels from {kind}, with the ids of Cityscapes"
    return Found("KITTI", tuple(items), _id_table(), encoding, f"{text}, Cityscapes ids", notes=(note,))


def _kitti_road(tree: Tree, training: str) -> Found:
    """KITTI road: image_2/um_000000.png with gt_image_2/um_road_000000.png, where the road is magenta."""
    items = []
    for image in tree.pictures:
        label = f"{training}/gt_image_2/{image.stem.replace('_', '_road_', 1)}.png"
        if str(image.parent) == f"{training}/image_2" and tree.has(label):
            items.append(item_of(tree, image, FileLabels(tree.path(label))))
    if not items:
        raise DataError(f"{tree.root}: no um_road_*.png with the number of a picture in {training}/image_2; add them")
    rows = (
        LabelEntry(0, "no road", (255, 0, 0), "background"),
        LabelEntry(1, "road", (255, 0, 255)),
        LabelEntry(255, "other road", (0, 0, 0), "ignore"),
    )
    encoding = Encoding("colour", colours=tuple((row.colour, row.id) for row in rows))
    notes = ("labels of the road; those of the lane (um_lane_*.png) are left out",)
    return Found("KITTI road", tuple(items), LabelSpace(rows), encoding, "RGB colours of KITTI road", notes=notes)


def find_mapillary(tree: Tree) -> Found | None:
    """Mapillary Vistas: <split>/images with <split>/v2.0/labels (or v1.2, or <split>/labels) and config*.json."""
    configs = sorted((f for f in tree.files if re.match(r"^config.*\.json$", str(f))), reverse=True)
    splits = [folder for folder in tree.top if folder.lower() in SPLIT_WORDS and f"{folder}/images" in tree.folders]
    versions = [v for v in ("v2.0", "v1.2") if {f"{v}/labels", f"{v}/instances"} <= tree.folders]
    if not splits and versions and "images" in tree.folders:
        raise DataError(
            f"{tree.root}: one split of Mapillary Vistas; open the folder above it, where config_{versions[0]}.json is"
        )
    if not configs or not splits:
        return None
    for config in configs:
        version = re.sub(r"^config_?|\.json$", "", config.name)
        folder = f"{version}/labels" if any(f"{s}/{version}/labels" in tree.folders for s in splits) else "labels"
        items = [item for split in splits for item in _mapillary_items(tree, split, folder)]
        if items:
            others = [c.name for c in configs if c != config]
            notes = [f"labels of {version or 'this release'}, table from {config.name}"]
            notes += [
                f"{other} is another table of the same pictures; with {config.name} out of the folder it is read"
                for other in others
            ]
            table = _mapillary_table(tree, config)
            return Found(
                "Mapillary Vistas",
                tuple(items),
                table,
                Encoding(),
                "palette PNG (the index counts)",
                notes=tuple(notes),
            )
    return None


def _mapillary_items(tree: Tree, split: str, folder: str) -> list[Item]:
    items = []
    for image in tree.pictures:
        label = f"{split}/{folder}/{image.stem}.png"
        if str(image.parent) == f"{split}/images" and tree.has(label):
            source = FileLabels(tree.path(label))
            items.append(item_of(tree, image, source, SPLIT_WORDS[split.lower()]))
    return items


def _mapillary_table(tree: Tree, config: PurePosixPath) -> LabelSpace:
    rows = read_json(tree.path(config)).get("labels", [])
    try:
        return LabelSpace(
            tuple(
                LabelEntry(
                    i,
                    str(row["name"]),
                    (row["color"][0], row["color"][1], row["color"][2]),
                    "class" if row["evaluate"] else "ignore",
                )
                for i, row in enumerate(rows)
            )
        )
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{tree.path(config)}: label without {error}; take the file of the release again") from None
