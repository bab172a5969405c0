"""Muon: momentum whose steps are made orthogonal, for the matrices of a network, and AdamW for all else.

A step of AdamW or SGD on a matrix is usually of low rank: a few directions get nearly all of it. Muon takes the nearest
matrix with all singular values equal instead, so that rare directions learn as fast as common ones (Jordan et al.
2024, "Muon: an optimizer for hidden layers in neural networks"). Its size is that of AdamW's usual step, so the groups
of both share one learning rate (Liu et al. 2025, arXiv 2502.16982, section 2.2).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from denselab.training.precision import default_precision

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's coefficients: singular values end between 0.7 and 1.2
ITERATIONS = 5
ADAM_STEP = 0.2  # root mean square of an entry of AdamW's usual step (Liu et al., section 2.2)
MOMENTUM = 0.95  # Jordan's
# Turning a matrix costs some 20 x its smaller side operations for each of its entries: for the 4,096 outputs of VGG's
# fully connected layers more than the rest of a CPU's step together.
LARGEST = 512


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether a weight mixes inputs: fully connected or convolution, but not depthwise, whose filters stand alone."""
    return parameter.ndim >= 2 and min(parameter.shape[:2]) > 1


def is_large(parameter: nn.Parameter) -> bool:
    """Whether a matrix is too large to be turned in each step; AdamW takes such."""
    return min(len(parameter), parameter[0].numel()) > LARGEST


class Muon(AdamW):
    """AdamW whose groups with "matrices" true take Muon's steps.

    torch.optim.Muon takes nothing but matrices: no convolutions, and no second optimiser for the rest.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float]) -> None:
        super().__init__(groups, lr=lr, betas=betas, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; parameters without a gradient stay as they are."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["matrices"]]
        try:
            super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["matrices"]:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._turn(weight, weight.grad, group)

    def _turn(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())  # AdamW looks for it when a state is loaded
            state["momentum"] = torch.zeros_like(weight)
        state["step"] += 1
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        ahead = torch.lerp(gradient, state["momentum"], MOMENTUM)
        matrix = ahead.reshape(len(ahead), -1)
        size = ADAM_STEP * max(matrix.shape) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(orthogonal(matrix).to(weight.dtype).reshape_as(weight), alpha=-group["lr"] * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix with all its singular values near 1, by Newton-Schulz' iteration. matrix: (rows, columns)."""
    a, b, c = NEWTON_SCHULZ
    dtype = torch.bfloat16 if default_precision(str(matrix.device.type)) == "bf16" else torch.float32
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(dtype)
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
