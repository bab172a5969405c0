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


def named_in(folder: str) -> str:
    """The name of a folder without its split: "train_masks" and "masks" are one kind of folder."""
    return " ".join(word for word in words(folder) if split_in_name(word) is None) or folder


def place(file: PurePosixPath, outermost: bool = False) -> tuple[str | None, Placed]:
    """The role that a file's folders give it (image, label, other, None) and where it stands.

    outermost: of folders with different roles the outermost counts, and not the innermost
    """
    role, folder, split = None, "", None
    neutral: list[str] = []
    for part in file.parts[:-1]:
        part_role, part_split = folder_role(part), split_in_name(part)
        if part_role is not None and not (outermost and role is not None):
            role, folder = part_role, named_in(part)
        elif part_split is None and part_role is None:
            neutral.append(part)
        split = part_split or split
    return role, Placed(file, folder, "/".join(neutral), split)
