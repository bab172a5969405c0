"""The same picture through every model, and the pictures about which they disagree most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from denselab.comparison.measuring import StoredLabels
from denselab.comparison.result import Comparison
from denselab.data import Dataset
from denselab.measure.pictures import Panel, fit_panel, map_panel
from denselab.report.facts import share
from denselab.types import LabelMap

SHOWN, DIFFERING = 3, 3


@dataclass(frozen=True)
class Shown:
    """A picture on the page. told: beside its name. panels: picture, truth, then every model in the ranking's order."""

    name: str
    told: str
    panels: tuple[Panel, ...]


def disagreement(maps: Sequence[LabelMap], truth: LabelMap, ignore_index: int) -> float:
    """Share of the labelled pixels to which the models do not all give one label; 0 where no pixel is labelled."""
    labelled = truth != ignore_index
    if not labelled.any():
        return 0.0
    differ = np.zeros(truth.shape, bool)
    for other in maps[1:]:
        differ |= other != maps[0]
    return float(differ[labelled].mean())


def typical(scores: NDArray[np.float64]) -> list[int]:
    """Positions of a hard, a middling and an easy picture. scores: (models, N) of each picture; NaN is left out."""
    mean = np.nanmean(np.where(np.isnan(scores).all(axis=0), 0.0, scores), axis=0)
    order = [int(i) for i in np.argsort(mean, kind="stable") if not np.isnan(scores[:, i]).all()]
    places = np.linspace(0, max(len(order) - 1, 0), SHOWN + 2)[1:-1].round().astype(int).tolist() if order else []
    return list(dict.fromkeys(order[place] for place in places))


def shown_pictures(comparison: Comparison, dataset: Dataset) -> tuple[list[Shown], list[Shown]]:
    """The typical pictures, and those with the most disagreement. dataset: the comparison's, for reading pictures."""
    stores = [StoredLabels(comparison.out, row.keys) for row in comparison.rows]
    try:
        ignore, items = dataset.label_space.ignore_index, comparison.items
        scores = np.stack([row.entrant.evaluations[0].image_miou for row in comparison.rows])
        shares = np.array([disagreement([s[i.name] for s in stores], dataset.read_labels(i), ignore) for i in items])
        chosen = typical(scores)
        most = [int(i) for i in np.argsort(-shares, kind="stable") if shares[i] > 0 and int(i) not in chosen]
        told = [f"{share(part)} disputed" if len(stores) > 1 else "" for part in shares]  # one model disputes nothing
        usual, disputed = (
            [_shown(comparison, dataset, stores, i, told[i]) for i in some] for some in (chosen, most[:DIFFERING])
        )
        return usual, disputed
    finally:
        for store in stores:
            store.close()


def _shown(comparison: Comparison, dataset: Dataset, stores: Sequence[StoredLabels], position: int, told: str) -> Shown:
    item, space = comparison.items[position], dataset.label_space
    sample = dataset.read_shown(item)
    panels: list[Panel] = [
        ("picture", fit_panel(sample.image), False),
        ("truth", map_panel(sample.labels, space), True),
    ]
    for row, store in zip(comparison.rows, stores, strict=True):
        score = row.entrant.evaluations[0].image_miou[position]
        caption = row.label if np.isnan(score) else f"{row.label} {score:.2f}"
        panels.append((caption, map_panel(store[item.name], space), True))
    return Shown(item.name, told, tuple(panels))
