"""The mean colour is taken from whole rows of pixels: from numbers side by side, not from three at a time.

Layers in int8 want the bands of a pixel side by side, so ONNX Runtime moves the graph's first transposition behind the
subtraction. That then has three numbers, broadcast to each pixel, and takes as long as one of the largest convolutions
(docs/log.md). From rows, along which the three numbers are repeated, it takes a tenth of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

TO_PLANES = [0, 3, 1, 2]


def centre_rows(model: ModelProto) -> bool:
    """Subtract before the first transposition, from (B, H, W * C); returns whether that was possible.

    It is left alone where the graph does not begin with Transpose, Cast and the subtraction of a number per band, one
    after the other.
    """
    import onnx

    picture, nodes = model.graph.input[0].name, list(model.graph.node)
    numbers = {tensor.name: tensor for tensor in model.graph.initializer}
    for difference in nodes:
        cast = _made_by(nodes, difference, "Cast") if difference.op_type == "Sub" else None
        turn = None if cast is None else _made_by(nodes, cast, "Transpose")
        if cast is None or turn is None or turn.input[0] != picture or difference.input[1] not in numbers:
            continue
        centre = onnx.numpy_helper.to_array(numbers[difference.input[1]])
        if centre.ndim != 4 or centre.size != centre.shape[1] or list(turn.attribute[0].ints) != TO_PLANES:
            continue
        made = _by_rows(picture, difference.output[0], cast.attribute[0].i)
        at = nodes.index(turn)
        kept = [node for node in nodes if node not in (turn, cast, difference)]
        del model.graph.node[:]
        model.graph.node.extend([*kept[:at], *made, *kept[at:]])
        if not any(difference.input[1] in node.input for node in kept):
            model.graph.initializer.remove(numbers[difference.input[1]])
        constants = {
            f"{picture}_rows_shape": np.array([0, 0, -1]),  # 0: as it is
            f"{picture}_pixels_shape": np.array([0, 0, -1, centre.size]),
            f"{picture}_centre": centre.reshape(-1),
        }
        model.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in constants.items())
        return True
    return False


def _by_rows(picture: str, result: str, dtype: int) -> list[NodeProto]:
    """The nodes from (B, H, W, C) pictures to (B, C, H, W) centred ones. dtype: of these, ONNX's number for it."""
    from onnx.helper import make_node

    rows, numbers, width, line, centred, pixels = (
        f"{picture}_{part}" for part in ("rows", "numbers", "width", "line", "centred", "pixels")
    )
    return [
        make_node("Reshape", [picture, f"{picture}_rows_shape"], [rows]),
        make_node("Cast", [rows], [numbers], to=dtype),
        make_node("Shape", [picture], [width], start=2, end=3),
        make_node("Tile", [f"{picture}_centre", width], [line]),
        make_node("Sub", [numbers, line], [centred]),
        make_node("Reshape", [centred, f"{picture}_pixels_shape"], [pixels]),
        make_node("Transpose", [pixels], [result], perm=TO_PLANES),
    ]


def _made_by(nodes: list[NodeProto], user: NodeProto, kind: str) -> NodeProto | None:
    """The node of this kind that makes the first input of `user`, which alone takes it."""
    made: Any = next((node for node in nodes if user.input[0] in node.output), None)
    alone = sum(user.input[0] in node.input for node in nodes) == 1
    found: NodeProto | None = made if made is not None and made.op_type == kind and alone else None
    return found
