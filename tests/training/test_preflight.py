"""What is looked at before a run: sizes and class pixels."""

from denselab.data import Dataset
from denselab.data.counting import count_class_pixels, spread
from denselab.training.preflight import median_size, picture_sizes


def test_class_pixels_are_those_of_the_labels(tiny_data: Dataset) -> None:
    items = tiny_data.of_split("train")
    counts = count_class_pixels(tiny_data, items)
    labels = tiny_data.read_labels(items[3])
    assert counts.shape == (12, tiny_data.label_space.num_classes)
    assert counts[3].tolist() == [int((labels == k).sum()) for k in range(counts.shape[1])]


def test_sizes(tiny_data: Dataset) -> None:
    assert set(picture_sizes(tiny_data.of_split("train"))) == {(48, 64)}
    assert median_size([(10, 40), (20, 50), (90, 60)]) == (20, 50)


def test_spread_is_even_and_keeps_the_first() -> None:
    assert spread(range(10), 4) == [0, 2, 5, 7]
    assert spread(range(3), 4) == [0, 1, 2]
