"""`tune` on a network whose answer is known: what judging costs, and that it runs the network once per picture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.crf import Parameters
from denselab.data.dataset import Dataset, Item
from denselab.data.item import FileLabels
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import DataError
from denselab.evaluation.evaluation import count_pictures
from denselab.inference import Predictor
from denselab.inference.plan import plan_for
from denselab.refine.tuning import drawn_halves, judging_seconds, tune

STORED = Parameters(8.0, 60.0, 2.0, 1.0, 1.0, 2, "symmetric")


@pytest.fixture
def noisy(engine: TorchEngine, tmp_path: Path) -> Dataset:
    """Six pictures of 24x32, four upright stripes of the classes' colours under noise."""
    rng, items = np.random.default_rng(0), []
    truth = np.repeat(np.arange(4, dtype=np.uint8), 8)[None].repeat(24, axis=0)
    for name in "abcdef":
        pixels = 255 * engine.network.colours.numpy()[truth] + rng.normal(0, 110, (24, 32, 3))
        PILImage.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{name}.png")
        PILImage.fromarray(truth * 10).save(tmp_path / f"{name}_labels.png")
        items.append(Item(name, tmp_path / f"{name}.png", FileLabels(tmp_path / f"{name}_labels.png"), "val"))
    return Dataset(tmp_path, "test", "index", engine.spec.label_space, tuple(items))


def test_one_run_of_the_network_judges_old_and_new_parameters(
    engine: TorchEngine, noisy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denselab.refine.search.RANDOM_CANDIDATES", 3)
    predictor = Predictor(replace(engine, spec=replace(engine.spec, crf=STORED)))
    tuning = tune(predictor.plan(), noisy, noisy.items, seconds=60, strategy="random", pictures=4, quiet=True)
    assert len(engine.network.runs) == 4, "two pictures to choose on, two to judge on"
    assert tuning.stored_before == STORED
    assert tuning.best is not None
    assert tuning.paired is not None
    for parameters, judged in ((STORED, tuning.stored_miou), (tuning.best.parameters, tuning.paired.after.miou)):
        judges = [item for item in noisy.items if item.name in tuning.paired.after.names]
        maps = [(i.name, noisy.read_labels(i), predictor(i.image, crf=parameters).labels) for i in judges]
        assert judged == count_pictures(maps, noisy.label_space).miou
    assert not tuning.helps, "two pictures"


def test_a_model_without_parameters(engine: TorchEngine, noisy: Dataset) -> None:
    tuning = tune(plan_for(engine), noisy, noisy.items, seconds=0.001, quiet=True)
    assert tuning.stored_before is None
    assert tuning.stored_miou is None
    assert (tuning.judging, tuning.judged) == (3, 2)


def test_the_time_kept_for_judging_counts_every_refinement() -> None:
    """20 pictures of 0.5 s for the network and 1.5 * 0.2 s for each refinement, 1.3 times that, and two seconds."""
    assert judging_seconds(20, 0.5, 0.2, refinements=1) == pytest.approx(20 * 1.3 * 0.8 + 2)
    assert judging_seconds(20, 0.5, 0.2, refinements=2) == pytest.approx(20 * 1.3 * 1.1 + 2)


def items(groups: str) -> list[Item]:
    return [Item(f"p{i:02d}", Path("x"), FileLabels(Path("y")), "val", group) for i, group in enumerate(groups)]


def test_halves_keep_sequences_together() -> None:
    one, other = drawn_halves(items("aaabbccd"), None)
    assert len(one) + len(other) == 8
    assert not {i.group for i in one} & {i.group for i in other}
    one, other = drawn_halves(items("aaaaaa"), None)  # one sequence alone has to be divided
    assert (len(one), len(other)) == (3, 3)
    assert max(i.name for i in one) < min(i.name for i in other)
    assert drawn_halves(items("abcdefgh"), 4) == drawn_halves(items("abcdefgh"), 4)
    assert sum(map(len, drawn_halves(items("abcdefgh"), 4))) == 4
    with pytest.raises(DataError, match="3 pictures; tuning needs 4"):
        drawn_halves(items("abc"), None)
