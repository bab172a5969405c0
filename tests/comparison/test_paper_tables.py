"""Tables for a paper, and the published rows beside them: every mean is that of its numbers, formats agree."""

import csv
import io

import numpy as np
import pytest

from denselab.comparison.paper_tables import PaperRow, PaperTable, comma_separated, latex, markdown
from denselab.comparison.published import BENCHMARKS, CAMVID, TABLE_1, VOC, benchmark_of, in_order
from denselab.data.layouts.tables import CAMVID_11

TABLE = PaperTable(
    ("road", "tree_top"),
    (PaperRow("FCN8s", (91.2, None), 62.2, published=True), PaperRow("a&b", (50.0, 60.0), 55.0),
     PaperRow("best", (70.04, 20.0), 45.0, spread=1.26)),
    ("A note.",),
)  # fmt: skip


@pytest.mark.parametrize("row", TABLE_1.rows, ids=lambda row: row.name)
def test_the_published_means_are_those_of_their_numbers(row: object) -> None:
    """DeconvNet's Table 1: 21 numbers and their mean; one digit may differ by rounding."""
    assert np.mean(row.classes) == pytest.approx(row.mean, abs=0.06)  # type: ignore[attr-defined]
    assert len(row.classes) == 21  # type: ignore[attr-defined]


def test_benchmarks_are_known_by_their_classes_in_any_order() -> None:
    assert benchmark_of(tuple(reversed(VOC))) is TABLE_1
    assert benchmark_of([name.title() for name in CAMVID]) is BENCHMARKS[1]
    assert benchmark_of(VOC[:-1]) is None
    turned = in_order(TABLE_1.rows[0], TABLE_1, tuple(reversed(VOC)))
    assert turned == list(reversed(TABLE_1.rows[0].classes))
    assert in_order(BENCHMARKS[1].rows[0], BENCHMARKS[1], CAMVID) == [None] * 11


def test_camvid_as_it_is_read_from_disk_has_its_published_rows() -> None:
    """The layout calls a class "sign" that the benchmark called "SignSymbol": no CamVid ever had published rows."""
    assert benchmark_of([entry.name for entry in CAMVID_11 if not entry.ignore]) is BENCHMARKS[1]
    assert (
        benchmark_of([{"sign": "SignSymbol", "pavement": "Sidewalk"}.get(name, name) for name in CAMVID])
        is (BENCHMARKS[1])
    )


def test_markdown() -> None:
    assert markdown(TABLE).splitlines() == [
        "| method | road | tree_top | mean |",
        "| --- | ---: | ---: | ---: |",
        "| FCN8s (published) | 91.2 | - | 62.2 |",
        "| a&b | 50.0 | **60.0** | **55.0** |",
        "| best | **70.0** | 20.0 | 45.0 ± 1.3 |",
        "",
        "A note.",
    ]


def test_latex() -> None:
    lines = latex(TABLE).splitlines()
    assert r"\begin{tabular}{lrrr}" in lines
    assert r"method & \rotatebox{90}{road} & \rotatebox{90}{tree\_top} & mean \\" in lines
    assert lines[lines.index(r"FCN8s & 91.2 & -- & 62.2 \\") + 1] == r"\midrule"
    assert r"a\&b & 50.0 & \textbf{60.0} & \textbf{55.0} \\" in lines
    assert r"best & \textbf{70.0} & 20.0 & 45.0 $\pm$ 1.3 \\" in lines


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated(TABLE))))
    assert rows[0] == {
        "method": "FCN8s",
        "published": "yes",
        "road": "91.20",
        "tree_top": "",
        "mean": "62.20",
        "spread": "",
    }
    assert rows[2]["spread"] == "1.26"


def test_a_name_is_no_formula_in_csv() -> None:
    table = PaperTable(("=1+1",), (PaperRow("-sum(A1)", (50.0,), 50.0),), ())
    assert comma_separated(table).splitlines()[:2] == [
        "method,published,'=1+1,mean,spread",
        "'-sum(A1),no,50.00,50.00,",
    ]
