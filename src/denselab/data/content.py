"""What the files of a run's data hold, told in little, so that a resume sees what has changed since it began.

content.json in a run: {"val": {name: [mark of the picture, mark of its labels]}, "train": {...}}. A mark is a digest in
up to DIGESTED pictures of val, spread evenly over it, and the size of the file elsewhere, which no file is opened for.
Labels in a file that many pictures share have no size of their own: 0.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from denselab.data.dataset import Dataset, Item
from denselab.data.many_files import spread
from denselab.data.pixels.spectral import band_paths
from denselab.data.seen import DIGITS, digests_of
from denselab.errors import CheckpointError, DataError
from denselab.files import read_json
from denselab.in_words import first_few
from denselab.run_folder import CONTENT
from denselab.runtime import cpu_count

DIGESTED = 200  # pictures whose files are read once more, at the start of a run and of each resume

Mark = str | int
Content = Mapping[str, Mapping[str, tuple[Mark, Mark]]]

_FORM: TypeAdapter[Content] = TypeAdapter(dict[str, dict[str, tuple[Mark, Mark]]])


def content_of(dataset: Dataset) -> Content:
    """The content of content.json for a data set as it is now."""
    shared = {path for path, n in Counter(item.source.path for item in dataset.items).items() if n > 1}
    marks = {
        split: {item.name: _sizes(dataset, item, shared) for item in dataset.of_split(split)}
        for split in ("val", "train")
    }
    read = spread(dataset.of_split("val"), DIGESTED)
    with ThreadPoolExecutor(cpu_count()) as pool:
        digests = pool.map(partial(_digests, dataset), read)
        marks["val"].update(zip((item.name for item in read), digests, strict=True))
    return marks


def read_content(run: Path) -> Content | None:
    """content.json of a run; None in runs of older versions. Raises CheckpointError where it is damaged."""
    path = run / CONTENT
    try:
        return _FORM.validate_python(read_json(path)) if path.is_file() else None
    except ValidationError:
        raise CheckpointError(f"{path} is damaged; delete it to go on without a comparison") from None


def changed_in(split: str, before: Content, now: Content) -> str:
    """Which pictures and labels of a split differ, in words; "" for none. Only pictures of both are compared."""
    old, new = before.get(split, {}), now.get(split, {})
    both = [name for name in new if name in old]
    told = []
    for at, what in enumerate(("", "the labels of ")):
        if names := [name for name in both if old[name][at] != new[name][at]]:
            told.append(f"{what}{len(names)} of {len(both)} pictures of {split} ({first_few(names)})")
    return " and ".join(told)


def _files(dataset: Dataset, item: Item) -> Sequence[Path]:
    """The files of a picture: one, or one for each band. Raises DataError for one that is missing."""
    bands = dataset.bands
    return [item.image] if bands is None or not bands.files else band_paths(item.image, bands)


def _sizes(dataset: Dataset, item: Item, shared: set[Path]) -> tuple[Mark, Mark]:
    try:
        files = _files(dataset, item)
        label = 0 if item.source.path in shared else item.source.path.stat().st_size
        return sum(file.stat().st_size for file in files), label
    except (OSError, DataError):  # the reader names the file
        return 0, 0


def _digests(dataset: Dataset, item: Item) -> tuple[Mark, Mark]:
    """Of the files of the picture, and of the label map, whatever files it is made of."""
    try:
        content = hashlib.sha256("".join(digests_of(_files(dataset, item))).encode())
        labels = dataset.read_labels(item)
    except DataError:  # the reader names the file
        return "", ""
    drawn = hashlib.sha256(repr(labels.shape).encode() + labels.astype("<i4").tobytes())
    return content.hexdigest()[:DIGITS], drawn.hexdigest()[:DIGITS]
