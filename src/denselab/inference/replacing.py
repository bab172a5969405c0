"""What keeps predictions from replacing other files, and says where results are gone again."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from denselab.documents import parse_json, read_bytes
from denselab.errors import ConfigError, ResourceError
from denselab.inference.inputs import Source, refuse_overwriting
from denselab.inference.marks import change_of
from denselab.inference.prediction import TABLE, ProbsFormat, result_paths
from denselab.inference.results import Result
from denselab.inference.stores import LocalPlace


def refuse_replacing(sources: Sequence[Source], out: Path, probs: ProbsFormat, **kinds: bool) -> None:
    """Raise ConfigError where a result would replace an input, or a file that is not an earlier result.

    Otherwise `predict RUN data/images --out data` would overwrite the labels of a data set. Earlier results are
    recognised by the label table beside them. kinds: of results, as for prediction.result_paths.
    """
    targets = [p for s in sources for p in result_paths(out, s.stem, probs, **kinds).values()]
    refuse_overwriting(targets, sources)
    if not is_label_table(out / TABLE):
        refuse_existing([out / TABLE, *targets], out)


def refuse_existing(targets: Iterable[Path], out: Path, begun: bool = True) -> None:
    """Raise ConfigError where one of the files exists. begun: a label table says that they are of another process."""
    for target in targets:
        if target.exists() and not (begun and is_label_table(out / TABLE)):
            raise ConfigError(
                f"{target} is there already, and is no result of predict (it has no label table {out / TABLE}): "
                "nothing is replaced; choose another `out` folder"
            )


def refuse_changed(labels: Iterable[Path], out: Path) -> None:
    """Raise ConfigError where a label PNG is not as it was written: somebody's work is not replaced."""
    place = LocalPlace(out)
    changed = next((path for path in labels if place.ask(path, change_of)), None)
    if changed is not None:
        raise ConfigError(
            f"{changed} was changed since it was written, or a version without seals wrote it: nothing is replaced; "
            "choose another `out` folder, or remove it"
        )


def is_label_table(path: Path) -> bool:
    """Whether this is a label table, as predict writes it."""
    try:
        rows = parse_json(read_bytes(path))
        return (
            isinstance(rows, list) and bool(rows) and all(set(row) == {"id", "name", "colour", "role"} for row in rows)
        )
    except (OSError, ValueError, TypeError):
        return False


def require_written(results: Sequence[Result], out: Path) -> None:
    """Raise ResourceError where result files are gone again."""
    every = ((result.source, [Path(path) for path in result.written.values()]) for result in results)
    require_there(every, len(results), out)


def require_there(every: Iterable[tuple[object, list[Path]]], total: int, out: Path) -> None:
    """Raise ResourceError where result files are gone again: the folder was emptied or moved in the meantime."""
    gone = [(name, path) for name, paths in every for path in paths if not path.exists()]
    if gone:
        count = len({name for name, _ in gone})
        raise ResourceError(
            f"the results of {count} of {total} pictures, such as {gone[0][1]}, are no longer in {out}: the folder "
            "was emptied or moved while they were written; run it again"
        )
