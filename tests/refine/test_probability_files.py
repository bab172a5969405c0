"""Anybody's probabilities from files, and what is said of files that hold none."""

import contextlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PILImage

from denselab.errors import DataError
from denselab.labels import LabelEntry, LabelSpace
from denselab.refine.probability_files import Scores, counted, probabilities, read_scores

TWO = LabelSpace((LabelEntry(0, "dark", (0, 0, 0)), LabelEntry(1, "light", (250, 250, 250))))


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


def test_every_form_of_probabilities_is_read(tmp_path: Path, noisy_probs: np.ndarray) -> None:
    probs = noisy_probs
    for name, path in kinds(tmp_path, probs).items():
        scores = read_scores(path, (24, 32))
        found = probabilities(scores, TWO, 0.7)
        assert np.allclose(found, probs, atol=4e-3), name
        assert np.allclose(found.sum(0), 1, atol=1e-6), name
        assert scores.names == (("dark", "light") if name in ("ours", "stack") else ())


def one_channel(folder: Path, p: np.ndarray) -> list[Path]:
    """The output of one sigmoid in every form."""
    np.save(folder / "chw.npy", p[None])
    np.save(folder / "hwc.npy", p[..., None])
    np.save(folder / "plane.npy", p.astype(np.float64))
    np.save(folder / "batch.npy", p[None, None])
    np.save(folder / "bytes.npy", (p[None] * 255 + 0.5).astype(np.uint8))
    np.savez(folder / "ours.npz", probs=p[None], ids=np.array([7]), names=np.array(["light"]))
    (folder / "stack").mkdir()
    PILImage.fromarray((p * 255 + 0.5).astype(np.uint8)).save(folder / "stack" / "light.png")
    return list(folder.iterdir())


def test_one_channel_of_a_sigmoid_is_two_classes(tmp_path: Path, noisy_probs: np.ndarray) -> None:
    """A road network has one output: it was refused with advice for logits, and other tools give zeros alone."""
    probs = noisy_probs
    for path in one_channel(tmp_path, probs[1]):
        scores = read_scores(path, (24, 32))
        assert scores.one_channel, path.name
        assert np.allclose(probabilities(scores, TWO, 0.7), probs, atol=4e-3), path.name
        assert scores.names == (("other", "light") if path.name == "ours.npz" else ()), path.name
    np.save(tmp_path / "logits.npy", probs[1] * 9 - 4)
    with pytest.raises(DataError, match=r"logits\.npy: one channel, values .* apply a sigmoid to logits"):
        probabilities(read_scores(tmp_path / "logits.npy", (24, 32)), TWO, 0.7)


def test_a_mask_is_two_classes_of_a_table_of_two(tmp_path: Path, noisy_probs: np.ndarray) -> None:
    mask = noisy_probs[1] > 0.5
    np.save(tmp_path / "bool.npy", mask)
    PILImage.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    for name in ("bool.npy", "mask.png"):
        found = probabilities(read_scores(tmp_path / name, (24, 32)), TWO, 0.7)
        assert np.array_equal(found.argmax(0), mask), name
        assert found.max() == pytest.approx(0.7), name


def masks(folder: Path, mask: np.ndarray) -> list[Path]:
    """A two-valued mask in the forms of other programs."""
    ones = mask.astype(np.uint8)
    np.save(folder / "bytes_chw.npy", ones[None])
    np.save(folder / "bytes_hwc.npy", ones[..., None] * 255)
    np.save(folder / "floats.npy", ones.astype(np.float32))
    np.save(folder / "floats_255.npy", ones.astype(np.float32)[None] * 255)
    np.save(folder / "int64.npy", ones.astype(np.int64)[None] * 255)
    np.save(folder / "one_hot_bool.npy", np.stack([~mask, mask]))
    np.save(folder / "one_hot_bytes.npy", np.stack([1 - ones, ones], axis=-1))
    PILImage.fromarray(np.repeat(ones[..., None] * 255, 3, axis=2)).save(folder / "rgb.png")
    PILImage.fromarray(ones.astype(np.uint16) * 65535).save(folder / "deep.png")
    PILImage.fromarray(ones * 255).save(folder / "smeared.jpg", quality=60)
    tifffile.imwrite(folder / "float.tif", ones.astype(np.float32))
    (folder / "stack").mkdir()
    PILImage.fromarray(ones).save(folder / "stack" / "road.png")
    return list(folder.iterdir())


def test_a_mask_in_any_form_is_two_classes_with_a_confidence(tmp_path: Path, noisy_probs: np.ndarray) -> None:
    """Bytes of 0 and 1 were read as 0 and 1/255, which is one class everywhere; floats of 0 and 1 left the CRF no say."""
    mask = noisy_probs[1] > 0.5
    mask[:, :14], mask[:, 14:] = False, True  # even areas: a JPEG smears small things away
    for path in masks(tmp_path, mask):
        found = probabilities(read_scores(path, (24, 32)), TWO, 0.7)
        assert np.array_equal(found.argmax(0), mask), path.name
        assert found.max() == pytest.approx(0.7), path.name


def test_floats_of_a_picture_are_probabilities(tmp_path: Path, noisy_probs: np.ndarray) -> None:
    probs = noisy_probs
    tifffile.imwrite(tmp_path / "p.tif", probs[1])
    assert np.allclose(probabilities(read_scores(tmp_path / "p.tif", (24, 32)), TWO, 0.7), probs, atol=1e-6)


def test_probabilities_may_overshoot_by_rounding(tmp_path: Path, noisy_probs: np.ndarray) -> None:
    probs = np.where(noisy_probs > 0.5, 1 + 1e-6, -1e-6).astype(np.float32)
    for name, array in (("one", probs[1]), ("two", probs)):
        np.save(tmp_path / f"{name}.npy", array)
        found = probabilities(read_scores(tmp_path / f"{name}.npy", (24, 32)), TWO, 0.7)
        assert found.min() >= 0, name
        assert np.allclose(found, probs, atol=1e-4), name


def test_a_jpeg_keeps_no_probabilities(tmp_path: Path, noisy_probs: np.ndarray) -> None:
    PILImage.fromarray((noisy_probs[1] * 255).astype(np.uint8)).save(tmp_path / "p.jpg")
    with pytest.raises(DataError, match=r"p\.jpg: a JPEG, which does not keep numbers; save probabilities as npy"):
        read_scores(tmp_path / "p.jpg", (24, 32))


def test_files_of_a_stack_come_in_the_order_of_their_numbers() -> None:
    names = ["b", "a10", "a2", "a1b10", "a1b9", "10_sky", "9_road", "1000_x", "101_y", "a02", "a"]
    ordered = ["9_road", "10_sky", "101_y", "1000_x", "a", "a1b9", "a1b10", "a02", "a2", "a10", "b"]
    assert sorted(names, key=counted) == ordered


def test_a_cube_is_ambiguous_until_told(tmp_path: Path) -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), (4, 4)).astype(np.float32)  # (H, W, K)
    np.save(tmp_path / "cube.npy", probs)
    with pytest.raises(DataError, match=r"may be classes first or last .* \(axes\)"):
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


def test_a_damaged_npz_is_named_whichever_byte_is_wrong(tmp_path: Path, noisy_probs: np.ndarray) -> None:
    """numpy and zipfile let errors of zlib and of the parser of headers through, which ended the run of a folder."""
    np.savez_compressed(tmp_path / "p.npz", probs=noisy_probs)
    good = (tmp_path / "p.npz").read_bytes()
    for place in range(0, len(good), 31):
        (tmp_path / "p.npz").write_bytes(good[:place] + bytes([good[place] ^ 255]) + good[place + 1 :])
        with contextlib.suppress(DataError):  # a few bytes do not count, such as those of dates
            read_scores(tmp_path / "p.npz", (24, 32))


def test_files_that_hold_no_probabilities(tmp_path: Path, noisy_probs: np.ndarray) -> None:
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    (tmp_path / "empty").mkdir()
    PILImage.new("RGB", (32, 24), "red").save(tmp_path / "colour.png")
    np.save(tmp_path / "array.npy", noisy_probs)
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


def test_bytes_of_many_classes_that_are_all_0_are_no_probabilities() -> None:
    """Of 510 classes or more, rounding explains any sum: pixels of zeros alone became NaN."""
    space = LabelSpace(tuple(LabelEntry(i, f"class {i}", (0, 0, 0)) for i in range(600)))
    scores = Scores(Path("stack"), np.zeros((600, 2, 2), np.float32), eight_bit=True)
    with pytest.raises(DataError, match="sums over the classes 0 to 0"):
        probabilities(scores, space, 0.7)
