"""The layout of a run folder: every name in it, and functions that query one.

    RUN/
      config.yaml          the settings, complete            env.json    versions, device, commit, command
      dataset.json         label table, splits, class pixels, what was chosen and why
      content.json         digests and sizes of the files of val and train, so that a resume sees what has changed
      model/               best mIoU:   model.safetensors  config.json  README.md  manifest.json
      model-best-loss/     lowest validation loss, the same files
      last/                what a resume needs:
                           state.json  model.safetensors  optimizer.safetensors  average.safetensors
      last.previous/       the save before; model.previous/ exists only after a kill in the middle of a save
      metrics.jsonl        a line per logged step and per validation        results.csv   a row per validation
      log.txt              messages to the user             summary.json   how it ended
      report.html          evaluation.json   samples/       the report, its scores, its pictures
      weak/                of a run with weak labels: masks/ cut out of boxes, BoxSup's segments/ and choices, pictures
      stages.json          of a staged run; its stage-1-fcn32s/ and stage-2-fcn16s/ are complete runs
      proposals.json       of DeconvNet in stages: the boxes that its second stage is trained on
      eval-SPLIT/          `denselab eval`: evaluation.json  evaluation.csv  pictures.csv  worst/  (or eval-DATA-SPLIT/)
      diagnosis-SPLIT/     `denselab diagnose`: diagnosis.html  diagnosis.json  label_errors.csv  label-errors/
      regions/             segments of pictures seen by a network of regions; may be deleted at any time
      proposals/           boxes found in pictures by `eval --proposals`; may be deleted at any time
      crf-tune/            `denselab crf tune`: crf_tuning.json

While a process writes a run, it also holds .lock there (denselab.lock).

A model folder is `model/` by itself: what `load` reads, `convert` writes and the hub stores. `denselab export` writes
one with a graph instead of the weights: model.onnx, or model.xml and model.bin; or model.pt2 beside the weights. With
it come export.json, what was measured; splits.json, digests of the pictures that it was trained and measured on, where
they are known; and, if asked for, labels.onnx (labels.xml, labels.bin): pictures to label ids.
"""

import os
from collections.abc import Container
from pathlib import Path
from typing import Any

from denselab.documents import Unreadable, open_ordinary, parse_record
from denselab.errors import CheckpointError, ConfigError
from denselab.folders import MANIFEST, previous_of
from denselab.paths import no_such_path

CONFIG, ENVIRONMENT, DATASET, SUMMARY = "config.yaml", "env.json", "dataset.json", "summary.json"
CONTENT, METRICS, RESULTS, LOG = "content.json", "metrics.jsonl", "results.csv", "log.txt"
MODEL, MODEL_BEST_LOSS = "model", "model-best-loss"
LAST, STATE, OPTIMIZER, AVERAGE = "last", "state.json", "optimizer.safetensors", "average.safetensors"
REPORT, SAMPLES, STAGES = "report.html", "samples", "stages.json"
EVALUATION, EVALUATION_TABLE, PICTURES_TABLE, WORST = "evaluation.json", "evaluation.csv", "pictures.csv", "worst"
REGIONS, PROPOSALS = "regions", "proposals"
STAGE_PROPOSALS = "proposals.json"
WEAK, WEAK_MASKS = "weak", "masks"
CRF_TUNE, CRF_TUNING = "crf-tune", "crf_tuning.json"

WEIGHTS, MODEL_CONFIG, CARD = "model.safetensors", "config.json", "README.md"  # in a model folder
ONNX_GRAPH, IR_GRAPH, IR_WEIGHTS, EXPORT = "model.onnx", "model.xml", "model.bin", "export.json"  # in an exported one
PROGRAM, LABELS_ONNX, LABELS_IR, LABELS_IR_WEIGHTS = "model.pt2", "labels.onnx", "labels.xml", "labels.bin"
SPLITS = "splits.json"
EXPORTED_FILES = (ONNX_GRAPH, IR_GRAPH, IR_WEIGHTS, EXPORT, PROGRAM, LABELS_ONNX, LABELS_IR, LABELS_IR_WEIGHTS, SPLITS)
MODEL_FILES = (WEIGHTS, MODEL_CONFIG, CARD, MANIFEST, *EXPORTED_FILES)

# left by a run that was killed before its first save, by older versions also after the first validation
BEGUN = frozenset({CONFIG, DATASET, ENVIRONMENT, CONTENT, LOG, METRICS, RESULTS, MODEL, MODEL_BEST_LOSS, REGIONS, WEAK})


def is_run(folder: Path) -> bool:
    """Whether a folder is a run with a model."""
    return os.path.isfile(folder / CONFIG) and has_model(folder)


def has_model(run: Path) -> bool:
    """Whether a folder holds a `model/`; a model folder itself does not."""
    return os.path.isfile(run / MODEL / MODEL_CONFIG)


def has_state(run: Path) -> bool:
    """Whether a run has a saved state to resume from."""
    return os.path.exists(run / LAST) or os.path.exists(previous_of(run / LAST))


def is_staged(run: Path) -> bool:
    """Whether a folder holds a staged run, finished or not."""
    return os.path.isfile(run / STAGES)


def stage_folder(number: int, model: str) -> str:
    """The folder name of a stage before the last; number: from 1."""
    return f"stage-{number}-{model}"


def exported_graph(names: Container[str]) -> str | None:
    """The graph among the file names of a model folder: ONNX, or OpenVINO's own; None where there are only weights."""
    return next((name for name in (ONNX_GRAPH, IR_GRAPH) if name in names and WEIGHTS not in names), None)


def stored_files(folder: Path) -> set[str]:
    """The names of the model files that a model folder holds."""
    return {name for name in MODEL_FILES if os.path.isfile(folder / name)}


def evaluation_folder(split: str) -> str:
    """The folder name of an evaluation on a split."""
    return f"eval-{split}"


def traces_of_run(folder: Path) -> list[str]:
    """Names in a folder that only a run leaves, so that nothing else is written among them."""
    model, last = folder / MODEL, folder / LAST
    found = (model, last, previous_of(model), previous_of(last), folder / METRICS, folder / STAGES)
    return [path.name for path in found if os.path.exists(path)]


def refuse_a_run(out: Path) -> None:
    """Raise ConfigError if a model is to be written into a run folder, in whose root it would hide the trained one."""
    if found := traces_of_run(out):
        raise ConfigError(f"{out} holds a run ({', '.join(found)}), and nothing in it is touched; choose another `out`")


def find_model_folder(path: Path) -> Path:
    """The model folder that a path names: the path itself, or its `model/` if it is a run folder.

    Raises NoSuchPath, or CheckpointError for a folder without a model.
    """
    for folder in (path, path / MODEL):
        if os.path.isfile(folder / MODEL_CONFIG):
            return folder
        if not os.path.exists(folder) and os.path.isfile(previous_of(folder) / MODEL_CONFIG):
            return previous_of(folder)  # killed between the two renames of a write
    if not os.path.exists(path):
        raise no_such_path(path, "a model folder, or a run folder of `denselab train`")
    raise CheckpointError(
        f"{path} holds no model (no {MODEL_CONFIG}, no {MODEL}/{MODEL_CONFIG}); give a model folder or a run folder of "
        "`denselab train`"
    )


def read_metrics(run: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of one kind in metrics.jsonl, "step" or "validation"; [] without the file.

    Lines that are not records are skipped: a kill may have cut one short.
    """
    try:
        with open_ordinary(run / METRICS) as file:
            lines = file.read().decode(errors="replace").splitlines()
    except (OSError, Unreadable):
        return []
    return [record for record in map(parse_record, lines) if record.get("kind") == kind]
