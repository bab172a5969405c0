"""pydensecrf.densecrf: the classes, their argument order (width before height) and the values of their constants.

Names are pydensecrf's own, hence the camel case. Arrays are flat, (labels, width * height), row by row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from denselab.crf import dense_crf
from denselab.errors import ConfigError, ShapeError
from denselab.types import FilterNormalization

CONST_KERNEL, DIAG_KERNEL, FULL_KERNEL = 0, 1, 2
NO_NORMALIZATION, NORMALIZE_BEFORE, NORMALIZE_AFTER, NORMALIZE_SYMMETRIC = 0, 1, 2, 3
IMPOSSIBLE = 1e30  # energy of an impossible label
NORMALIZATIONS: tuple[FilterNormalization, ...] = ("none", "before", "after", "symmetric")  # by the constants above


class ConstUnary:
    """Energies (labels, N) for setUnary."""

    def __init__(self, u: ArrayLike) -> None:
        self.energy = np.asarray(u, np.float32)


class DenseCRF:
    """A CRF over nvar variables. Terms come from features; see utils.create_pairwise_*."""

    def __init__(self, nvar: int, nlabels: int) -> None:
        self._crf = dense_crf.DenseCRF(nvar, nlabels)

    def setUnary(self, u: ConstUnary) -> None:
        """Set the energies."""
        self.setUnaryEnergy(u.energy)

    def setUnaryEnergy(self, u: ArrayLike, f: None = None) -> None:
        """Set the energies, (labels, N). They are copied, and infinite ones become 1e30."""
        if f is not None:
            raise ConfigError(
                "setUnaryEnergy(L, f), the logistic unary, is not supported; give the energies themselves"
            )
        energies = np.array(u, copy=True)
        if energies.dtype.kind == "f":
            np.minimum(energies, IMPOSSIBLE, out=energies)
        self._crf.set_unary(energies)

    def addPairwiseEnergy(
        self, features: ArrayLike, compat: Any, kernel: int = DIAG_KERNEL, normalization: int = NORMALIZE_SYMMETRIC
    ) -> None:
        """Add a term of features (d, N), divided by their deviations; `kernel` is not used, as it is for learning."""
        self._crf.add_features(features, compat, named(normalization))

    def inference(self, niter: int) -> NDArray[np.float32]:
        """Marginals (labels, N) after niter updates; 5.0 are 5, a fraction is refused."""
        return self._flat(self._crf.infer(int(niter) if niter == int(niter) else niter).marginals)

    def startInference(self) -> tuple[NDArray[np.float32], None, None]:
        """The marginals before the first update, and two placeholders for stepInference's signature."""
        return self._flat(self._crf.start()), None, None

    def stepInference(self, Q: NDArray[np.float32], tmp1: Any = None, tmp2: Any = None) -> None:
        """Update the marginals Q (labels, N) in place."""
        Q[...] = self._flat(self._crf.step(Q))

    def klDivergence(self, Q: ArrayLike) -> float:
        """Divergence of the marginals from the CRF's distribution, up to a constant."""
        return self._crf.kl_divergence(Q)

    def _flat(self, marginals: NDArray[np.float32]) -> NDArray[np.float32]:
        return marginals.reshape(len(marginals), -1)


class DenseCRF2D(DenseCRF):
    """A CRF over a picture: DenseCRF2D(width, height, labels)."""

    def __init__(self, w: int, h: int, nlabels: int) -> None:
        self._crf = dense_crf.DenseCRF((h, w), nlabels)

    def addPairwiseGaussian(
        self,
        sxy: float | Sequence[float],
        compat: Any,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add the spatial term.

        sxy: standard deviation in pixels, or (x, y)
        compat: compatibility: a number, (labels,) or (labels, labels)
        kernel: ignored; it matters for learning only
        normalization: one of the constants
        """
        self._crf.add_gaussian(sxy, compat, named(normalization), method="lattice")

    def addPairwiseBilateral(
        self,
        sxy: float | Sequence[float],
        srgb: float | Sequence[float],
        rgbim: ArrayLike,
        compat: Any,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add the bilateral term.

        sxy: standard deviation of position in pixels, or (x, y)
        srgb: standard deviation of colour, levels of 0..255, or (r, g, b)
        rgbim: (height, width, 3) uint8
        compat: compatibility: a number, (labels,) or (labels, labels)
        kernel: ignored; it matters for learning only
        normalization: one of the constants
        """
        image = np.asarray(rgbim)
        height, width = self._crf.shape
        if image.shape[:2] == (width, height) != (height, width):
            raise ShapeError(
                f"the picture has shape {image.shape}, expected {(height, width, 3)}: height and width are swapped; "
                "DenseCRF2D takes the width first"
            )
        self._crf.add_bilateral(image, sxy, srgb, compat, named(normalization))


def named(normalization: int) -> FilterNormalization:
    """The name that a constant stands for. Raises ConfigError for any other number."""
    if normalization not in range(len(NORMALIZATIONS)):
        raise ConfigError(
            f"normalization is {normalization!r}; expected one of the constants NO_NORMALIZATION, NORMALIZE_..."
        )
    return NORMALIZATIONS[normalization]
