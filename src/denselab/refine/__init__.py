"""The dense CRF on files: refine any network's probabilities (`files`), and search parameters for a model.

`tune` searches and judges; `conclude` reports the result and stores the parameters if they help:

    predictor, dataset = denselab.load("runs/streets"), denselab.open_dataset("data")
    tuning = tune(predictor, dataset, dataset.of_split("val"), seconds=600)
    print(conclude(tuning, "runs/streets").sentence)
"""

from denselab.refine.files import Refinement, find_tasks, label_table, refine_files
from denselab.refine.tuning import Tuning, tune
from denselab.refine.verdict import Verdict, conclude, tuning_document, tuning_folder

__all__ = [
    "Refinement",
    "Tuning",
    "Verdict",
    "conclude",
    "find_tasks",
    "label_table",
    "refine_files",
    "tune",
    "tuning_document",
    "tuning_folder",
]
