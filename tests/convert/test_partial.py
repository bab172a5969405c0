"""`denselab convert --classes`: which tensors a file may lack, for every network; what is unknown in it is refused."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor

from denselab.cli.convert import convert
from denselab.convert.conversion import convert_file
from denselab.convert.mapping import ClassShapes, Mapped, Reading, check_fit, class_shapes
from denselab.convert.names_caffe import map_caffe
from denselab.convert.names_tf import map_tensorflow
from denselab.convert.names_torch import map_state
from denselab.convert.partial import by_layer, encoder_tensors, fitting_layers, may_start_anew
from denselab.encoders.caffe import CaffeLayer
from denselab.encoders.vgg import BLOCKS
from denselab.engine.spec import Architecture
from denselab.errors import CheckpointError
from denselab.models import MODELS
from denselab.models.base import SegmentationModel

CLASSES = 5
State = dict[str, Tensor]


@cache
def on_meta(name: str, classes: int = CLASSES, encoder: str | None = None) -> SegmentationModel:
    with torch.device("meta"):
        return Architecture(name, classes, encoder).create()


@cache
def dependent(name: str, encoder: str | None = None) -> ClassShapes:
    return class_shapes(lambda k: Architecture(name, k, encoder).create())


def anew(name: str, reading: Reading, encoder: str | None = None) -> set[str]:
    """What of the network with CLASSES classes starts anew. Raises CheckpointError as the command does."""
    network = on_meta(name, encoder=encoder)
    own = network.state_dict()
    optional = {n for n in own if n.endswith("num_batches_tracked")}
    optional |= may_start_anew(network, reading.mapped, dependent(name, encoder))
    taken, _ = fitting_layers(reading.mapped, own, optional)
    check_fit(own, taken, reading.unused, optional, "file")
    return {n for n in own if not n.endswith("num_batches_tracked")} - {entry.target for entry in taken}


def as_file(state: State) -> Reading:
    return Reading(tuple(Mapped(n, n, t) for n, t in state.items() if not n.endswith("num_batches_tracked")))


@pytest.mark.parametrize("name", MODELS)
def test_a_whole_network_of_other_classes_gives_all_but_what_depends_on_them(name: str) -> None:
    """U-Net was refused for its score layer, which lies under `core.` as all of it does."""
    state = on_meta(name, 7).state_dict()
    own = on_meta(name).state_dict()
    assert anew(name, as_file(state)) == {n for n in own if own[n].shape != state[n].shape}


@pytest.mark.parametrize("name", MODELS)
def test_whatever_else_is_missing_is_named(name: str) -> None:
    """SegNet's layers lie flat: a file with nothing but conv1_1 was taken, and 150 tensors were random."""
    state, own = on_meta(name, 7).state_dict(), on_meta(name).state_dict()
    same = [n for n in own if own[n].shape == state[n].shape and not n.endswith("num_batches_tracked")]
    for absent in (same[0], same[len(same) // 2], same[-1]):
        with pytest.raises(CheckpointError, match=f"missing: {absent} "):
            anew(name, as_file({n: t for n, t in state.items() if n != absent}))
    with pytest.raises(CheckpointError, match="missing: "):
        anew(name, as_file({same[0]: state[same[0]]}))


IMAGENET = {"vgg16": ("vgg16", "vgg16_bn"), "resnet50": ("resnet50",), "resnet101": ("resnet101",)}
ON_IMAGENET = [(n, source) for n, entry in MODELS.items() for source in IMAGENET.get(entry.default_encoder or "", ())]


def normalised(name: str) -> bool:
    return any("bn1_1" in n or "conv1_1_bn" in n for n in on_meta(name).state_dict())


@pytest.mark.parametrize(("name", "source"), ON_IMAGENET)
def test_torchvision_s_imagenet_files_begin_every_network_on_their_encoder(name: str, source: str) -> None:
    with torch.device("meta"):
        state = getattr(torchvision.models, source)().state_dict()
    reading, _ = map_state(state, on_meta(name, 2))
    if source == "vgg16_bn" and not normalised(name):  # its convolutions are of no use without their normalisation
        with pytest.raises(CheckpointError, match=r"not in the network: features\.1\.weight \(64,\)"):
            anew(name, reading)
        return
    random = anew(name, reading)
    assert random
    assert not random & encoder_tensors(on_meta(name))
    absent = next(m.target for m in reading.mapped if m.target in encoder_tensors(on_meta(name)))
    rest = Reading(tuple(m for m in reading.mapped if m.target != absent), reading.unused)
    with pytest.raises(CheckpointError, match=f"missing: {absent} "):
        anew(name, rest)


def caffe_vgg() -> list[CaffeLayer]:
    """ImageNet's VGG-16 with its three fully connected layers, without memory."""
    sizes: dict[str, tuple[int, ...]] = {}
    before = 3
    for b, block in enumerate(BLOCKS, 1):
        for i, width in enumerate(block, 1):
            sizes[f"conv{b}_{i}"], before = (width, before, 3, 3), width
    sizes |= {"fc6": (4096, 25088), "fc7": (4096, 4096), "fc8": (1000, 4096)}
    one = np.ones((), np.float32)
    return [CaffeLayer(n, (np.broadcast_to(one, s), np.broadcast_to(one, s[:1]))) for n, s in sizes.items()]


@pytest.mark.parametrize("name", [n for n, entry in MODELS.items() if entry.default_encoder == "vgg16"])
def test_caffe_s_imagenet_vgg_begins_every_network_on_it(name: str) -> None:
    """DeepLab's fc6 is of another size, and its fc8 is not ImageNet's of the same name."""
    network = on_meta(name)
    reading = map_caffe(caffe_vgg(), on_meta(name, 2))
    assert "fc8 (1000, 4096)" in reading.spare
    random = anew(name, reading)
    assert not random & encoder_tensors(network)
    assert {n.rpartition(".")[0] for n in dependent(name)} <= {n.rpartition(".")[0] for n in random}
    if name == "deeplab_4x4":  # fc6's bias has the right size, but not without its weight
        assert {"encoder.fc6.weight", "encoder.fc6.bias"} <= random


def test_both_pathways_of_msra_cfm_start_from_vgg_s_fc6_and_fc7() -> None:
    """Two layers are called fc6 there, so none was found, and the file filled the trunk alone."""
    with torch.device("meta"):
        state = torchvision.models.vgg16().state_dict()
        timms = timm.create_model("vgg16").state_dict()
    skeleton = on_meta("msra_cfm", 2)
    for reading in (map_caffe(caffe_vgg(), skeleton), map_state(state, skeleton)[0], map_state(timms, skeleton)[0]):
        assert anew("msra_cfm", reading) == {"mean", "std", "score.weight", "score.bias"}
        sources = {entry.target: entry.source for entry in reading.mapped}
        assert sources["box.fc6.weight"] == sources["segment.fc6.weight"]
        assert sources["box.fc7.bias"] == sources["segment.fc7.bias"]
        assert sources["box.fc6.weight"] != sources["box.fc7.weight"]


def test_a_pathway_that_its_own_file_lacks_is_not_filled_from_the_other() -> None:
    state = on_meta("msra_cfm", 7).state_dict()
    del state["segment.fc6.weight"]
    with pytest.raises(CheckpointError, match=r"missing: segment\.fc6\.weight"):
        anew("msra_cfm", map_state(state, on_meta("msra_cfm", 2))[0])


@pytest.mark.parametrize("name", ["mobilenetv2_100", "efficientnet_b0", "convnext_tiny", "regnety_004", "densenet121"])
def test_timm_s_imagenet_files_begin_a_network(name: str) -> None:
    """What timm has after the last feature map (conv_head, bn2, head) is known; ConvNeXt's stages.0 is stages_0 here."""
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    reading, _ = map_state(state, on_meta("unet", 2, name))
    assert not reading.unused
    assert reading.spare
    assert all(n.startswith(("up.", "score", "core.")) for n in anew("unet", reading, name))


def test_a_deeper_network_s_file_is_refused() -> None:
    """ResNet-101 holds every name and shape of ResNet-50: the 17 blocks that have no place were passed over in silence."""
    with torch.device("meta"):
        state = torchvision.models.resnet101().state_dict()
    reading, _ = map_state(state, on_meta("deeplabv3", 2))
    with pytest.raises(
        CheckpointError, match=r"not in the network: layer3\.6\.conv1\.weight .*choose another `model`, `encoder`"
    ):
        anew("deeplabv3", reading)


def test_tensorflow_s_imagenet_layers_are_known() -> None:
    one = np.ones((), np.float32)
    variables = {
        "MobilenetV2/Conv_1/weights": np.broadcast_to(one, (1, 1, 320, 1280)),
        "MobilenetV2/Logits/Conv2d_1c_1x1/biases": np.broadcast_to(one, (1001,)),
        "MobilenetV2/banana/biases": np.broadcast_to(one, (4,)),
    }
    reading = map_tensorflow(variables, on_meta("deeplabv3plus_mobilenetv2", 2))
    assert reading.unused == ("MobilenetV2/banana/biases (4,)",)
    assert len(reading.spare) == 2


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    return Architecture("segnet_basic", 7).create().state_dict()


def test_the_command_lists_what_was_taken_and_what_starts_anew(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(state | {"fc8.weight": torch.zeros(2, 2)}, tmp_path / "x.pth")
    convert(tmp_path / "x.pth", "torch", "segnet_basic", tmp_path / "out", classes=3)
    said = capsys.readouterr().out
    assert "taken: conv1, conv1_bn, " in said
    assert "2 tensors start anew: conv_classifier\n" in said
    assert "left out of the file: fc8.weight (2, 2), conv_classifier.weight (7, 64, 1, 1)" in said
    assert "- 2 tensors start anew: conv_classifier\n" in (tmp_path / "out" / "README.md").read_text()
    convert(tmp_path / "x.pth", "torch", "segnet_basic", tmp_path / "out", classes=3, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["untouched"] == ["conv_classifier.weight", "conv_classifier.bias"]
    assert len(facts["left_out"]) == 3


def test_an_unknown_layer_is_refused_with_a_number_of_classes_too(write, tmp_path: Path) -> None:
    """SegNet's conv1_1 and a layer `banana` gave exit code 0, two tensors, and no word about the layer."""
    rng = np.random.default_rng(0)
    layers = {"conv1_1": [rng.normal(size=(64, 3, 3, 3)), np.zeros(64)], "banana": [np.zeros((4, 4))]}
    (tmp_path / "x.caffemodel").write_bytes(write.caffemodel(layers))
    with pytest.raises(
        CheckpointError, match=r"missing: conv1_2\.weight.*not in the network: banana \(4, 4\)"
    ) as caught:
        convert_file(tmp_path / "x.caffemodel", "caffe", "segnet", tmp_path / "out", classes=5)
    assert caught.value.exit_code == 6
    assert not (tmp_path / "out").exists()


def test_a_layer_name_stands_for_a_whole_part() -> None:
    own = ["a.x.weight", "a.x.bias", "a.y.weight", "b.z.0.weight", "b.u.weight"]
    assert by_layer(own[:4], own) == "a, b.z.0"
    assert by_layer(own, own, shown=1) == "a and 1 more"
