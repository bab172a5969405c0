"""TensorFlow's SAME convolution of maps whose sides are multiples of its stride."""

import torch.nn.functional as F
from torch import Tensor, nn


class AlignedConv2d(nn.Conv2d):
    """A SAME convolution of maps whose sides are multiples of its stride: (B, C, h, w) to (B, D, h / s, w / s)."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) to (B, D, h / s, w / s)."""
        return super().forward(self.bordered(maps))

    def bordered(self, maps: Tensor) -> Tensor:
        """The maps with the zeros that the kernel reaches beyond them."""
        sizes = zip(self.kernel_size, self.stride, self.dilation, strict=True)
        (top, bottom), (left, right) = (_border(*size) for size in sizes)
        return F.pad(maps, (left, right, top, bottom))


def _border(kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after one side."""
    total = max((kernel - 1) * dilation + 1 - stride, 0)
    return total // 2, total - total // 2
