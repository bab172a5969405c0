"""From the recommendation to predictions: the commands that use the model to take."""

import shlex

from denselab.comparison.measuring import existing_folder
from denselab.comparison.plan import Plan, file_stem, seconds
from denselab.comparison.result import Comparison, Row

JOINED, PICTURES, PREDICTED = "models/joined", "photos/", "predicted/"


def commands(comparison: Comparison) -> list[str]:
    """What to run, in order, to predict with the recommended model; [] where none is recommended.

    A model of several folds is first trained once more, on the data's own split; those of an ensemble are joined.
    """
    row = comparison.recommended
    if row is None:
        return []
    given = {existing_folder(run): run for run in comparison.plan.existing}
    lines, models = [], []
    for part in parts_of(comparison, row):
        if comparison.plan.folds and part.seconds is not None:
            models.append(f"runs/{file_stem(part.name)}")
            lines.append(train_command(comparison.plan, part.name, models[-1]))
        else:
            models.append(given.get(part.runs[0], str(part.runs[0])))
    if len(models) > 1:
        lines.append(shlex.join(["denselab", "eval", *models, comparison.plan.data, "--save", JOINED]))
        models = [JOINED]
    return [*lines, shlex.join(["denselab", "predict", models[0], PICTURES, "--out", PREDICTED])]


def parts_of(comparison: Comparison, row: Row) -> list[Row]:
    """The rows that an ensemble joins; of another model the row itself."""
    return [one for one in comparison.rows if one.runs and one.runs[0] in row.joins] or [row]


def train_command(plan: Plan, name: str, out: str) -> str:
    """The command line that trains a network of the plan by itself, as it was trained here."""
    candidate = next(c for c in plan.candidates if c.name == name)
    key, number = plan.budget
    words = ["denselab", "train", plan.data, *plan.words()]
    words += [f"steps={number:.0f}"] if key == "steps" else []
    words += ["--model", candidate.model, *(["--encoder", candidate.encoder] if candidate.encoder else [])]
    words += ["--time", seconds(number)] if key == "time" else []
    words += ["--epochs", f"{number:.0f}"] if key == "epochs" else []
    words += ["--imgsz", f"{plan.imgsz[0]}x{plan.imgsz[1]}"] if plan.imgsz else []
    words += ["--seed", str(plan.seeds[0])] if plan.seeds[0] else []
    return shlex.join([*words, "--out", out])
