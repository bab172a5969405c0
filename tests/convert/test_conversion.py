"""`denselab convert` from file to model folder: what is written, what is refused, and that nothing foreign is run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch.nn import functional as F

import denselab
from denselab.build import create_model
from denselab.cli.convert import convert
from denselab.convert import conversion
from denselab.convert.conventions import Colours, label_space_of, preprocessing_of, read_label_table
from denselab.convert.conversion import convert_file
from denselab.data.feed.transforms import normalise
from denselab.engine.folder import load_engine
from denselab.engine.spec import Architecture, ModelSpec
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import CheckpointError, ConfigError, DataError, NoSuchPath
from denselab.inference import Predictor
from denselab.models import MODELS

LRASPP = "lraspp_mobilenet_v3_large"
TORCHVISION = {"fcn_resnet50", "fcn_resnet101", LRASPP} | {
    f"deeplabv3_{trunk}" for trunk in ("resnet50", "resnet101", "mobilenet_v3_large")
}


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=21
    ).eval()


@pytest.fixture(scope="module")
def weights(theirs: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "lraspp_mobilenet_v3_large-d234d4ea.pth"
    torch.save(theirs.state_dict(), path)
    return path


def test_torchvision_weights_become_a_folder_that_predicts_the_same(
    theirs: torch.nn.Module, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(weights, "torchvision", LRASPP, tmp_path / "out", as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["architecture"]["num_classes"] == 21
    assert facts["tensors"] == 319
    assert facts["untouched"] == []
    assert facts["preprocessing"]["fit"] == "shorter"

    engine = load_engine(tmp_path / "out", "cpu")
    image = np.random.default_rng(0).integers(0, 256, (520, 540, 3), dtype=np.uint8)  # no resizing at 520
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        expected = theirs((pixels - mean) / std)["out"]
    torch.testing.assert_close(engine.logits(image[None]), expected, atol=1e-5, rtol=1e-4)
    assert denselab.load(tmp_path / "out", device="cpu").label_space.names[15] == "person"
    card = (tmp_path / "out" / "README.md").read_text()
    assert facts["sha256"] in card
    assert "PASCAL VOC" in card
    assert "trained with DenseLab" not in card


def test_a_new_score_layer_for_other_classes(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(weights, "torchvision", LRASPP, tmp_path / "out", classes=5)
    said = capsys.readouterr().out
    assert "taken: backbone, classifier.cbr.0, classifier.cbr.1, classifier.scale.1\n" in said
    assert "4 tensors start anew: classifier.low_classifier, classifier.high_classifier\n" in said
    assert "left out of the file: classifier.low_classifier.weight (21, 40, 1, 1), " in said
    engine = load_engine(tmp_path / "out", "cpu")
    assert engine.spec.label_space.names == ("class_0", "class_1", "class_2", "class_3", "class_4")
    own = engine.network.state_dict()
    saved = torch.load(weights, weights_only=True)
    torch.testing.assert_close(own["backbone.0.0.weight"], saved["backbone.0.0.weight"])
    assert own["classifier.high_classifier.weight"].shape == (5, 128, 1, 1)
    assert "- 4 tensors start anew: classifier.low_classifier, " in (tmp_path / "out" / "README.md").read_text()


def test_imagenet_weights_need_a_number_of_classes(tmp_path: Path) -> None:
    torch.save(torchvision.models.mobilenet_v3_large(weights=None).features.state_dict(), tmp_path / "imagenet.pth")
    with pytest.raises(CheckpointError, match="number of classes is unclear.*give `classes` N"):
        convert_file(tmp_path / "imagenet.pth", "torchvision", LRASPP, tmp_path / "out")
    done = convert_file(tmp_path / "imagenet.pth", "torchvision", LRASPP, tmp_path / "out", classes=4)
    assert {name.split(".")[0] for name in done.untouched} == {"classifier"}


@pytest.mark.parametrize("model", [LRASPP, "deeplabv3_mobilenet_v3_large"])
def test_torchvision_s_imagenet_mobilenet_starts_torchvision_s_networks(model: str, tmp_path: Path) -> None:
    """Its names are features.0.0.weight and classifier.0.weight: nothing of it was found, since only prefixes were added."""
    torch.manual_seed(0)
    state = torchvision.models.mobilenet_v3_large(weights=None).state_dict()
    torch.save(state, tmp_path / "mobilenet_v3_large-5c1a4163.pth")
    done = convert_file(tmp_path / "mobilenet_v3_large-5c1a4163.pth", "torchvision", model, tmp_path / "out", classes=4)
    own = done.engine.network.state_dict()
    for name, tensor in state.items():
        if name.startswith("features."):
            torch.testing.assert_close(own[name.replace("features.", "backbone.", 1)], tensor, atol=0, rtol=0)
    assert {name.split(".")[0] for name in done.untouched} == {"classifier"}
    assert [line.split(" ")[0] for line in done.left_out] == [
        f"classifier.{i}.{a}" for i in (0, 3) for a in ("weight", "bias")
    ]


@pytest.mark.parametrize("name", ["model/config.json", "last/state.json", "metrics.jsonl"])
def test_a_run_folder_is_not_written_into(weights: Path, tmp_path: Path, name: str) -> None:
    """The converted config.json in the root of a run was read in place of the trained model/."""
    (tmp_path / "run" / name).parent.mkdir(parents=True)
    (tmp_path / "run" / name).write_text("{}")
    with pytest.raises(ConfigError, match=rf"run holds a run \({name.split('/')[0]}\).*choose another `out`") as caught:
        convert_file(weights, "torchvision", LRASPP, tmp_path / "run")
    assert caught.value.exit_code == 2
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_only_the_same_network_is_converted_again_into_its_folder(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        convert_file(weights, "torchvision", LRASPP, out)
    before = (out / "config.json").read_bytes()
    with pytest.raises(ConfigError, match=r"another model \(num_classes 21, not 4\); choose another `out`"):
        convert_file(weights, "torchvision", LRASPP, out, classes=4)
    config = json.loads(before)
    config["scores"] = {"miou": 0.5}
    (out / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="trained with DenseLab; choose another `out`"):
        convert_file(weights, "torchvision", LRASPP, out)
    for content in ("[]", "{}", "no"):
        (out / "config.json").write_text(content)
        with pytest.raises(ConfigError, match=r"config\.json that is not of a model folder; choose another `out`"):
            convert_file(weights, "torchvision", LRASPP, out)


@pytest.mark.parametrize("classes", [0, -1, 65536])
def test_numbers_of_classes_that_no_label_map_holds(classes: int, weights: Path, tmp_path: Path) -> None:
    """Of 70,000 classes a layer of a gigabyte was made before anything was said."""
    with pytest.raises(ConfigError, match=f"`classes` {classes}; 1 to 65535 were expected"):
        convert_file(weights, "torchvision", LRASPP, tmp_path / "out", classes=classes)


def test_half_an_encoder_is_refused(weights: Path, tmp_path: Path) -> None:
    state = {k: v for k, v in torch.load(weights, weights_only=True).items() if not k.startswith("backbone.16")}
    torch.save(state, tmp_path / "half.pth")
    for classes in (None, 21):
        with pytest.raises(CheckpointError, match=r"half\.pth does not fit.*missing: backbone\.16\.0\.weight"):
            convert_file(tmp_path / "half.pth", "torch", LRASPP, tmp_path / "out", classes=classes)
    assert not (tmp_path / "out").exists()


def test_values_that_are_not_finite_are_refused(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    state["backbone.0.0.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match=r"backbone\.0\.0\.weight holds values that are not finite"):
        convert_file(tmp_path / "nan.pth", "torch", LRASPP, tmp_path / "out")


def test_a_caffe_file_from_end_to_end(write, tmp_path: Path) -> None:
    """SegNet-Basic at full size: folded normalisation, BGR, 0..255 without a mean, CamVid's classes, 360x480."""
    rng = np.random.default_rng(5)
    layers: dict[str, list[np.ndarray]] = {}
    for i, incoming in enumerate((3, 64, 64, 64), 1):
        layers[f"conv{i}"] = [rng.normal(size=(64, incoming, 7, 7), scale=0.02), rng.normal(size=64)]
    for i in (4, 3, 2, 1):
        layers[f"conv_decode{i}"] = [rng.normal(size=(64, 64, 7, 7), scale=0.02), rng.normal(size=64)]
    for name in list(layers):
        layers[f"{name}_bn"] = [rng.uniform(0.5, 1.5, (1, 64, 1, 1)), rng.normal(size=(1, 64, 1, 1))]
    layers["conv_classifier"] = [rng.normal(size=(11, 64, 1, 1)), rng.normal(size=11)]
    path = tmp_path / "segnet_basic_camvid.caffemodel"
    path.write_bytes(write.caffemodel(layers))
    done = convert_file(path, "caffe", "segnet_basic", tmp_path / "out")
    loaded = load_engine(tmp_path / "out", "cpu")
    assert loaded.spec.label_space.names[:3] == ("sky", "building", "pole")
    assert loaded.spec.preprocessing.imgsz == (360, 480)
    assert loaded.spec.preprocessing.mean == (0.0, 0.0, 0.0)
    assert loaded.spec.preprocessing.std == pytest.approx((1 / 255,) * 3)
    own = loaded.network.state_dict()
    np.testing.assert_array_equal(own["conv1.weight"].numpy(), layers["conv1"][0][:, ::-1].astype("f4"))
    assert done.facts()["done"] == {"BGR to RGB": 1, "statistics are folded into scale and shift": 16}


class Evil:
    """What a hostile pickle does: a call of its choice as soon as it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (f"touch {os.environ['DENSELAB_TEST_TRACE']}",))


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pickle in today's zip form and one in that before torch 1.6; `executed` appears beside them if one is run."""
    monkeypatch.setenv("DENSELAB_TEST_TRACE", str(tmp_path / "executed"))
    for name, zipped in (("evil.pth", True), ("old.pth", False)):
        torch.save({"state_dict": Evil()}, tmp_path / name, _use_new_zipfile_serialization=zipped)
    return tmp_path


def test_the_pickle_is_malicious(evil: Path) -> None:
    """Else the tests below would prove nothing."""
    torch.load(evil / "evil.pth", weights_only=False)
    assert (evil / "executed").exists()


@pytest.mark.parametrize("name", ["evil.pth", "old.pth"])
def test_a_malicious_pickle_is_refused_and_not_run(evil: Path, name: str) -> None:
    with pytest.raises(
        CheckpointError, match=r"unsafe pickle: it calls for posix\.system, and nothing of it was run"
    ) as e:
        convert_file(evil / name, "torch", LRASPP, evil / "out")
    assert e.value.exit_code == 6
    assert not (evil / "executed").exists()
    assert not (evil / "out").exists()


def test_the_command_line_ends_with_6_and_one_line(evil: Path) -> None:
    arguments = ["convert", str(evil / "evil.pth"), "--from", "torch", "--model", LRASPP, "--out", str(evil / "out")]
    ended = subprocess.run([sys.executable, "-m", "denselab", *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 6, ended.stderr
    assert ended.stderr.startswith("denselab: ")
    assert ended.stderr.count("\n") == 1
    assert not (evil / "executed").exists()


def test_label_tables(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("sky\nroad\n\ncar\n")
    (tmp_path / "table.yaml").write_text(
        "labels: [{id: 3, name: sky, colour: [1, 2, 3]}, {id: 9, name: void, role: ignore}]"
    )
    (tmp_path / "ids.json").write_text('{"0": "sky", "7": "road"}')
    assert read_label_table(tmp_path / "names.txt").names == ("sky", "road", "car")
    assert read_label_table(tmp_path / "table.yaml").entries[0].colour == (1, 2, 3)
    assert [e.id for e in read_label_table(tmp_path / "ids.json").entries] == [0, 7]
    (tmp_path / "marked.txt").write_text("\ufeffsky\nroad\n", encoding="utf-8")  # as Windows' editors save it
    assert read_label_table(tmp_path / "marked.txt").names == ("sky", "road")
    (tmp_path / "LABELS.JSON").write_text('["sky", "road"]')  # was one class of that name
    assert read_label_table(tmp_path / "LABELS.JSON").names == ("sky", "road")
    with pytest.raises(ConfigError, match=r"names\.txt has 3 classes, the network 21"):
        convert_file(weights, "torchvision", LRASPP, tmp_path / "out", labels=tmp_path / "names.txt")
    (tmp_path / "bad.yaml").write_text("3")
    with pytest.raises(DataError, match=r"bad\.yaml: a list of names"):
        read_label_table(tmp_path / "bad.yaml")
    with pytest.raises(CheckpointError, match="cannot be read as a label table"):
        read_label_table(tmp_path)
    with pytest.raises(NoSuchPath, match=r"none\.yaml does not exist; expected a label table"):
        read_label_table(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("classes", "first", "title"),
    [
        (21, "background", "VOC"),
        (11, "sky", "CamVid"),
        (19, "road", "Cityscapes"),
        (150, "wall", "ADE20K"),
        (7, "class_0", "unknown"),
    ],
)
def test_known_label_spaces(classes: int, first: str, title: str) -> None:
    space, name = label_space_of(classes)
    assert space.num_classes == classes
    assert space.names[0] == first
    assert title in name


def random_engine(name: str, colours: Colours) -> TorchEngine:
    """A network with random weights behind what its converted form has before it."""
    torch.manual_seed(0)
    architecture = Architecture(name, 21, MODELS[name].default_encoder)
    preprocessing = preprocessing_of(name, architecture.encoder, colours, 21)
    space, _ = label_space_of(21)
    return TorchEngine(ModelSpec(architecture, space, preprocessing), architecture.create().eval(), torch.device("cpu"))


def padded_by_hand(engine: TorchEngine, image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, K, H, W) logits of a picture on a 513x513 canvas of the mean colour, and those of the picture without one."""
    height, width = image.shape[:2]
    prep = engine.spec.preprocessing
    pixels = normalise(torch.from_numpy(image).permute(2, 0, 1)[None], prep.mean, prep.std)
    with torch.no_grad():
        full = engine.network(F.pad(pixels, (0, 513 - width, 0, 513 - height)))
        return full[..., :height, :width], engine.network(pixels)


@pytest.mark.parametrize(("name", "colours"), [("deeplabv3plus_mobilenetv2", "tf"), ("deeplab_largefov", "caffe")])
def test_deeplab_sees_a_picture_on_the_authors_canvas(name: str, colours: Colours) -> None:
    """Converted networks ran at the picture's own size: LargeFOV's border and all that v3+'s image pooling says were others."""
    engine = random_engine(name, colours)
    image = np.random.default_rng(0).integers(0, 256, (333, 401, 3), dtype=np.uint8)
    expected, bare = padded_by_hand(engine, image)
    found = engine.logits(image[None])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert float((bare - expected).abs().max()) > 1e-2 * float(expected.std()), "else this test would prove nothing"
    np.testing.assert_allclose(Predictor(engine).probs(image), expected.softmax(1)[0].numpy(), atol=1e-4)


def test_the_canvas_is_saved_with_converted_weights(tmp_path: Path) -> None:
    original = random_engine("deeplabv3plus_mobilenetv2", "torch")
    save_file(original.network.state_dict(), tmp_path / "weights.safetensors")
    convert_file(tmp_path / "weights.safetensors", "torch", "deeplabv3plus_mobilenetv2", tmp_path / "out")
    loaded = load_engine(tmp_path / "out", "cpu")
    assert loaded.spec.preprocessing.pad_to == (513, 513)
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    expected, bare = padded_by_hand(loaded, image)
    torch.testing.assert_close(loaded.logits(image[None]), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert not torch.allclose(bare, expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()))
    assert "padded to 513x513" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(("model", "frozen"), [("deeplabv2_resnet101", True), ("deeplabv3plus_mobilenetv2", False)])
def test_a_converted_network_knows_that_its_normalisation_was_frozen(
    monkeypatch: pytest.MonkeyPatch, model: str, frozen: bool
) -> None:
    with torch.device("meta"):
        state = create_model(model, 2).state_dict()
    monkeypatch.setattr(conversion, "read_state_dict", lambda path: state)
    architecture, *_ = conversion._read(Path("weights.pth"), "torch", model, None)
    assert architecture.frozen_norm == frozen


@pytest.mark.parametrize(
    ("model", "encoder", "colours", "mean", "std"),
    [
        ("segnet", None, "caffe", (0.0,) * 3, (1 / 255,) * 3),
        ("deeplab_largefov", "vgg16", "caffe", (122.675 / 255, 116.669 / 255, 104.008 / 255), (1 / 255,) * 3),
        ("deeplabv3plus_xception65", None, "tf", (0.5,) * 3, (0.5,) * 3),
        ("deeplabv3_resnet50", None, "torch", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("unet", "xception65", "torch", (0.5,) * 3, (0.5,) * 3),
    ],
)
def test_preprocessing_travels_with_the_weights(
    model: str, encoder: str | None, colours: Colours, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    """Pixels are those of the framework, sizes the entry's; the whole table is in tests/models/test_entries.py."""
    found = preprocessing_of(model, encoder, colours, 21)
    release = MODELS[model].release.for_classes(21)
    assert (found.imgsz, found.fit, found.pad_to) == (release.size, release.fit, release.canvas)
    assert (found.mean, found.std) == (pytest.approx(mean), pytest.approx(std))


def test_wrong_names_are_answered_with_the_nearest(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown model 'lraspp_mobilenet'; did you mean lraspp_mobilenet_v3_large"):
        convert_file(weights, "torchvision", "lraspp_mobilenet", tmp_path / "out")
    with pytest.raises(CheckpointError, match="not a Caffe model in protobuf form"):
        convert_file(weights, "caffe", "segnet", tmp_path / "out")
    with pytest.raises(CheckpointError, match="frozen TensorFlow graph"):
        convert_file(weights, "tf", "deeplabv3plus_mobilenetv2", tmp_path / "out")
