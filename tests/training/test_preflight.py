"""What is looked at before a run: sizes and class pixels."""

from dataclasses import replace

from denselab.data import Dataset
from denselab.data.counting import COUNTED, count_class_pixels, counted
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


def test_of_many_pictures_a_thousand_in_equal_steps_are_counted(tiny_data: Dataset) -> None:
    """A resume counts the same ones again and compares: another choice would be taken for other labels."""
    item = tiny_data.items[0]
    many = [replace(item, name=str(n)) for n in range(2 * COUNTED + 500)]
    assert [one.name for one in counted(many)][:5] == ["0", "2", "5", "7", "10"]
    assert len(counted(many)) == COUNTED
    assert counted(many[:COUNTED]) == many[:COUNTED]
