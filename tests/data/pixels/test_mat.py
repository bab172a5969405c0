"""Label maps in .mat files: a plain map, SBD's struct, and what is refused."""

import numpy as np
import pytest
from scipy.io import savemat

from denselab.data import open_dataset
from denselab.data.pixels.mat import mat_labels
from denselab.errors import DataError

LABELS = np.array([[0, 1, 2], [2, 1, 255]], np.uint8)


def sbd(labels):
    """As SBD writes it: a struct with the boundaries of each class in cells, the map, and the classes in a row."""
    boundaries = np.empty((20, 1), dtype=object)
    for row in range(20):
        boundaries[row, 0] = np.zeros((0, 0))
    return {"GTcls": {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": np.array([[1], [2]])}}


@pytest.mark.parametrize(
    "content",
    [
        {"LabelMap": LABELS},
        sbd(LABELS),
        {"S": LABELS.astype(float), "names": "road"},
        {"S": LABELS, "regionMapStuff": LABELS + 7, "regionLabelsStuff": np.ones((300, 1))},  # COCO-Stuff 10k
        {"inst_map": LABELS + 5, "type_map": LABELS, "inst_centroid": np.ones((3, 2))},  # CoNSeP
        {"inst_map": LABELS, "id": np.arange(1, 3)[None], "bbox": np.ones((1, 4))},  # Lizard
        {"groundTruth": {"Segmentation": LABELS, "Boundaries": LABELS > 0}},  # CrackForest
    ],
)
def test_the_only_map_is_found(tmp_path, content):
    savemat(tmp_path / "a.mat", content)
    assert mat_labels(tmp_path / "a.mat").tolist() == LABELS.tolist()


def test_a_folder_of_mat_files_is_a_label_folder(save, photo, tmp_path):
    (tmp_path / "cls").mkdir()
    for name in ("a", "b"):
        save(f"img/{name}.jpg", photo(2, 3))
        savemat(tmp_path / "cls" / f"{name}.mat", sbd(LABELS))
    data = open_dataset(tmp_path)
    assert len(data) == 2
    assert data.read(data.items[0]).labels.tolist() == [[0, 1, 2], [2, 1, 255]]


def test_what_is_refused(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"first": LABELS, "second": LABELS})
    with pytest.raises(DataError, match=r"holds 2 maps \(first, second\); one was expected"):
        mat_labels(path)
    cells = np.empty((1, 2), dtype=object)
    for reader in range(2):  # BSDS500: the second would have stood for both
        cells[0, reader] = {"Segmentation": LABELS + reader, "Boundaries": LABELS > 0}
    savemat(path, {"groundTruth": cells})
    with pytest.raises(DataError, match=r"holds 2 maps \(groundTruth\{1\}\.Segmentation, groundTruth\{2\}"):
        mat_labels(path)
    savemat(path, {"x": np.array([[1]])})
    with pytest.raises(DataError, match="holds no map of numbers"):
        mat_labels(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n".ljust(600))
    with pytest.raises(DataError, match=r"version 7\.3, which is not read; save it in MATLAB by"):
        mat_labels(path)
    path.write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(DataError, match="not a .mat file that can be read"):
        mat_labels(path)
