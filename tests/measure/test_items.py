"""Items of a data set through a plan, for the counts."""

from pathlib import Path
from threading import Barrier, BrokenBarrierError, current_thread, main_thread
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.console import Progress
from denselab.crf import Parameters
from denselab.data import Dataset, Item
from denselab.data.item import FileLabels
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import DataError
from denselab.inference import Predictor
from denselab.inference.plan import Plan, plan_for
from denselab.measure.items import predict_items
from denselab.measure.kept import KeptLabels

FEW = Parameters(10, 10, 5, 1, 1, 2, "symmetric")


def test_items_come_in_order_with_truth_and_prediction(engine: TorchEngine, flat: Dataset) -> None:
    dataset, items = flat, flat.items
    kept, bar = KeptLabels(), Progress("test", len(items), "pictures")
    results = list(predict_items(plan_for(engine), dataset, items, kept, bar))
    assert [name for name, _, _ in results] == ["p0", "p1", "p2", "p3"]
    assert bar.done == 4
    for index, (name, truth, prediction) in enumerate(results):
        assert (truth == index).all()
        assert (prediction == index).all()
        assert np.array_equal(kept[name], prediction)


def test_an_unreadable_item_is_an_error(engine: TorchEngine, flat: Dataset) -> None:
    dataset, items = flat, flat.items
    items[2].image.write_bytes(b"")
    with pytest.raises(DataError, match="p2"):
        list(predict_items(plan_for(engine), dataset, items, KeptLabels(), Progress("test", 4, "pictures")))


def test_items_with_and_without_the_crf_come_from_one_run(engine: TorchEngine, tmp_path: Path) -> None:
    PILImage.fromarray(np.repeat(np.uint8([40, 210]), 6)[None, :, None].repeat(8, 0).repeat(3, 2)).save(
        tmp_path / "p.png"
    )
    PILImage.fromarray(np.zeros((8, 12), np.uint8)).save(tmp_path / "l.png")
    item = Item("p", tmp_path / "p.png", FileLabels(tmp_path / "l.png"), "val")
    dataset = Dataset(tmp_path, "test", "index", engine.spec.label_space, (item,))
    kept, plain, predictor = KeptLabels(), KeptLabels(), Predictor(engine)
    bar = Progress("test", 1, "pictures")
    [(_, _, labels)] = predict_items(predictor.plan(crf=FEW), dataset, [item], kept, bar, plain)
    assert len(engine.network.runs) == 1
    assert np.array_equal(labels, predictor(tmp_path / "p.png", crf=FEW).labels)
    assert np.array_equal(plain["p"], predictor(tmp_path / "p.png").labels)


def measured(plan: Plan, dataset: Dataset, **more: Any) -> list[tuple[str, bytes, bytes]]:
    bar = Progress("test", len(dataset.items), "pictures")
    found = predict_items(plan, dataset, dataset.items, KeptLabels(), bar, **more)
    return [(name, truth.tobytes(), labels.tobytes()) for name, truth, labels in found]


def test_side_by_side_they_are_those_of_one_by_one(
    engine: TorchEngine, flat: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = measured(plan_for(engine), flat)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert measured(plan_for(engine), flat) == alone


class Meeting(TorchEngine):
    """Runs only where two threads run it at once."""

    barrier = Barrier(2)

    def logits(self, pictures: Any) -> Any:
        self.barrier.wait(10)
        return super().logits(pictures)


def test_two_networks_run_at_the_same_time(engine: TorchEngine, flat: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """`predict` ran pictures side by side for long, `eval` of the same pictures one by one."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    try:
        found = measured(plan_for(Meeting(engine.spec, engine.network, engine.device)), flat)
    except BrokenBarrierError:
        pytest.fail("a picture waited for the end of another")
    assert [name for name, _, _ in found] == ["p0", "p1", "p2", "p3"]


class Told(TorchEngine):
    """Notes whether it runs in the thread that asked for the predictions."""

    def logits(self, pictures: Any) -> Any:
        self.network.runs.append(current_thread() is main_thread())
        return super().logits(pictures)


def test_items_with_a_plan_of_their_own_run_by_it(
    engine: TorchEngine, flat: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    told = Told(engine.spec, engine.network, engine.device)
    usual = measured(plan_for(engine), flat)
    assert measured(plan_for(engine), flat, by_item={"p1": plan_for(told), "p3": plan_for(told)}) == usual
    assert [run for run in engine.network.runs if isinstance(run, bool)] == [True, True]


def test_an_unreadable_item_is_an_error_side_by_side_too(
    engine: TorchEngine, flat: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    flat.items[2].image.write_bytes(b"")
    with pytest.raises(DataError, match="p2"):
        measured(plan_for(engine), flat)
