"""DeepLab v3+'s TensorFlow weights: the release's names and counts, layouts against a computation in TF's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from denselab.build import create_model
from denselab.convert.conversion import convert_file
from denselab.convert.mapping import check_fit, infer_classes
from denselab.convert.names_tf import map_tensorflow, module_path
from denselab.encoders.xception import Xception
from denselab.engine.folder import load_engine
from denselab.errors import CheckpointError
from denselab.inference import Predictor
from denselab.models.base import SegmentationModel
from denselab.models.deeplab_v3plus import DeepLabV3Plus

RNG = np.random.default_rng(4)
Variables = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]


def normed(scope: str, leaf: str, shape: tuple[int, ...]) -> Shapes:
    width = shape[2] if leaf == "depthwise_weights" else shape[3]
    statistics = {f"{scope}/BatchNorm/{n}": (width,) for n in ("gamma", "beta", "moving_mean", "moving_variance")}
    return {f"{scope}/{leaf}": shape} | statistics


def separable(scope: str, incoming: int, out: int) -> Shapes:
    depthwise = normed(f"{scope}_depthwise", "depthwise_weights", (3, 3, incoming, 1))
    return depthwise | normed(f"{scope}_pointwise", "weights", (1, 1, incoming, out))


def xception65() -> Shapes:
    """The variables of the release's core/xception.py, row by row."""
    shapes = normed("xception_65/entry_flow/conv1_1", "weights", (3, 3, 3, 32))
    shapes |= normed("xception_65/entry_flow/conv1_2", "weights", (3, 3, 32, 64))
    before = 64
    rows = [(f"entry_flow/block{i}/unit_1", (c, c, c), True) for i, c in enumerate((128, 256, 728), 1)]
    rows += [(f"middle_flow/block1/unit_{i}", (728, 728, 728), False) for i in range(1, 17)]
    rows += [
        ("exit_flow/block1/unit_1", (728, 1024, 1024), True),
        ("exit_flow/block2/unit_1", (1536, 1536, 2048), False),
    ]
    for name, widths, shortcut in rows:
        scope = f"xception_65/{name}/xception_module"
        incoming = before
        for i, width in enumerate(widths, 1):
            shapes |= separable(f"{scope}/separable_conv{i}", incoming, width)
            incoming = width
        if shortcut:
            shapes |= normed(f"{scope}/shortcut", "weights", (1, 1, before, widths[-1]))
        before = widths[-1]
    return shapes


def head(classes: int) -> Shapes:
    shapes = normed("image_pooling", "weights", (1, 1, 2048, 256)) | normed("aspp0", "weights", (1, 1, 2048, 256))
    for i in (1, 2, 3):
        shapes |= separable(f"aspp{i}", 2048, 256)
    shapes |= normed("concat_projection", "weights", (1, 1, 1280, 256))
    shapes |= normed("decoder/feature_projection0", "weights", (1, 1, 256, 48))
    shapes |= separable("decoder/decoder_conv0", 304, 256) | separable("decoder/decoder_conv1", 256, 256)
    return shapes | {"logits/semantic/weights": (1, 1, 256, classes), "logits/semantic/biases": (classes,)}


def mobilenetv2(classes: int) -> Shapes:
    """The released light network: expanded_conv, expanded_conv_1 .. _16, image pooling and 1x1, no decoder."""
    shapes, before, index = normed("MobilenetV2/Conv", "weights", (3, 3, 3, 32)), 32, 0
    for factor, width, repeats in (
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ):
        for _ in range(repeats):
            scope, wide = "MobilenetV2/expanded_conv" + (f"_{index}" if index else ""), before * factor
            if factor > 1:
                shapes |= normed(f"{scope}/expand", "weights", (1, 1, before, wide))
            shapes |= normed(f"{scope}/depthwise", "depthwise_weights", (3, 3, wide, 1))
            shapes |= normed(f"{scope}/project", "weights", (1, 1, wide, width))
            before, index = width, index + 1
    shapes |= normed("image_pooling", "weights", (1, 1, 320, 256)) | normed("aspp0", "weights", (1, 1, 320, 256))
    shapes |= normed("concat_projection", "weights", (1, 1, 512, 256))
    return shapes | {"logits/semantic/weights": (1, 1, 256, classes), "logits/semantic/biases": (classes,)}


def hollow(shapes: Shapes) -> Variables:
    one = np.ones((), np.float32)
    return {name: np.broadcast_to(one, shape) for name, shape in shapes.items()}


def filled(shapes: Shapes) -> Variables:
    found = {}
    for name, shape in shapes.items():
        positive = name.endswith(("moving_variance", "gamma"))
        values = RNG.uniform(0.5, 1.5, shape) if positive else RNG.normal(scale=0.1, size=shape)
        found[name] = values.astype("f4")
    return found


@pytest.mark.parametrize(
    ("model", "shapes", "variables", "values"),
    [  # the released checkpoints: 732 variables, 41,258,213 values; 2,146,645 for the light one
        ("deeplabv3plus_xception65", xception65() | head(21), 732, 41_258_213),
        ("deeplabv3plus_mobilenetv2", mobilenetv2(21), None, 2_146_645),
    ],
)
def test_names_shapes_and_counts_of_the_release(model: str, shapes: Shapes, variables: int | None, values: int) -> None:
    with torch.device("meta"):
        skeleton = create_model(model, 2)
    extra = {"global_step": np.float32(1)[None], "xception_65/x/weights/Momentum": np.ones((1, 1, 1, 1), "f4")}
    reading = map_tensorflow(hollow(shapes) | extra, skeleton)
    classes = infer_classes(reading.mapped, lambda k: create_model(model, k), model)
    assert classes == 21
    with torch.device("meta"):
        own = create_model(model, classes).state_dict()
    counters = {n for n in own if n.endswith("num_batches_tracked")}
    check_fit(own, reading.mapped, reading.unused, counters, model)
    assert {m.target for m in reading.mapped} == set(own) - counters
    assert sum(m.tensor.numel() for m in reading.mapped) == values
    assert variables in (None, len(reading.mapped))


def test_a_bias_that_the_network_has_not_is_told() -> None:
    """Its module has the attribute, which is None: the conversion ended with a KeyError."""
    with torch.device("meta"):
        skeleton = create_model("deeplabv3plus_mobilenetv2", 2)
    reading = map_tensorflow({"aspp0/biases": np.ones(256, "f4")}, skeleton)
    assert (reading.mapped, reading.unused) == ((), ("aspp0/biases (256,)",))


@pytest.mark.parametrize(
    ("scope", "ours"),
    [
        ("xception_65/entry_flow/conv1_1", "encoder.entry_flow.conv1_1.conv"),
        ("xception_65/entry_flow/conv1_1/BatchNorm", "encoder.entry_flow.conv1_1.norm"),
        (
            "xception_71/middle_flow/block1/unit_16/xception_module/separable_conv3_depthwise",
            "encoder.middle_flow.block1.unit_16.separable_conv3_depthwise.conv",
        ),
        ("MobilenetV2/expanded_conv_3/project/BatchNorm", "encoder.expanded_conv_3.project.norm"),
        ("aspp2_pointwise/BatchNorm", "aspp.aspp2_pointwise.norm"),
        ("image_pooling", "aspp.image_pooling.conv"),
        ("decoder/decoder_conv1_depthwise", "decoder_conv1_depthwise.conv"),
        ("logits/semantic", "logits"),
    ],
)
def test_scopes(scope: str, ours: str) -> None:
    assert module_path(scope) == ours


def tf_conv(x: np.ndarray, kernel: np.ndarray, stride: int = 1, depthwise: bool = False) -> np.ndarray:
    """A convolution in TensorFlow's own layout, as its documentation defines it: x (h, w, c), kernel (k, k, in, out).

    Fixed padding of k // 2. output[i, j, o] = sum over di, dj, c of x[s i + di, s j + dj, c] kernel[di, dj, c, o].
    """
    k = kernel.shape[0]
    padded = np.pad(x, ((k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    height, width = (padded.shape[0] - k) // stride + 1, (padded.shape[1] - k) // stride + 1
    out = np.zeros((height, width, kernel.shape[2] if depthwise else kernel.shape[3]))
    for i in range(height):
        for j in range(width):
            window = padded[i * stride : i * stride + k, j * stride : j * stride + k]
            out[i, j] = (
                np.einsum("abc,abc->c", window, kernel[..., 0])
                if depthwise
                else np.einsum("abc,abco->o", window, kernel)
            )
    return out


def tf_norm(x: np.ndarray, values: Variables, scope: str, eps: float = 1e-3) -> np.ndarray:
    gamma, beta, mean, variance = (
        values[f"{scope}/BatchNorm/{n}"] for n in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return (x - mean) / np.sqrt(variance + eps) * gamma + beta


def thin(shapes: Shapes, own: dict[str, torch.Tensor], skeleton: SegmentationModel) -> Shapes:
    """The release's names with the shapes of a thin network."""
    found = {}
    for name, shape in shapes.items():
        scope, _, leaf = name.rpartition("/")
        attribute = {"biases": "bias", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
        mine = tuple(own[f"{module_path(scope)}.{attribute.get(leaf, 'weight')}"].shape)
        order = {4: (2, 3, 0, 1) if leaf == "depthwise_weights" else (2, 3, 1, 0), 1: (0,)}[len(shape)]
        found[name] = tuple(mine[axis] for axis in order)
    return found


def test_the_first_layers_equal_a_computation_in_tensorflow_s_layout() -> None:
    """conv1_1 (stride 2), conv1_2, first separable convolution: full, depthwise and pointwise kernels, eps 1e-3."""
    torch.manual_seed(0)
    model = DeepLabV3Plus(Xception(65, thin=16), 3, channels=16).eval()
    values = filled(thin(xception65() | head(3), model.state_dict(), model))
    reading = map_tensorflow(values, model)
    own = model.state_dict()
    counters = {n for n in own if n.endswith("num_batches_tracked")}
    check_fit(own, reading.mapped, reading.unused, counters, "thin")
    model.load_state_dict({**own, **{m.target: m.tensor for m in reading.mapped}})

    x = RNG.normal(size=(9, 11, 3))
    flow = "xception_65/entry_flow"
    expected = np.maximum(tf_norm(tf_conv(x, values[f"{flow}/conv1_1/weights"], 2), values, f"{flow}/conv1_1"), 0)
    expected = np.maximum(tf_norm(tf_conv(expected, values[f"{flow}/conv1_2/weights"]), values, f"{flow}/conv1_2"), 0)
    unit = f"{flow}/block1/unit_1/xception_module/separable_conv1"
    depth = tf_conv(expected, values[f"{unit}_depthwise/depthwise_weights"], depthwise=True)
    point = tf_conv(tf_norm(depth, values, f"{unit}_depthwise"), values[f"{unit}_pointwise/weights"])
    expected = tf_norm(point, values, f"{unit}_pointwise")

    seen: list[torch.Tensor] = []
    pointwise = model.get_submodule("encoder.entry_flow.block1.unit_1.separable_conv1_pointwise")
    pointwise.register_forward_hook(lambda module, given, out: seen.append(out))
    with torch.no_grad():
        model.encoder(torch.from_numpy(x.transpose(2, 0, 1)[None]).float())
    actual = seen[0][0].permute(1, 2, 0).double().numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_whole_file_becomes_a_model_folder(write, tmp_path: Path, frozen: bool) -> None:
    """The light network at full size, as a checkpoint and as a frozen graph: the same values come out of the folder."""
    values = filled(mobilenetv2(21))
    if frozen:
        path = tmp_path / "frozen_inference_graph.pb"
        path.write_bytes(write.frozen_graph(values | {"sub_7/y": np.ones(1, "f4")}))
    else:
        path = write.write_checkpoint(tmp_path / "model.ckpt-30000", values | {"global_step": np.array(1, np.int64)})
    convert_file(path, "tf", "deeplabv3plus_mobilenetv2", tmp_path / "out")
    loaded = load_engine(tmp_path / "out", "cpu")
    assert loaded.spec.label_space.names[:2] == ("background", "aeroplane")
    assert loaded.spec.preprocessing.mean == loaded.spec.preprocessing.std == (0.5, 0.5, 0.5)
    assert loaded.spec.preprocessing.imgsz == (513, 513)
    own = loaded.network.state_dict()
    kernel = values["MobilenetV2/expanded_conv_3/expand/weights"]
    np.testing.assert_array_equal(own["encoder.expanded_conv_3.expand.conv.weight"].numpy()[..., 0, 0], kernel[0, 0].T)
    np.testing.assert_array_equal(own["logits.bias"].numpy(), values["logits/semantic/biases"])
    assert isinstance(loaded.network, nn.Module)
    assert Predictor(loaded).labels(np.zeros((20, 30, 3), np.uint8)).shape == (20, 30)


def test_a_number_of_classes_that_no_label_map_holds_is_refused(write, tmp_path: Path) -> None:
    """A constant of 2^40 values takes four bytes in a graph; nothing of that size is built."""
    one = write.number(1, 1) + write.varint(5 << 3 | 5) + np.float32(0.5).tobytes()
    tensor = one + write.chunk(2, write.shape_proto((1 << 40,)))
    value = write.chunk(5, write.chunk(1, b"value") + write.chunk(2, write.chunk(8, tensor)))
    path = tmp_path / "huge.pb"
    path.write_bytes(write.chunk(1, write.chunk(1, b"logits/semantic/biases") + write.chunk(2, b"Const") + value))
    with pytest.raises(CheckpointError, match=r"huge\.pb: 1099511627776 classes, by logits/semantic/biases"):
        convert_file(path, "tf", "deeplabv3plus_mobilenetv2", tmp_path / "out")


def test_resnets_of_slim_are_refused_with_the_reason() -> None:
    with torch.device("meta"):
        model = create_model("deeplabv3plus_resnet101", 2)
    with pytest.raises(CheckpointError, match="stride of a stage in its last block"):
        map_tensorflow({"resnet_v1_101/conv1_1/weights": np.ones((3, 3, 3, 64), "f4")}, model)
