"""BDD100K (Yu et al. 2020): images/10k or images/100k with labels/sem_seg/masks or labels/drivable/masks.

Also its first release (seg/images, seg/labels with *_train_id.png). Colour maps beside the masks show the same labels
and are not needed. https://doc.bdd100k.com/format.html
"""

from dataclasses import replace

from denselab.data.folders.folder import found_pairs
from denselab.data.folders.placing import Placed
from denselab.data.item import Found, NamedLabel
from denselab.data.layouts.tables import CITYSCAPES
from denselab.data.listing.tree import Tree, split_in_name
from denselab.data.names.name_files import named
from denselab.data.yaml_text import in_yaml
from denselab.errors import DataError

STREETS = tuple(NamedLabel(train, name, colour) for _, name, train, colour in CITYSCAPES if train != 255)
TASKS: dict[str, tuple[NamedLabel, ...]] = {
    "sem_seg": (*STREETS, NamedLabel(255, "unknown", (0, 0, 0), ignore=True)),
    "drivable": (named(0, "direct"), named(1, "alternative"), named(2, "background")),
}


def find_bdd100k(tree: Tree) -> Found | None:
    """The pictures of one task; None where this is not BDD100K. Raises DataError where both tasks are there."""
    if "seg/images" in tree.folders and "seg/labels" in tree.folders and _under(tree, "seg/labels", "_train_id"):
        return _found(tree, "seg/images", "seg/labels", "sem_seg")
    tasks = [task for task in TASKS if f"labels/{task}/masks" in tree.folders]
    sizes = [folder for folder in ("images/10k", "images/100k") if folder in tree.folders]
    if not tasks or not sizes:
        return None
    fits = [(size, task) for task in tasks for size in sizes if _pairs(tree, size, task)]
    if len({task for _, task in fits}) > 1:
        lines = " or ".join(_lines(size, task) for size, task in fits)
        raise DataError(f"{tree.root}: BDD100K with the labels of {len(fits)} tasks; write in data.yaml {lines}")
    return _found(tree, fits[0][0], f"labels/{fits[0][1]}/masks", fits[0][1]) if fits else None


def _pairs(tree: Tree, images: str, task: str) -> bool:
    pictures = {f.stem for f in tree.pictures if f.is_relative_to(images)}
    return any(f.stem in pictures for f in tree.pictures if f.is_relative_to(f"labels/{task}/masks"))


def _lines(images: str, task: str) -> str:
    names = in_yaml([{"id": n.id, "name": n.name, **({"role": "ignore"} if n.ignore else {})} for n in TASKS[task]])
    return f"`images: {images}` and `masks: labels/{task}/masks` and `labels: {names}`"


def _under(tree: Tree, folder: str, ending: str = "") -> list[Placed]:
    files = [f for f in tree.pictures if f.is_relative_to(folder) and f.stem.endswith(ending)]
    return [Placed(f, folder, "", split_in_name(f.parent.name)) for f in files]


def _found(tree: Tree, images: str, masks: str, task: str) -> Found:
    ending = "_train_id" if masks == "seg/labels" else ""
    found = found_pairs(tree, {images: _under(tree, images)}, {masks: _under(tree, masks, ending)}, "BDD100K")
    note = f"labels from {masks}, with the names of BDD100K's {task}; colour maps beside them are passed over"
    notes = tuple(n for n in found.notes if not n.startswith("class names"))
    return replace(found, names=TASKS[task], notes=(*notes, note))
