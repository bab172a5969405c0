"""The table of a collection, from the lines of all processes."""

import csv
import json
import os
from pathlib import Path

import pytest

from denselab.errors import ConfigError
from denselab.inference.manifest import Records, read_records, write_manifest


def row(file: str, **more: object) -> dict[str, object]:
    return {"file": file, "mark": "m", "height": 2, "width": 3, "confidence": 0.5, "seconds": 0.1, "error": ""} | more


def test_the_last_line_of_a_picture_counts_and_cut_lines_do_not(tmp_path: Path) -> None:
    first = Records(tmp_path)
    first.add(row("b.png", error="damaged", shares=None))
    first.add(row("a.png", shares={"road": 1.0}))
    first.close()
    (part,) = (tmp_path / "records").iterdir()
    with part.open("a") as file:
        file.write('{"file": "c.png", "sha')
    second = Records(tmp_path)
    assert ("a.png", "m") in second
    assert ("a.png", "other") not in second
    second.add(row("b.png", shares={"road": 0.25, "sky": 0.75}))
    second.close()
    assert write_manifest(tmp_path, tmp_path / "m.csv", ("road", "sky")) == 2
    rows = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
    assert [(r["file"], r["error"], r["share road"], r["share sky"]) for r in rows] == [
        ("a.png", "", "1.0", "0.0"),
        ("b.png", "", "0.25", "0.75"),
    ]


def test_no_file_name_is_a_formula_or_a_row_of_its_own(tmp_path: Path) -> None:
    """A picture called =cmd|... was computed by the spreadsheet that the table was opened in."""
    records = Records(tmp_path)
    for file in ("=cmd|'/C calc'!A0.png", "@a.png", "b\nc.png"):
        records.add(row(file, shares={"road": 1.0}, confidence=-0.5))
    records.close()
    write_manifest(tmp_path, tmp_path / "m.csv", ("road",))
    rows = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
    assert [r["file"] for r in rows] == ["'=cmd|'/C calc'!A0.png", "'@a.png", r"b\nc.png"]
    assert {(r["confidence"], r["share road"], r["error"]) for r in rows} == {("-0.5", "1.0", "")}


def test_a_line_from_a_label_file_says_less(tmp_path: Path) -> None:
    """Another process finds a picture done, and does not know its confidence."""
    for rows in (
        [row("a.png", shares={"road": 1.0}), row("b.png", mark="", error="damaged", shares=None)],
        [row("a.png", confidence=None, from_file=True), row("b.png", confidence=None, from_file=True, shares={})],
    ):
        records = Records(tmp_path)
        for one in rows:
            records.add(one)
        records.close()
    write_manifest(tmp_path, tmp_path / "m.csv", ("road",))
    found = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
    assert [(r["confidence"], r["error"]) for r in found] == [("0.5", ""), ("", "")]


def test_a_picture_that_is_called_otherwise_elsewhere_has_one_row(tmp_path: Path) -> None:
    """photos/a.png of one machine was /mnt/photos/a.png of the other, and the table had each picture twice."""
    first = Records(tmp_path)
    first.add(row("photos/a.png", stem="a", shares={"road": 1.0}))
    first.close()
    second = Records(tmp_path)
    assert ("a", "m") in second
    second.add(row("/mnt/photos/a.png", stem="a", confidence=None, from_file=True, shares={"road": 1.0}))
    second.add(row("/mnt/photos/b/a.png", stem="b/a", shares={"road": 0.5}))
    second.close()
    write_manifest(tmp_path, tmp_path / "m.csv", ("road",))
    found = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
    assert [(r["file"], r["confidence"]) for r in found] == [("photos/a.png", "0.5"), ("/mnt/photos/b/a.png", "0.5")]


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    records = Records(tmp_path)
    records.add(row("a.png", shares={"road": 1.0}))
    records.add(row("b.png", error="damaged", shares=None, height=None, width=None, confidence=None))
    records.close()
    write_manifest(tmp_path, tmp_path / "m.parquet", ("road",))
    table = parquet.read_table(tmp_path / "m.parquet").to_pylist()
    assert [r["share road"] for r in table] == [1.0, None]
    assert table[0]["height"] == 2
    assert len(list(read_records(tmp_path))) == 2


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"m\.xls: a table is written as \.csv or \.parquet"):
        write_manifest(tmp_path, tmp_path / "m.xls", ())


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    """Rows of other kinds, depth, a pipe and a folder among the records ended `predict`, or held it for ever."""
    records = Records(tmp_path)
    records.add(row("a.png", shares={"road": 1.0}))
    records.close()
    odd = [row("b.png", shares="none"), row("c.png", shares=None, seconds="long"), {"file": 5}]
    lines = [json.dumps(entry) for entry in odd] + ["[" * 200_000, '{"file": ']
    (tmp_path / "records" / "b.jsonl").write_text("\n".join(lines))
    os.mkfifo(tmp_path / "records" / "c.jsonl")
    (tmp_path / "records" / "d.jsonl").mkdir()
    assert write_manifest(tmp_path, tmp_path / "m.csv", ("road",)) == 1
