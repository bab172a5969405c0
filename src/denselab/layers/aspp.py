"""Atrous spatial pyramid pooling with image pooling (DeepLab v3, arXiv 1706.05587, figure 5; v3+, arXiv 1802.02611)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.layers.conv import conv_norm_relu
from denselab.layers.norm import normalised


class ImagePooling(nn.Module):
    """Mean over the whole map, 1x1 convolution, normalisation, ReLU, spread over the map again.

    forward: (B, C, h, w) to (B, out_channels, h, w).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = normalised(self.norm, self.conv(x.mean(dim=(2, 3), keepdim=True)))
        return F.relu(pooled).expand(-1, -1, x.shape[2], x.shape[3])  # bilinear from 1x1 is a constant


class ASPP(nn.Module):
    """Image pooling, a 1x1 convolution and 3x3 atrous convolutions side by side, concatenated and projected.

    Concatenated in the released order: image_pooling, aspp0 (1x1), aspp1, aspp2, aspp3; then concat_projection,
    dropout.
    forward: (B, C, h, w) to (B, out_channels, h, w).

    atrous_rates: 6, 12, 18 at output stride 16, doubled at 8; () leaves only the first two branches (MobileNetV2
        release)
    separable: make each 3x3 branch a pair of aspp{i}_depthwise and aspp{i}_pointwise
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
        self.atrous_rates, self.separable = tuple(atrous_rates), separable
        self.image_pooling = ImagePooling(in_channels, out_channels)
        self.aspp0 = conv_norm_relu(in_channels, out_channels, 1)
        for i, rate in enumerate(self.atrous_rates, 1):
            if separable:
                depthwise = conv_norm_relu(in_channels, in_channels, 3, dilation=rate, groups=in_channels)
                self.add_module(f"aspp{i}_depthwise", depthwise)
                self.add_module(f"aspp{i}_pointwise", conv_norm_relu(in_channels, out_channels, 1))
            else:
                self.add_module(f"aspp{i}", conv_norm_relu(in_channels, out_channels, 3, dilation=rate))
        branches = 2 + len(self.atrous_rates)
        self.concat_projection = conv_norm_relu(branches * out_channels, out_channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.image_pooling(x), self.aspp0(x)]
        for names in self.atrous_names():
            branch = x
            for name in names:
                branch = self.get_submodule(name)(branch)
            branches.append(branch)
        projected: Tensor = self.dropout(self.concat_projection(torch.cat(branches, dim=1)))
        return projected

    def atrous_names(self) -> list[tuple[str, ...]]:
        """The modules of each 3x3 branch in order: ("aspp1",) or ("aspp1_depthwise", "aspp1_pointwise"), ..."""
        count = range(1, len(self.atrous_rates) + 1)
        return [(f"aspp{i}_depthwise", f"aspp{i}_pointwise") if self.separable else (f"aspp{i}",) for i in count]

    def landmarks(self, path: str) -> dict[str, str]:
        """{module path: caption} of the branches and their fusion, for an ASPP at `path` in a network."""
        seen = {f"{path}.image_pooling": "image pooling: the whole picture", f"{path}.aspp0": "1x1 convolution"}
        for rate, names in zip(self.atrous_rates, self.atrous_names(), strict=True):
            seen[f"{path}.{names[-1]}"] = f"3x3 atrous convolution, rate {rate}"
        return seen | {f"{path}.concat_projection": "all branches, projected"}
