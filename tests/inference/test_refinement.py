"""The dense CRF behind a network: parameters, refinement in the predictor, steps, search, halves, probability files."""

import contextlib
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.crf import PRESETS, Parameters, refine
from denselab.data.dataset import Item
from denselab.data.item import FileLabels
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, DataError
from denselab.inference import Predictor
from denselab.inference.crf_steps import class_to_show, step_pictures, write_steps
from denselab.inference.refinement import changed, parameters_for, probs_of_labels, refined, refined_steps
from denselab.labels import LabelEntry, LabelSpace
from denselab.refine.probability_cache import ProbabilityCache
from denselab.refine.probability_files import counted, probabilities, read_scores
from denselab.refine.search import coarse_to_fine, search
from denselab.refine.tuning import halves

FEW = Parameters(10, 10, 5, 1, 1, 2, "symmetric")
TWO = LabelSpace((LabelEntry(0, "dark", (0, 0, 0)), LabelEntry(1, "light", (250, 250, 250))))


def two_colours(height: int = 24, width: int = 32) -> np.ndarray:
    """Dark on the left, light on the right."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 2 :] = 210
    return image


def noisy_probs(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """(2, H, W) float32: right on average, wrong at about a fifth of the pixels."""
    truth = np.arange(width)[None, :] >= width // 2
    logit = np.where(truth, 1.0, -1.0) + np.random.default_rng(seed).normal(0, 1.2, (height, width))
    light = 1 / (1 + np.exp(-logit))
    return np.stack([1 - light, light]).astype(np.float32)


def test_choices_of_parameters() -> None:
    stored = replace(FEW, w1=7.0)
    assert parameters_for(None, stored) is None
    assert parameters_for(False, stored) is None
    assert parameters_for(True, stored) == stored
    assert parameters_for(True, None) == PRESETS["deeplab_v2"]
    assert parameters_for("deconvnet", stored) == PRESETS["deconvnet"]
    assert parameters_for(FEW, stored) == FEW
    assert changed(FEW, {"w1": 3.5, "w2": None, "iterations": 0}) == replace(FEW, w1=3.5, iterations=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"theta_alpha": 0}, "theta_alpha is 0; expected more than 0"),
        ({"theta_beta": float("nan")}, "theta_beta is nan"),
        ({"w1": -1.0}, "w1 is -1.0; expected 0"),
        ({"iterations": -1}, "iterations is -1"),
        ({"normalization": "both"}, "normalization is 'both'; use one of symmetric"),
    ],
)
def test_impossible_parameters(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        changed(FEW, changes)


def test_the_crf_repairs_what_the_picture_shows() -> None:
    image, probs = two_colours(), noisy_probs()
    truth = np.arange(32)[None, :] >= 16
    before = (probs.argmax(0) == truth).mean()
    after = (refined(image, probs, FEW).argmax(0) == truth).mean()
    assert before < 0.9
    assert after > 0.99
    assert np.array_equal(refined(image, probs, FEW), refine(image, probs, FEW))
    *_, last = refined_steps(image, probs, FEW)
    assert np.allclose(last, refined(image, probs, FEW), atol=1e-6)


def test_the_predictor_refines(engine: TorchEngine) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 28, 3), dtype=np.uint8)
    plain = Predictor(engine)
    tuned = Predictor(replace(engine, spec=replace(engine.spec, crf=FEW)))
    wanted = refine(image, plain(image).probs, FEW)
    assert np.array_equal(plain(image, crf=FEW).probs, wanted)
    assert np.array_equal(tuned(image, crf=True).probs, wanted)
    assert np.array_equal(tuned(image, crf=True).labels, wanted.argmax(0))
    assert np.array_equal(tuned.labels(image, tuned.plan(crf=FEW)), wanted.argmax(0))
    assert np.array_equal(tuned(image).probs, plain(image).probs), "without crf=True nothing changes"
    for more in ({"tta": True}, {"window": (16, 16)}):
        expected = refine(image, plain(image, **more).probs, FEW)
        assert np.array_equal(plain(image, crf=FEW, **more).probs, expected)
    fast = refine(image, plain(image).probs, FEW, fast=True)
    assert np.array_equal(plain(image, crf=FEW, crf_fast=True).probs, fast)
    assert not np.array_equal(fast, wanted)


def test_steps_are_drawn(tmp_path: Path) -> None:
    image, probs = two_colours(), noisy_probs()
    last = write_steps(tmp_path, image, probs, FEW, TWO)
    assert np.array_equal(last, refined(image, probs, FEW))
    assert sorted(p.name for p in tmp_path.iterdir()) == [*(f"iteration_{i:02d}.png" for i in range(3)), "steps.gif"]
    with PILImage.open(tmp_path / "steps.gif") as animation:
        assert animation.n_frames == 3
        assert animation.info["loop"] == 0
    first, *_, final = step_pictures(image, probs, FEW, TWO, 1)
    assert not np.array_equal(first, final)
    right = final[8 + 4 : 8 + 170, 260 + 130 : 260 + 220]  # the label map's right half is all light
    assert (right == 250).all()


def test_the_class_whose_scores_are_shown() -> None:
    before = np.array([0.5, 0.3, 0.2]).reshape(3, 1, 1)
    after = np.array([0.9, 0.02, 0.08]).reshape(3, 1, 1)
    entries = [LabelEntry(0, "ground", (0, 0, 0), "background"), LabelEntry(5, "car", (1, 1, 1))]
    space = LabelSpace((*entries, LabelEntry(9, "tree", (2, 2, 2))))
    assert class_to_show(None, before, after, space) == 1
    assert class_to_show("car", before, after, space) == 1
    assert class_to_show("9", before, after, space) == 2
    with pytest.raises(ConfigError, match="no class is called 'cat'; the classes are ground, car, tree"):
        class_to_show("cat", before, after, space)


def test_hard_labels_and_a_confidence() -> None:
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    probs = probs_of_labels(labels, 3, 0.7, 255)
    assert probs[:, 0, 0] == pytest.approx([0.7, 0.15, 0.15])
    assert probs[:, 1, 1] == pytest.approx([1 / 3] * 3)


def test_coarse_to_fine_finds_the_top_of_a_hill() -> None:
    """The coarse grid has w1 3 and 5, alpha 30, 50, 70, 90 and beta 3 and 5; the top lies between and beyond."""
    top = Parameters(80.0, 6.0, 6.0, 3.0, 3.0, 10, "after")

    def score(p: Parameters) -> float:
        return -abs(p.theta_alpha - 80) / 10 - abs(p.theta_beta - 6) - abs(p.w1 - 6)

    trials = list(coarse_to_fine(score, 1.0))
    assert max(trials, key=lambda t: t.miou).parameters == top
    assert len({t.parameters for t in trials}) == len(trials)
    assert all((t.parameters.theta_gamma, t.parameters.w2, t.parameters.iterations) == (3, 3, 10) for t in trials)
    assert {t.parameters.theta_alpha for t in coarse_to_fine(score, 0.5)} >= {15.0, 25.0, 35.0, 45.0}


@pytest.mark.parametrize("strategy", ["coarse-to-fine", "random"])
def test_a_search_ends_with_the_time(strategy: str) -> None:
    scores = iter([0.1, 0.3, 0.2, None])
    trials = list(search(strategy, lambda _: next(scores), 500))  # type: ignore[arg-type]
    assert [t.miou for t in trials] == [0.1, 0.3, 0.2]


def items(groups: str) -> list[Item]:
    return [Item(f"p{i:02d}", Path("x"), FileLabels(Path("y")), "val", group) for i, group in enumerate(groups)]


def test_halves_keep_sequences_together() -> None:
    one, other = halves(items("aaabbccd"), None)
    assert len(one) + len(other) == 8
    assert not {i.group for i in one} & {i.group for i in other}
    one, other = halves(items("aaaaaa"), None)  # one sequence alone has to be divided
    assert (len(one), len(other)) == (3, 3)
    assert max(i.name for i in one) < min(i.name for i in other)
    assert halves(items("abcdefgh"), 4) == halves(items("abcdefgh"), 4)
    assert sum(map(len, halves(items("abcdefgh"), 4))) == 4
    with pytest.raises(DataError, match="3 pictures; tuning needs 4"):
        halves(items("abc"), None)


@pytest.mark.parametrize("memory", [0, 10**9])
def test_cached_probabilities_come_back(memory: int) -> None:
    probs = noisy_probs()
    with ProbabilityCache(memory) as cache:
        cache.add("a", two_colours(), np.zeros((24, 32), np.uint8), probs)
        stored = cache.pictures[0].stored
        assert isinstance(stored, Path) == (memory == 0)
        assert np.allclose(cache.pictures[0].probs(), probs, atol=5e-4)
    assert not (isinstance(stored, Path) and stored.exists())


def kinds(folder: Path, probs: np.ndarray) -> dict[str, Path]:
    """The same probabilities in every form that is read."""
    np.savez(
        folder / "ours.npz", probs=probs.astype(np.float16), ids=np.array([0, 1]), names=np.array(["dark", "light"])
    )
    np.savez(folder / "alone.npz", anything=probs)
    np.save(folder / "chw.npy", probs)
    np.save(folder / "hwc.npy", np.moveaxis(probs, 0, -1).astype(np.float64))
    np.save(folder / "batch.npy", probs[None])
    np.save(folder / "bytes.npy", (probs * 255 + 0.5).astype(np.uint8))
    (folder / "stack").mkdir()
    for i, name in enumerate(("dark", "light")):
        PILImage.fromarray((probs[i] * 255 + 0.5).astype(np.uint8)).save(folder / "stack" / f"{i:03d}_{name}.png")
    return {p.stem: p for p in folder.iterdir()}


def test_every_form_of_probabilities_is_read(tmp_path: Path) -> None:
    probs = noisy_probs()
    for name, path in kinds(tmp_path, probs).items():
        scores = read_scores(path, (24, 32))
        found = probabilities(scores, TWO, 0.7)
        assert np.allclose(found, probs, atol=4e-3), name
        assert np.allclose(found.sum(0), 1, atol=1e-6), name
        assert scores.names == (("dark", "light") if name in ("ours", "stack") else ())


def test_files_of_a_stack_come_in_the_order_of_their_numbers() -> None:
    names = ["b", "a10", "a2", "a1b10", "a1b9", "10_sky", "9_road", "1000_x", "101_y", "a02", "a"]
    ordered = ["9_road", "10_sky", "101_y", "1000_x", "a", "a1b9", "a1b10", "a02", "a2", "a10", "b"]
    assert sorted(names, key=counted) == ordered


def test_a_cube_is_ambiguous_until_told(tmp_path: Path) -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), (4, 4)).astype(np.float32)  # (H, W, K)
    np.save(tmp_path / "cube.npy", probs)
    with pytest.raises(DataError, match="may be classes first or last .* --axes"):
        read_scores(tmp_path / "cube.npy", (4, 4))
    assert np.array_equal(read_scores(tmp_path / "cube.npy", (4, 4), "hwc").values, np.moveaxis(probs, -1, 0))
    assert np.array_equal(read_scores(tmp_path / "cube.npy", (4, 4), "chw").values, probs)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 32, 24), 0.5), "height and width are swapped"),
        (np.full((2, 12, 16), 0.5), r"probabilities \(2, 12, 16\), but the picture is 24x32"),
        (np.full((2, 24, 32), np.nan), "1536 values are NaN or infinite"),
        (np.full((2, 24, 32), 0.4), "sums over the classes 0.8 to 0.8; probabilities lie in 0..1"),
        (np.stack([np.full((24, 32), 3.0), np.full((24, 32), -2.0)]), "apply a softmax to logits"),
        (np.full((3, 24, 32), 1 / 3), "3 classes, but the label table has 2"),
        (np.zeros((2, 24, 32), np.int64), r"of int64; expected float \(classes, height, width\)"),
        (np.zeros((24, 31), np.uint8), "labels 24x31, but the picture is 24x32"),
        (np.full((24, 32), 7), "label id 7 is not in the label table"),
        (np.array([None, 1]), "not an npy file of plain numbers"),
    ],
)
def test_bad_probabilities_are_named(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(DataError, match=message):
        probabilities(read_scores(tmp_path / "bad.npy", (24, 32)), TWO, 0.7)


def test_a_damaged_npz_is_named_whichever_byte_is_wrong(tmp_path: Path) -> None:
    """numpy and zipfile let errors of zlib and of the parser of headers through, which ended the run of a folder."""
    np.savez_compressed(tmp_path / "p.npz", probs=noisy_probs())
    good = (tmp_path / "p.npz").read_bytes()
    for place in range(0, len(good), 31):
        (tmp_path / "p.npz").write_bytes(good[:place] + bytes([good[place] ^ 255]) + good[place + 1 :])
        with contextlib.suppress(DataError):  # a few bytes do not count, such as those of dates
            read_scores(tmp_path / "p.npz", (24, 32))


def test_files_that_hold_no_probabilities(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    (tmp_path / "empty").mkdir()
    PILImage.new("RGB", (32, 24)).save(tmp_path / "colour.png")
    np.save(tmp_path / "array.npy", noisy_probs())
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with zipfile.ZipFile(tmp_path / "archive.npz", "w") as archive:
        archive.writestr("data.pkl", b"no array")
    for name, message in (
        ("array.npz", r"one array: its name should end with \.npy"),
        ("archive.npz", "holds nothing; expected"),
        ("text.npz", "not an npz file"),
        ("two.npz", r'holds a \(2, 2\), b \(2, 2\); expected an array called "probs"'),
        ("empty", "holds no PNG"),
        ("colour.png", "a colour picture; a label map has one channel"),
    ):
        with pytest.raises(DataError, match=message):
            read_scores(tmp_path / name, (24, 32))
