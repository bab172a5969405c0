"""Where a network is uncertain: Monte-Carlo dropout (Bayesian SegNet, arXiv 1511.02680; Gal, Ghahramani, arXiv 1506.02142).

Dropout stays on, so that each run is a sample of the network. The mean of the samples' softmax is the prediction; their
variance, averaged over the classes, is the uncertainty: high at borders, at rare classes, at what was never seen.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Note = Callable[[str], None]
"""Told "sample 3 of 20" after each run, for a progress display."""


def sampled_scores(run: Callable[[], Tensor], samples: int, note: Note | None = None) -> Tensor:
    """(K + 1, h, w): the mean of the probabilities of `samples` runs, and in the last plane their uncertainty.

    run: gives (K, h, w) probabilities, other ones each time.
    Mean and variance (of the samples given, divided by their number) come from Welford's update.
    """
    mean = squares = torch.zeros(())
    for number in range(1, samples + 1):
        probs = run()
        step = probs - mean
        mean = mean + step / number
        squares = squares + step * (probs - mean)  # step is to the mean before, the other factor to the mean after
        if note:
            note(f"sample {number} of {samples}")
    return torch.cat([mean, squares.mean(dim=0, keepdim=True) / samples])
