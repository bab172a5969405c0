"""`denselab refine` as a function: every form of probabilities, folders, steps, and what is refused."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner

from denselab.cli.main import app
from denselab.cli.refine import refine
from denselab.crf import DenseCRF, crf_for
from denselab.errors import ConfigError, DataError, NoSuchPath, SkippedInputs

HEIGHT, WIDTH = 24, 32
FEW: dict[str, Any] = {"theta_alpha": 10, "theta_beta": 10, "w1": 5, "theta_gamma": 1, "w2": 1, "iterations": 2}
TRUTH = np.repeat((np.arange(WIDTH) >= WIDTH // 2)[None], HEIGHT, axis=0).astype(np.uint8)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Dark on the left, light on the right."""
    image = np.where(TRUTH[..., None] == 1, 210, 40).astype(np.uint8).repeat(3, axis=2)
    (tmp_path / "in").mkdir()
    PILImage.fromarray(image).save(tmp_path / "in" / "a.png")
    return tmp_path / "in" / "a.png"


def noisy_probs() -> np.ndarray:
    logit = np.where(TRUTH, 1.0, -1.0) + np.random.default_rng(0).normal(0, 1.2, TRUTH.shape)
    light = 1 / (1 + np.exp(-logit))
    return np.stack([1 - light, light]).astype(np.float32)


def read(path: Path) -> np.ndarray:
    return np.asarray(PILImage.open(path))


def test_probabilities_become_labels_overlay_and_marginals(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "p.npz", probs=noisy_probs(), ids=np.array([3, 8]), names=np.array(["dark", "light"]))
    out = tmp_path / "out"
    refine(picture, tmp_path / "p.npz", out, probs="npz", as_json=True, **FEW)
    labels = read(out / "labels" / "a.png")
    assert labels.shape == (HEIGHT, WIDTH)
    assert (labels == np.where(TRUTH, 8, 3)).mean() > 0.99
    assert (out / "overlays" / "a.jpg").is_file()
    marginals = np.load(out / "probs" / "a.npz")["probs"]
    assert np.array_equal(marginals.argmax(0), labels == 8)
    assert [row["name"] for row in json.loads((out / "labels.json").read_text())] == ["dark", "light"]
    told = json.loads(capsys.readouterr().out)
    assert told["parameters"] == {**FEW, "normalization": "symmetric"}
    assert told["results"][0]["shares"] == pytest.approx({"dark": 0.5, "light": 0.5}, abs=0.02)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("kind", ["npz", "png", "none"])
def test_the_output_folder_of_predict_is_named_by_what_is_in_it(
    picture: Path, tmp_path: Path, single: bool, kind: Any
) -> None:
    """`refine PICS out/` said that out holds no a.npz; the probabilities were in out/probs."""
    np.savez(tmp_path / "a.npz", probs=noisy_probs())
    refine(picture, tmp_path / "a.npz", tmp_path / "out", probs=None if kind == "none" else kind, **FEW)
    images = picture if single else picture.parent
    with pytest.raises(DataError, match="is a folder of results") as told:
        refine(images, tmp_path / "out", tmp_path / "new", **FEW)
    command, *words = shlex.split(str(told.value).split("`")[1])
    assert command == "denselab"
    done = CliRunner().invoke(app, [*words, "--iterations", "1"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "new" / "labels" / "a.png").is_file()
    assert ("--probs npz" in str(told.value)) == (kind == "none")


def test_hard_labels_with_a_confidence(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fifth of the labels is wrong, and a corner is left unsure: the picture decides."""
    ids = np.where(TRUTH ^ (np.random.default_rng(0).random(TRUTH.shape) < 0.2), 8, 3).astype(np.uint8)
    ids[:4, :4] = 255
    PILImage.fromarray(ids).save(tmp_path / "hard.png")
    refine(picture, tmp_path / "hard.png", tmp_path / "out", confidence=0.6, **FEW)
    labels = read(tmp_path / "out" / "labels" / "a.png")
    assert set(np.unique(labels)) == {3, 8}
    assert (labels == np.where(TRUTH, 8, 3)).mean() > 0.99
    assert "no label table: 3 ids occur (3, 8, 255); 255 is taken for unsure" in capsys.readouterr().err
    refine(picture, tmp_path / "hard.png", tmp_path / "sure", confidence=0.6, **{**FEW, "iterations": 0})
    kept = read(tmp_path / "sure" / "labels" / "a.png")
    assert np.array_equal(kept[4:], ids[4:]), "without an iteration the labels stay"


@pytest.mark.parametrize("values", [(0, 255), (0, 1)])
def test_a_mask_keeps_both_of_its_classes(
    picture: Path, tmp_path: Path, values: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """255 was taken for unsure, so that a mask of 0 and 255 came out all 0."""
    mask = np.where(TRUTH ^ (np.random.default_rng(0).random(TRUTH.shape) < 0.2), *values[::-1]).astype(np.uint8)
    PILImage.fromarray(mask).save(tmp_path / "mask.png")
    refine(picture, tmp_path / "mask.png", tmp_path / "out", confidence=0.6, **FEW)
    assert (read(tmp_path / "out" / "labels" / "a.png") == np.where(TRUTH, *values[::-1])).mean() > 0.99
    assert values == (0, 1) or "a mask of 0 and 255, taken for two classes" in capsys.readouterr().err


def test_grey_levels_are_asked_about_and_the_answer_works(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The grey levels of an 8-bit probability were taken for ids: labels/ then held classes 38 and 216."""
    grey = tmp_path / "grey"
    grey.mkdir()
    for low, high in ((38, 216), (90, 165)):
        levels = np.where(TRUTH, high, low) + (np.arange(TRUTH.size).reshape(TRUTH.shape) % 70 if high < 200 else 0)
        PILImage.fromarray(levels.astype(np.uint8)).save(grey / "p.png")
        with pytest.raises(DataError, match="label ids, or one channel of probabilities.* alone into a folder"):
            refine(picture, grey / "p.png", tmp_path / "out", **FEW)
        refine(picture, grey, tmp_path / f"out{low}", **FEW)
        assert (read(tmp_path / f"out{low}" / "labels" / "a.png") == TRUTH).mean() > 0.95
        assert "one channel p, taken for two classes: p is class 1" in capsys.readouterr().err


def test_grey_levels_of_16_bits_are_asked_about_and_the_answer_works(picture: Path, tmp_path: Path) -> None:
    """13107 and 52428 became classes of these ids."""
    levels = np.where(TRUTH, 52428, 13107).astype(np.uint16)
    levels[0, 0] = 40000
    PILImage.fromarray(levels).save(tmp_path / "p.png")
    with pytest.raises(DataError, match=r"save them as npy, as floats from 0 to 1 \(divided by 65535\)"):
        refine(picture, tmp_path / "p.png", tmp_path / "out", **FEW)
    np.save(tmp_path / "p.npy", levels / 65535)
    refine(picture, tmp_path / "p.npy", tmp_path / "out", **FEW)
    assert (read(tmp_path / "out" / "labels" / "a.png") == TRUTH).mean() > 0.99


@pytest.mark.parametrize(
    ("values", "table"), [((1, 255), "[{id: 1, name: class 1}, {id: 255, name: class 255}]"), ((7, 7), "{id: 8,")]
)
def test_one_class_alone_is_asked_about_and_the_answer_works(
    picture: Path, tmp_path: Path, values: tuple[int, int], table: str
) -> None:
    """1 and 255 came out all 1: 255 was unsure. One id alone was refused with advice for a sigmoid's output."""
    PILImage.fromarray(np.where(TRUTH, *values[::-1]).astype(np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match="one class leaves nothing to decide") as asked:
        refine(picture, tmp_path / "mask.png", tmp_path / "out", **FEW)
    assert table in str(asked.value)
    (tmp_path / "table.yaml").write_text(str(asked.value).partition("such as ")[2])
    refine(picture, tmp_path / "mask.png", tmp_path / "out", labels=tmp_path / "table.yaml", **FEW)
    assert (read(tmp_path / "out" / "labels" / "a.png") == np.where(TRUTH, *values[::-1])).mean() > 0.99


def test_a_mask_in_which_nothing_is_set_stays_so(picture: Path, tmp_path: Path) -> None:
    PILImage.fromarray(np.zeros(TRUTH.shape, np.uint8)).save(tmp_path / "mask.png")
    refine(picture, tmp_path / "mask.png", tmp_path / "out", **FEW)
    assert not read(tmp_path / "out" / "labels" / "a.png").any()


def test_a_label_table_gives_names_and_colours(picture: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", noisy_probs())
    table = [{"id": 3, "name": "night", "colour": [1, 2, 3]}, {"id": 8, "name": "day", "colour": [200, 100, 50]}]
    (tmp_path / "table.json").write_text(json.dumps(table))
    refine(picture, tmp_path / "p.npy", tmp_path / "out", labels=tmp_path / "table.json", **FEW)
    with PILImage.open(tmp_path / "out" / "labels" / "a.png") as found:
        assert found.getpalette()[3 * 8 : 3 * 8 + 3] == [200, 100, 50]


def test_steps(picture: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", noisy_probs())
    refine(picture, tmp_path / "p.npy", tmp_path / "out", steps=True, class_name="class 1", **FEW)
    assert sorted(p.name for p in (tmp_path / "out" / "steps" / "a").iterdir()) == [
        *(f"iteration_{i:02d}.png" for i in range(3)),
        "steps.gif",
    ]
    with pytest.raises(ConfigError, match="without --steps"):
        refine(picture, tmp_path / "p.npy", tmp_path / "other", class_name="class 1", **FEW)


def test_fast(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other marginals, nearly the same labels; one picture and a folder take the same way."""
    (tmp_path / "probs").mkdir()
    np.save(tmp_path / "probs" / "a.npy", noisy_probs())
    for name, fast in (("full", False), ("fast", True)):
        refine(picture, tmp_path / "probs" / "a.npy", tmp_path / name, probs="npz", crf_fast=fast, as_json=True, **FEW)
        assert json.loads(capsys.readouterr().out)["fast"] is fast
    full, fast_one = (np.load(tmp_path / name / "probs" / "a.npz")["probs"] for name in ("full", "fast"))
    assert 0 < np.abs(full - fast_one).mean() < 0.05
    (picture.parent / "b.png").write_bytes(picture.read_bytes())
    np.save(tmp_path / "probs" / "b.npy", noisy_probs())
    refine(picture.parent, tmp_path / "probs", tmp_path / "both", probs="npz", crf_fast=True, **FEW)
    assert np.array_equal(np.load(tmp_path / "both" / "probs" / "b.npz")["probs"], fast_one)
    with pytest.raises(ConfigError, match="--crf-fast with --steps"):
        refine(picture, tmp_path / "probs" / "a.npy", tmp_path / "no", crf_fast=True, steps=True, **FEW)


def test_folders_of_pictures(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Partners by stem; what has none, or bad ones, is skipped with its reason, and the rest is done."""
    image = PILImage.open(picture)
    (tmp_path / "probs").mkdir()
    for name in ("b", "c", "d"):
        image.save(picture.with_name(f"{name}.png"))
    np.save(tmp_path / "probs" / "a.npy", noisy_probs())
    np.save(tmp_path / "probs" / "b.npy", np.full((2, WIDTH, HEIGHT), 0.5))
    np.savez(tmp_path / "probs" / "c.npz", p=noisy_probs())
    with pytest.raises(SkippedInputs, match="2 of 4 inputs skipped") as caught:
        refine(picture.parent, tmp_path / "probs", tmp_path / "out", as_json=True, **FEW)
    assert caught.value.exit_code == 4
    told = json.loads(capsys.readouterr().out)
    assert [Path(r["input"]).name for r in told["results"]] == ["a.png", "c.png"]
    reasons = {Path(s["input"]).name: s["reason"] for s in told["skipped"]}
    assert "height and width are swapped" in reasons["b.png"]
    assert "holds no d" in reasons["d.png"]
    first, third = (read(tmp_path / "out" / "labels" / name) for name in ("a.png", "c.png"))
    assert np.array_equal(first, third)


def test_a_stack_is_numbered_as_a_reader_counts(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """class10.png came before class2.png, as text has it: classes 2 to 11 were permuted without a word."""
    truth = np.repeat((np.arange(WIDTH) * 12 // WIDTH)[None], HEIGHT, axis=0)
    (tmp_path / "stack").mkdir()
    for i in range(12):
        PILImage.fromarray(np.where(truth == i, 255, 0).astype(np.uint8)).save(tmp_path / "stack" / f"class{i}.png")
    refine(picture, tmp_path / "stack", tmp_path / "out", **{**FEW, "iterations": 0})
    assert np.array_equal(read(tmp_path / "out" / "labels" / "a.png"), truth)
    note = "no label table: 12 classes, numbered from 0: class0.png is 0 ... class11.png is 11"
    assert note in capsys.readouterr().err


def test_a_picture_too_large_for_memory_is_skipped_alone(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the run of the whole folder, called the picture "1", and told to raise a limit that no option sets.

    The reasons come in the order of the pictures, whoever found them.
    """
    (tmp_path / "probs").mkdir()
    for name in "abcd":
        (picture.parent / f"{name}.png").write_bytes(picture.read_bytes())
        np.save(tmp_path / "probs" / f"{name}.npy", noisy_probs())
    PILImage.new("RGB", (320, 240)).save(picture.with_name("b.png"))
    np.save(tmp_path / "probs" / "b.npy", np.full((2, 240, 320), 0.5, np.float32))
    (tmp_path / "probs" / "c.npy").write_text("no")
    monkeypatch.setattr("denselab.crf.batch.total_memory", lambda: 2**23)
    with pytest.raises(SkippedInputs, match="2 of 4 inputs skipped") as caught:
        refine(picture.parent, tmp_path / "probs", tmp_path / "out", threads=4, as_json=True, **FEW)
    assert caught.value.exit_code == 4
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert [Path(r["input"]).name for r in document["results"]] == ["a.png", "d.png"]
    assert [Path(s["input"]).name for s in document["skipped"]] == ["b.png", "c.png"]
    reason = document["skipped"][0]["reason"]
    assert "the CRF of 240x320 pixels (height x width) and 2 classes needs about" in reason
    assert "refine parts of the picture" in reason
    assert f"skipped {picture.with_name('b.png')}: the CRF of" in told.err


def test_bad_probabilities_are_skipped_wherever_they_are(picture: Path, tmp_path: Path) -> None:
    """In the first file they ended the run, since the label table was made from it."""
    (tmp_path / "probs").mkdir()
    for name in "ab":
        (picture.parent / f"{name}.png").write_bytes(picture.read_bytes())
        (tmp_path / "probs" / f"{name}.npy").write_text("no")
    with pytest.raises(DataError, match=r"a\.npy: not an npy file"):
        refine(picture.parent, tmp_path / "probs", tmp_path / "none", **FEW)
    np.save(tmp_path / "probs" / "b.npy", noisy_probs())
    with pytest.raises(SkippedInputs, match=r"1 of 2 inputs skipped: .*a\.npy: not an npy file") as caught:
        refine(picture.parent, tmp_path / "probs", tmp_path / "out", **FEW)
    assert caught.value.exit_code == 4
    assert (tmp_path / "out" / "labels" / "b.png").is_file()


def test_the_label_table_lists_what_the_label_pngs_hold(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An index PNG holds no id below 0 or above 65535: it got class numbers, and labels.json still said -1 and 70000."""
    np.savez(tmp_path / "p.npz", probs=noisy_probs(), ids=np.array([-1, 70000]), names=np.array(["dark", "light"]))
    refine(picture, tmp_path / "p.npz", tmp_path / "out", **FEW)
    table = {row["id"]: row["name"] for row in json.loads((tmp_path / "out" / "labels.json").read_text())}
    assert table == {0: "dark", 1: "light"}
    assert set(np.unique(read(tmp_path / "out" / "labels" / "a.png"))) == {0, 1}
    assert capsys.readouterr().err.count("label ids -1 to 70000 do not fit into label PNGs") == 1


def test_threads_hold_with_steps_too(picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--threads 1 --steps` took all cores."""
    asked: list[int | None] = []

    def recording(image: Any, num_classes: int, parameters: Any, threads: int | None = None) -> DenseCRF:
        asked.append(threads)
        return crf_for(image, num_classes, parameters, threads)

    monkeypatch.setattr("denselab.crf.refinement.crf_for", recording)
    np.save(tmp_path / "p.npy", noisy_probs())
    refine(picture, tmp_path / "p.npy", tmp_path / "out", steps=True, threads=1, **FEW)
    assert asked == [1, 1], "once to find the class that changes most, once to draw"


def test_what_is_refused(picture: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", noisy_probs())
    np.save(tmp_path / "nan.npy", np.full((2, HEIGHT, WIDTH), np.nan))
    good, out = tmp_path / "p.npy", tmp_path / "out"
    for wrong, message in (
        ({"theta_beta": -3}, "theta_beta is -3; expected more than 0"),
        ({"iterations": -1}, "iterations is -1"),
    ):
        with pytest.raises(ConfigError, match=message):
            refine(picture, good, out, **{**FEW, **wrong})
    for folder in ("data/images", "data/labels"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(ConfigError, match="lies inside the data set"):
        refine(picture, good, tmp_path / "data", **FEW)
    with pytest.raises(ConfigError, match=r"--confidence 1; a probability between 0 and 1"):
        refine(picture, good, out, confidence=1.0)
    with pytest.raises(DataError, match="NaN"):
        refine(picture, tmp_path / "nan.npy", out)
    with pytest.raises(NoSuchPath, match="does not exist"):
        refine(picture, tmp_path / "gone.npy", out)
    with pytest.raises(ConfigError, match="a folder of pictures, but .* is a file"):
        refine(picture.parent, good, out)


def test_nothing_that_was_there_is_replaced(picture: Path, tmp_path: Path) -> None:
    """`refine a.png out/labels/a.png --out out` would write over the labels that it is made from."""
    out = tmp_path / "out"
    (out / "labels").mkdir(parents=True)
    PILImage.fromarray(TRUTH).save(out / "labels" / "a.png")
    with pytest.raises(ConfigError, match="is there already"):
        refine(picture, out / "labels" / "a.png", out, **FEW)
    (out / "labels.json").write_text('[{"id": 0, "name": "x", "colour": [0, 0, 0], "role": "class"}]')
    with pytest.raises(ConfigError, match="would overwrite what it is made from"):
        refine(picture, out / "labels" / "a.png", out, **FEW)


def test_labels_that_somebody_changed_are_not_replaced(picture: Path, tmp_path: Path) -> None:
    out, labels = tmp_path / "out", tmp_path / "out" / "labels" / "a.png"
    np.savez(tmp_path / "p.npz", probs=noisy_probs(), ids=np.array([3, 8]), names=np.array(["dark", "light"]))
    for _ in range(2):
        refine(picture, tmp_path / "p.npz", out, **FEW)
    PILImage.fromarray(TRUTH).save(labels)
    mine = labels.read_bytes()
    with pytest.raises(ConfigError, match=r"a\.png was changed since it was written"):
        refine(picture, tmp_path / "p.npz", out, **FEW)
    assert labels.read_bytes() == mine
