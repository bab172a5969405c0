"""The Cell Tracking Challenge: outlines by people beside markers and outlines by programs."""

import numpy as np
import pytest

from denselab.data import open_dataset


@pytest.fixture
def challenge(save, tmp_path):
    """Two sequences of three frames, of which the last has no outlines; the numbers of the cells differ."""
    for sequence in ("01", "02"):
        for frame in range(3):
            save(f"{sequence}/t{frame:03d}.tif", np.arange(48).reshape(6, 8) + frame)
            save(f"{sequence}_GT/TRA/man_track{frame:03d}.tif", np.full((6, 8), 1, np.uint16))
            save(f"{sequence}_ST/SEG/man_seg{frame:03d}.tif", np.full((6, 8), 2, np.uint16))
        for frame in range(2):
            cells = np.zeros((6, 8), np.uint16)
            cells[1:3, 1:4], cells[4:, 5:] = frame + 1, 7
            save(f"{sequence}_GT/SEG/man_seg{frame:03d}.tif", cells)
    return tmp_path


def test_frames_go_with_the_outlines_by_people(challenge):
    """The markers were taken for the pictures, and the outlines for their labels."""
    data = open_dataset(challenge)
    assert data.layout == "Cell Tracking Challenge"
    assert [item.name for item in data.items] == ["01/t000", "01/t001", "02/t000", "02/t001"]
    labels = data.read_labels(data.items[1])
    assert labels.sum() == 6 + 6
    assert data.label_space.names == ("background", "object")
    assert "2 frames without outlines in GT/SEG, left out" in data.notes
    assert "6 files of ST, outlines by programs, left out" in data.notes
