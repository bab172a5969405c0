"""What multiplies the pixels goes into the weights of the first convolutions: a pass less over the picture.

A graph normalises by x * scale - shift. That is scale * (x - shift / scale), and the convolutions multiply anyway. The
zeros that pad the normalised picture stay zeros. In int8, whose picture lies in memory pixel by pixel, ONNX Runtime's
product of three bands takes as long as the largest convolution (docs/log.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def fold_scale(model: ModelProto) -> bool:
    """Fold the first product by a number per band into the convolutions behind it; returns whether that was possible.

    It is left alone where something else than subtraction, padding by zeros and convolutions comes behind it.
    """
    import onnx

    numbers = {tensor.name: tensor for tensor in model.graph.initializer}
    for product in model.graph.node:
        if product.op_type != "Mul" or not all(name in numbers for name in product.input[1:]):
            continue
        difference = _only_user(model, product.output[0])
        if difference is None or difference.op_type != "Sub" or difference.input[1] not in numbers:
            continue
        scale, shift = (onnx.numpy_helper.to_array(numbers[node.input[1]]) for node in (product, difference))
        convolutions = _convolutions(model, difference.output[0])
        if scale.shape != shift.shape or not _per_band(scale) or not convolutions or (scale == 0).any():
            continue
        for node in convolutions:
            weight = numbers[node.input[1]]
            weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * scale, weight.name))
        centre = (shift.astype(np.float64) / scale).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(centre, f"{difference.input[1]}_of_pixels"))
        unused = product.input[1], difference.input[1]
        difference.input[0], difference.input[1] = product.input[0], f"{difference.input[1]}_of_pixels"
        model.graph.node.remove(product)
        for tensor in (numbers[name] for name in unused if not _users(model, name)):
            model.graph.initializer.remove(tensor)
        return True
    return False


def _per_band(array: NDArray[Any]) -> bool:
    return array.ndim == 4 and array.shape[0] == array.shape[2] == array.shape[3] == 1


def _users(model: ModelProto, name: str) -> list[NodeProto]:
    return [node for node in model.graph.node if name in node.input]


def _only_user(model: ModelProto, name: str) -> NodeProto | None:
    found = _users(model, name)
    return found[0] if len(found) == 1 and not any(value.name == name for value in model.graph.output) else None


def _convolutions(model: ModelProto, name: str) -> list[NodeProto]:
    """The convolutions that a tensor goes to, padded by zeros or not; [] where it also goes elsewhere."""
    found: list[NodeProto] = []
    for node in _users(model, name):
        if node.op_type == "Conv" and node.input[0] == name and _has_own_weight(model, node):
            found.append(node)
        elif node.op_type == "Pad" and _pads_zeros(model, node) and (behind := _convolutions(model, node.output[0])):
            found += behind
        else:
            return []
    return found


def _has_own_weight(model: ModelProto, node: NodeProto) -> bool:
    """Whether a convolution sees all bands at once, by weights of its own."""
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    held = any(tensor.name == node.input[1] for tensor in model.graph.initializer)
    return groups == 1 and held and len(_users(model, node.input[1])) == 1


def _pads_zeros(model: ModelProto, node: NodeProto) -> bool:
    import onnx

    if any(attribute.name == "mode" and attribute.s != b"constant" for attribute in node.attribute):
        return False
    if len(node.input) < 3 or not node.input[2]:
        return True
    value = next((tensor for tensor in model.graph.initializer if tensor.name == node.input[2]), None)
    return value is not None and not onnx.numpy_helper.to_array(value).any()
