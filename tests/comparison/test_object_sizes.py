"""IoU by size of object, from the label maps that a comparison keeps."""

import re

import numpy as np

from denselab.comparison.object_sizes import MIDDLES, BySize, gain, section_of
from denselab.evaluation.objects import EDGES, Object, by_size


def sized(name: str, *objects: tuple[int, float]) -> BySize:
    """A model with objects of these sides and IoUs."""
    return BySize(name, tuple(by_size([Object(1, side * side, round(1000 * iou), 1000) for side, iou in objects])))


def test_a_range_is_drawn_in_its_middle() -> None:
    assert len(MIDDLES) == len(EDGES) + 1
    assert all(low < middle < high for low, middle, high in zip((0, *EDGES), MIDDLES, (*EDGES, np.inf), strict=True))


def test_what_boxes_change_is_said_for_the_smallest_and_the_largest() -> None:
    plain = sized("deconvnet", (10, 0.2), (10, 0.4), (200, 0.5))
    boxes = sized("deconvnet, box by box", (10, 0.5), (10, 0.7), (200, 0.4))
    assert gain([plain, boxes]) == (
        "Box by box, deconvnet changes by +30.0 points on objects of below 16 px and by -10.0 on those of 128 px and more."
    )
    assert gain([plain, sized("unet", (10, 0.1))]) == ""


def test_the_section_marks_the_best_and_shows_no_number_where_there_is_no_object() -> None:
    page = str(section_of([sized("a", (10, 0.25), (40, 0.5)), sized("b", (10, 0.75), (40, 0.5))]))
    assert '<span class="better">75.0</span>' in page
    assert not re.search(r"nan", page, re.IGNORECASE)
    assert 'id="sizes"' in page


def test_data_without_objects_have_no_section() -> None:
    assert str(section_of([])) == ""
