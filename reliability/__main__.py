"""Faults on purpose, and how many were survived. `--long` tries all; `--keep` writes down each as it is known."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before torch: a process that is forked must have one thread
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from reliability import data_of_others, files_of_others, leftovers, machine, runs, settings_of_others  # noqa: E402
from reliability.lab import Check  # noqa: E402
from reliability.material import Bench, prepare  # noqa: E402
from reliability.record import Group, kept, table_of, tried, write_into  # noqa: E402

GROUPS: dict[str, Callable[[Bench], Iterator[Check]]] = {
    "kills": runs.kills,
    "stops": runs.stops,
    "writers": runs.writers,
    "leftovers": leftovers.leftovers,
    "divergence": runs.divergence,
    "disk": machine.disk,
    "memory": machine.memory,
    "workers": machine.workers,
    "network": machine.network,
    "folders": files_of_others.folders,
    "inputs": files_of_others.inputs,
    "attacks": files_of_others.attacks,
    "settings": settings_of_others.settings,
    "data": data_of_others.data,
    "load": files_of_others.load,
}


def main() -> None:
    """Run what was asked for; exit code 1 where something did not hold."""
    asked = _arguments()
    groups = _groups(asked.only or tuple(GROUPS), asked.long, Path(asked.keep) if asked.keep else None)
    if asked.json:
        print(json.dumps({name: asdict(group) for name, group in groups.items()}, indent=1))
    else:
        print(table_of(groups))
    if asked.write:
        write_into(Path(asked.write), table_of(groups))
    sys.exit(any(group.held < len(group.checks) for group in groups.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m reliability", description=__doc__)
    parser.add_argument("--long", action="store_true", help="all kills, floods and sizes: an hour or two")
    parser.add_argument("--only", type=_names, metavar="GROUP,...", help=f"some of: {', '.join(GROUPS)}")
    parser.add_argument(
        "--keep",
        metavar="FOLDER",
        help="write each check there as it is known (GROUP.jsonl); groups that are complete there are not tried again",
    )
    parser.add_argument("--json", action="store_true", help="print every check as JSON")
    parser.add_argument("--write", metavar="FILE", help="put the table into this page, between its two marks")
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(GROUPS):
        raise argparse.ArgumentTypeError(
            f"no group is called {', '.join(sorted(unknown))}; groups: {', '.join(GROUPS)}"
        )
    return names


def _groups(names: tuple[str, ...], long: bool, folder: Path | None) -> dict[str, Group]:
    files = {name: folder / f"{name}.jsonl" if folder else None for name in names}
    groups = {name: group for name, file in files.items() if file and (group := kept(file, long))}
    if missing := [name for name in names if name not in groups]:
        _warm_up()
        with tempfile.TemporaryDirectory(prefix="reliability-") as root:
            bench = prepare(Path(root), long)
            for name in missing:
                groups[name] = tried(_told(name, GROUPS[name](bench)), long, files[name])
                held, of = groups[name].held, len(groups[name].checks)
                print(f"{name}: {held} of {of}, {groups[name].seconds:.0f} s", file=sys.stderr, flush=True)
    return {name: groups[name] for name in names}


def _told(name: str, checks: Iterator[Check]) -> Iterator[Check]:
    for check in checks:
        if not check.held:
            print(f"FELL {name}: {check.name}: {check.told}", file=sys.stderr, flush=True)
        yield check


def _warm_up() -> None:
    """Import, compile and load once what every child needs, so that each does not spend a second on it."""
    import numpy as np

    import denselab.api
    import denselab.cli.main
    import denselab.inference.collection
    import denselab.measure.evaluate
    import denselab.refine  # noqa: F401
    from denselab.data.resizing.resample import resize_labels
    from denselab.data.resizing.resize import resize_image
    from denselab.report.plots import class_history

    class_history("warm", ["a"], [0.0, 1.0], np.zeros((2, 1)))
    resize_image(np.zeros((8, 8, 3), np.uint8), (4, 4))
    resize_labels(np.zeros((8, 8), np.uint8), (4, 4))


if __name__ == "__main__":
    main()
