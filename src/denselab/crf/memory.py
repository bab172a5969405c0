"""How much memory the CRF of a picture needs, predicted before it runs."""

from denselab.compiled.vectors import width_for
from denselab.crf.parameters import Parameters, resolved
from denselab.errors import OutOfMemory
from denselab.runtime import total_memory

PICTURE_SHARE = 0.7  # of the machine's memory that one picture may take


def predicted_bytes(height: int, width: int, num_classes: int, parameters: Parameters | str = "deeplab_v2") -> int:
    """Bytes that `refine` holds for one picture, including its input and result; pictures of noise need more.

    height, width: of the picture, pixels
    num_classes: L
    parameters: a parameter set, or the name of a preset
    """
    chosen = resolved(parameters)
    pixels, lanes = height * width, width_for(num_classes)
    # probabilities, two copies on the way to energies, energies, marginals; index and weight of 6 corners
    per_pixel = 4 * (5 * num_classes + 12)
    nodes = 4 * lanes * 3 / 4  # spatial term: rows at half the columns, nodes at a quarter
    vertices = expected_vertices(chosen) * (4 * lanes * 5 + 6 * 8)  # values, room to blur, two private sums; neighbours
    return int(pixels * (per_pixel + 3 + nodes + vertices))


def expected_vertices(parameters: Parameters) -> float:
    """Vertices of the bilateral lattice per pixel: a little above 0.008 to 2.5, those of 360x480 road scenes."""
    if not parameters.w1:
        return 0.0
    density = 480 / (parameters.theta_alpha * parameters.theta_beta**1.7)
    return float(density / (1 + density / 3.4))


def check_memory(shape: tuple[int, ...], num_classes: int, parameters: Parameters) -> None:
    """Raise OutOfMemory if a picture of shape (height, width) would need more than PICTURE_SHARE of the memory."""
    height, width = shape
    needed = predicted_bytes(height, width, num_classes, parameters)
    if needed > PICTURE_SHARE * total_memory():
        raise OutOfMemory(
            f"the CRF of {height}x{width} pixels (height x width) and {num_classes} classes needs "
            f"{needed / 2**20:,.0f} MiB of memory; refine parts of the picture, or leave the CRF out"
        )
