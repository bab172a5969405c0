"""What a file may lack if the number of classes is given: the score layers, or everything except an encoder."""

import re
from collections.abc import Sequence

from torch import Tensor, nn

from denselab.convert.mapping import ClassShapes, Mapped, leaf_modules
from denselab.encoders.vgg import BLOCKS
from denselab.in_words import first_few
from denselab.models.base import SegmentationModel

VGG_CONVOLUTIONS = {f"conv{b}_{i}" for b, block in enumerate(BLOCKS, 1) for i in range(1, len(block) + 1)}
CLASSIFIER = re.compile(r"(^|\.)fc[67]\.")  # VGG's and AlexNet's fully connected layers; not every file has them


def encoder_tensors(network: SegmentationModel) -> set[str]:
    """The tensors of the network that ImageNet weights must provide; none if it has no encoder (the paper's U-Net).

    For VGG-16 these are its thirteen convolutions. Normalisation, fc6 and fc7 are missing from some files, or have
    another size.
    """
    convolutions = leaf_modules(network, (nn.Conv2d,))
    if convolutions.keys() >= VGG_CONVOLUTIONS:
        paths = {convolutions[leaf] for leaf in VGG_CONVOLUTIONS}
        return {name for name in network.state_dict() if name.rpartition(".")[0] in paths}
    return {name for name in network.pretrained_tensors() if not CLASSIFIER.search(name)}


def may_start_anew(network: SegmentationModel, mapped: Sequence[Mapped], by_classes: ClassShapes) -> set[str]:
    """The tensors that need not be in the file.

    network: the network to fill
    mapped: what the file provides
    by_classes: the tensors that depend on the number of classes

    These are the tensors in `by_classes`, or everything except the encoder if the file holds nothing else of the
    network. A file with a score layer of this network is never such an encoder file, whatever it lacks.
    """
    own = network.state_dict()
    anew, encoder = set(by_classes), encoder_tensors(network)
    fitting = {entry.target for entry in mapped if entry.tensor.shape == own[entry.target].shape}
    nothing_else = fitting - anew <= network.pretrained_tensors().keys()
    if encoder and nothing_else and not any(_is_score(entry, by_classes) for entry in mapped):
        anew |= own.keys() - encoder
    return anew


def _is_score(entry: Mapped, by_classes: ClassShapes) -> bool:
    """Whether it is a weight of the network's score layers, the number of classes aside; a bias does not show that."""
    low, high = by_classes.get(entry.target, ((), ()))
    shape = entry.tensor.shape
    return len(shape) == len(low) > 1 and all(n == a or a != b for n, a, b in zip(shape, low, high, strict=True))


def fitting_layers(
    mapped: Sequence[Mapped], own: dict[str, Tensor], optional: set[str]
) -> tuple[list[Mapped], list[Mapped]]:
    """(entries to take, entries left out because their layer has another shape and may start anew).

    A layer goes in whole or not at all, because a bias without its weight is useless. A layer that must be in the file
    stays in the first list, to be refused later.
    """
    unfit = {
        entry.target.rpartition(".")[0]
        for entry in mapped
        if entry.target in optional and entry.tensor.shape != own[entry.target].shape
    }
    taken = [entry for entry in mapped if entry.target.rpartition(".")[0] not in unfit]
    return taken, [entry for entry in mapped if entry.target.rpartition(".")[0] in unfit]


def by_layer(names: Sequence[str], own: Sequence[str], shown: int = 12) -> str:
    """Names of tensors in short: a part of the network that is complete by its name, else its layers; then a count.

    names: the tensors to name
    own: all tensors of the network
    shown: the most names to show
    """
    chosen = set(names)
    whole = {name.split(".")[0] for name in own} - {name.split(".")[0] for name in own if name not in chosen}
    parts = (name.split(".")[0] if name.split(".")[0] in whole else name.rpartition(".")[0] for name in names)
    return first_few(dict.fromkeys(parts), shown)
