"""The first product of a graph goes into the weights behind it: the same numbers with a node less, or nothing at all."""

import numpy as np
import onnx
import onnxruntime
import pytest

from denselab.export.fold_scale import fold_scale

GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
g (float[1,3,H,W] x) => (float[1,2,h,w] y)
{{
    scaled = Mul (x, scale)
    normal = Sub (scaled, shift)
    {body}
}}
"""
PADDED = "wide = Pad (normal, pads)\n y = Conv <pads = [1, 1, 1, 1]> (wide, w)"
TWO = "a = Conv (normal, w)\n b = Conv (normal, v)\n y = Add (a, b)"
LEFT = {
    "used elsewhere": "a = Conv (normal, w)\n b = Relu (normal)\n c = Conv (b, v)\n y = Add (a, c)",
    "padded by ones": "wide = Pad (normal, pads, one)\n y = Conv (wide, w)",
    "mirrored": 'wide = Pad <mode = "reflect"> (normal, pads)\n y = Conv (wide, w)',
    "by groups": "y = Conv <group = 3> (normal, u)",
    "shared weights": "a = Conv (normal, w)\n b = Conv (normal, w)\n y = Add (a, b)",
    "not convolved": "y = Relu (normal)",
}
RNG = np.random.default_rng(0)


def model_of(body: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(GRAPH.format(body=body))
    numbers = {
        "scale": np.array([4.0, 0.5, -2.0]).reshape(1, 3, 1, 1),
        "shift": np.array([1.0, 2.0, 0.25]).reshape(1, 3, 1, 1),
        "w": RNG.normal(size=(2, 3, 3, 3)),
        "v": RNG.normal(size=(2, 3, 3, 3)),
        "u": RNG.normal(size=(3, 1, 3, 3)),
        "one": np.ones(()),
    }
    for name, array in numbers.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array, np.float32), name))
    pads = np.array([0, 0, 1, 0, 0, 0, 2, 1])
    model.graph.initializer.append(onnx.numpy_helper.from_array(pads, "pads"))
    return model


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"x": x})[0]
    return found


@pytest.mark.parametrize("body", [PADDED, TWO])
def test_it_is_folded(body: str) -> None:
    model, x = model_of(body), RNG.normal(size=(1, 3, 9, 8)).astype(np.float32)
    expected = run(model, x)
    assert fold_scale(model)
    assert "Mul" not in {node.op_type for node in model.graph.node}
    np.testing.assert_allclose(run(model, x), expected, atol=1e-4)
    assert not fold_scale(model), "there is only one"


@pytest.mark.parametrize("why", LEFT)
def test_it_is_left_alone(why: str) -> None:
    model = model_of(LEFT[why])
    before = model.SerializeToString()
    assert not fold_scale(model)
    assert model.SerializeToString() == before
