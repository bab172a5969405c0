"""Each source of proposals on made pictures, and what happens without OpenCV."""

import sys

import numpy as np
import pytest

from denselab.errors import ConfigError, MissingExtra
from denselab.proposals.boxes import overlaps
from denselab.proposals.edges import edge_map, thinned
from denselab.proposals.sources import SOURCES, source_named
from denselab.proposals.windows import windows


def scene() -> np.ndarray:
    """A bright rectangle of rows 40 to 90 and columns 30 to 110 on a dark ground."""
    image = np.full((128, 160, 3), 40, np.uint8)
    image[40:90, 30:110] = (220, 180, 60)
    return image


@pytest.mark.parametrize("name", ["edgeboxes", "selective"])
def test_an_object_is_among_the_first_proposals(name: str) -> None:
    pytest.importorskip("cv2")
    found = source_named(name)(scene(), 20, (64, 64))
    assert 1 <= len(found) <= 20
    assert found.dtype == np.int64
    truth = np.array([[40, 30, 90, 110]])
    assert overlaps(truth, found).max() > 0.8
    assert np.array_equal(found, source_named(name)(scene(), 20, (64, 64))), "the same each time"


def test_a_large_picture_is_searched_at_half_its_size_and_boxes_are_in_its_own_pixels() -> None:
    """Edge boxes took three seconds for 800x600 pixels and minutes for a photo, where they were made at full size."""
    pytest.importorskip("cv2")
    image = scene().repeat(8, axis=0).repeat(6, axis=1)  # 1024x960
    found = source_named("edgeboxes")(image, 20, (64, 64))
    assert overlaps(np.array([[320, 180, 720, 660]]), found).max() > 0.8
    assert (found[:, 2:] <= image.shape[:2]).all()


@pytest.mark.parametrize("name", ["edgeboxes", "selective"])
def test_a_picture_too_thin_to_search_has_no_proposals(name: str) -> None:
    pytest.importorskip("cv2")
    assert len(source_named(name)(np.zeros((3, 200, 3), np.uint8), 10, (64, 64))) == 0


@pytest.mark.parametrize("name", ["edgeboxes", "selective"])
def test_without_opencv_the_message_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'denselab\[proposals\]'.*windows"):
        source_named(name)(scene(), 10, (64, 64))


def test_windows_have_the_shape_of_the_input_and_cover_the_picture() -> None:
    found = windows((120, 300), (64, 64), 60)
    sides = found[:, 2:] - found[:, :2]
    assert (sides[:, 0] == sides[:, 1]).all()
    assert sorted(set(sides[:, 0].tolist()), reverse=True) == [120, 60]
    for side in (120, 60):
        seen = np.zeros((120, 300), int)
        for top, left, bottom, right in found[sides[:, 0] == side]:
            seen[top:bottom, left:right] += 1
        assert seen.min() >= 1, f"windows of {side} leave a gap"
    assert len(found) <= 60


def test_windows_of_a_picture_of_the_input_s_shape_begin_with_all_of_it() -> None:
    assert windows((48, 64), (480, 640), 1).tolist() == [[0, 0, 48, 64]]
    assert windows((1, 1), (64, 64), 50).tolist() == [[0, 0, 1, 1]]
    assert len(windows((10, 1000), (64, 64), 5)) == 5, "never more than asked for"


def test_the_edge_map_marks_the_outline_with_its_normal() -> None:
    magnitude, orientation = edge_map(scene())
    assert magnitude.max() == 1
    assert magnitude[60, 70] == magnitude[5, 5] == 0, "flat inside and outside"
    assert magnitude[65, 29:31].min() > 0.5
    assert magnitude[39:41, 70].min() > 0.5
    assert abs(np.sin(orientation[65, 29])) < 0.05, "a vertical edge has a horizontal normal"
    assert abs(np.cos(orientation[39, 70])) < 0.05
    thin = thinned(magnitude, orientation)
    assert (thin[65, 15:50] > 0.1).sum() <= 2
    assert (magnitude[65, 15:50] > 0.1).sum() > 4


def test_a_flat_picture_has_no_edges() -> None:
    magnitude, _ = edge_map(np.full((20, 30, 3), 7, np.uint8))
    assert not magnitude.any()


def test_an_unknown_source_is_refused_with_the_nearest() -> None:
    assert set(SOURCES) == {"windows", "edgeboxes", "selective"}
    with pytest.raises(ConfigError, match="did you mean edgeboxes"):
        source_named("edgebox")
