"""Finds the data set at a path: data.yaml first, then each layout in turn, then the sub-folders."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from os.path import commonpath
from pathlib import Path, PurePosixPath

from denselab.data.described.yaml_bands import given_bands
from denselab.data.described.yaml_file import YAML_NAMES, Settings, apply_settings, find_described, read_settings
from denselab.data.finding.band_files import in_band_files, with_bands
from denselab.data.finding.halves import labelled_half
from denselab.data.finding.several import (
    differing_tables,
    is_drawn,
    one_in_two_forms,
    parts_of_one,
    tells_a_role,
    together,
)
from denselab.data.finding.unknown_forms import no_known_layout
from denselab.data.finding.unread_forms import HEIC, HEIC_SUFFIXES, unread_form
from denselab.data.finding.weak import with_weak_files
from denselab.data.folders.asking import SeveralLabelFolders, SeveralWays
from denselab.data.folders.folder import find_folder
from denselab.data.item import FileLabels, Found, Item
from denselab.data.layouts import RECOGNISERS
from denselab.data.layouts.drawn import in_pixels, noting_lines
from denselab.data.layouts.rectangles import with_rectangles
from denselab.data.layouts.yolo import Described
from denselab.data.listing.tree import DATA, Tree, folder_role, read_tree, role_of_folders, split_in_name
from denselab.data.names.names import BadNames, NumberedApart, read_names, without_names
from denselab.data.names.unread_names import unread_names
from denselab.data.splits.given_splits import with_given_splits
from denselab.errors import DataError, SeveralDataSets
from denselab.in_words import first_few, number_of
from denselab.paths import require_path

# Layouts of shapes that tools draw beside label pictures of their own.
OF_SHAPES = frozenset(("coco", "labelme", "cvat", "supervisely", "via", "label-studio-json", "rle-csv", "yolo"))
PARTICULAR = tuple(pair for pair in RECOGNISERS if pair[0] != "folders")


def recognise(path: Path) -> tuple[Path, Found]:
    """The root of the data set and what was found there. Raises DataError where nothing or too much fits."""
    settings_file = _settings_file(path)
    if settings_file is None:
        _refuse_file(path)
        _, root, found = _found_in(path, Settings(), None, path)
        return root, found
    settings, told = read_settings(settings_file)
    folder = settings_file.parent / (settings.path or ".")
    if not folder.is_dir() and told is not None:  # Ultralytics means a folder of its own settings
        folder = settings_file.parent
    if not folder.is_dir():
        raise DataError(f"{settings_file}: path: {folder} is not a folder; give it relative to {settings_file.name}")
    tree, root, found = _found_in(folder, settings, told, settings_file)
    return root, apply_settings(tree, root, found, settings, settings_file)


def _refuse_file(path: Path) -> None:
    """Raise DataError where a file is given that is no data.yaml."""
    if path.is_file():
        form = unread_form(Tree(path.parent, (PurePosixPath(path.name),)))
        way = f"{form[1].name}; {form[1].way}" if form else "a file; give the folder of the data set, or a data.yaml"
        raise DataError(f"{path}: {way}")


def _found_in(folder: Path, settings: Settings, told: Described | None, source: Path) -> tuple[Tree, Path, Found]:
    """The tree of a folder, the root of the data set in it, and what was found there.

    source: the data.yaml, else the folder; for messages
    """
    bands = given_bands(settings, source)
    tree, given = in_band_files(read_tree(folder), bands, named=settings.pattern is not None)
    tree = replace(tree, choices=settings.choices())
    try:
        root, found = _described(tree, settings, told, source)
    except BadNames:
        if not settings.labels:
            raise
        root, found = _described(without_names(tree), settings, told, source)
    found = replace(found, items=_of_unique_names(found.items))
    found = with_weak_files(tree, found, settings.boxes, settings.tags, source)
    if settings.splits is None:
        found = with_given_splits(found, *_places(tree, root))
    found = with_rectangles(noting_lines(in_pixels(found)), settings.rectangles, source)
    return tree, root, with_bands(_noting_passed_over(tree, found, bool(settings.labels)), given)


def _of_unique_names(items: Sequence[Item]) -> tuple[Item, ...]:
    """Items whose names differ: where a.jpg and a.png are two pictures, the suffix stays."""
    often = Counter(item.name for item in items)
    return tuple(replace(i, name=i.name + i.image.suffix) if often[i.name] > 1 else i for i in items)


def _described(tree: Tree, settings: Settings, told: Described | None, source: Path) -> tuple[Path, Found]:
    """What data.yaml points to, else what is recognised in its folder."""
    found = find_described(tree, settings, told, source)
    return (tree.root, found) if found is not None else _recognise_tree(tree)


def _places(tree: Tree, root: Path) -> tuple[Tree, ...]:
    """The folder of the data set, and the one that was given where that lies above."""
    if root == tree.root:
        return (tree,)
    return (tree.below(root.relative_to(tree.root).as_posix()), tree)


def _noting_passed_over(tree: Tree, found: Found, named: bool = False) -> Found:
    """Found, with what could not be read in the folder that was given, whatever sub-folder the data set is in.

    named: whether data.yaml names the classes
    """
    notes = [*found.notes]
    if unread := [str(file) for file in tree.with_suffix(*HEIC_SUFFIXES)]:
        notes.append(f"{number_of(len(unread), 'file')} of HEIC not read ({first_few(unread)}); {HEIC.way}")
    if not named and not found.names and found.table is None and (table := unread_names(tree)):
        notes.append(
            f"no names of the classes: {table} is not read; where it tells them, write `labels: {{0: NAME, 1: NAME}}` "
            "in data.yaml"
        )
    passed_over = tuple((tree.path(file), why) for file, why in tree.passed_over)
    return replace(found, passed_over=passed_over, notes=tuple(notes))


def _settings_file(path: Path) -> Path | None:
    if path.suffix.lower() in (".yaml", ".yml"):
        return require_path(path, DATA)
    return next((path / name for name in YAML_NAMES if (path / name).is_file()), None)


def _recognise_tree(tree: Tree) -> tuple[Path, Found]:
    """A particular layout here; else parallel folders here or a layout in a sub-folder, as the folder names suggest."""
    if not tree.files:
        raise DataError(f"{tree.root}: the folder is empty; give the folder that holds the pictures and labels")
    found = _particular(tree)
    if found is not None:
        return tree.root, found
    roles = {folder_role(name) for name in tree.top}
    in_root = any(len(f.parts) == 1 for f in tree.pictures)
    telling = "image" in roles or any(split_in_name(name) for name in tree.top) or ("label" in roles and in_root)
    below = None if telling else _recognise_below(tree)
    if below is not None:
        return below
    try:
        found = find_folder(tree)
    except (SeveralLabelFolders, BadNames, NumberedApart):
        # a sub-folder would answer the question for a part of the data
        raise
    except DataError:
        below = _recognise_below(tree) if telling else _farther_below(tree)
        if below is None:
            raise
        return below
    if found is not None:
        return tree.root, found
    below = (_recognise_below(tree) if telling else None) or _in_one_folder(tree)
    if below is None:
        raise DataError(_nothing(tree))
    return below


def _in_one_folder(tree: Tree) -> tuple[Path, Found] | None:
    """What is in the folder that holds all pictures, whose own name says nothing of them: Dataset_BUSI_with_GT."""
    home = commonpath([str(file.parent) for file in tree.pictures]) if tree.pictures else "."
    found = find_folder(tree.below(home)) if home not in ("", ".") else None
    return _found_below(tree, tree.below(home), found) if found else None


def _farther_below(tree: Tree) -> tuple[Path, Found] | None:
    """What is in the innermost folder that holds all files; None where it is no data set. Raises SeveralDataSets."""
    home = commonpath([str(file.parent) for file in tree.files])
    if home in ("", "."):
        return None
    below = tree.below(home)
    try:
        root, found = _recognise_tree(below)
    except SeveralDataSets as several:
        raise SeveralDataSets(_told_of(below, several), several.folders) from None
    except DataError:
        return None
    found = replace(found, notes=tuple(note for note in found.notes if not note.startswith("the data set is in ")))
    return _found_below(tree, tree.below(root.relative_to(tree.root).as_posix()), found)


def _told_of(below: Tree, error: DataError) -> str:
    """The message of a sub-folder's error, and where the data.yaml goes that it speaks of."""
    return f"{error} (data.yaml goes into {below.root})" if "data.yaml" in str(error) else str(error)


def _particular(tree: Tree) -> Found | None:
    """The first layout but parallel folders that fits. Raises DataError where shapes stand beside label pictures."""
    for name, find in PARTICULAR:
        found = find(tree)
        if found is None:
            continue
        if name in OF_SHAPES and not isinstance(found.items[0].source, FileLabels):
            _refuse_label_pictures(tree, found, name)
        return found
    return None


def _refuse_label_pictures(tree: Tree, found: Found, name: str) -> None:
    folders = {str(f.parent) for f in tree.pictures if role_of_folders(f) == "label"}
    images = {item.image.parent.relative_to(tree.root).as_posix() for item in found.items}
    if folders - images:
        raise DataError(
            f"{tree.root}: the labels may be {found.layout}, "
            f"or the label pictures in {first_few(sorted(folders - images))}; "
            f"write `layout: {name}` or `layout: folders` in data.yaml"
        )


def _recognise_below(tree: Tree) -> tuple[Path, Found] | None:
    """The one data set at most two levels down. Raises DataError for several, or where each candidate was refused."""
    fits, refusals = _try_below(tree, depth=2)
    if not fits:
        paired = _ask_about_all(tree) if refusals else None
        if paired is not None:
            return tree.root, paired
        if refusals:
            message = (
                refusals[0]
                if len(refusals) == 1
                else f"{tree.root}: no data set to train on: {'; '.join(refusals[:4])}"
            )
            raise DataError(message)
        return None
    joined = parts_of_one(tree, fits)
    if joined is not None:
        whole, found = joined
        return (tree.root, found) if whole is tree else _found_below(tree, whole, found)
    if len(fits) > 1 and not one_in_two_forms(fits):
        folders = [below.root.relative_to(tree.root).as_posix() for below, _ in fits]
        message = f"{tree.root}: holds {len(fits)} data sets; open one of them: {first_few(folders, 40)}"
        shared = PurePosixPath(commonpath(folders)).parts  # the folder that holds everything says nothing
        telling = any(tells_a_role(part) for f in folders for part in PurePosixPath(f).parts[len(shared) :])
        more = differing_tables(tree, fits)
        if not more and not telling and (joining := together(tree, [found for _, found in fits])):
            more = joining + _beside(tree, folders)
        raise SeveralDataSets(message + more, [below.root for below, _ in fits])
    below, found = fits[0]
    _refuse_labels_beside(tree, below)
    name = below.root.relative_to(tree.root).as_posix()
    others = [other.root.relative_to(tree.root).as_posix() for other, _ in fits[1:]]
    if not others:
        return _found_below(tree, below, found)
    note = (
        f"the same pictures are labelled in several forms; {name} is used (pixels before shapes), "
        f"open {first_few(others)} for the others"
    )
    return _found_below(tree, below, found, note, others)


def _found_below(
    tree: Tree, below: Tree, found: Found, note: str = "", others: Sequence[str] = ()
) -> tuple[Path, Found]:
    """Found in a sub-folder, with the names of the folder above, and a note of where it is."""
    name = below.root.relative_to(tree.root).as_posix()
    found = _with_names_above(tree, name, found)
    note = note or f"the data set is in {name}; a data.yaml for it goes there"
    beside = _beside(tree, [name, *others]).removeprefix("; ")
    return below.root, replace(found, notes=(note, *filter(None, [beside]), *found.notes))


def _beside(tree: Tree, folders: Sequence[str]) -> str:
    """What is said of pictures that lie in none of these folders: non-landslide/ beside landslide/; else ""."""
    roles = ((file, role_of_folders(file)) for file in tree.pictures if not any(map(file.is_relative_to, folders)))
    beside = [file for file, role in roles if role == "image"]
    if not beside:
        return ""
    return (
        f"; {number_of(len(beside), 'picture')} elsewhere, not used ({first_few(beside, 2)}): where they show "
        "none of the classes, give them labels of background to train on them"
    )


def _refuse_labels_beside(tree: Tree, below: Tree) -> None:
    """Raise SeveralLabelFolders where a label folder beside the data set pairs with its pictures as well."""
    home = below.root.relative_to(tree.root)
    if not below.files:  # a data.yaml there says which labels are meant
        return
    if not any(folder_role(f.parts[0]) == "label" and not f.is_relative_to(home) for f in tree.pictures):
        return
    _ask_about_all(tree)


def _ask_about_all(tree: Tree) -> Found | None:
    """What pairs in the folder as a whole; None where nothing does.

    Raises SeveralLabelFolders or SeveralWays where the question is one for all of it, with its lines.
    """
    try:
        return find_folder(tree)
    except (SeveralLabelFolders, SeveralWays):
        raise
    except DataError:  # it does not pair
        return None


def _with_names_above(tree: Tree, folder: str, found: Found) -> Found:
    """Found in a sub-folder, with the names of the nearest folder above that has some, where it has none."""
    if found.names or found.table is not None:
        return found
    for above in PurePosixPath(folder).parents:
        names, file = read_names(tree if str(above) == "." else tree.below(str(above)))
        if names:
            return replace(found, names=names, notes=(*found.notes, f"class names from {above / file}"))
    return found


def _try_below(tree: Tree, depth: int) -> tuple[list[tuple[Tree, Found]], list[str]]:
    fits: list[tuple[Tree, Found]] = []
    refusals: list[str] = []
    for folder in tree.top:
        below = tree.below(folder)
        try:
            if any(below.has(name) for name in YAML_NAMES):
                root, described = recognise(below.root)
                fits.append((Tree(root, ()), described))
                continue
            found = _particular(below)
            if found is None and _may_hold_both(folder, below):
                found = find_folder(below)
        except DataError as error:
            refusals.append(_told_of(below, error))
            continue
        if found is not None:
            fits.append((below, found))
        elif depth > 1:
            deeper, more = _try_below(below, depth - 1)
            fits += deeper
            refusals += more
    fits.sort(key=lambda fit: (is_drawn(fit[1]), fit[0].root.as_posix()))
    return fits, refusals


def _may_hold_both(folder: str, below: Tree) -> bool:
    """Whether pictures and labels may lie in a folder: labels do, and where it is called by them, pictures too.

    In TUFTS' Segmentation/ two folders of masks stand beside each other, and the radiographs are outside.
    """
    roles = {folder_role(name) for name in below.top}
    return "label" in roles and (folder_role(folder) != "label" or "image" in roles)


def _nothing(tree: Tree) -> str:
    named = unread_form(tree)
    if named is not None:
        file, form = named
        return f"{tree.root}: {form.name} ({file}), which cannot be read here; {form.way}"
    if not tree.pictures:
        kinds = ", ".join(sorted({f.suffix for f in tree.files})[:6])
        files = number_of(len(tree.files), "file")
        return f"{tree.root}: no picture (.jpg, .png, .tif, ...) among {files} ({kinds}); give another folder"
    if half := labelled_half(tree):
        return (
            f"{tree.root}: the {half} half of each picture ({tree.pictures[0]}) has few colours, as if its label stood "
            "beside it in one file, which cannot be read. Cut each in two: the picture into images/, the label as PNG "
            "into labels/, each of its pixels with the number, or the exact colour, of its class"
        )
    return no_known_layout(tree)
