"""What the folders of a file say of it: whether it is a picture or a label, and its split."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from denselab.data.read.tree import folder_role, split_in_name, words


@dataclass(frozen=True)
class Placed:
    """A picture file and what its folders say: kind of folder it is in (its name), neutral folders, split."""

    file: PurePosixPath
    folder: str
    neutral: str
    split: str | None


Pairs = list[tuple[Placed, Placed]]


def placed_in(file: PurePosixPath, split: str | None) -> Placed:
    """A file whose split is known, and whose folders say nothing more."""
    return Placed(file, "", "", split)


def place(file: PurePosixPath) -> tuple[str | None, Placed]:
    """The role that a file's folders give it (image, label, other, None) and where it stands."""
    role, folder, split = None, "", None
    neutral: list[str] = []
    for part in file.parts[:-1]:
        part_role, part_split = folder_role(part), split_in_name(part)
        if part_role is not None:
            role, folder = part_role, " ".join(w for w in words(part) if split_in_name(w) is None) or part
        elif part_split is None:
            neutral.append(part)
        split = part_split or split
    return role, Placed(file, folder, "/".join(neutral), split)
