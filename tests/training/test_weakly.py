"""Runs on boxes and tags: what is told before they start, what the loader serves, and that they resume exactly."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denselab.config import make_settings
from denselab.data import Dataset
from denselab.data.feed.loading import interleaved, train_loader
from denselab.data.feed.transforms import Augmentation
from denselab.data.weak_labels import BoxLabels, TagLabels, has_mask
from denselab.data.weakening import weakened
from denselab.errors import CheckpointError, ConfigError, Interrupted
from denselab.models.base import SegmentationModel
from denselab.run_folder import WEAK, WEAK_MASKS
from denselab.training import loop, weakly
from denselab.training.resume import resumed_settings
from denselab.training.run import run_training
from denselab.training.stages import stage_data
from denselab.training.weak_rounds import rounds_due, with_round
from denselab.training.weakly import begin_cutting_out, sampling_weights, weak_lines, weak_training

Settings = dict[str, Any]
SHORT = {"losses": [{"name": "cross-entropy"}], "validations": 1, "ema": 0.0}


@pytest.fixture(scope="module")
def both(tiny_data: Dataset) -> Dataset:
    """Of 12 training pictures 4 have masks, 4 boxes and 4 tags."""
    boxes = weakened(tiny_data, "boxes", 4, seed=1)
    tags = {item.name: item for item in weakened(tiny_data, "tags").items}
    weak = [item.name for item in boxes.of_split("train") if not has_mask(item)][:4]
    return replace(boxes, items=tuple(tags[item.name] if item.name in weak else item for item in boxes.items))


def config_of(tiny: Settings, **changes: Any) -> Any:
    from denselab.training.recipe import Facts, choose_recipe

    facts = Facts(12, (48, 64), 5, "cpu", 1, True, 64)
    return choose_recipe(make_settings({**tiny, **changes}), facts, None)[0]


def test_strong_and_weak_take_turns_within_every_batch() -> None:
    groups = np.array([1, 0, 0, 0, 0, 0, 1, 0])
    order = interleaved(np.array([0, 6, 1, 2, 3, 4, 5, 7]), groups)
    assert [int(groups[order[i : i + 4]].sum()) for i in (0, 4)] == [1, 1]
    assert [i for i in order if not groups[i]] == [1, 2, 3, 4, 5, 7], "within a group the order stays"


def test_strong_pictures_are_drawn_as_often_as_asked(both: Dataset, tiny: Settings, tmp_path: Path) -> None:
    weak = weak_training(both, config_of(tiny, strong_share=0.75, tag_method="em-adapt"), tmp_path)
    assert weak is not None
    weights = sampling_weights(weak, None)
    assert weights is not None
    assert weights[weak.groups == 1].sum() == pytest.approx(0.75)
    assert weights[weak.groups == 0].sum() == pytest.approx(0.25)
    balanced = sampling_weights(weak, np.arange(1.0, 13.0))
    assert balanced is not None
    assert balanced.sum() == pytest.approx(1)
    assert len(set(balanced.round(9))) == 12


def test_the_crf_of_boxes_is_compiled_early_where_it_will_be_needed(
    both: Dataset, tiny_data: Dataset, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was compiled at the first batch, after everything else: a third of the time of a first short training."""
    begun: list[int] = []
    monkeypatch.setattr(weakly, "compile_beside", begun.append)
    begin_cutting_out(both, make_settings({**tiny, "box_method": "rect"}), tmp_path)
    begin_cutting_out(tiny_data, make_settings(tiny), tmp_path)
    assert not begun
    begin_cutting_out(both, make_settings(tiny), tmp_path)
    assert begun == [2]
    (tmp_path / WEAK / WEAK_MASKS).mkdir(parents=True)
    begin_cutting_out(both, make_settings(tiny), tmp_path)
    assert begun == [2], "the masks are there already"


def test_the_loader_serves_codes_for_weak_pictures_alone(both: Dataset, tiny: Settings, tmp_path: Path) -> None:
    weak = weak_training(both, config_of(tiny, box_method="em-fixed", tag_method="em-adapt"), tmp_path)
    assert weak is not None
    items, classes = both.of_split("train"), both.label_space.num_classes
    loader = train_loader(
        weak.data,
        items,
        Augmentation((32, 48), flip=False, photometric=0),
        batch=4,
        seed=0,
        epoch=0,
        item_weights=sampling_weights(weak, None),
        groups=weak.groups,
    )
    for batch in loader:
        strong = [has_mask(items[index]) for index in batch.indices]
        assert sum(strong) == 2
        for labels, own in zip(batch.labels, strong, strict=True):
            known = labels[labels != 255]
            assert bool((known < classes).all()) == own


@pytest.mark.parametrize(
    ("labels", "settings", "told"),
    [
        ("boxes", {"box_method": "rect"}, "boxes: filled with their class"),
        ("boxes", {}, "boxes: a dense CRF cuts the object out of each, from the middle 20% of the box outwards"),
        ("boxes", {"box_method": "em-fixed", "em_class_bias": 7}, "with 7 added for the classes of the boxes around"),
        ("boxes", {"box_method": "boxsup"}, "6 times, spread over the run, one of the 5 best candidate segments"),
        ("tags", {}, "the background has at least about 40.0% of the picture and each of its tags 20.0% (EM-Adapt)"),
        ("tags", {"tag_method": "em-fixed"}, "6 added for the picture's tags and 5 for the background (EM-Fixed)"),
    ],
)
def test_the_plan_says_how_weak_pictures_are_used(
    tiny_data: Dataset, tiny: Settings, tmp_path: Path, labels: Any, settings: Settings, told: str
) -> None:
    data = weakened(tiny_data, labels)
    config = config_of(tiny, labels=labels, **settings)
    lines = weak_lines(weak_training(data, config, tmp_path), config)
    assert lines[0].startswith(f"training pictures: 12 by {labels} alone (weak); val and test are scored on full")
    assert told in lines[-1]


def test_the_plan_says_how_strong_and_weak_are_mixed(both: Dataset, tiny: Settings, tmp_path: Path) -> None:
    """Beside masks tags wait, and the shares of EM-Adapt are what the masks show, or the user's."""
    config = config_of(tiny, em_background_share=0.25, tag_method="em-adapt")
    lines = weak_lines(weak_training(both, config, tmp_path), config)
    assert "4 by full masks (strong), 4 by boxes alone (weak), 4 by tags alone (weak)" in lines[0]
    assert "at least about 25.0% of the picture and each of its tags" in lines[-3]
    assert lines[-2] == "for the first 50% of the run the strong pictures teach alone"
    assert lines[-1] == (
        "of the pictures drawn, 50% are strong; in a batch of both, the loss of the strong ones counts 0.7 and that of "
        "the weak ones 0.3"
    )
    assert weak_lines(None, config) == []


@pytest.fixture
def known(both: Dataset) -> Dataset:
    """`both`, whose four pictures of tags have 9, 3, 6 and 6 of its nine classes, none of which is background."""
    classes = [entry.id for entry in both.label_space.classes]
    tagged = [item for item in both.items if isinstance(item.source, TagLabels)]
    tags = {item.name: tuple(classes[:count]) for item, count in zip(tagged, (9, 3, 6, 6), strict=True)}
    items = tuple(
        replace(item, source=replace(item.source, tags=tags[item.name])) if item.name in tags else item  # type: ignore[type-var]
        for item in both.items
    )
    return replace(both, items=items)


def test_beside_masks_tags_rule_classes_out(known: Dataset, tiny: Settings, tmp_path: Path) -> None:
    """A picture is drawn by the share of the classes that its tags rule out, and the rest of the draws are of masks.

    Half of the draws were of weak pictures, however little they said: on coco_fruit, where nearly every picture shows
    every class, ten tagged pictures took away half of what four masks had to teach. By hand: four boxes say all they
    could, the tags 0, 2/3, 1/3 and 1/3, together 2/3 of it; so a third of the pictures drawn are weak.
    """
    config = config_of(tiny)
    weak = weak_training(known, config, tmp_path)
    assert weak is not None
    weights = sampling_weights(weak, None)
    assert weights is not None
    items = known.of_split("train")
    shares = [weights[[isinstance(item.source, kind) for item in items]].tolist() for kind in (BoxLabels, TagLabels)]
    assert shares[0] == pytest.approx([1 / 16] * 4)
    assert shares[1] == pytest.approx([0, 1 / 24, 1 / 48, 1 / 48])
    assert weights[weak.groups == 1].tolist() == pytest.approx([1 / 6] * 4)
    assert weak_lines(weak, config)[-3:] == [
        "tags: whatever is neither a tag of its picture nor background is ruled out; the more, the more often it is "
        "drawn, 1 picture with tags of every class, which say nothing, not at all (marginal)",
        "for the first 50% of the run the strong pictures teach alone",
        "of the pictures drawn, 67% are strong; in a batch of both, the loss of the strong ones counts 0.7 and that of "
        "the weak ones 0.3",
    ]
    with pytest.raises(ConfigError, match="`tag_method` marginal goes with masks or boxes beside the tags"):
        weak_training(weakened(known, "tags", 0), config_of(tiny, tag_method="marginal"), tmp_path)


def test_labels_made_of_tags_and_boxes_say_all_they_could(known: Dataset, tiny: Settings, tmp_path: Path) -> None:
    """EM-Adapt makes labels of every picture; where no picture has a mask, tags of every class are still left out."""
    adapt = weak_training(known, config_of(tiny, tag_method="em-adapt"), tmp_path)
    assert adapt is not None
    assert adapt.told.tolist() == [1.0] * 12
    assert adapt.weak_share == 0.5
    without = replace(known, items=tuple(i for i in known.items if i.split != "train" or not has_mask(i)))
    weak = weak_training(without, config_of(tiny), tmp_path)
    weights = sampling_weights(weak, np.full(8, 2.0))
    assert weights is not None
    assert sorted(weights) == pytest.approx([0, 2 / 3, 2 / 3, 4 / 3, 2, 2, 2, 2])
    boxes = tuple(item for item in without.items if not isinstance(item.source, TagLabels))
    assert sampling_weights(weak_training(replace(known, items=boxes), config_of(tiny), tmp_path), None) is None


def test_while_tags_wait_the_strong_pictures_train_as_if_they_were_alone(
    both: Dataset, tiny: Settings, tmp_path: Path
) -> None:
    """So a weight of nothing is the run without weak pictures, to the last bit."""
    strong = tuple(item for item in both.items if item.split != "train" or has_mask(item))
    wanted = {**tiny, **SHORT, "steps": 5, "epochs": None, "class_weights": "none"}
    run_training(make_settings({**wanted, "weak_after": 1.0}), both, tmp_path / "waiting")
    run_training(make_settings(wanted), replace(both, items=strong), tmp_path / "alone")
    waiting, alone = (tmp_path / name / "last" / "model.safetensors" for name in ("waiting", "alone"))
    assert waiting.read_bytes() == alone.read_bytes()


@pytest.mark.parametrize("box_method", ["seg", "em-fixed"])
def test_a_run_on_masks_boxes_and_tags_resumes_exactly(
    both: Dataset,
    tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    box_method: str,
) -> None:
    """The order of EM-Adapt's classes is random, but a function of the step."""
    tags = {"seg": "marginal", "em-fixed": "em-adapt"}[box_method]
    wanted = {**tiny, **SHORT, "box_method": box_method, "tag_method": tags, "weak_after": 0.3, "epochs": 3}
    run_training(make_settings(wanted), both, tmp_path / "straight")
    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", stopped_at(5))
        with pytest.raises(Interrupted):
            run_training(make_settings(wanted), both, tmp_path / "run")
    run_training(resumed_settings(make_settings({}), tmp_path / "run"), both, tmp_path / "run", resume=True)
    for name in ("model", "optimizer"):
        straight, resumed = (tmp_path / own / "last" / f"{name}.safetensors" for own in ("straight", "run"))
        assert straight.read_bytes() == resumed.read_bytes()
    record = json.loads((tmp_path / "run" / "dataset.json").read_bytes())
    assert {kind: len(names) for kind, names in record["taught_by"].items()} == {"masks": 4, "boxes": 4, "tags": 4}
    masks = sorted(path.name for path in (tmp_path / "run").glob("weak/masks/*.png"))
    assert (1 <= len(masks) <= 4) == (box_method == "seg"), "of the pictures that were drawn"


def test_networks_of_regions_and_stages_of_crops_need_masks(both: Dataset, tiny: Settings, tmp_path: Path) -> None:
    class OfRegions(SegmentationModel):
        def coarse_logits(self, images: Any) -> Any:
            return images

        def enlarge(self, coarse: Any, size: Any) -> Any:
            return coarse

        def examples(self, images: Any, labels: Any, weights: Any) -> Any:
            return images, labels, weights

    with pytest.raises(ConfigError, match="learns from regions, which need masks: set `labels` masks"):
        weak_training(both, config_of(tiny), tmp_path, OfRegions(9))
    with pytest.raises(ConfigError, match="`stages` of crops are cut around objects, which need masks"):
        stage_data(make_settings(tiny), both, tmp_path, 0)


def stopped_at(step: int) -> Callable[..., float]:
    """`train_step` that sends this process SIGTERM at a step, as a batch system does."""
    import os
    import signal

    original = loop.train_step

    def stepping(stepper: Any, batches: Any, seed: int, number: int) -> float:
        if number + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(stepper, batches, seed, number)

    return stepping


def test_boxsup_chooses_again_and_resumes_exactly(
    tiny_data: Dataset, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds at a third each; stopped within the second epoch, the run goes on with the masks of the second round."""
    data = weakened(tiny_data, "boxes", 10, seed=1)
    wanted = {**tiny, **SHORT, "epochs": 3, "box_method": "boxsup", "weak_rounds": 3}
    run_training(make_settings(wanted), data, tmp_path / "straight")
    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", stopped_at(5))
        with pytest.raises(Interrupted):
            run_training(make_settings(wanted), data, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "last" / "state.json").read_bytes())["weak_rounds"] == 2
    run_training(resumed_settings(make_settings({}), tmp_path / "run"), data, tmp_path / "run", resume=True)
    straight, resumed = (tmp_path / own / "last" / "model.safetensors" for own in ("straight", "run"))
    assert straight.read_bytes() == resumed.read_bytes()
    names = {path.name for path in (tmp_path / "run" / "weak").iterdir()}
    assert names == {"segments", *(f"round-{n}.{kind}" for n in (1, 2, 3) for kind in ("json", "png"))}
    rounds = [json.loads((tmp_path / "run" / "weak" / f"round-{n}.json").read_bytes())["chosen"] for n in (1, 2)]
    assert rounds[0].keys() == rounds[1].keys()
    assert rounds[0] != rounds[1]


def test_the_masks_of_a_round_are_asked_for(tiny_data: Dataset, tiny: Settings, tmp_path: Path) -> None:
    weak = weak_training(weakened(tiny_data, "boxes"), config_of(tiny, box_method="boxsup"), tmp_path)
    assert weak is not None
    with pytest.raises(CheckpointError, match="the labels of round 2; start a new run"):
        with_round(weak.data, tmp_path, 2)
    (tmp_path / "weak").mkdir()
    (tmp_path / "weak" / "round-1.json").write_text('{"chosen": {}}')
    with pytest.raises(CheckpointError, match="BoxSup chose for 0; start anew"):
        with_round(weak.data, tmp_path, 1)


@pytest.mark.parametrize(("progress", "due"), [(0.0, 1), (0.24, 1), (0.25, 2), (0.99, 4), (1.0, 4)])
def test_rounds_are_spread_evenly(progress: float, due: int) -> None:
    assert rounds_due(progress, 4) == due
    assert rounds_due(0.5 + progress / 2, 4, 0.5) == due
    assert rounds_due(0.49, 4, 0.5) == 0
