"""Which modules of a network hold weights, by stage, input side first, to freeze or train at their own rate."""

from collections.abc import Collection

from torch import nn

Stages = tuple[tuple[str, ...], ...]
"""Module paths. A stage ends where the map shrinks, or where the original release ends it."""


def stages_ending_with(trunk: nn.Module, last: Collection[str]) -> Stages:
    """The direct children of `trunk` that hold weights; a stage ends with each child named in `last`.

    Children after the last of these names are left out.
    """
    stages: list[tuple[str, ...]] = []
    stage: list[str] = []
    for name, child in trunk.named_children():
        if any(True for _ in child.parameters()):
            stage.append(name)
        if name in last:
            stages.append(tuple(stage))
            stage = []
    return tuple(stages)


def below(path: str, stages: Stages) -> Stages:
    """The same modules, named from the parent that holds them at `path`."""
    return tuple(tuple(f"{path}.{name}" for name in stage) for stage in stages)
