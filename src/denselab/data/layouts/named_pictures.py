"""Pictures by the names that annotations give them, which another system or tool may have written."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from denselab.data.listing.pairing import same_name
from denselab.data.listing.tree import Tree, lies_in, split_of_folders
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # what an upload to Label Studio puts before the name of a file
SUFFIX = re.compile(r"(?<=.)\.[a-z][a-z0-9]*$")  # a letter first: ".50" is part of the name slice_1.50


class NamedPictures:
    """Finds pictures by the names of an annotation, and keeps which of them the disk calls otherwise.

    A name may differ from that on the disk by its folders, by capitals, by the coding of accents or of blanks (%20),
    and by its suffix, where the pictures were converted. Pictures in folders of results are none.
    """

    def __init__(self, tree: Tree, files: Iterable[PurePosixPath] | None = None) -> None:
        """files: in which to look; None for all."""
        self._tree = tree
        self.files = [f for f in (tree.pictures if files is None else files) if not lies_in(f, "other")]
        self._exact: dict[str, list[PurePosixPath]] = defaultdict(list)
        self._alike: dict[str, list[PurePosixPath]] = defaultdict(list)
        self._renamed: dict[str, PurePosixPath] = {}
        for file in self.files:
            self._exact[file.name].append(file)
            self._alike[same_name(file.name)].append(file)
            if not lies_in(file, "label"):
                self._alike[_stem(same_name(file.name))].append(file)

    def of(self, name: str) -> list[PurePosixPath]:
        """The pictures that a name may mean; of several those whose folders it tells too."""
        meant = PurePosixPath(name.replace("\\", "/"))
        found = self._exact.get(meant.name, [])
        found = [file for file in found if not lies_in(file, "label")] or found
        if not found:
            plain = same_name(meant.name)
            keys = (key for text in (plain, UPLOAD.sub("", plain)) for key in (text, _stem(text)))
            found = next((self._alike[key] for key in keys if key in self._alike), [])
            found = _nearest(found, meant)
            if len(found) == 1 and UPLOAD.sub("", meant.name) != found[0].name:
                self._renamed[meant.name] = found[0]
        return _nearest(found, meant)

    def one(
        self, name: str, file: PurePosixPath, folders: Iterable[str | PurePosixPath] = (), split: str | None = None
    ) -> PurePosixPath | None:
        """The picture that a file means by a name; None where there is none. Raises DataError where it may be several.

        folders: where it is looked for first, as seen from the root
        split: of several pictures those in its folders
        Of several the one beside the file is meant, or else the only one below its folder.
        """
        meant = PurePosixPath(name.replace("\\", "/").lstrip("/"))
        there = next((PurePosixPath(f) / meant for f in folders if self._tree.has(str(PurePosixPath(f) / meant))), None)
        if there is not None:
            return there
        found = self.of(str(meant))
        if len(found) > 1 and split:
            found = [path for path in found if split_of_folders(path) == split]
        found = [path for path in found if path.is_relative_to(file.parent)] or found
        found = [path for path in found if path.parent == file.parent] or found
        if len(found) > 1:
            raise DataError(
                f"{self._tree.root}: {name} of {file} may be {first_few(map(str, found))}; give its folder there, or "
                "each picture its own name"
            )
        return found[0] if found else None

    def notes(self) -> list[str]:
        """What is said of the pictures that were found under another name."""
        if not self._renamed:
            return []
        listed = first_few(f"{name} is {file}" for name, file in sorted(self._renamed.items()))
        return [f"{number_of(len(self._renamed), 'picture')} found under another name than the annotation's: {listed}"]


def _nearest(found: list[PurePosixPath], meant: PurePosixPath) -> list[PurePosixPath]:
    """Those of several whose folders are, from the innermost on, most like those of the name."""
    shared = [_shared_folders(file, meant) for file in found]
    return [file for file, often in zip(found, shared, strict=True) if often == max(shared)]


def _shared_folders(one: PurePosixPath, other: PurePosixPath) -> int:
    pairs = zip(reversed(one.parts[:-1]), reversed(other.parts[:-1]), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one.parts), len(other.parts)) - 1)


def _stem(name: str) -> str:
    """A name without its suffix; what stands behind the point of a number is none: slice_1.50."""
    return SUFFIX.sub("", name)
