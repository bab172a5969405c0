"""The fully connected CRF, by mean field on any number of Gaussian terms.

Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS 2011, arXiv
1210.5644.

Three things follow the implementations that papers used rather than the paper: the filters include a pixel's message to
itself, all pixels are updated at once, and weights act on filters normalised in one of four ways (the paper's sum is
not normalised).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from denselab.crf import checks
from denselab.crf.mean_field import LatticeTerm, MeanField, SpatialTerm
from denselab.crf.notice import announced
from denselab.crf.parameters import Parameters, resolved
from denselab.crf.permutohedral import array_features, picture_features
from denselab.crf.spatial import gaussian_axis
from denselab.errors import ConfigError, ShapeError
from denselab.numbers import whole
from denselab.runtime import cpu_count
from denselab.types import FilterNormalization, Marginals


@dataclass(frozen=True)
class Inference:
    """The result of mean field.

    marginals: (L, *shape) float32, summing to 1 over L
    iterations: number of updates done
    change: the largest change of a marginal in the last update; nan if it was not measured
    """

    marginals: Marginals
    iterations: int
    change: float

    @property
    def labels(self) -> NDArray[np.intp]:
        """The most likely label of each pixel, *shape."""
        labels: NDArray[np.intp] = self.marginals.argmax(0)
        return labels


class DenseCRF:
    """A dense CRF over a picture (height, width), a volume (D, H, W) or any points (N,).

    shape: (height, width), (D, H, W), (N,) or N, each at least 1
    num_classes: L, at least 1
    threads: the most threads to use; None uses all cores; the result is the same for any number

    Set the energies, add terms, infer. Terms can be added and energies replaced at any time. Lattices are built at the
    first inference after a term was added, and kept.
    Raises ShapeError for a size or a number of classes that is no whole number of 1 or more, ConfigError for such a
    number of threads.
    """

    def __init__(self, shape: Sequence[int] | int, num_classes: int, threads: int | None = None) -> None:
        sizes: Any = [shape] if np.ndim(shape) == 0 else shape
        self.shape = tuple(whole(size, f"a size of the CRF's shape {shape}", 1, ShapeError) for size in sizes)
        self.num_classes = whole(num_classes, "num_classes", 1, ShapeError)
        if not self.shape:
            raise ShapeError("a CRF over no points; give (height, width), (D, H, W) or a number of points")
        self.threads = cpu_count() if threads is None else whole(threads, "threads", 1)
        self.unary: Marginals | None = None
        self._spatial: list[SpatialTerm] = []
        self._lattices: list[LatticeTerm] = []
        self._field: MeanField | None = None

    def set_unary(self, unary: ArrayLike) -> None:
        """Set the energies -log p.

        unary: (L, *shape) or (L, N), any float dtype and memory order

        Contiguous float32 is not copied, so do not change the array before the inference.
        """
        self.unary = checks.check_values(unary, self.num_classes, self.shape, "unary")

    def add_gaussian(
        self,
        sigma: float | Sequence[float],
        compatibility: Any,
        normalization: FilterNormalization = "symmetric",
        method: Literal["separable", "lattice"] = "separable",
    ) -> None:
        """Add a term of position alone: nearby pixels want the same label.

        sigma: pixels; one number for all axes, or one per axis with the last axis (x) first
        compatibility: a number (Potts), (L,) or (L, L); see `check_compatibility`
        normalization: how the filter's sums are scaled
        method: "separable" or "lattice"; volumes and points always use the lattice

        The separable filter is within 4e-4 of the Gaussian's peak (see spatial.py). The lattice has the larger error
        that it also has in the older libraries.
        """
        sigmas = checks.check_sigmas(sigma, len(self.shape), "sigma")
        shared = checks.check_compatibility(compatibility, self.num_classes)
        check_normalization(normalization)
        if method not in ("separable", "lattice"):
            raise ConfigError(f"method {method!r} is unknown; one of separable, lattice")
        self._field = None
        if method == "separable" and len(self.shape) == 2:
            rows, columns = (
                gaussian_axis(length, deviation, normalization)
                for length, deviation in zip(self.shape, sigmas[::-1], strict=True)
            )
            self._spatial.append(SpatialTerm(rows, columns, shared))
            return
        places = np.indices(self.shape, np.float32)[::-1].reshape(len(self.shape), -1)
        features = places / np.asarray(sigmas, np.float32)[:, None]
        self._lattices.append(LatticeTerm(array_features(features), normalization, shared))

    def add_bilateral(
        self,
        image: ArrayLike,
        sigma_xy: float | Sequence[float],
        sigma_rgb: float | Sequence[float],
        compatibility: Any,
        normalization: FilterNormalization = "symmetric",
    ) -> None:
        """Add a term of position and colour: nearby pixels of similar colour want the same label.

        image: (H, W, 3) uint8
        sigma_xy: pixels; one number, or (x, y)
        sigma_rgb: levels of 0..255; one number, or (r, g, b)
        compatibility: a number (Potts), (L,) or (L, L); see `check_compatibility`
        normalization: how the filter's sums are scaled
        """
        picture = checks.check_picture(image, self.shape)
        sigmas = checks.check_sigmas(sigma_xy, 2, "sigma_xy") + checks.check_sigmas(sigma_rgb, 3, "sigma_rgb")
        shared = checks.check_compatibility(compatibility, self.num_classes)
        check_normalization(normalization)
        self._field = None
        features = picture_features(picture, [1 / sigma for sigma in sigmas])
        self._lattices.append(LatticeTerm(features, normalization, shared))

    def add_features(
        self, features: ArrayLike, compatibility: Any, normalization: FilterNormalization = "symmetric"
    ) -> None:
        """Add a term of any features, such as depth, infrared or time.

        features: (d, *shape) or (d, N), already divided by their standard deviations
        compatibility: a number (Potts), (L,) or (L, L); see `check_compatibility`
        normalization: how the filter's sums are scaled
        """
        values = checks.check_features(features, self.shape)
        shared = checks.check_compatibility(compatibility, self.num_classes)
        check_normalization(normalization)
        self._field = None
        self._lattices.append(LatticeTerm(array_features(values), normalization, shared))

    def infer(self, iterations: int, tol: float = 0.0) -> Inference:
        """Run mean field.

        iterations: updates, 0 or more
        tol: stop once no marginal changes by more than this; 0 never stops early

        Raises ConfigError for iterations that are not a whole number of 0 or more, or a negative tol.
        """
        iterations = whole(iterations, "iterations", 0)
        if not tol >= 0:
            raise ConfigError(f"tol is {tol}; expected 0 or more")
        energies, out = self._energies(), np.empty((self.num_classes, *self.shape), np.float32)
        with announced(self.num_classes):
            field, flat = self._prepared(), out.reshape(-1)
            if tol > 0:
                return self._infer_until(field, energies, out, iterations, tol)
            field.start(energies, *([flat] if iterations == 0 else []))
            for i in range(iterations):
                field.advance(*([flat] if i == iterations - 1 else []))
        return Inference(out, iterations, float("nan"))

    def _infer_until(
        self, field: MeanField, energies: Marginals, out: Marginals, iterations: int, tol: float
    ) -> Inference:
        """`infer` with a tolerance: the marginals of each update are kept to compare with the next."""
        field.start(energies, out.reshape(-1))
        previous = np.ascontiguousarray(out.reshape(self.num_classes, -1).T).reshape(-1)
        field.take(out.reshape(-1))
        change, done = float("nan"), 0
        while done < iterations and not change <= tol:
            change = field.advance(previous=previous)
            done += 1
        out.reshape(self.num_classes, -1)[:] = previous.reshape(-1, self.num_classes).T
        return Inference(out, done, change)

    def start(self) -> Marginals:
        """The marginals before the first update: the softmax of the negated energies."""
        return self.infer(0).marginals

    def step(self, marginals: ArrayLike) -> Marginals:
        """The marginals (L, *shape) after one update of the given marginals (L, *shape)."""
        given = checks.check_values(marginals, self.num_classes, self.shape, "marginals").reshape(-1)
        out = np.empty((self.num_classes, *self.shape), np.float32)
        with announced(self.num_classes):
            field = self._prepared()
            field.start(self._energies(), out.reshape(-1))
            field.take(given)
            field.advance(out.reshape(-1))
        return out

    def steps(self, iterations: int) -> Iterator[Marginals]:
        """The marginals before the first update and after each one: iterations + 1 arrays."""
        marginals = self.start()
        yield marginals
        for _ in range(iterations):
            marginals = self.step(marginals)
            yield marginals

    def message(self, marginals: ArrayLike) -> Marginals:
        """What all terms together add to the logits (L, *shape) for the given marginals: minus their energy."""
        given = checks.check_values(marginals, self.num_classes, self.shape, "marginals").reshape(-1)
        out = np.empty((self.num_classes, *self.shape), np.float32)
        with announced(self.num_classes):
            field = self._prepared()
            field.take(given)
            field.message(out.reshape(-1))
        return out

    def last_message(self, iterations: int) -> Marginals:
        """The message for the marginals before the last of the iterations (at least 1), which are never written out."""
        out = np.empty((self.num_classes, *self.shape), np.float32)
        with announced(self.num_classes):
            field = self._prepared()
            field.start(self._energies())
            for _ in range(iterations - 1):
                field.advance()
            field.message(out.reshape(-1))
        return out

    def kl_divergence(self, marginals: ArrayLike) -> float:
        """Divergence of the marginals' distribution from the CRF's, up to a constant; falls as long as inference helps.

        As in pydensecrf, each pair counts from both of its ends, and each pixel counts with itself.
        """
        given = checks.check_values(marginals, self.num_classes, self.shape, "marginals")
        against = self._energies().reshape(given.shape) - self.message(given).reshape(given.shape)
        return sum(
            float(np.dot(row.astype(np.float64), np.log(np.maximum(row, 1e-20)) + energy))
            for row, energy in zip(given, against, strict=True)
        )

    def _energies(self) -> Marginals:
        """The unary energies, flat; all zero if none were set."""
        if self.unary is None:
            self.set_unary(np.zeros((self.num_classes, *self.shape), np.float32))
        assert self.unary is not None
        return self.unary.reshape(-1)

    def _prepared(self) -> MeanField:
        """The arrays and lattices for the current terms."""
        if self._field is None:
            shape = self.shape if len(self.shape) == 2 else (1, int(np.prod(self.shape)))
            self._field = MeanField((shape[0], shape[1]), self.num_classes, self._spatial, self._lattices, self.threads)
        return self._field


def check_normalization(normalization: str) -> None:
    """Refuse an unknown normalisation. Raises ConfigError."""
    known = get_args(FilterNormalization)
    if normalization not in known:
        raise ConfigError(f"normalization {normalization!r} is unknown; one of {', '.join(known)}")


def crf_for(
    image: ArrayLike, num_classes: int, parameters: Parameters | str = "deeplab_v2", threads: int | None = None
) -> DenseCRF:
    """The papers' CRF over a picture: the bilateral and the spatial term of a parameter set or preset.

    image: (H, W, 3) uint8
    num_classes: L
    parameters: a parameter set, or the name of a preset
    threads: the most threads to use; None uses all cores
    """
    chosen = resolved(parameters)
    picture = np.asarray(image)
    crf = DenseCRF(picture.shape[:2], num_classes, threads)
    if chosen.w2:
        crf.add_gaussian(chosen.theta_gamma, chosen.w2, chosen.normalization)
    if chosen.w1:
        crf.add_bilateral(picture, chosen.theta_alpha, chosen.theta_beta, chosen.w1, chosen.normalization)
    return crf
