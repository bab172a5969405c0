"""What is in the exported graphs: any batch and size, preprocessing, metadata, resizing and label ids."""

import dataclasses
import io
import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from denselab.data.resizing.resize import resize_image
from denselab.engine.engine import Engine
from denselab.engine.enlarge import label_maps
from denselab.engine.onnx_engine import onnx_engine
from denselab.engine.openvino_engine import FLOAT32, compile_graph, openvino_engine, read_graph
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError
from denselab.export.int8 import enlarging_logits
from denselab.export.labels_graph import front_text, labels_model
from denselab.export.onnx_graph import check_opset, metadata, onnx_model
from denselab.export.openvino_graph import openvino_files
from denselab.export.program import coarse_factor, exported_program, refuse_crf_layer
from denselab.export.program_engine import program_bytes, program_engine
from denselab.inference.prediction import file_table
from denselab.labels import LabelEntry, LabelSpace
from denselab.layers.upsample import enlarge_logits
from denselab.models.base import SegmentationModel
from denselab.models.patchwise import Patchwise, patch_classifier

SHAPES = ((1, 36, 48), (2, 67, 83), (3, 33, 5), (1, 1, 1))  # the last is padded to 2x2, which no traced picture was


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)


def engines(found: TorchEngine, program: Any, graph: Any) -> dict[str, Engine]:
    document = graph.SerializeToString()
    return {
        "onnx": onnx_engine(document, found.spec, "graph"),
        "openvino": openvino_engine(*openvino_files(document, {}), found.spec, "graph"),
        "torch": program_engine(program_bytes(program, {}), found.spec),
    }


@pytest.mark.parametrize("kind", ["onnx", "openvino", "torch"])
def test_any_batch_and_size_gives_the_same_logits(kind: str, pixelwise: TorchEngine, program: Any, graph: Any) -> None:
    engine = engines(pixelwise, program, graph)[kind]
    for shape in SHAPES:
        expected = pixelwise.logits(pictures(*shape)).numpy()
        np.testing.assert_allclose(np.asarray(engine.logits(pictures(*shape))), expected, atol=1e-4)


def test_the_file_says_what_it_is_and_nothing_of_the_machine(pixelwise: TorchEngine, graph: Any) -> None:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    told = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert told["denselab.names"] == list(pixelwise.spec.label_space.names)
    assert told["denselab.labels"] == pixelwise.spec.label_space.to_list()
    assert told["denselab.preprocessing"]["imgsz"] == [36, 48]
    assert b"site-packages" not in graph.SerializeToString()
    assert [axis.dim_param for axis in graph.graph.input[0].type.tensor_type.shape.dim][:3] == ["B", "H", "W"]


def test_the_files_of_the_other_runtimes_say_the_same(pixelwise: TorchEngine, program: Any, graph: Any) -> None:
    expected = metadata(pixelwise.spec)
    xml, _ = openvino_files(graph.SerializeToString(), expected)
    told = ElementTree.fromstring(xml).find("rt_info/denselab")
    assert told is not None
    assert {f"denselab.{entry.tag}": entry.get("value") for entry in told} == expected
    extra = dict.fromkeys(expected, "")
    torch.export.load(io.BytesIO(program_bytes(program, expected)), extra_files=extra)
    assert extra == expected


@pytest.mark.parametrize("fit", ["inside", "shrink", "shorter"])
@pytest.mark.parametrize("antialias", [True, False])
def test_the_graph_resizes_as_prediction_does(fit: Any, antialias: bool) -> None:
    preprocessing = Preprocessing((30, 40), (0.0,) * 3, (1.0,) * 3, fit=fit)
    names = {"ir": 8, "opset": 18, "logits": "logits", "labels": "labels"}
    model = onnx.parser.parse_model(front_text(preprocessing, names, antialias))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for size in ((60, 80), (49, 67), (17, 101), (15, 20), (29, 40), (1, 3)):
        (picture,) = pictures(1, *size)
        found, extent = session.run(None, {"rgb": picture[None]})
        expected = resize_image(picture, preprocessing.working_size(size)).astype(int)
        assert found[0].shape == expected.shape
        assert np.abs(found[0] - expected).max() <= 1  # a sum that ends in .5 is rounded by its last bit
        assert (found[0] != expected).mean() < 0.02
        assert extent.tolist() == list(size)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_picture_of_any_size_becomes_label_ids(runtime: str, pixelwise: TorchEngine, graph: Any) -> None:
    space = pixelwise.spec.label_space
    moved = dataclasses.replace(space, entries=tuple(dataclasses.replace(e, id=3 * e.id + 7) for e in space.entries))
    spec = dataclasses.replace(pixelwise.spec, label_space=moved)
    document = labels_model(graph, spec, antialias=runtime == "onnx").SerializeToString()
    for size in ((96, 128), (50, 31)):
        (picture,) = pictures(1, *size)
        if runtime == "onnx":
            session = onnxruntime.InferenceSession(document, providers=["CPUExecutionProvider"])
            found = session.run(["labels"], {"rgb": picture[None]})[0]
        else:
            read = read_graph(*openvino_files(document, {}), "graph")
            found = compile_graph(read, "graph", FLOAT32)({"rgb": picture[None]})["labels"]
        seen = resize_image(picture, spec.preprocessing.working_size(size))[None]
        expected = file_table(moved)[label_maps(pixelwise.logits(seen), size)[0]]
        assert found.dtype == expected.dtype == np.uint8
        assert (found[0] != expected).mean() < 0.02  # this network tells classes by single grey values


def test_a_picture_smaller_than_the_network_s_becomes_label_ids_too() -> None:
    """U-Net's graph ended there in "shape mismatch attempting to re-use buffer": the logits' H and W were taken for the
    picture's."""
    space = LabelSpace(tuple(LabelEntry(i, f"class {i}", (i, i, i)) for i in range(3)))
    architecture = Architecture("unet_small", 3)
    spec = ModelSpec(architecture, space, Preprocessing((48, 64), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)))
    engine = TorchEngine(spec, architecture.create().eval(), torch.device("cpu"))
    model = labels_model(onnx_model(exported_program(engine), spec), spec)
    assert not model.graph.value_info
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for size in ((8, 8), (5, 3), (1, 1)):
        assert session.run(["labels"], {"rgb": np.zeros((1, *size, 3), np.uint8)})[0].shape == (1, *size)


def test_a_crf_layer_is_refused_in_words(pixelwise: TorchEngine) -> None:
    from denselab.crf_layer.crf_rnn import CRFSettings

    architecture = dataclasses.replace(pixelwise.spec.architecture, crf_layer=CRFSettings())
    spec = ModelSpec(architecture, pixelwise.spec.label_space, pixelwise.spec.preprocessing)
    with pytest.raises(ConfigError, match=r"CRF layer, whose lattice is built anew .* `denselab refine`"):
        refuse_crf_layer(spec)
    with pytest.raises(ConfigError, match="CRF layer"):
        exported_program(dataclasses.replace(pixelwise, spec=spec))


def test_padding_is_inside(pixelwise: TorchEngine) -> None:
    """A canvas larger than some pictures and smaller than others."""
    preprocessing = dataclasses.replace(pixelwise.spec.preprocessing, pad_to=(40, 60))
    engine = dataclasses.replace(pixelwise, spec=dataclasses.replace(pixelwise.spec, preprocessing=preprocessing))
    run = program_engine(program_bytes(exported_program(engine), {}), engine.spec)
    for shape in ((1, 20, 30), (1, 50, 30), (2, 41, 61)):
        np.testing.assert_allclose(run.logits(pictures(*shape)), engine.logits(pictures(*shape)), atol=1e-5)


@pytest.mark.parametrize("opset", [17, 99])
def test_opsets_that_cannot_be_written(opset: int) -> None:
    with pytest.raises(ConfigError, match=f"opset {opset}; use 18 to"):
        check_opset(opset)


def test_the_traced_picture_does_not_count_the_windows_of_others() -> None:
    """patchwise could not be exported; its batches of windows would have been those of the traced picture."""
    network = Patchwise(patch_classifier(3, 2, (2, 2, 2)), 2, batch=4).eval()
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.export.export(network, (torch.zeros(1, 3, 17, 19),), dynamic_shapes=({2: dynamic, 3: dynamic},))
    picture = torch.randn(1, 3, 40, 51)
    with torch.no_grad():
        torch.testing.assert_close(program.module(check_guards=False)(picture), network(picture))


class Halved(SegmentationModel):
    """One convolution of stride 2, whose scores are enlarged."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.score = torch.nn.Conv2d(3, num_classes, 3, 2, 1)

    def coarse_logits(self, images: Tensor) -> Tensor:
        scores: Tensor = self.score(images)
        return scores

    @property
    def enlarged_by(self) -> int:
        return 2

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return enlarge_logits(coarse, self.enlarged_by, size)


def test_coarse_logits_leave_too(pixelwise: TorchEngine) -> None:
    """A second output, whose enlargement in the graph is by a constant: only then ONNX Runtime keeps its own layout."""
    torch.manual_seed(0)
    halved = TorchEngine(pixelwise.spec, Halved(pixelwise.spec.label_space.num_classes).eval(), pixelwise.device)
    assert coarse_factor(pixelwise) is None
    model = onnx_model(exported_program(halved, coarse=True), halved.spec, coarse=coarse_factor(halved))
    assert [value.name for value in model.graph.output] == ["logits", "coarse_2"]
    (resize,) = (node for node in model.graph.node if node.op_type == "Resize")
    assert resize.input[2] in {tensor.name for tensor in model.graph.initializer}
    found = onnx_engine(model.SerializeToString(), halved.spec, "graph", "cpu")
    for shape in ((1, 36, 48), (1, 35, 21)):
        np.testing.assert_allclose(found.logits(pictures(*shape)), halved.logits(pictures(*shape)), atol=1e-4)
        ours, theirs = halved.coarse(pictures(*shape)), found.coarse(pictures(*shape))
        assert ours is not None
        assert theirs is not None
        np.testing.assert_allclose(theirs.values, ours.values, atol=1e-4)
        assert (theirs.labels() != label_maps(halved.logits(pictures(*shape)), shape[1:])[0]).mean() < 0.01
    labels_model(model, halved.spec)  # merges with either output


def test_logits_are_enlarged_in_float() -> None:
    """In int8 the maps between convolutions may be enlarged in integers, not what the arg-max sees."""
    text = """
    <ir_version: 8, opset_import: ["": 18]>
    two (float[1,1,H,W] x, float[1,1,1,1] w, float[4] s) => (float[1,1,h,v] logits)
    {
        a = Conv (x, w)
        b = Resize <mode = "linear"> (a, , s)
        c = Conv (b, w)
        logits = Resize <mode = "linear"> (c, , s)
    }
    """
    model = onnx.parser.parse_model(text)
    for number, node in enumerate(model.graph.node):
        node.name = f"node {number}"
    assert enlarging_logits(model) == ["node 3"]
