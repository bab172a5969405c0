"""`denselab export`: a trained model for another runtime, measured against what it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from denselab.cli.options import AsJson, Model, choice, option, out_option, switch
from denselab.console import tell
from denselab.files import to_json

To = Annotated[
    Literal["onnx", "openvino", "torch"], choice("What for: torch writes torch.export's model.pt2.", flag="--to")
]
Out = Annotated[Path, out_option("Model folder to write.")]
Int8 = Annotated[
    bool,
    switch("--int8", "Eight-bit integers, calibrated on training pictures; refused if they lose half a point of mIoU."),
]
Bf16 = Annotated[
    bool,
    switch(
        "--bf16",
        "bfloat16, for OpenVINO on processors with AVX512_BF16 or AMX; refused if it loses half a point of mIoU.",
    ),
]
Labels = Annotated[
    bool, switch("--labels", "Also a graph with the resizing inside: an RGB picture of any size in, its label ids out.")
]
Opset = Annotated[int | None, option("N", "Version of ONNX's operator set.", "18")]
Check = Annotated[
    str | None,
    option("DATA", "Data set to measure on, and to calibrate int8 with.", "the run's own data, else the demo's scenes"),
]


def export(
    model: Model,
    out: Out,
    to: To = "onnx",
    int8: Int8 = False,
    bf16: Bf16 = False,
    labels: Labels = False,
    opset: Opset = None,
    check: Check = None,
    as_json: AsJson = False,
) -> None:
    """Export a model to ONNX, OpenVINO or torch.export, and measure on real pictures that it is still the same.

    The folder is a model folder: predict and eval take it. What is not the same model ends with exit code 7 and leaves
    nothing behind.
    """
    from denselab.data.listing.inside import refuse_inside_data  # here: `denselab --help` needs no torch
    from denselab.export.deploy import export as export_model
    from denselab.in_words import bytes_in_words

    refuse_inside_data(out)
    done = export_model(model, out, to, int8=int8, bf16=bf16, labels=labels, opset=opset, check=check, quiet=as_json)
    if as_json:
        print(to_json({"out": str(out), **done.facts()}))
        return
    lines = [done.parity.told()]
    if done.labels_parity:
        lines.append(f"labels: {done.labels_parity.told()}")
    if done.kept_float:
        lines.append(f"left in float32, since int8 hurt there: {', '.join(done.kept_float)}")
    sizes = ", ".join(f"{name} {bytes_in_words(size)}" for name, size in done.files.items())
    lines.append(f"written to {out}: {sizes}")
    tell(*lines)
