"""When a search's parameters are stored in the model, and what is said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from denselab.crf import Parameters
from denselab.engine.folder import load_engine, save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.evaluation.evaluation import count_pictures as counted
from denselab.evaluation.paired import ENOUGH_PICTURES, Paired
from denselab.labels import LabelEntry, LabelSpace
from denselab.refine import Tuning, conclude, tuning_document, tuning_folder
from denselab.refine.search import Trial

SMOOTH = Parameters(10.0, 60.0, 5.0, 2.0, 3.0, 3, "symmetric")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with some network."""
    space = LabelSpace((LabelEntry(0, "a", (0, 0, 0)), LabelEntry(1, "b", (9, 9, 9))))
    architecture = Architecture("pixelwise", 2)
    network = architecture.create().eval()
    preprocessing = Preprocessing((8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    save_engine(
        TorchEngine(ModelSpec(architecture, space, preprocessing), network, next(network.parameters()).device),
        tmp_path / "run" / "model",
    )
    return tmp_path / "run"


def by_hand(judged: int) -> Tuning:
    """A search whose best is right on every one of the judging pictures, which are half wrong without it."""
    truth, plain = np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8)
    space = LabelSpace((LabelEntry(0, "a", (0, 0, 0)), LabelEntry(1, "b", (9, 9, 9))))
    pair = [counted([(f"p{i:02d}", truth, it) for i in range(judged)], space) for it in (plain, truth)]
    return Tuning("random", ("q", "r"), 0.25, [Trial(SMOOTH, 1.0)], Paired(*pair), judging=judged)


@pytest.mark.parametrize("judged", [2, ENOUGH_PICTURES - 1, ENOUGH_PICTURES])
def test_the_least_number_of_judging_pictures(run: Path, judged: int) -> None:
    tuning = by_hand(judged)
    assert tuning.paired is not None
    assert tuning.paired.difference > 0
    verdict = conclude(tuning, str(run))
    assert verdict.stored == tuning.helps == (judged >= ENOUGH_PICTURES)
    assert (f"judged on {judged} pictures" in verdict.sentence) == (judged < ENOUGH_PICTURES)
    assert load_engine(run, "cpu").spec.crf == (SMOOTH if verdict.stored else None)


def test_what_is_said_where_nothing_is_stored(run: Path) -> None:
    """Each sentence says what is lacking, in the words of the library: the command line has its own names for them."""
    tuning = by_hand(ENOUGH_PICTURES)
    assert conclude(replace(tuning, trials=[]), str(run)).sentence.endswith("the model is unchanged: give more time")
    small = replace(tuning, paired=by_hand(2).paired)
    assert conclude(small, str(run)).sentence.endswith("the model is unchanged: give more time")
    assert (
        "no better than the old" in conclude(replace(tuning, stored_before=SMOOTH, stored_miou=1.0), str(run)).sentence
    )
    assert (
        "owner/name is no folder, so the parameters are only in the report" in conclude(tuning, "owner/name").sentence
    )
    assert load_engine(run, "cpu").spec.crf is None


def test_the_document_and_its_folder(run: Path) -> None:
    tuning = by_hand(ENOUGH_PICTURES)
    verdict = conclude(tuning, str(run))
    document = tuning_document(tuning, verdict, str(run), "data")
    assert (document["verdict"], document["stored"]) == (verdict.sentence, True)
    assert document["chosen_on"] == {"pictures": ["q", "r"], "miou_without": 0.25, "miou_with": 1.0}
    assert document["stored_before"] is None
    assert tuning_folder(str(run), "data") == run / "crf-tune"
    assert tuning_folder(str(run / "model"), "streets") == Path("denselab-crf") / "model-streets"
