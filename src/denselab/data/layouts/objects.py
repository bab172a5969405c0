"""One mask file per object: <picture>/images/x.png with <picture>/masks/*.png (Data Science Bowl 2018: nuclei)."""

from collections import defaultdict
from pathlib import PurePosixPath

from denselab.data.folders.folder import item_of
from denselab.data.item import Found
from denselab.data.label_files.label_table import object_table, table_of_names
from denselab.data.label_files.shapes import ObjectMasks
from denselab.data.listing.tree import Tree, folder_role, split_in_name, split_of_folders
from denselab.data.names.names import read_names


def find_objects(tree: Tree) -> Found | None:
    """Folders that each hold one picture in an image folder and its masks beside; None where there are none."""
    pictures, masks = _by_parent(tree, "image"), _by_parent(tree, "label")
    homes = [home for home in sorted(masks) if len(pictures.get(home, [])) == 1]
    if not homes or not any(len(masks[home]) > 1 for home in homes) or PurePosixPath(".") in homes:
        return None
    items = []
    for home in homes:
        image = pictures[home][0]
        files = masks[home]
        source = ObjectMasks(tree.path(files[0]).parent, tuple(tree.path(f) for f in files))
        split = split_of_folders(home) or split_in_name(home.name)  # which may be the picture's own name
        items.append(item_of(tree, image, source, split))
    names, names_file = read_names(tree)
    table = table_of_names(names) if len(names) == 2 else object_table()
    notes = ["one mask per object: their union is class 1, the rest background 0"]
    if len(names) == 2:
        notes.append(f"class names from {names_file}")
    lonely = tuple(tree.path(f) for home in sorted(set(pictures) - set(homes)) for f in pictures[home])
    return Found(
        "one mask per object",
        tuple(items),
        table,
        encoding_text="one two-valued mask file per object",
        notes=tuple(notes),
        without_label=lonely,
    )


def _by_parent(tree: Tree, role: str) -> dict[PurePosixPath, list[PurePosixPath]]:
    """{folder above an image or mask folder: picture files in it}."""
    found: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for file in tree.pictures:
        if len(file.parts) > 2 and folder_role(file.parent.name) == role:
            found[file.parent.parent].append(file)
    return found
