"""What goes with weights besides their values: how pictures were prepared, and the names of the classes."""

from pathlib import Path
from typing import Any, Literal

from denselab.build import model_preprocessing
from denselab.data.layouts.tables import ADE20K_150, CAMVID_11, CITYSCAPES, voc_label_space
from denselab.documents import parse_json, parse_yaml, read_text
from denselab.engine.spec import Preprocessing
from denselab.errors import CheckpointError, DataError
from denselab.labels import LabelEntry, LabelSpace, default_colour
from denselab.models import MODELS
from denselab.models.release import IMAGENET, TENSORFLOW
from denselab.paths import require_path

Source = Literal["caffe", "torchvision", "tf", "torch", "timm", "hed"]
Colours = Literal["caffe", "tf", "torch"]  # the framework whose convention the pixels follow


def preprocessing_of(model: str, encoder: str | None, colours: Colours, num_classes: int) -> Preprocessing:
    """Working size, canvas and normalisation of the original, for pictures in RGB, 0..1.

    model: a name of MODELS, whose entry holds the facts
    encoder: None for the network's own
    colours: the framework in which the weights were trained
    num_classes: some releases differ by it (Cityscapes)
    """
    release = MODELS[model].release.for_classes(num_classes)
    if colours == "torch":
        mean, std = model_preprocessing(model, encoder) if encoder else IMAGENET
    else:
        mean, std = TENSORFLOW if colours == "tf" else release.caffe
    return Preprocessing(release.size, mean, std, fit=release.fit, pad_to=release.canvas)


def label_space_of(num_classes: int) -> tuple[LabelSpace, str]:
    """The label table of the data set with this many classes that models are published for, and its name.

    Of any other number the classes are class_0, class_1, ...
    """
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
    """A user's label table.

    path: YAML or JSON, or a text file with one name per line

    YAML and JSON hold a list of names or of {id, name, colour, role}, also under `labels`. Raises NoSuchPath,
    CheckpointError for a file that cannot be read, DataError for one that is not a table.
    """
    require_path(path, "a label table")
    try:
        written = read_text(path, encoding="utf-8-sig")  # Windows' editors put a mark in front
        reader = {".yaml": parse_yaml, ".yml": parse_yaml, ".json": parse_json}.get(path.suffix.lower(), str.splitlines)
        table: Any = reader(written)
    except (OSError, ValueError) as error:
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
