"""Run the pictures of a data set through a plan: (name, truth, prediction), in order, for the counts.

On a CPU several run at once, each in a thread that reads and predicts it (inference/side_by_side.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from denselab.console import Progress
from denselab.crf import refined
from denselab.data.dataset import Dataset, Item
from denselab.engine.enlarge import arg_max
from denselab.inference.ahead import read_ahead
from denselab.inference.bands import goes_by_rows
from denselab.inference.huge import huge_rows
from denselab.inference.plan import Plan
from denselab.inference.prediction import Prediction
from denselab.inference.run import CRFStep, run
from denselab.inference.side_by_side import Beside, side_by_side
from denselab.measure.baselines import CellCounts
from denselab.measure.huge_items import huge_item, reduced
from denselab.measure.kept import KeptLabels
from denselab.types import Image, LabelMap, Marginals, Sample


def predict_items(
    plan: Plan,
    dataset: Dataset,
    items: Sequence[Item],
    kept: KeptLabels,
    bar: Progress,
    plain: KeptLabels | None = None,
    cells: CellCounts | None = None,
    by_item: Mapping[str, Plan] = MappingProxyType({}),
) -> Iterator[tuple[str, LabelMap, LabelMap]]:
    """Yield (name, truth, prediction) of each item in order, for evaluation.count_pictures.

    kept: where to keep the predictions.
    plain: where to keep the network's labels before the plan's CRF; the network runs once for both.
    cells: where to count the pictures for the baselines.
    by_item: another plan for the items of these names.
    Raises DataError naming the file for an unreadable picture or label: a score over the rest would not be the score
    that was asked for.
    """
    with side_by_side(plan, len(items)) as beside:
        for item, reading in read_ahead(items, partial(_read, beside, dataset, by_item), *beside.ahead(readers=1)):
            sample, prediction = reading.result()
            own = by_item.get(item.name, plan)
            if sample is None:
                yield from _huge(own, dataset, item, kept, cells)
                bar.advance()
                continue
            if prediction is None:
                step = None if plain is None else _crf_after_keeping(own, sample, plain)
                prediction = run(own, sample.image, sample.name, crf_step=step)
            kept.keep(sample.name, prediction.labels)
            if cells is not None:
                cells.add(replace(sample, image=prediction.image))
            bar.advance()
            yield sample.name, sample.labels, prediction.labels


def _read(
    beside: Beside, dataset: Dataset, by_item: Mapping[str, Plan], item: Item
) -> tuple[Sample | None, Prediction | None]:
    """The sample of an item, None for one that goes by rows; and its prediction, where it runs beside others."""
    own = by_item.get(item.name)
    if goes_by_rows(own or beside.plan) and huge_rows(item.image) is not None:
        return None, None
    sample = dataset.read(item)
    if own is not None or not beside.takes(sample.image):
        return sample, None
    return sample, run(beside.plan, sample.image, sample.name)


def _huge(
    plan: Plan, dataset: Dataset, item: Item, kept: KeptLabels, cells: CellCounts | None
) -> Iterator[tuple[str, LabelMap, LabelMap]]:
    with huge_item(plan, dataset, item) as found:
        assert found is not None, "it goes by rows"
        truth, prediction, sparse = found
        kept.keep(item.name, reduced(prediction))
        if cells is not None:
            cells.add(sparse)
        yield item.name, truth, prediction


def _crf_after_keeping(plan: Plan, sample: Sample, plain: KeptLabels) -> CRFStep | None:
    """The plan's CRF, which first keeps the labels of the probabilities it gets; None for a plan without one."""
    parameters = plan.crf
    if parameters is None:
        return None

    def step(image: Image, probs: Marginals) -> Marginals:
        plain.keep(sample.name, arg_max(probs))
        return refined(image, probs, parameters, fast=plan.crf_fast)

    return step
