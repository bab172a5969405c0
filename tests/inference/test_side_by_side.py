"""Pictures of a collection at once: the same results in the same order, and nothing is lost where it stops."""

from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from denselab.engine.graph_engine import GraphEngine
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import DataError
from denselab.inference import side_by_side
from denselab.inference.collection import predict_files
from denselab.inference.inputs import find_sources
from denselab.inference.job import Job
from denselab.inference.manifest import read_records
from denselab.inference.plan import plan_for
from denselab.inference.predictor import Predictor
from denselab.inference.results import Result
from denselab.inference.side_by_side import fits_beside, pictures_at_once
from denselab.inference.stores import LocalPlace

RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user allows; the tests' machine may have fewer cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "4")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine pictures of different sizes, and one that cannot be read."""
    (tmp_path / "in").mkdir()
    for i in range(9):
        pixels = RNG.integers(0, 256, (20 + 5 * i, 30, 3), dtype=np.uint8)
        PILImage.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    (tmp_path / "in" / "5-bad.png").write_text("no picture")
    return tmp_path / "in"


def test_how_many_run_at_once(engine: TorchEngine) -> None:
    plan = plan_for(engine)
    assert pictures_at_once(plan, None) == 4
    assert [pictures_at_once(plan, count) for count in (1, 3, 100)] == [1, 3, 4]
    assert pictures_at_once(plan_for(engine, crf="deeplab_v2"), None) == 1
    on_gpu = GraphEngine(engine.spec, "cuda", lambda pictures, output: np.zeros(0, np.float32))
    assert pictures_at_once(plan_for(on_gpu), None) == 1


class Small(TorchEngine):
    """Has memory for two pictures of its size, 32x32."""

    def fits(self, size: tuple[int, int]) -> bool:
        return size[0] * size[1] <= 2 * 32 * 32


def test_all_of_them_fit_in_memory(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    small = plan_for(Small(engine.spec, engine.network, engine.device))
    assert pictures_at_once(small, None) == 2
    assert fits_beside(small, (64, 64), 2)  # fitted into 32x32
    assert not fits_beside(small, (64, 64), 3)
    monkeypatch.setattr(side_by_side, "LARGEST", 64 * 64 - 1)
    assert not fits_beside(small, (64, 64), 2), "read and labelled, it is large whatever the network sees of it"


def predicted(plan: Any, folder: Path, out: Path) -> tuple[list[Result], list[str], list[bytes]]:
    results, skipped = predict_files(
        Job(plan, LocalPlace(out)), find_sources([str(folder)])[0], manifest=out / "m.csv", quiet=True
    )
    files = [(out / "labels" / f"{Path(result.source).stem}.png").read_bytes() for result in results]
    return [replace(r, written={}, seconds=0.0) for r in results], [s.path for s in skipped], files


def test_the_results_are_those_of_one_by_one(
    engine: TorchEngine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = predicted(plan_for(engine), folder, tmp_path / "together")
    rows = (tmp_path / "together" / "m.csv").read_text()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = predicted(plan_for(engine), folder, tmp_path / "alone")
    assert together == alone
    assert [Path(result.source).name for result in together[0]] == [f"{i}.png" for i in range(9)]
    assert together[1] == [str(folder / "5-bad.png")]
    assert rows.count("\n") == 11  # the head, nine pictures, and the one that was skipped


class Meeting(TorchEngine):
    """Its first run ends when a second one has begun; those after them are free, in whatever order they come."""

    begun, met = count(1), Event()

    def logits(self, pictures: Any) -> Any:
        if next(self.begun) == 2:
            self.met.set()
        assert self.met.wait(60), "a picture waited for the end of another"
        return super().logits(pictures)


def test_two_networks_run_at_the_same_time(engine: TorchEngine, folder: Path, tmp_path: Path) -> None:
    meeting = plan_for(Meeting(engine.spec, engine.network, engine.device))
    results, _ = predict_files(Job(meeting, LocalPlace(tmp_path / "out")), find_sources([str(folder)])[0], quiet=True)
    assert len(results) == 9


def test_a_predictor_runs_the_pictures_of_a_folder_side_by_side(
    engine: TorchEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same predictions in the same order, and an error where the picture's turn comes."""
    (folder / "8.png").unlink()
    (folder / "5-bad.png").rename(folder / "8-bad.png")
    meeting = Meeting(engine.spec, engine.network, engine.device)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    together = Predictor(meeting)(folder)
    first = [next(together) for _ in range(8)]
    with pytest.raises(DataError, match="8-bad"):
        next(together)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = Predictor(engine)(folder)
    for one in first:
        other = next(alone)
        assert one.name == other.name
        assert np.array_equal(one.labels, other.labels)
        assert np.array_equal(one.image, other.image)
        assert one.confidence == other.confidence


def test_a_predictor_whose_pictures_are_not_all_asked_for_lets_go(engine: TorchEngine, folder: Path) -> None:
    before = torch.get_num_threads()
    pictures = Predictor(engine)(folder)
    next(pictures)
    pictures.close()
    assert torch.get_num_threads() == before
    assert len(engine.network.runs) <= 6, "those that were begun, and no more"


def test_what_was_predicted_is_saved_where_it_is_stopped(engine: TorchEngine, folder: Path, tmp_path: Path) -> None:
    """Ctrl-C while the first result is told: those behind it that were done are written and recorded too."""
    told = []

    def stopped(result: Result) -> None:
        told.append(result)
        if len(told) == 1:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_files(
            Job(plan_for(engine), LocalPlace(out)), find_sources([str(folder)])[0], manifest=out / "m.csv", each=stopped
        )
    recorded = [row["file"] for row in read_records(out)]
    written = sorted(path.stem for path in (out / "labels").iterdir())
    assert [Path(name).stem for name in recorded] == written
    assert len(written) == len(told) > 1


def test_threads_are_given_back(engine: TorchEngine) -> None:
    before = torch.get_num_threads()
    pictures = RNG.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    with engine.side_by_side(4) as form:
        assert torch.equal(form.logits(pictures), engine.logits(pictures))
        assert form._folding is engine._folding
    assert torch.get_num_threads() == before
