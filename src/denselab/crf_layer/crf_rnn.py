"""The dense CRF as a trainable layer: mean field as a recurrent network.

Paper: Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015, arXiv 1502.03240, section 4
(one
iteration: softmax, message passing, weighting, compatibility, adding the unary). The layer learns the weight of each
class in each kernel (the diagonal of the release's matrices) and the compatibility, which need not be symmetric; the
kernels' deviations are fixed. Gradients reach the logits and these parameters, not the picture.

Defaults are those of the release (torrvision/crfasrnn): deviations, division by the filtered ones ("after"), and as in
the paper 5 iterations in training and 10 in use, because more in training let gradients vanish and take longer.

Deviations from the release: both weights start at 1, not at 5 (bilateral) and 3 (measured in with_crf.py); the spatial
kernel is filtered exactly, not by a lattice; the compatibility starts as the paper's Potts model, 1 - I, where the
release has -I, which a softmax cannot tell apart. The arithmetic is that of denselab.crf, without its clipping of
probabilities: filters include a pixel's message to itself.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from denselab.crf.parameters import Parameters, check_updates
from denselab.crf.permutohedral import lattice_constant
from denselab.crf_layer.gaussian_filter import Filter, exact_filter, normalised, spatial_filter
from denselab.crf_layer.lattice import build_lattice, lattice_filter
from denselab.errors import ShapeError
from denselab.types import FilterNormalization

Method = Literal["auto", "lattice", "exact"]
# "auto" is exact up to here; on a CPU the lattice is 12 times as fast at 32x32 pixels, and 56 times at 48x64
EXACT_PIXELS = 256


@dataclass(frozen=True)
class CRFSettings(Parameters):
    """The fixed settings of a CRFRNN and its initial weights: the CRF's parameters, plus those for learning.

    theta_alpha, theta_gamma: in pixels of the picture that the network sees
    theta_beta: in colour values of 0..255
    w1, w2: initial weight of each class in the bilateral and the spatial kernel; any number, since they are learnt
    iterations: in training
    normalization: of the filters, see denselab.crf_layer.gaussian_filter
    test_iterations: outside training
    """

    theta_alpha: float = 160.0
    theta_beta: float = 3.0
    w1: float = 1.0
    theta_gamma: float = 3.0
    w2: float = 1.0
    iterations: int = 5
    normalization: FilterNormalization = "after"
    test_iterations: int = 10

    LEAST_WEIGHT: ClassVar[float] = -math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        check_updates("test_iterations", self.test_iterations)


class CRFRNN(nn.Module):
    """Refines logits by a picture. Learns spatial_weights and bilateral_weights (K,) and compatibility (K, K).

    compatibility[l, m] is the energy that label l receives from pixels likely to have label m; a positive value
    penalises the pair.

    method: how the bilateral kernel is filtered: "lattice" (fast, approximate), "exact" (O(N^2)), or "auto", which
        chooses by the number of pixels
    """

    def __init__(self, num_classes: int, settings: CRFSettings | None = None, method: Method = "auto") -> None:
        super().__init__()
        self.settings = settings or CRFSettings()
        self.method = method
        self.spatial_weights = nn.Parameter(torch.full((num_classes,), float(self.settings.w2)))
        self.bilateral_weights = nn.Parameter(torch.full((num_classes,), float(self.settings.w1)))
        self.compatibility = nn.Parameter(1 - torch.eye(num_classes))

    @property
    def maps_kept(self) -> int:
        """How many logit-sized maps a training step keeps.

        They are the result, and for each iteration the marginals, their two filtered forms and the message.
        """
        return 1 + 4 * self.settings.iterations

    def forward(self, logits: Tensor, images: Tensor) -> Tensor:
        """(B, K, H, W) log-marginals, float32, or float64 for float64 logits.

        logits: (B, K, H, W), any float
        images: (B, 3, H, W) RGB, 0..255
        """
        _check(logits, images, self.compatibility.shape[0])
        if logits.is_meta:  # a lattice depends on the picture's values, which the meta device does not have
            return logits.log_softmax(1)
        with torch.autocast(logits.device.type, enabled=False):
            wide = (logits if logits.dtype == torch.float64 else logits.float()).contiguous()
            return self._mean_field(wide, images.detach().to(wide.dtype))

    def _mean_field(self, unary: Tensor, images: Tensor) -> Tensor:
        chosen, size = self.settings, (unary.shape[2], unary.shape[3])
        spatial = spatial_filter(size, chosen.theta_gamma, chosen.normalization, lattice_constant(2), unary)
        bilateral = self._bilateral(unary, images)
        weights = [w.to(unary.dtype).view(-1, 1, 1) for w in (self.spatial_weights, self.bilateral_weights)]
        compatibility = self.compatibility.to(unary.dtype)
        now = unary
        for _ in range(chosen.iterations if self.training else chosen.test_iterations):
            marginals = now.softmax(1)
            message = weights[0] * spatial(marginals) + weights[1] * bilateral(marginals)
            now = unary - (compatibility @ message.flatten(2)).view_as(unary)
        return now.log_softmax(1)

    def _bilateral(self, unary: Tensor, images: Tensor) -> Filter:
        """The normalised filter of position and colour for these pictures, (B, K, H, W) to (B, K, H, W)."""
        chosen, (batch, classes, height, width) = self.settings, unary.shape
        features = bilateral_features(images, chosen.theta_alpha, chosen.theta_beta)
        if self.method == "exact" or (self.method == "auto" and height * width <= EXACT_PIXELS):
            plain = exact_filter(features, lattice_constant(5))
        else:
            plain = partial(lattice_filter, lattice=build_lattice(features))
        flat = normalised(plain, unary.new_empty(batch * height * width, classes), chosen.normalization)

        def apply(values: Tensor) -> Tensor:
            pixels = values.permute(0, 2, 3, 1).reshape(-1, classes)
            return flat(pixels).view(batch, height, width, classes).permute(0, 3, 1, 2)

        return apply


def bilateral_features(images: Tensor, theta_alpha: float, theta_beta: float) -> Tensor:
    """(B, H W, 5): x and y over theta_alpha, red, green and blue over theta_beta; images: (B, 3, H, W), 0..255."""
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(*(torch.arange(n, device=images.device) for n in (height, width)), indexing="ij")
    places = torch.stack([x, y], dim=-1).to(images).flatten(0, 1) / theta_alpha
    colours = images.flatten(2).transpose(1, 2) / theta_beta
    return torch.cat([places.expand(len(images), -1, -1), colours], dim=-1)


def _check(logits: Tensor, images: Tensor, classes: int) -> None:
    if logits.ndim != 4 or logits.shape[1] != classes:
        raise ShapeError(f"the logits have shape {tuple(logits.shape)}, expected (B, {classes}, H, W)")
    expected = (logits.shape[0], 3, logits.shape[2], logits.shape[3])
    if tuple(images.shape) != expected:
        raise ShapeError(
            f"the pictures have shape {tuple(images.shape)}, expected {expected}: RGB, of the logits' size"
        )
