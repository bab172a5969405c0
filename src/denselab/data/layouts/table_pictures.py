"""Pictures by the names that a table gives them: file name, stem, or folder and beginning of the stem."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from denselab.data.layouts.named_pictures import NamedPictures
from denselab.data.listing.tree import Tree, lies_in, split_in_name, split_of_folders
from denselab.errors import DataError
from denselab.in_words import first_few


@dataclass(frozen=True)
class Named:
    """A picture. group: the outermost folder that its name in the table begins with; "" for none."""

    file: PurePosixPath
    group: str = ""


class TablePictures:
    """Finds pictures by the names of a table; those in label folders are none.

    The name may be that of the file, with or without suffix and whatever the capitals, or the name of a folder and the
    beginning of the stem: case2_day1_slice_0001 is case2/case2_day1/scans/slice_0001_266_266_1.50_1.50.png of
    UW-Madison.
    """

    def __init__(self, tree: Tree) -> None:
        self._pictures = NamedPictures(tree, [f for f in tree.pictures if not lies_in(f, "label")])
        self.files = self._pictures.files

    def of(self, table: PurePosixPath, name: str) -> Named | None:
        """The picture of a name; None where there is none. Raises DataError where it may be one of several."""
        found, group = self._pictures.of(name), ""
        if len(found) > 1:
            split = split_in_name(table.stem)
            found = [f for f in found if split and split_of_folders(f) == split] or found
        if not found:
            found = self._by_folder.get(name, [])
            group = next((str(f) for f in _folders(found[0]) if name.startswith(f"{f.name}_")), "") if found else ""
        if len(found) > 1:
            raise DataError(f"{table}: {name} may be {first_few(map(str, found))}; take one of them out")
        return Named(found[0], group) if found else None

    @cached_property
    def _by_folder(self) -> dict[str, list[PurePosixPath]]:
        """{folder_stem: files}, for each folder above a file, and each beginning of its stem that ends before a "_"."""
        names: dict[str, list[PurePosixPath]] = defaultdict(list)
        for file in self.files:
            for start in _beginnings(file.stem):
                for folder in _folders(file):
                    names[f"{folder.name}_{start}"].append(file)
        return names


def _folders(file: PurePosixPath) -> list[PurePosixPath]:
    """The folders above a file, the outermost first."""
    return [folder for folder in reversed(file.parents) if folder.name]


def _beginnings(stem: str) -> Iterator[str]:
    parts = stem.split("_")
    return ("_".join(parts[:count]) for count in range(1, len(parts) + 1))
