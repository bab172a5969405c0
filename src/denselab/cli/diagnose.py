"""`denselab diagnose`: where predictions go wrong, which labels are doubtful, whether probabilities can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from denselab.cli.options import (
    MODEL_FORMS,
    AsJson,
    Data,
    Device,
    Split,
    Tta,
    Window,
    argument,
    out_option,
    switch,
    window_size,
)
from denselab.console import remark, tell
from denselab.files import to_json

Models = Annotated[
    list[str], argument("MODEL...", f"{MODEL_FORMS}; several: runs that held out different pictures, as folds.")
]
Calibrate = Annotated[
    bool, switch("--calibrate", "Store the fitted temperature in the model, where it helps; labels stay as they are.")
]
Out = Annotated[Path | None, out_option("Folder for the page.", "RUN/diagnosis-SPLIT")]


def diagnose(
    models: Models,
    data: Data,
    split: Split = "val",
    window: Window = None,
    tta: Tta = False,
    calibrate: Calibrate = False,
    out: Out = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show where predictions go wrong: doubtful labels, calibration, borders, sizes, lost IoU, confusions.

    The page is diagnosis.html; label_errors.csv lists the doubtful regions.
    """
    from denselab.data.listing.inside import refuse_inside_data  # here: `denselab --help` needs no torch
    from denselab.measure.diagnose import diagnose as work
    from denselab.report.diagnosis_page import document, write_diagnosis

    refuse_inside_data(out)
    extent = window_size(window)
    found = work(models, data, split, window=extent, tta=tta, device=device, store=calibrate, quiet=as_json)
    told = document(found)
    page = write_diagnosis(found, out or default_folder(models, split, told["data"]))
    if as_json:
        print(to_json(told))
        return
    tell(f"mIoU {found.miou:.4f} on {len(found.items)} pictures")
    if found.calibration is not None:
        before, after = found.calibration.before.error, found.calibration.after.error
        line = f"calibration error {before:.4f}, {after:.4f} with temperature {found.calibration.temperature:.3f}"
        tell(line)
    tell(f"{len(found.suspects)} regions where the label is doubtful: label_errors.csv")
    remark(f"written to {page.parent}: {page.name}")


def default_folder(models: list[str], split: str, data: str) -> Path:
    """RUN/diagnosis-SPLIT; for several models, or one that is no run here, ./denselab-diagnosis/NAME-SPLIT.

    A number is added where that holds a diagnosis of other models or of other data; one of the same is replaced.
    """
    from denselab.measure.files import free_folder, same_models
    from denselab.report.diagnosis_page import RESULT
    from denselab.run_folder import has_model

    first = Path(models[0])
    others = f"-and-{len(models) - 1}-more" if len(models) > 1 else ""
    folder = Path("denselab-diagnosis") / f"{first.resolve().name}{others}-{split}"
    if len(models) == 1 and has_model(first):
        folder = first / f"diagnosis-{split}"

    def same(stored: Mapping[str, Any]) -> bool:
        return stored.get("data") == data and same_models(models, stored.get("models") or ())

    return free_folder(folder, RESULT, same)
