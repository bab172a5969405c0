"""`denselab pseudo-label`: a data set with pictures that a model has labelled where it is confident."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from denselab.cli.options import AsJson, Data, Device, Model, Tta, Window, argument, option, out_option, window_size
from denselab.console import tell
from denselab.errors import SkippedInputs
from denselab.in_words import number_of

Pictures = Annotated[list[str], argument("PICTURES...", "Pictures without labels: files, folders.")]
Out = Annotated[Path, out_option("Folder of the new data set.")]
Confidence = Annotated[float, option("P", "Probability from which a pixel gets the model's class; others are ignored.")]


def pseudo_label(
    model: Model,
    data: Data,
    pictures: Pictures,
    out: Out,
    confidence: Confidence = 0.9,
    tta: Tta = False,
    window: Window = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Make a data set of DATA and of more pictures, which the model labels where it is confident.

    The added pictures are in train. Training on the new set is `denselab train OUT`; val and test stay as they were.
    """
    from denselab.files import to_json
    from denselab.measure.pseudo_labels import pseudo_label as work

    extent = window_size(window)
    made = work(model, data, pictures, out, confidence=confidence, tta=tta, window=extent, device=device, quiet=as_json)
    if as_json:
        skipped = [{"input": one.path, "reason": one.reason} for one in made.skipped]
        document = {"out": str(made.out), "labelled": made.counts, "added": made.added, "unsure": made.unsure}
        print(to_json({**document, "shares": made.shares, "skipped": skipped}))
    else:
        tell(made.told(), f"train on it: {shlex.join(['denselab', 'train', str(made.out)])}")
    if made.skipped:
        first = made.skipped[0]
        raise SkippedInputs(f"{number_of(len(made.skipped), 'input')} skipped: {first.path}: {first.reason}")
