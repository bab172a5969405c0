"""Labels that are turned against their pictures are told, and no others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denselab.data import open_dataset
from denselab.data.audit.check import check_dataset
from denselab.data.audit.turned import AS_THEY_ARE, SQUARE, fits_of, turned

TURNS = {
    "transposed": lambda label: label.T,
    "mirrored": lambda label: label[:, ::-1],
    "upside down": lambda label: label[::-1],
    "turned by half a circle": lambda label: label[::-1, ::-1],
    "turned by a quarter to the left": lambda label: np.rot90(label),
    "turned by a quarter to the right": lambda label: np.rot90(label, -1),
    "transposed and turned by half a circle": lambda label: label[::-1, ::-1].T,
}


def scene(seed: int, size: tuple[int, int] = (96, 96)) -> tuple[np.ndarray, np.ndarray]:
    """A bright thing of no symmetry on a noisy ground, and its label; turned in whatever way it lies elsewhere."""
    rng = np.random.default_rng(seed)
    top, left = rng.integers(4, 8), rng.integers(51, 55)
    label = np.zeros(size, np.uint8)
    label[top : top + 20, left : left + 8] = 1
    label[top : top + 6, left : left + 16] = 1
    image = rng.integers(0, 40, (*size, 3)) + 150 * label[..., None]
    return image.astype(np.uint8), label


@pytest.mark.parametrize("way", TURNS)
def test_each_way_is_found_and_called_by_what_the_labels_are(way: str) -> None:
    scenes = [scene(seed) for seed in range(10)]
    assert turned([fits_of(image, TURNS[way](label)) for image, label in scenes]) == way
    assert turned([fits_of(image, label) for image, label in scenes]) == ""
    for image, label in scenes[:2]:
        assert (SQUARE[way](TURNS[way](label) > 0) == (label > 0)).all(), "it is what turns them back"
        assert image.shape[:2] == label.shape


def test_few_pictures_noise_and_one_of_ten_tell_nothing() -> None:
    wrong = [fits_of(image, label.T) for image, label in map(scene, range(10))]
    assert turned(wrong[:7]) == turned([]) == turned([{}] * 20) == ""
    right = [fits_of(image, label) for image, label in map(scene, range(20, 29))]
    assert turned([*right, wrong[0]]) == ""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (96, 96, 3)).astype(np.uint8) for _ in range(60)]
    assert turned([fits_of(image, scene(i)[1]) for i, image in enumerate(noise)]) == ""


def test_what_labels_tell_nothing() -> None:
    image, label = scene(0)
    assert fits_of(image, np.zeros_like(label)) == {}, "no border"
    assert fits_of(image, np.indices(label.shape).sum(0).astype(np.uint8)) == {}, "nothing but borders"
    assert fits_of(image, label[:90]) == {}, "of another size, which is told elsewhere"
    wide = fits_of(*scene(0, (96, 120)))
    assert "transposed" not in wide
    assert wide["mirrored"] < wide[AS_THEY_ARE]


def test_check_warns(tmp_path: Path) -> None:
    """A network learns from them nothing but where things may lie, and nobody said why."""
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for seed in range(10):
        image, label = scene(seed)
        Image.fromarray(image).save(tmp_path / "images" / f"{seed}.png")
        Image.fromarray(np.ascontiguousarray(label.T)).save(tmp_path / "labels" / f"{seed}.png")
    faults = check_dataset(open_dataset(tmp_path), quiet=True).faults
    (fault,) = [fault for fault in faults if fault.kind == "turned"]
    assert (fault.severity, fault.file) == ("warning", "labels/0.png")
    assert fault.message.startswith("the labels seem to be transposed: turned back they meet the edges")
