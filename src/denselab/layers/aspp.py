"""Atrous spatial pyramid pooling with image pooling (DeepLab v3, arXiv 1706.05587, figure 5; v3+, arXiv 1802.02611)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.layers.conv import conv_norm_relu, separable_conv


class ImagePooling(nn.Module):
    """Mean over the whole map, 1x1 convolution, normalisation, ReLU, spread over the map again.

    forward: (B, C, h, w) to (B, out_channels, h, w).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.conv(x.mean(dim=(2, 3), keepdim=True))
        if self.training and x.shape[0] == 1:
            # One picture has one value per channel: no variance to divide by (torch refuses). The running statistics,
            # which evaluation uses as well, stand in for it; gamma, beta and the convolution still learn.
            norm = self.norm
            pooled = F.batch_norm(pooled, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        else:
            pooled = self.norm(pooled)
        return F.relu(pooled).expand(-1, -1, x.shape[2], x.shape[3])  # bilinear from 1x1 is a constant


class ASPP(nn.Module):
    """Image pooling, a 1x1 convolution and 3x3 atrous convolutions side by side, concatenated and projected.

    Order of the concatenation as released: image pooling, aspp0 (1x1), aspp1, aspp2, aspp3.
    atrous_rates: 6, 12, 18 at output stride 16, doubled at 8. separable: the 3x3 ones depthwise and pointwise.
    forward: (B, C, h, w) to (B, out_channels, h, w).
    """

    def __init__(
        self,
        in_channels: int,
        atrous_rates: Sequence[int],
        out_channels: int = 256,  # every branch and the projection: DeepLab v3, section 3.3
        *,
        separable: bool = False,
        dropout: float = 0.1,  # keep probability 0.9 in the release
    ) -> None:
        super().__init__()
        self.image_pooling = ImagePooling(in_channels, out_channels)
        self.aspp0 = conv_norm_relu(in_channels, out_channels, 1)
        self.atrous = nn.ModuleList(
            separable_conv(in_channels, out_channels, dilation=rate)
            if separable
            else conv_norm_relu(in_channels, out_channels, 3, dilation=rate)
            for rate in atrous_rates
        )
        branches = 2 + len(self.atrous)
        self.concat_projection = conv_norm_relu(branches * out_channels, out_channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.image_pooling(x), self.aspp0(x), *(branch(x) for branch in self.atrous)]
        projected: Tensor = self.dropout(self.concat_projection(torch.cat(branches, dim=1)))
        return projected
