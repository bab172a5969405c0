"""Reading data sets: open_dataset recognises the layout, says what it inferred, and gives pictures with label maps."""

from denselab.data.dataset import Dataset, Item, open_dataset

__all__ = ["Dataset", "Item", "open_dataset"]
