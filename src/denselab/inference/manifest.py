"""One table of everything that was predicted into a folder: file, size, class shares, confidence, seconds, error.

Each process appends a line of JSON per picture to a file of its own in records/, which a kill cannot spoil and other
processes cannot disturb. The table is made from all of them; where a picture has several lines, the last one counts.
"""

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from denselab.documents import parse_record
from denselab.errors import ConfigError, MissingExtra, install
from denselab.files import HOST, replaced, to_json, writing
from denselab.shown import write_rows

logger = logging.getLogger(__name__)

RECORDS = "records"
COLUMNS = ("file", "height", "width", "confidence", "seconds", "error")
NUMBER = int | float | None
KINDS: dict[str, Any] = {
    "file": str,
    "stem": str | None,
    "error": str | None,
    "shares": dict | None,
    **dict.fromkeys(("height", "width", "confidence", "seconds"), NUMBER),
}
GROUP = 10_000  # rows that a Parquet file gets at a time


class Records:
    """The lines of this process, and which pictures the lines of all processes tell of."""

    def __init__(self, out: Path) -> None:
        self.folder = out / RECORDS
        self._file: IO[str] | None = None
        self._known = {_digest(_picture(row), row.get("mark", "")) for row in read_records(out)}

    def __contains__(self, entry: tuple[str, str]) -> bool:
        """Whether (stem, mark) has a line."""
        return _digest(*entry) in self._known

    def add(self, row: dict[str, Any]) -> None:
        """Append a line. row: COLUMNS, "shares", "mark" and "stem". Raises ResourceError."""
        with writing(self.folder):
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                name = f"{HOST}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"
                self._file = (self.folder / name).open("a", encoding="utf-8")
            self._file.write(to_json(row, indent=None) + "\n")
            self._file.flush()
        self._known.add(_digest(_picture(row), row.get("mark", "")))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _picture(row: dict[str, Any]) -> str:
    """Which picture a line tells of, by where its results lie: another machine calls the same file otherwise."""
    return str(row.get("stem", row["file"]))


def _digest(picture: str, mark: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(f"{picture}\0{mark}".encode(errors="backslashreplace"), digest_size=8).digest()
    )


def read_records(out: Path) -> Iterator[dict[str, Any]]:
    """The lines of all processes that wrote into `out`; the last line of a killed one may be cut and is left out."""
    for path in _parts(out):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if row := _row(line):
                    yield row


def _parts(out: Path) -> list[Path]:
    """The files of records, the oldest first."""
    files = [path for path in (out / RECORDS).glob("*.jsonl") if path.is_file()]  # a pipe might never end
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _row(line: str) -> dict[str, Any] | None:
    """The row of a line; None for one that no process of ours wrote to its end."""
    row = parse_record(line)
    whole = "file" in row and all(isinstance(row.get(name), kinds) for name, kinds in KINDS.items())
    return row if whole else None


def check_manifest(path: Path) -> None:
    """Raise ConfigError for a table that is neither CSV nor Parquet, MissingExtra for Parquet without pyarrow."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"`manifest` {path}: a table is written as .csv or .parquet; give it one of these endings")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401  # asked before the work
        except ImportError:
            raise MissingExtra(f"Parquet needs pyarrow: {install('parquet')}, or write a .csv") from None


def write_manifest(out: Path, path: Path, names: tuple[str, ...]) -> int:
    """Write the table of all records in `out`, sorted by picture; returns the number of rows.

    names: of the classes, each a column `share NAME`.
    The lines stay on disk until they are written, so memory holds their places only. Raises ResourceError.
    """
    check_manifest(path)
    places: dict[str, tuple[Path, int, str]] = {}
    for part in _parts(out):
        at = 0
        with part.open("rb") as file:
            for line in file:
                row = _row(line.decode("utf-8", "replace"))
                if row and not _is_told(row, places.get(_picture(row))):
                    places[_picture(row)] = (part, at, row.get("mark", ""))
                at += len(line)
    rows = (_flat(_at(*places[picture][:2]), names) for picture in sorted(places))
    with replaced(path) as fresh:
        if path.suffix.lower() == ".csv":
            _write_csv(fresh, rows, names)
        else:
            _write_parquet(fresh, rows, names)
    return len(places)


def _is_told(row: dict[str, Any], place: tuple[Path, int, str] | None) -> bool:
    """Whether a line that was made from a label file has one of the prediction itself, which says more."""
    return bool(row.get("from_file")) and place is not None and place[2] == row.get("mark", "")


def _at(part: Path, place: int) -> dict[str, Any]:
    with part.open("rb") as file:
        file.seek(place)
        return json.loads(file.readline())  # type: ignore[no-any-return]


def _flat(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """A row of the table: an error leaves the shares open, a class that does not occur has 0."""
    flat = {name: row.get(name) for name in COLUMNS}
    flat["file"] = str(row["file"]).encode(errors="backslashreplace").decode()  # of a name that is no UTF-8
    shares = row.get("shares")
    return flat | {f"share {name}": None if shares is None else shares.get(name, 0.0) for name in names}


def _write_csv(path: Path, rows: Iterator[dict[str, Any]], names: tuple[str, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        write_rows(file, [[*COLUMNS, *(f"share {name}" for name in names)]])
        write_rows(file, (row.values() for row in rows))


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]], names: tuple[str, ...]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"file": pa.string(), "height": pa.int64(), "width": pa.int64(), "error": pa.string()}
    fields = [pa.field(name, kinds.get(name, pa.float64())) for name in COLUMNS]
    schema = pa.schema([*fields, *(pa.field(f"share {name}", pa.float64()) for name in names)])
    with parquet.ParquetWriter(path, schema) as writer:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(row)
            if len(group) == GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema))
                group = []
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema))
