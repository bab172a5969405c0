"""The report as a whole: complete, self-contained, the same each time, for few and many classes and pictures."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from denselab.data import Dataset
from denselab.engine.folder import save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import DataError
from denselab.evaluation import score_table
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.score_table import Score
from denselab.measure.baselines import CellCounts
from denselab.report.facts import read_run
from denselab.report.run_report import Measured, compose, curves, write_report

VOID = {"meta", "img", "br", "hr", "input", "link", "path", "use", "rect"}
ONE_MODEL = "they are one model"


class Checker(HTMLParser):
    """Every opened element is closed in order; collects ids, links and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []
        self.alts = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._attributes(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._attributes(attrs)

    def _attributes(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "alt":
                self.alts += value or ""
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href"):
                self.references.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def checked(path: Path) -> tuple[Checker, str]:
    """The parsed report; asserts that it is well-formed and refers to nothing outside itself."""
    checker = Checker()
    checker.feed(path.read_text(encoding="utf-8"))
    assert not checker.open
    assert len(set(checker.ids)) == len(checker.ids)
    for reference in checker.references:
        assert reference.startswith("data:image/") or reference.removeprefix("#") in checker.ids, reference[:60]
    assert "<script" not in path.read_text(encoding="utf-8")
    return checker, " ".join(" ".join(checker.text).split())


def shifted(position: int, truth: np.ndarray) -> np.ndarray:
    return np.roll(truth, position, axis=1)


def composed(run: Path, dataset: Dataset, best: Measured, second: Measured | None) -> Path:
    return compose(read_run(run), dataset, dataset.items, best, second, "" if second else ONE_MODEL, "val")


@pytest.mark.parametrize("num_classes", [2, 6, 30, 150])
def test_any_number_of_classes(
    num_classes: int,
    make_dataset: Callable[..., Dataset],
    make_measured: Callable[..., Measured],
    write_run: Callable[..., Path],
) -> None:
    dataset = make_dataset(num_classes, 9, stripes=32)
    run = write_run(dataset)
    best = make_measured(dataset, shifted)
    second = make_measured(dataset, lambda i, truth: np.roll(truth, i + 1, axis=1))
    checker, said = checked(composed(run, dataset, best, second))
    for name in dataset.label_space.names:
        assert name in said
    for part in ("mIoU", "Confusions", "The worst", "The best", "Where they differ most", "denselab train some/streets",
                 "10 min", "5.81 M", "a note & more", "val has no pixel of <car>", "trained on 2 pictures"):  # fmt: skip
        assert part in said, part
    assert ("confusion matrix, rows truth" in checker.alts) == (
        num_classes > 25
    )  # a picture where numbers would not fit
    assert {"classes", "pictures", "confusions", "training", "two-models", "data", "repeat"} <= set(checker.ids)
    assert "so this trains the same model:" in said
    told = " ".join(checker.text)
    assert "imgsz: 96x128" in told, "it was 96, 128"
    assert "losses: dice + focal" in told, "it was name dice, weight 1.0, options , name focal, ..."
    kinds = [p.name.split("-")[0] for p in sorted((run / "samples").iterdir())]
    assert (kinds.count("worst"), kinds.count("best"), kinds.count("differing")) == (4, 3, 3)


def test_a_run_by_time_is_not_promised_the_same_model(
    make_dataset: Callable[..., Dataset], make_measured: Callable[..., Measured], write_run: Callable[..., Path]
) -> None:
    dataset = make_dataset(3, 2)
    run = write_run(dataset)
    with (run / "config.yaml").open("a") as file:
        file.write("time: 60.0\n")
    _, said = checked(composed(run, dataset, make_measured(dataset, shifted), None))
    assert "trains by the same settings, as many steps as then fit into the time:" in said
    assert "the same model" not in said


def test_one_picture_one_model(
    make_dataset: Callable[..., Dataset], make_measured: Callable[..., Measured], write_run: Callable[..., Path]
) -> None:
    dataset = make_dataset(3, 1)
    run = write_run(dataset, validations=1)
    _, said = checked(composed(run, dataset, make_measured(dataset, shifted), None))
    assert "no interval: fewer than 10 pictures" in said
    assert ONE_MODEL in said
    assert [p.name for p in (run / "samples").iterdir()] == ["worst-1-sub_p0.png"]


def test_a_fresh_run_without_any_record(
    make_dataset: Callable[..., Dataset], make_measured: Callable[..., Measured], tmp_path: Path
) -> None:
    dataset = make_dataset(3, 2)
    _, said = checked(composed(tmp_path / "fresh", dataset, make_measured(dataset, shifted), None))
    assert "no validation yet" in said


def test_the_same_run_gives_the_same_bytes(
    make_dataset: Callable[..., Dataset], make_measured: Callable[..., Measured], write_run: Callable[..., Path]
) -> None:
    dataset = make_dataset(6, 5)
    run = write_run(dataset)
    first = composed(run, dataset, make_measured(dataset, shifted), None).read_bytes()
    assert composed(run, dataset, make_measured(dataset, shifted), None).read_bytes() == first


def test_evaluation_json_has_the_scores_and_the_exact_counts(
    make_dataset: Callable[..., Dataset], make_measured: Callable[..., Measured], write_run: Callable[..., Path]
) -> None:
    dataset = make_dataset(4, 3)
    run = write_run(dataset)
    best = make_measured(dataset, shifted)
    composed(run, dataset, best, None)
    document = json.loads((run / "evaluation.json").read_text())
    assert document["miou"] == pytest.approx(best.evaluation.miou, abs=1e-4)
    assert np.array_equal(Evaluation.from_dict(document["exact"]).counts, best.evaluation.counts)


def test_charts_take_their_colours_from_the_page(
    make_dataset: Callable[..., Dataset], write_run: Callable[..., Path]
) -> None:
    dataset = make_dataset(5, 1)
    charts, history = curves(read_run(write_run(dataset)), dataset.label_space.names)
    assert len(charts) == 4
    assert history is None
    for chart in charts:
        assert not re.search(r"#0[1-6]0[1-6]0[1-6]", chart)
        assert "var(--" in chart
        assert "DejaVu" not in chart


def test_an_empty_split_is_refused(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no picture in test"):
        write_report(tmp_path, make_dataset(3, 1), "test")


@pytest.mark.parametrize("second", [False, True])
def test_a_run_with_real_model_folders(
    second: bool, make_dataset: Callable[..., Dataset], write_run: Callable[..., Path]
) -> None:
    dataset = make_dataset(3, 3)
    run = write_run(dataset)
    for seed, name in enumerate(("model", "model-best-loss")[: 1 + second]):
        torch.manual_seed(seed)
        architecture = Architecture("deeplabv3plus", 3, "test_efficientnet")
        preprocessing = Preprocessing((32, 48), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 1.0)
        network = architecture.create().eval()
        model = TorchEngine(ModelSpec(architecture, dataset.label_space, preprocessing), network, torch.device("cpu"))
        save_engine(model, run / name)
    _, said = checked(write_report(run, dataset, device="cpu", quiet=True))
    assert ("Here they label" in said) == second
    assert ("kept only one model" in said) == (not second)


def test_a_score_that_is_added_to_the_table_is_on_the_page(
    make_dataset: Callable[..., Dataset],
    make_measured: Callable[..., Measured],
    write_run: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report had a list of scores of its own, and mean_precision was not on it."""
    added = (
        Score("half", "half score", "Always one half.", lambda counts: 0.5),
        Score("third", "third score", "A third, by class.", lambda counts: np.full(len(counts), 1 / 3), by_class=True),
    )
    monkeypatch.setattr(score_table, "SCORES", (*score_table.SCORES, *added))
    dataset = make_dataset(4, 3)
    _, said = checked(composed(write_run(dataset), dataset, make_measured(dataset, shifted), None))
    assert "half score Always one half. 0.5000" in said
    assert "Third score: A third, by class." in said
    assert said.count("0.333") >= 4
    assert "mean precision" in said


def test_a_model_that_is_no_better_than_a_table_of_colours_is_said_to_be_none(
    make_dataset: Callable[..., Dataset], make_measured: Callable[..., Measured], write_run: Callable[..., Path]
) -> None:
    """An mIoU of 0.4 looked like a start, where one class everywhere had 0.5: nothing on the page told."""
    dataset = make_dataset(2, 2)
    run = write_run(dataset)
    for change, worse in ((lambda _, truth: np.zeros_like(truth), True), (lambda _, truth: truth, False)):
        cells = CellCounts(2)
        for item in dataset.items:
            cells.add(dataset.read(item))
        measured = replace(make_measured(dataset, change), cells=cells)
        said = composed(run, dataset, measured, None).read_text()
        assert ("The model is no better than" in said) == ('<p class="alarm">' in said) == worse
        assert "mIoU to beat: one class everywhere (class &lt;1&gt;) 0.258" in said
        told = json.loads((run / "evaluation.json").read_text())
        assert (told["no_better_than"] is not None) == worse
        assert told["baselines"][0] == {
            "name": "one class everywhere (class <1>)",
            "miou": 0.2581,
            "pixel_accuracy": 0.5161,
        }
