"""The mean colour is subtracted from rows of pixels: the same numbers to the last bit, or nothing is changed."""

import numpy as np
import onnx
import onnxruntime
import pytest

from denselab.export.centre_rows import centre_rows

GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
g (uint8[B,H,W,3] pictures) => (float[B,C,h,w] y)
{{
    size = Shape (pictures)
    less = Sub (size, ones)
    {begin}
}}
"""
TURNED = "planes = Transpose <perm = [0, 3, 1, 2]> (pictures)\n"
CENTRED = TURNED + "real = Cast <to = 1> (planes)\n centred = Sub (real, mean)\n y = Conv (centred, weight)"
LEFT = {
    "other axes": CENTRED.replace("0, 3, 1, 2", "0, 3, 2, 1"),
    "scaled first": TURNED
    + "real = Cast <to = 1> (planes)\n s = Mul (real, mean)\n c = Sub (s, mean)\n y = Conv (c, weight)",
    "used elsewhere": CENTRED.replace("y = Conv", "z = Conv") + "\n other = Conv (real, weight)\n y = Add (z, other)",
    "one number": CENTRED.replace("mean)", "number)"),
    "subtracted from": CENTRED.replace("(real, mean)", "(mean, real)"),
}
RNG = np.random.default_rng(0)


def model_of(begin: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(GRAPH.format(begin=begin))
    numbers = {
        "mean": np.array([123.675, 116.28, 103.53], np.float32).reshape(1, 3, 1, 1),
        "number": np.float32(128),
        "weight": RNG.normal(size=(2, 3, 3, 3)).astype(np.float32),
        "ones": np.ones(4, np.int64),
    }
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in numbers.items())
    return model


def test_the_numbers_stay_the_same() -> None:
    model = model_of(CENTRED)
    pictures = RNG.integers(0, 256, (2, 9, 7, 3), dtype=np.uint8)
    before = onnxruntime.InferenceSession(model.SerializeToString()).run(["y"], {"pictures": pictures})[0]
    assert centre_rows(model)
    onnx.checker.check_model(model, full_check=True)
    after = onnxruntime.InferenceSession(model.SerializeToString()).run(["y"], {"pictures": pictures})[0]
    assert np.array_equal(before, after)
    assert not centre_rows(model), "it is done"


@pytest.mark.parametrize("why", LEFT)
def test_other_beginnings_are_left_alone(why: str) -> None:
    model = model_of(LEFT[why])
    before = model.SerializeToString()
    assert not centre_rows(model)
    assert model.SerializeToString() == before
