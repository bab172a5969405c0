"""Batch normalisation of maps that may have a single value per channel."""

from torch import Tensor, nn
from torch.nn import functional as F


def normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """`norm` of (B, C, h, w), also of a single value per channel: one picture pooled or shrunk to one cell.

    In training such a value has no variance to divide by, and torch refuses it. The running statistics, which
    evaluation uses too, stand in; gamma, beta and the layers before still learn.

    norm: nn.BatchNorm2d, or what has taken its place in a folded network
    """
    if norm.training and isinstance(norm, nn.BatchNorm2d) and x.numel() == x.shape[1]:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    found: Tensor = norm(x)
    return found
