"""The labels of a data set fit a model, or are refused by name."""

import numpy as np
import pytest

from denselab.errors import DataError
from denselab.labels import LabelEntry, LabelSpace
from denselab.measure.data import fitting_labels

MODEL = LabelSpace(
    (LabelEntry(0, "ground", (0, 0, 0)), LabelEntry(4, "tree", (1, 1, 1)), LabelEntry(7, "car", (2, 2, 2)))
)


def test_labels_of_the_data_that_fit_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    void = LabelEntry(255, "void", (9, 9, 9), "ignore")
    fewer = LabelSpace((LabelEntry(0, "ground", (5, 5, 5)), LabelEntry(7, "class 7", (6, 6, 6)), void))
    fitted = fitting_labels(fewer, MODEL, "data")
    assert fitted.names == MODEL.names
    assert fitted.encode(np.array([0, 7, 255])).tolist() == [0, 2, 255]
    assert "data does not name its labels" in capsys.readouterr().err  # never silently


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (LabelEntry(4, "car", (0, 0, 0)), "label 4 'car' does not fit the model, where 4 is 'tree'"),
        (LabelEntry(5, "tree", (0, 0, 0)), "there is no 5 .*0 ground, 4 tree, 7 car"),
    ],
)
def test_labels_of_the_data_that_do_not(entry: LabelEntry, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fitting_labels(LabelSpace((entry,)), MODEL, "data")
