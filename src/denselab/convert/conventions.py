"""What goes with weights besides their values: how pictures were prepared, and what the classes are called."""

from pathlib import Path
from typing import Any, Literal

import yaml

from denselab.build import IMAGENET_NORMALISATION, RGB, model_preprocessing
from denselab.data.layouts.tables import ADE20K_150, CAMVID_11, CITYSCAPES, voc_label_space
from denselab.engine.segmenter import Fit, Preprocessing
from denselab.errors import CheckpointError, DataError
from denselab.labels import LabelEntry, LabelSpace, default_colour
from denselab.paths import require_path

Source = Literal["caffe", "torchvision", "tf", "torch", "timm"]
Colours = Literal["caffe", "tf", "torch"]  # whose convention the pixels follow

CAFFE_MEAN = (122.67891434, 116.66876762, 104.00698793)  # RGB, 0..255: FCN, DeconvNet, DeepLab v1 and v2
CAFFE: tuple[RGB, RGB] = (
    (CAFFE_MEAN[0] / 255, CAFFE_MEAN[1] / 255, CAFFE_MEAN[2] / 255),
    (1 / 255, 1 / 255, 1 / 255),
)
UNSCALED: tuple[RGB, RGB] = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # SegNet: 0..255 as they are
TENSORFLOW: tuple[RGB, RGB] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # x * 2 / 255 - 1
AS_THEY_ARE: tuple[RGB, RGB] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

SIZES: tuple[tuple[tuple[str, ...], tuple[int, int], Fit], ...] = (  # by the beginning of the network's name
    (("fcn_resnet", "deeplabv3_resnet", "deeplabv3_mobilenet", "lraspp"), (520, 520), "shorter"),
    (("fcn",), (500, 500), "shrink"),  # at their own size; VOC's have 500 pixels at most
    (("deconvnet",), (224, 224), "inside"),
    (("segnet", "bayesian_segnet"), (360, 480), "inside"),
    (("deeplab",), (513, 513), "shrink"),  # the authors': at their own size, on a canvas of 513x513
    (("unet",), (512, 512), "shrink"),
)
# DeepLab v3+'s for pictures of 1024x2048, which the network itself pads to it (16k + 1). There is no canvas, so that a smaller
# picture or a window does not become eight times its size.
CITYSCAPES_SIZE = (1025, 2049)


def preprocessing_of(model: str, encoder: str | None, colours: Colours, num_classes: int) -> Preprocessing:
    """Working size, padding and normalisation of the original, as pictures RGB in 0..1 need them."""
    size, fit = next(((s, f) for names, s, f in SIZES if model.startswith(names)), ((512, 512), "inside"))
    pad_to = None
    if model.startswith("deeplab") and fit == "shrink":  # not torchvision's forms, whose rule is another
        size, pad_to = (CITYSCAPES_SIZE, None) if num_classes == 19 else (size, size)
    mean, std = _normalisation(model, encoder, colours)
    return Preprocessing(size, mean, std, fit=fit, pad_to=pad_to)


def norm_was_frozen(model: str) -> bool:
    """Whether the authors trained with batch normalisation as ImageNet left it (DeepLab v2: use_global_stats, lr_mult 0)."""
    return model.startswith("deeplabv2_resnet")


def _normalisation(model: str, encoder: str | None, colours: Colours) -> tuple[RGB, RGB]:
    if colours == "tf":
        return TENSORFLOW
    if colours == "torch":
        return model_preprocessing(model, encoder) if encoder else IMAGENET_NORMALISATION
    if "segnet" in model:
        return UNSCALED
    return AS_THEY_ARE if model.startswith("unet") else CAFFE  # U-Net's is not known: the release was not at hand


def label_space_of(model: str, num_classes: int) -> tuple[LabelSpace, str]:
    """The label table that a network of so many classes was published with, and its name; class_0, class_1, ... else."""
    if num_classes == 21:
        return voc_label_space(), "PASCAL VOC"
    if num_classes == 11:
        entries = [
            LabelEntry(n.id, n.name, n.colour or (0, 0, 0), "ignore" if n.ignore else "class") for n in CAMVID_11
        ]
        return LabelSpace(tuple(entries)), "CamVid, SegNet's 11 classes"
    if num_classes == 19:
        rows = [LabelEntry(i, name, colour, "ignore" if t == 255 else "class") for i, name, t, colour in CITYSCAPES]
        return LabelSpace(tuple(rows)), "Cityscapes, ids of the label files"
    if num_classes in (150, 151):
        role: Literal["class", "ignore"] = "class" if num_classes == 151 else "ignore"
        zero = LabelEntry(0, "unlabelled", (0, 0, 0), role)
        names = [LabelEntry(i, name, default_colour(i)) for i, name in enumerate(ADE20K_150, 1)]
        return LabelSpace((zero, *names)), "ADE20K"
    names = [LabelEntry(i, f"class_{i}", default_colour(i)) for i in range(num_classes)]
    return LabelSpace(tuple(names)), "unknown names"


def read_label_table(path: Path) -> LabelSpace:
    """A user's table: YAML or JSON (a list of names or of {id, name, colour, role}, also under `labels`), or a name per line.

    Raises NoSuchPath, CheckpointError where the file cannot be read, DataError where it is no table.
    """
    require_path(path, "a label table")
    try:
        written = path.read_text(encoding="utf-8")
        table: Any = yaml.safe_load(written) if path.suffix in (".yaml", ".yml", ".json") else written.splitlines()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path} cannot be read as a label table: {error}") from None
    if isinstance(table, dict):
        table = table.get("labels", table)
    if isinstance(table, dict):
        table = [{"id": key, "name": str(value)} for key, value in table.items()]
    if not isinstance(table, list):
        raise DataError(f"{path}: a list of names or of {{id, name, colour, role}} was expected")
    names = [row for row in table if not (isinstance(row, str) and not row.strip())]
    rows = [{"id": i, "name": row.strip()} if isinstance(row, str) else row for i, row in enumerate(names)]
    try:
        return LabelSpace.from_list(rows)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
