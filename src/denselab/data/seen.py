"""Which pictures a model saw in its training, known by their content: what a model that left its run tells of them.

splits.json in an exported model folder: {"train": [digest, ...], "val": [...], "test": [...]}. It goes out with the
model, so it holds no name and no place; who has a picture can tell whether it is among them, and nobody else.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from denselab.data.dataset import Dataset
from denselab.data.item import Item
from denselab.documents import parse_json
from denselab.errors import CheckpointError
from denselab.files import sha256_of
from denselab.folders import read_member
from denselab.run_folder import SPLITS

DIGITS = 32  # of a sha256: equal ones are no chance
ORDER = ("test", "val", "train")  # of equal pictures in several splits; where there are more of them now, they trained

_FORM = TypeAdapter(dict[str, list[str]])


@dataclass(frozen=True)
class SeenPictures:
    """What splits.json says.

    path: of that file.
    splits: by digest; of equal pictures that of each, in the order of ORDER.
    """

    path: Path
    splits: Mapping[str, Sequence[str]]

    @property
    def count(self) -> int:
        """How many pictures there were."""
        return sum(map(len, self.splits.values()))

    def splits_in(self, dataset: Dataset) -> dict[str, str]:
        """The split of each picture of a data set that was seen, by its name there; {} where these are other data.

        They are the training's where all its training pictures are there, or most pictures were seen: some may have
        been added, taken out, renamed or moved, and other data may hold copies of a few.
        """
        digests = digests_of(item.image for item in dataset.items)
        taken: Counter[str] = Counter()
        known = {}
        for item, digest in zip(dataset.items, digests, strict=True):
            if its := self.splits.get(digest):
                known[item.name] = its[min(taken[digest], len(its) - 1)]
                taken[digest] += 1
        training = {digest for digest, its in self.splits.items() if "train" in its}
        whole = bool(training) and training <= taken.keys()
        return known if whole or 2 * len(known) > len(dataset.items) else {}


def seen_of(items: Iterable[Item]) -> dict[str, list[str]]:
    """The content of splits.json for pictures with their splits."""
    items = [item for item in items if item.split]
    found: defaultdict[str, list[str]] = defaultdict(list)
    for item, digest in zip(items, digests_of(item.image for item in items), strict=True):
        if digest:
            found[str(item.split)].append(digest)
    return {split: sorted(found[split]) for split in sorted(found)}  # sorted: their order tells nothing either


def seen_by_any(each: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
    """The content of splits.json for models that are joined: a picture that one of them was trained on has trained."""
    trained = {digest for seen in each for digest in seen.get("train", ())}
    held_out = {split: {d for seen in each for d in seen.get(split, ())} - trained for split in ("val", "test")}
    return {split: sorted(its) for split, its in {**held_out, "train": trained}.items() if its}


def read_seen(folder: Path) -> SeenPictures | None:
    """What a model folder tells of its pictures; None without splits.json. Raises CheckpointError for a damaged one."""
    path = folder / SPLITS
    if not os.path.isfile(path):
        return None
    try:
        stored = _FORM.validate_python(parse_json(read_member(folder, SPLITS)))
    except ValueError:  # pydantic's and ours
        raise CheckpointError(f"{path} is damaged or no file of DenseLab; use another copy of the model") from None
    splits: defaultdict[str, list[str]] = defaultdict(list)
    for split in ORDER:
        for digest in stored.get(split, ()):
            splits[digest].append(split)
    return SeenPictures(path, splits)


def digests_of(pictures: Iterable[Path]) -> list[str]:
    """A digest of each file's content; "" for one that cannot be read, which its reader tells."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_digest, pictures))


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)[:DIGITS]
    except OSError:
        return ""
