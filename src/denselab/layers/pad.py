"""Borders added to pictures so that a network with fixed strides takes any size."""

import torch
from torch import Tensor
from torch.nn import functional as F


def round_up(size: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `size`."""
    return (size + multiple - 1) // multiple * multiple


def pad_to_multiple(images: Tensor, multiple: int, minimum: int = 1) -> Tensor:
    """Pad with zeros (the mean colour after normalisation) at the bottom and right to a multiple, at least `minimum`.

    Like DeepLab, it pads only the bottom and right, so that no coordinate shifts.

    images: (B, C, H, W), H and W >= 1
    """
    height, width = images.shape[-2:]
    target = (round_up(max(height, minimum), multiple), round_up(max(width, minimum), multiple))
    return pad_corner(images, target[0] - height, target[1] - width)


def pad_to_aligned(images: Tensor, stride: int) -> Tensor:
    """Pad with zeros at the bottom and right to sides of stride*k + 1, k >= 1 (DeepLab's 321, 513, 769).

    There are at least two cells per side, so batch normalisation has four values per channel. See enlarge_aligned.

    images: (B, C, H, W), H and W >= 1
    """
    height, width = images.shape[-2:]
    bottom, right = (round_up(max(side, 2) - 1, stride) + 1 - side for side in (height, width))
    return pad_corner(images, bottom, right)


def pad_corner(images: Tensor, bottom: int, right: int) -> Tensor:
    """(B, C, H + bottom, W + right): zeros at the bottom and right; the pictures themselves where both are 0.

    An exported graph always pads, by 0 too: whether the traced picture needs it must not decide for other sizes.
    """
    if not torch.compiler.is_exporting() and bottom == right == 0:
        return images
    return F.pad(images, (0, right, 0, bottom))


def drop_padding(cells: Tensor, images: Tensor, stride: int) -> Tensor:
    """A map of padded pictures, (B, C, ceil(H / stride), ceil(W / stride)): no cell lies wholly in the padding.

    images: (B, C, H, W), as they were before
    """
    rows, columns = ((side + stride - 1) // stride for side in images.shape[-2:])
    return cells[..., :rows, :columns]


def mirror_indices(size: int, before: int, after: int, device: torch.device | None = None) -> Tensor:
    """(before + size + after,) int64: which of 0..size-1 lies at each place, the border mirrored as often as needed.

    The edge itself is not repeated (2 1 0 1 2 ...): torch's "reflect" without its limit of one reflection.
    """
    period = max(2 * (size - 1), 1)
    place = torch.arange(-before, size + after, device=device)
    # ONNX has no remainder by a symbol, only by a tensor
    place = place.remainder(torch.full((), period, device=device) if torch.compiler.is_exporting() else period)
    return torch.minimum(place, period - place)  # of a single row or column everything is 0


def mirror_pad(images: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    """Add a mirrored border of any width to (B, C, H, W) pictures of any size (U-Net, section 2: overlap-tile)."""
    height, width = images.shape[-2:]
    rows = mirror_indices(height, top, bottom, images.device)
    columns = mirror_indices(width, left, right, images.device)
    return images.index_select(-2, rows).index_select(-1, columns)
