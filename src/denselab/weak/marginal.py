"""What tags say for certain, as a loss: every pixel shows the background or one of the classes of its picture's tags.

The label of a pixel is latent, as in EM, and the loss is its marginal likelihood: -log of the probability that the
network gives to all classes that it may have. Its gradient is that of the cross-entropy to the soft labels of an exact
E-step, the network's own probabilities among those classes. So nothing is guessed, and no guess can confirm itself; a
picture that shows every class teaches nothing. It is true of every crop, which shares of a picture are not. Known as
learning from partial labels (Jin, Ghahramani, NeurIPS 2002), and as the suppression constraint of networks taught by
tags (Pathak, Kraehenbuehl, Darrell, ICCV 2015, arXiv 1506.03648).
"""

from collections.abc import Sequence

from torch import Tensor


def marginal_loss(scores: Tensor, present: Sequence[int], here: Tensor) -> Tensor:
    """The mean over the pixels of -log of the probability of the present classes together; 0 where no pixel counts.

    scores: (K, H, W) of one picture.
    present: class indices that a pixel may have.
    here: (H, W) bool, the pixels that count.
    """
    if not present or not here.any():
        return scores.sum() * 0
    own = scores[:, here].float()
    return (own.logsumexp(dim=0) - own[list(present)].logsumexp(dim=0)).mean()
