"""The splits that files beside the data give, for every layout: list files, tables, json, folds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from denselab.data.item import FileLabels, Found, Item, NamedWeak
from denselab.data.listing.json_file import split_in_path
from denselab.data.listing.tree import Tree, folder_role, split_in_name
from denselab.data.splits.group_tables import grouped_by_table
from denselab.data.splits.lists import apply_lists, find_lists, items_by_key, lists_that_fit, positions_of, read_list
from denselab.data.splits.loose_lists import BOTH, Lists, loose_lists
from denselab.data.splits.split_tables import find_table, other_words
from denselab.data.splits.unread_splits import unread_splits
from denselab.data.yaml_text import in_yaml
from denselab.errors import DataError

Notes = tuple[str, ...]


def with_given_splits(found: Found, *trees: Tree) -> Found:
    """Found with the splits that files give in the first of these folders that has some; as it is where none has.

    A layout whose own file divides the pictures (`divided`) stays as it is. Raises DataError where a picture stands
    in two splits, or a file for splits names no picture.
    """
    if found.divided:
        return found
    found = _sound_or_empty(replace(found, items=tuple(_held_out_by_folder(trees[0], item) for item in found.items)))
    for tree in trees:
        items, told = grouped_by_table(tree, found.items)
        if told:
            found = replace(found, items=items, notes=(*found.notes, told))
            break
    for tree in trees:
        items, notes = split_by_files(tree, found.items)
        if notes:
            weak = tuple(_held_out_if_named(tree, found.weak)) if found.weak else ()
            return replace(found, items=items, weak=weak, notes=(*found.notes, *notes), divided=True)
    if any(item.split is not None for item in found.items):
        return found
    by_names = _by_their_names(found.items)
    if by_names is not None:
        notes = (*found.notes, "split from the names of the pictures")
        return replace(found, items=by_names, notes=notes, divided=True)
    return replace(found, notes=(*found.notes, *unread_splits(trees[0], found.items)))


def _by_their_names(items: Sequence[Item]) -> tuple[Item, ...] | None:
    """Items with the splits of their file names (train_0001, 21_training); None where not all of them name one.

    Where all of them name the same one, it may be what the set is called.
    """
    splits = [split_in_name(item.image.stem) for item in items]
    if None in splits or len(set(splits)) < 2:
        return None
    return tuple(replace(item, split=split) for item, split in zip(items, splits, strict=True))


def _held_out_by_folder(tree: Tree, item: Item) -> Item:
    """An item in val or test where a folder says so; who trains follows from it."""
    if item.split is not None or not item.image.is_relative_to(tree.root):
        return item
    split = split_in_path(PurePosixPath(item.image.relative_to(tree.root).parent.as_posix()))
    return replace(item, split=split) if split in ("val", "test") else item


def _sound_or_empty(found: Found) -> Found:
    """Found without the split of a folder "valid" whose sisters say nothing of pictures or splits.

    Where nothing is called train or test it is not short for validation: DeepFish has pictures with fish in valid/ and
    those without in empty/.
    """
    homes = {_home(item, lambda name: name.lower() == "valid") for item in found.items if item.split == "val"}
    others = {_home(item, lambda name: folder_role(name) is None) for item in found.items if item.split is None}
    if {item.split for item in found.items} != {"val", None} or homes != others or len(homes) != 1 or None in homes:
        return found
    note = (
        "the folder valid is no split, as nothing is called train; `splits: {val: [NAME]}` in data.yaml holds pictures "
        "out"
    )
    items = tuple(replace(item, split=None) for item in found.items)
    return replace(found, items=items, notes=(*found.notes, note))


def _home(item: Item, fits: Callable[[str], bool]) -> PurePosixPath | None:
    """The folder above the innermost one of a picture that fits; None without one."""
    return next((above.parent for above in PurePosixPath(item.name).parents if above.name and fits(above.name)), None)


def _held_out_if_named(tree: Tree, weak: Sequence[NamedWeak]) -> Iterator[NamedWeak]:
    """Pictures with boxes or tags alone, in val or test where a list names them there; else as they are."""
    items = tuple(Item(record.name, record.image, FileLabels(record.image)) for record in weak)
    try:
        named, _ = split_by_files(tree, items)
    except DataError:  # the lists name none of them
        named = items
    for record, item in zip(weak, named, strict=True):
        held_out = record.split is None and item.split in ("val", "test")
        yield replace(record, split=item.split) if held_out else record


def split_by_files(tree: Tree, items: tuple[Item, ...]) -> tuple[tuple[Item, ...], Notes]:
    """Items with the splits of list files, or of one file that gives all splits, where there are any; and notes."""
    exact = lists_that_fit(items, find_lists(tree))
    folds = loose_lists(tree, items, exact)
    if exact or folds:
        return _by_lists(tree, items, exact, folds)
    table = find_table(tree, items)
    if table is None:
        return items, ()
    path, tables = table
    file = _relative(tree, path)
    items, notes = apply_lists(items, tables[0], file)
    notes = (*notes, *filter(None, [other_words(path)]))
    if len(tables) > 1:
        more = (
            f"fold 0 of the {len(tables)} in {file}; `splits: {in_yaml(file)}` and `fold: 1` in data.yaml take another"
        )
        notes = (*notes, more)
    return items, notes


def _by_lists(
    tree: Tree, items: tuple[Item, ...], exact: Mapping[str, Path], folds: Sequence[Lists]
) -> tuple[tuple[Item, ...], Notes]:
    files: Lists = {**{split: (path,) for split, path in exact.items()}, **(folds[0] if folds else {})}
    named = {split: [name for path in paths for name in read_list(path)] for split, paths in files.items()}
    if BOTH in named:
        named["train"] = _but_held_out(items, named.pop(BOTH), named)
    where = ", ".join(sorted(_relative(tree, path) for paths in files.values() for path in paths))
    items, notes = apply_lists(items, named, where, _line(tree, files))
    if len(folds) > 1 and (other := _line(tree, {**files, **folds[1]})):
        notes = (*notes, f"the first of {len(folds)} folds; `splits: {in_yaml(other)}` in data.yaml takes the second")
    return items, notes


def _but_held_out(items: Sequence[Item], names: Sequence[str], held_out: Mapping[str, Sequence[str]]) -> list[str]:
    """The names that no other list has."""
    by_key = items_by_key(items)
    held = {position for listed in held_out.values() for position in positions_of(listed, by_key)}
    return [name for name in names if held.isdisjoint(positions_of([name], by_key))]


def _line(tree: Tree, files: Lists) -> dict[str, str] | None:
    """The files as `splits` of data.yaml names them; None where a split has several, or shares one with another."""
    if any(len(paths) > 1 for paths in files.values()) or BOTH in files:
        return None
    return {split: _relative(tree, paths[0]) for split, paths in files.items()}


def _relative(tree: Tree, path: Path) -> str:
    return path.relative_to(tree.root).as_posix()
