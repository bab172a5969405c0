"""`python -m reliability [--long] [--only GROUP ...] [--json] [--write FILE]`: runs the checks and scores them."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before torch: a process that is forked must have one thread
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from reliability import files_of_others, machine, runs  # noqa: E402
from reliability.lab import Check  # noqa: E402
from reliability.material import Bench, prepare  # noqa: E402

GROUPS: dict[str, Callable[[Bench], Iterator[Check]]] = {
    "kills": runs.kills,
    "stops": runs.stops,
    "writers": runs.writers,
    "divergence": runs.divergence,
    "disk": machine.disk,
    "memory": machine.memory,
    "workers": machine.workers,
    "network": machine.network,
    "folders": files_of_others.folders,
    "inputs": files_of_others.inputs,
    "attacks": files_of_others.attacks,
    "load": files_of_others.load,
}
BEGIN, END = "<!-- the latest table -->", "<!-- end of the table -->"


def main() -> None:
    """Run what was asked for; exit code 1 where something did not hold."""
    asked = _arguments()
    began = time.monotonic()
    _warm_up()
    results: dict[str, list[Check]] = {}
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        bench = prepare(Path(folder), asked.long)
        for name in asked.only or GROUPS:
            results[name] = []
            for check in GROUPS[name](bench):
                results[name].append(check)
                if not check.held:
                    print(f"FELL {name}: {check.name}: {check.told}", file=sys.stderr, flush=True)
            print(f"{name}: {_held(results[name])} of {len(results[name])}", file=sys.stderr, flush=True)
    table = table_of(results, time.monotonic() - began, asked.long)
    if asked.json:
        print(json.dumps({name: [vars(c) for c in checks] for name, checks in results.items()}, indent=1))
    else:
        print(table)
    if asked.write:
        _write(Path(asked.write), table)
    sys.exit(any(not check.held for checks in results.values() for check in checks))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m reliability", description=__doc__)
    parser.add_argument("--long", action="store_true", help="all kills, floods and sizes: about an hour")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--json", action="store_true", help="print every check as JSON")
    parser.add_argument("--write", metavar="FILE", help="put the table into this page, between its two marks")
    return parser.parse_args()


def _warm_up() -> None:
    """Import once what the children need."""
    import denselab.api
    import denselab.cli.main
    import denselab.inference.collection
    import denselab.measure.evaluate
    import denselab.refine  # noqa: F401


def table_of(results: dict[str, list[Check]], seconds: float, long: bool) -> str:
    """The result as Markdown: a row for each group, the score, and what fell."""
    rows = [f"| {name} | {_held(checks)} | {len(checks)} |" for name, checks in results.items()]
    everything = [check for checks in results.values() for check in checks]
    fell = [f"- {n}: {c.name}: {c.told}" for n, checks in results.items() for c in checks if not c.held]
    kind = "with `--long`" if long else "the quick ones"
    head = (
        f"{_held(everything)} of {len(everything)} held ({kind}, {seconds / 60:.0f} min, commit {_commit()}, "
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores)."
    )
    return "\n".join(
        [head, "", "| group | held | of |", "|---|---|---|", *rows, *(["", "What fell:", *fell] if fell else [])]
    )


def _held(checks: Sequence[Check]) -> int:
    return sum(check.held for check in checks)


def _commit() -> str:
    run = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"


def _write(page: Path, table: str) -> None:
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
