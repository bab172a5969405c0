"""Mean-field inference over a picture or a set of points: the passes, in the order in which they run.

    Q = softmax(-U); repeat: Q = softmax(-U - sum over terms of C_m K_m Q)

A term is a kernel K with its normalisation and a compatibility C. C works on labels and K on pixels, so C is applied
where there are fewest values: at the lattice's vertices. All lattices share one table of vertices: pixel i has K = sum
of (d_m + 1) corners, and gathers from all terms at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from denselab.compiled.vectors import lanes_for
from denselab.crf.mean_field_kernels import blur
from denselab.crf.pass_kernels import (
    ADVANCE,
    GIVEN,
    MESSAGE,
    START,
    TILE,
    Flow,
    Nodes,
    Part,
    Pixels,
    Vertices,
    pass_over,
    room_for,
)
from denselab.crf.permutohedral import Features, Lattice, build
from denselab.crf.spatial import Axis
from denselab.crf.spatial_kernels import GRID, NODES, apply_compatibility, filter_nodes
from denselab.crf.threads import parts, run
from denselab.crf.workspace import Workspace
from denselab.errors import ShapeError
from denselab.types import FilterNormalization

NO_FLOATS: NDArray[np.float32] = np.empty(0, np.float32)
NO_TABLE: NDArray[np.float32] = np.empty((0, 0), np.float32)
PIECE = 16  # lanes blurred together at most
NODE_PARTS = 4  # of the nodes: small beside a blur, so that no thread waits long for the other's last one
FORBIDDEN = -1e30  # added to the lanes beyond the labels


@dataclass(frozen=True)
class Compatibility:
    """What a filtered marginal adds to the logits.

    diagonal: (L,) float32, multiplies it
    matrix: (L, L) float32, used instead unless it is empty
    """

    diagonal: NDArray[np.float32]
    matrix: NDArray[np.float32]


@dataclass(frozen=True)
class SpatialTerm:
    """The separable spatial Gaussian of a picture.

    rows: the filter along y
    columns: the filter along x
    compatibility: of the labels
    """

    rows: Axis
    columns: Axis
    compatibility: Compatibility


@dataclass(frozen=True)
class LatticeTerm:
    """A Gaussian of any features, by the permutohedral lattice.

    features: of the points
    normalization: how the filter's sums are scaled
    compatibility: of the labels
    """

    features: Features
    normalization: FilterNormalization
    compatibility: Compatibility


@dataclass(frozen=True)
class LatticeFilter:
    """A lattice, ready to filter.

    lattice: its vertices and neighbours
    base: the first of its vertices in the shared table
    diagonal, matrix: the compatibility, flat, padded to the lanes
    room: scratch space for blurring, two planes of (W, M + 1)
    """

    lattice: Lattice
    base: int
    diagonal: NDArray[np.float32]
    matrix: NDArray[np.float32]
    room: NDArray[np.float32]


class MeanField:
    """The arrays of one inference. Pixels, labels and terms are fixed; energies and marginals pass through."""

    def __init__(
        self,
        shape: tuple[int, int],
        labels: int,
        spatial: Sequence[SpatialTerm],
        lattices: Sequence[LatticeTerm],
        threads: int,
    ) -> None:
        """Build the lattices and the arrays.

        shape: (rows, columns); without spatial terms the points may be cut into rows in any way, so (1, N) will do
        labels: L
        spatial, lattices: the terms
        threads: the most threads to use

        Raises ShapeError for lattices with too many vertices.
        """
        self.shape, self.labels, self.threads = shape, labels, threads
        self.number = shape[0] * shape[1]
        self.lanes = lanes_for(labels)
        self.columns = shape[1] if shape[0] > 1 or spatial else TILE
        workspace = self.workspace = Workspace(self)
        self.stride = min(-(-labels // 8) * 8, len(self.lanes))  # vectors of energies begin at a half of a cache line
        self.energy = workspace.floats(self.number * self.stride + len(self.lanes))
        self.energy[-len(self.lanes) :] = 0  # the last pixel's vector reaches beyond its labels
        self.penalty = np.where(np.arange(len(self.lanes)) < labels, 0, FORBIDDEN).astype(np.float32)
        self._prepare_lattices(lattices, spatial)
        self._prepare_spatial(spatial)
        self._divide()

    def _prepare_lattices(self, terms: Sequence[LatticeTerm], spatial: Sequence[SpatialTerm]) -> None:
        corners = [term.features.dimensions + 1 for term in terms]
        shape = (self.number, sum(corners))
        size = self.number * shape[1]
        index, weight = self.workspace.integers(size).reshape(shape), self.workspace.floats(size).reshape(shape)
        same = all(term.normalization in ("none", "symmetric") for term in terms)
        back = NO_TABLE if same else self.workspace.floats(size).reshape(shape)
        self.lattices: list[LatticeFilter] = []
        base = 0
        for i, term in enumerate(terms):
            lattice = build(
                term.features,
                term.normalization,
                index,
                weight,
                back,
                sum(corners[:i]),
                base,
                len(self.lanes),
                self.threads,
            )
            room = self.workspace.floats(2 * (lattice.vertices + 1) * len(self.lanes)).reshape(2, len(self.lanes), -1)
            self.lattices.append(LatticeFilter(lattice, base, *self._padded(term.compatibility, lattice.alpha), room))
            base += lattice.vertices
        width = len(self.lanes)
        if base * width >= 2**31:  # places are int32
            raise ShapeError(
                f"the lattices of {self.number} points have {base} vertices, too many for {self.labels} classes; "
                "use larger sigmas, or work on parts"
            )
        values, corner_zeros = self.workspace.floats(base * width), (0,) * shape[1]
        slices = (weight if same else back).reshape(-1)
        self.vertices = Vertices(index.reshape(-1), weight.reshape(-1), slices, corner_zeros, values)
        # As many private sums as parts of the picture that fill them; the number must not depend on the threads.
        number = min(8, max(2, self.number // (8 * base + 1))) if base else 1
        self.parts = parts(-(-self.number // self.columns), number, max([1, *(term.rows.step for term in spatial)]))
        self.buffers = self.workspace.floats(len(self.parts) * base * width).reshape(len(self.parts), base * width)

    def _prepare_spatial(self, terms: Sequence[SpatialTerm]) -> None:
        width, rows, count = len(self.lanes), self.shape[0], len(terms)
        self.spatial = terms
        grids = np.zeros((count, GRID), np.int64)
        self.places = np.zeros((len(self.parts), count, 3), np.int64)
        nodes_at = sums_at = 0
        for m, term in enumerate(terms):
            x, y = term.columns, term.rows
            grids[m] = x.step, x.nodes, x.radius, y.step, y.nodes, y.radius, nodes_at
            nodes_at += y.nodes * x.nodes * width
            for part, (begin, end) in enumerate(self.parts):
                first, last = begin // y.step, (end - 1) // y.step + NODES
                self.places[part, m] = first, last, sums_at
                sums_at += (last - first) * x.nodes * width
        scales = [(term.rows.before, term.rows.after) for term in terms]
        between = [axis.between.reshape(-1) for term in terms for axis in (term.columns, term.rows)]
        self.nodes = Nodes(
            grids,
            befores=stacked([term.columns.before for term in terms]),
            afters=stacked([term.columns.after for term in terms]),
            scales=np.array(scales, np.float32).reshape(count, 2, rows),
            between=stacked(between).reshape(count, 2, -1) if terms else np.empty((0, 2, 0), np.float32),
            pushed=self.workspace.floats(sums_at),
            smooth=self.workspace.floats(nodes_at),
        )
        self.taps = [stacked([term.columns.taps, term.rows.taps]) for term in terms]
        self.compatibilities = [self._padded(term.compatibility, 1.0) for term in terms]

    def _divide(self) -> None:
        """Give each part of the picture its own sums and scratch space."""
        size = room_for(len(self.spatial), len(self.lanes))
        rooms = self.workspace.floats(len(self.parts) * size).reshape(len(self.parts), size)
        pixels = [(begin * self.columns, min(end * self.columns, self.number)) for begin, end in self.parts]
        self._shares = [
            Part(begin, end, self.buffers[i], self.places[i], rooms[i]) for i, (begin, end) in enumerate(pixels)
        ]

    def _padded(self, compatibility: Compatibility, factor: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(diagonal, flat matrix) of a compatibility times a factor, labels padded to the lanes.

        The diagonal is all ones where there is a matrix.
        """
        diagonal = np.zeros(len(self.lanes), np.float32)
        matrix = np.zeros((len(compatibility.matrix), len(self.lanes)), np.float32)
        diagonal[: self.labels] = 1 if compatibility.matrix.size else compatibility.diagonal * factor
        if compatibility.matrix.size:
            matrix[:, : self.labels] = compatibility.matrix * factor
        return diagonal, matrix.reshape(-1)

    def start(self, unary: NDArray[np.float32], out: NDArray[np.float32] = NO_FLOATS) -> None:
        """Take energies; their softmax becomes the marginals.

        unary: flat (L * N)
        out: receives the marginals, flat (L * N); if empty they go into the filters
        """
        self._pass(START, unary, out)

    def take(self, marginals: NDArray[np.float32]) -> None:
        """Put given marginals, flat (L * N), into the filters."""
        self._pass(GIVEN, marginals, NO_FLOATS)

    def advance(self, out: NDArray[np.float32] = NO_FLOATS, previous: NDArray[np.float32] = NO_FLOATS) -> float:
        """Filter, and compute the next marginals; returns the largest change against `previous`.

        out: receives the marginals, flat (L * N); if empty they go into the filters
        previous: (N * L), compared with the new marginals and replaced by them; may be empty
        """
        self._filter()
        return self._pass(ADVANCE, NO_FLOATS, out, previous)

    def message(self, out: NDArray[np.float32]) -> None:
        """Write to out, flat (L * N), what the terms add to the logits for the marginals in the filters."""
        self._filter()
        self._pass(MESSAGE, NO_FLOATS, out)

    def _pass(
        self,
        mode: int,
        source: NDArray[np.float32],
        out: NDArray[np.float32],
        previous: NDArray[np.float32] = NO_FLOATS,
    ) -> float:
        """One pass over all pixels; returns the largest change of a marginal against `previous`."""
        flow = Flow(mode, source, out, previous)
        pixels = Pixels(self.number, self.columns, self.labels, self.energy, self.stride, self.penalty)
        tasks = [partial(pass_over, part, flow, pixels, self.vertices, self.nodes, self.lanes) for part in self._shares]
        return float(max(run(tasks, self.threads)))

    def _filter(self) -> None:
        """Blur the lattices, and sum what the parts of the picture pushed to the nodes."""
        tasks = []
        for one in self.lattices:
            join = partial(blur, self.buffers, one.base, len(self.lanes))
            rest = (one.lattice.before, one.lattice.after, one.diagonal, self.vertices.values)
            for lane in range(0, len(self.lanes), PIECE):
                piece = self.lanes[lane : lane + PIECE]
                old, new = (part[lane : lane + len(piece)].reshape(-1) for part in one.room)
                tasks.append(partial(join, lane, *rest, old, new, piece))
        for m, term in enumerate(self.spatial):
            places = np.ascontiguousarray(self.places[:, m])
            join = partial(filter_nodes, self.nodes.pushed, places, self.nodes.grids[m], self.taps[m])
            nodes = (*self.compatibilities[m], self.nodes.smooth, self.lanes)
            tasks += [partial(join, first, last, *nodes) for first, last in parts(term.rows.nodes, NODE_PARTS)]
        run(tasks, self.threads)
        for one in self.lattices:
            if one.matrix.size:
                begin, end = (at * len(self.lanes) for at in (one.base, one.base + one.lattice.vertices))
                apply_compatibility(self.vertices.values, begin, end, one.diagonal, one.matrix, self.lanes)


def stacked(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Arrays of different lengths as rows of one table, padded with zeros."""
    out = np.zeros((len(rows), max((len(row) for row in rows), default=0)), np.float32)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out
