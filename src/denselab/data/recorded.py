"""The split that a run wrote into its dataset.json: it holds for the run's data also after pictures were added."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from denselab.data.counting import count_class_pixels
from denselab.data.dataset import Dataset
from denselab.errors import DataError
from denselab.files import unpack_json
from denselab.run_folder import DATASET


@dataclass(frozen=True)
class Recorded:
    """What dataset.json says of the data that a run was trained on.

    path: of dataset.json.
    root: the folder of the data then; None in files of older versions.
    splits: the split of each picture, by name.
    labels: the rows of the label table.
    class_pixels: by class name, of up to 1000 training pictures.
    white: the number that was white in pictures of more than 8 bits; None where they have 8, or in older versions.
    """

    path: Path
    root: Path | None
    splits: Mapping[str, str]
    labels: tuple[Mapping[str, Any], ...]
    class_pixels: Mapping[str, int]
    white: int | None = None

    @property
    def count(self) -> int:
        """How many pictures there were."""
        return len(self.splits)

    def of_split(self, split: str) -> list[str]:
        """The names in a split, in the order of the run."""
        return [name for name, its in self.splits.items() if its == split]

    def splits_in(self, dataset: Dataset) -> dict[str, str]:
        """The run's splits of the pictures of a data set, by their names in it; {} where these are other data.

        The run's data are known by their place, also from a folder inside or around it. Moved data are known by the
        names and the labels of all training pictures. Names alone do not tell: every camera has its 0001.
        """
        if self.root is not None:
            home, here = self.root.resolve(), dataset.root.resolve()
            places = {home / name: split for name, split in self.splits.items()}
            found = {item.name: here / item.name for item in dataset.items}
            known = {name: places[place] for name, place in found.items() if place in places}
            if known:
                return known
        return self.splits_by_name(dataset) if self._was_moved_to(dataset) else {}

    def splits_by_name(self, dataset: Dataset) -> dict[str, str]:
        """The run's splits of the pictures that have the same names."""
        return {item.name: self.splits[item.name] for item in dataset.items if item.name in self.splits}

    def _was_moved_to(self, dataset: Dataset) -> bool:
        """Whether a data set has all training pictures, with as many pixels of each class as the run counted."""
        by_name, train = {item.name: item for item in dataset.items}, self.of_split("train")
        if not train or not self.class_pixels or not all(name in by_name for name in train):
            return False
        # By rising id: names may have been given since.
        return list(self.class_pixels.values()) == list(class_pixels(dataset, train).values())


def class_pixels(dataset: Dataset, names: Iterable[str]) -> dict[str, int]:
    """Pixels by class name, of up to 1000 of the pictures with these names; {} where a label cannot be read."""
    by_name = {item.name: item for item in dataset.items}
    try:
        totals = count_class_pixels(dataset, [by_name[name] for name in names]).sum(axis=0)
    except DataError:
        return {}
    return {name: int(n) for name, n in zip(dataset.label_space.names, totals, strict=True)}


def read_recorded(run: Path) -> Recorded | None:
    """What a run folder tells of its data; None without dataset.json. Raises CheckpointError where that is damaged."""
    path = run / DATASET
    if not path.is_file():
        return None
    stored = unpack_json(path.read_bytes(), str(path))
    root = stored.get("path") or stored.get("root")
    splits = {str(name): str(split) for split, names in (stored.get("splits") or {}).items() for name in names}
    return Recorded(
        path,
        Path(root) if root else None,
        splits,
        tuple(stored.get("labels") or ()),
        stored.get("class_pixels") or {},
        stored.get("white"),
    )


def divided(dataset: Dataset, splits: Mapping[str, str]) -> Dataset:
    """The data set with these splits, by name; pictures without one are left out."""
    kept = tuple(replace(item, split=splits[item.name]) for item in dataset.items if item.name in splits)
    return replace(dataset, items=kept)
