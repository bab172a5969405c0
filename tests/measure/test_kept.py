"""Label maps that are kept come back as they were."""

import numpy as np

from denselab.measure.kept import KeptLabels


def test_kept_labels_come_back() -> None:
    kept = KeptLabels()
    wide = np.arange(12, dtype=np.uint16).reshape(3, 4).T
    kept.keep("a", wide)
    assert np.array_equal(kept["a"], wide)
    assert kept["a"].dtype == np.uint16
