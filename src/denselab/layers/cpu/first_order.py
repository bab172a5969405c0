"""Backward passes by compiled loops, of which torch can take no gradient."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

Gradients = tuple[Tensor | None, ...]


def first_order(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """A backward pass that raises RuntimeError where a gradient of its gradient will be asked for (create_graph).

    Loops leave nothing behind for a second pass, and torch would take their result for a constant: a penalty on
    gradients lost its own share without a word. torch's once_differentiable does not see that where what comes from
    above is constant, as it is for a sum.
    """

    @wraps(backward)
    def checked(ctx: Any, *slopes: Tensor) -> Gradients:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "compiled loops have no gradient of a gradient; leave out create_graph, or compute in float64, "
                "which they leave to torch"
            )
        return backward(ctx, *slopes)

    return checked
