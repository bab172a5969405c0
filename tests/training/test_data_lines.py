"""What a run says of its data: classes that a split lacks, and what a smaller size takes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denselab.api import open_for_training
from denselab.config import make_settings
from denselab.data import Dataset, open_dataset
from denselab.data.counting import count_class_pixels
from denselab.training.data_lines import data_lines, remarks_and_warnings


@pytest.fixture
def thin(tmp_path: Path) -> Dataset:
    """Three training pictures of 64x64 with a line one pixel wide (class 1), and one of val with class 2 in its place."""
    for split, names in (("train", "abc"), ("val", "d")):
        for name in names:
            ids = np.zeros((64, 64), np.uint8)
            ids[:, 32] = 1 if split == "train" else 2
            for kind, pixels in (("images", np.repeat(ids[..., None], 3, axis=2)), ("labels", ids)):
                (tmp_path / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / kind / split / f"{name}.png")
    return open_dataset(tmp_path)


def lines(data: Dataset, imgsz: tuple[int, int]) -> list[str]:
    return data_lines(data, count_class_pixels(data, data.of_split("train")), [(64, 64)] * 3, imgsz)


def test_classes_that_one_split_lacks(thin: Dataset) -> None:
    assert lines(thin, (64, 64)) == [
        "warning: train has no pixel of class 2: never learnt",
        "warning: val has no pixel of class 1: not measured",
    ]


def test_what_check_has_said_is_not_said_again(thin: Dataset) -> None:
    """`train` told of a class that val lacks twice: by its quick check, then by the plan."""
    data = open_for_training(make_settings({"data": str(thin.root)}))
    assert [line for line in data.warnings if "val has no pixel of class 1: not measured" in line]
    assert lines(data, (64, 64)) == []
    alone = replace(data, warnings=data.warnings[:1])
    assert len(lines(alone, (64, 64))) == 1


def test_what_a_smaller_size_takes(thin: Dataset) -> None:
    """Nearest neighbours at 16 of 64: every fourth column is kept, and column 32 lies between two of them."""
    told = lines(thin, (16, 16))[-1]
    assert told == (
        "warning: pictures are reduced to 0.25 of their size (64x64 to 16x16); of 3 labels looked at, "
        "whole classes vanish: class 1 in 3"
    )
    assert "vanish" not in lines(thin, (56, 56))[-1]


def test_large_pictures_among_small_ones_are_told_of(thin: Dataset) -> None:
    """The median picture was enlarged, so that nothing was said of the large ones, reduced to an eighth."""
    pixels = count_class_pixels(thin, thin.of_split("train"))
    told = data_lines(thin, pixels, [(16, 16), (16, 16), (128, 100)], (16, 16))[-1]
    assert "1 of 3 pictures looked at are reduced, at most to 0.12 of their size (128x100 to 16x16)" in told


def test_a_remark_is_not_recorded_as_a_warning() -> None:
    """The report called "pictures are reduced to 0.37 of their size" a warning, which the console did not."""
    remark, warning = "pictures are reduced to 0.37 of their size", "val has no pixel of car: not measured"
    assert remarks_and_warnings([remark, f"warning: {warning}"]) == ([remark], [warning])
