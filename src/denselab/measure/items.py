"""Run the pictures of a data set through a plan: (name, truth, prediction), one at a time, for the counts."""

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
from denselab.inference.run import CRFStep, run
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
    for item, reading in read_ahead(items, partial(_read, plan, dataset, by_item), threads=1):
        sample = reading.result()
        own = by_item.get(item.name, plan)
        if sample is None:
            yield from _huge(own, dataset, item, kept, cells)
            bar.advance()
            continue
        step = None if plain is None else _crf_after_keeping(own, sample, plain)
        prediction = run(own, sample.image, sample.name, crf_step=step)
        kept.keep(sample.name, prediction.labels)
        if cells is not None:
            cells.add(replace(sample, image=prediction.image))
        bar.advance()
        yield sample.name, sample.labels, prediction.labels


def _read(plan: Plan, dataset: Dataset, by_item: Mapping[str, Plan], item: Item) -> Sample | None:
    """The sample of an item; None for one that goes by rows."""
    by_rows = goes_by_rows(by_item.get(item.name, plan)) and huge_rows(item.image) is not None
    return None if by_rows else dataset.read(item)


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
