"""The connected parts of a label map."""

import numpy as np

from denselab.data.connected import connected_instances


def test_cells_are_the_connected_parts_of_each_class():
    labels = np.array([[1, 1, 0, 2], [0, 0, 1, 2], [3, 0, 255, 0]], np.uint8)
    parts = connected_instances(labels)
    assert (parts == [[1, 1, 0, 2], [0, 0, 1, 2], [3, 0, 0, 0]]).all()  # 8 neighbours join the 1s
    assert connected_instances(np.array([[0, 1]], np.uint8), background=None).tolist() == [[1, 2]]
