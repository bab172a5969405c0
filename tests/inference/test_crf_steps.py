"""Pictures of the CRF's iterations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.crf import Parameters
from denselab.crf.refinement import refined
from denselab.errors import ConfigError
from denselab.inference.crf_steps import class_to_show, step_pictures, write_steps
from denselab.labels import LabelEntry, LabelSpace

FEW = Parameters(10, 10, 5, 1, 1, 2, "symmetric")
TWO = LabelSpace((LabelEntry(0, "dark", (0, 0, 0)), LabelEntry(1, "light", (250, 250, 250))))


def test_steps_are_drawn(tmp_path: Path, two_colours: np.ndarray, noisy_probs: np.ndarray) -> None:
    image, probs = two_colours, noisy_probs
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


def test_steps_of_a_longer_refinement_do_not_stay(
    tmp_path: Path, two_colours: np.ndarray, noisy_probs: np.ndarray
) -> None:
    """The fifth picture of five iterations stood behind the two of the next call as its last."""
    write_steps(tmp_path, two_colours, noisy_probs, replace(FEW, iterations=5), TWO)
    write_steps(tmp_path, two_colours, noisy_probs, FEW, TWO)
    assert sorted(p.name for p in tmp_path.iterdir()) == [*(f"iteration_{i:02d}.png" for i in range(3)), "steps.gif"]


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
