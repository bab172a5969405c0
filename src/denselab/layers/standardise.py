"""Features less their mean and divided by their deviation over the training set, both followed while it trains."""

import torch
from torch import Tensor, nn

MOMENTUM = 0.1
LEAST = 1e-5  # added to the variance


class Standardise(nn.BatchNorm1d):
    """(B, C, ...) to the same shape: (x - mean) / deviation of each channel, both from the whole of the training set.

    Batch normalisation uses a batch's own statistics in training. A feature that is the same in all of a picture, such
    as one of the whole scene, then has as many values as the batch has pictures, and two pictures always become -1 and
    1. Here training and evaluation use the same running statistics, which training updates first: the mean of all
    batches so far until a batch's share is down to `momentum`, then a running mean. The variance is that of all values
    about the running mean, between the batches too, so a batch of one picture will do. No gradient passes through the
    statistics, and nothing is learnt.

    A subclass of torch's so that what gathers, freezes and averages running statistics does so here too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=LEAST, momentum=MOMENTUM, affine=False)

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            self._follow(input.detach())
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        shape = (1, -1, *(1,) * (input.dim() - 2))
        # In half precision a mean of many deviations would be rounded to the next deviation or so.
        wide = input.to(torch.promote_types(input.dtype, mean.dtype))
        return ((wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)).to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of dimensions from two on."""

    @torch.no_grad()
    def _follow(self, x: Tensor) -> None:
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        count = self.get_buffer("num_batches_tracked")
        count += 1
        share = 1 / count.float()
        if self.momentum is not None:
            share = share.clamp_min(self.momentum)
        inner = [0, *range(2, x.dim())]
        new = x.float()
        apart = new.mean(dim=inner) - mean
        spread = new.var(dim=inner, unbiased=False)
        variance.copy_((1 - share) * variance + share * (spread + (1 - share) * apart**2))
        mean.add_(share * apart)
