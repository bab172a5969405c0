"""Reading data sets: open_dataset recognises the layout, says what it inferred, and gives pictures with label maps."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from denselab.data.dataset import Dataset, Item, open_dataset

__all__ = ["Dataset", "Item", "open_dataset"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: who reads a picture needs none of the layouts."""
    if name not in __all__:
        raise AttributeError(f"module 'denselab.data' has no attribute {name!r}")
    return getattr(import_module("denselab.data.dataset"), name)
