"""One member of a comparison in a process of its own: `python -m denselab.comparison.worker OUT MEMBER DEVICE`."""

import sys
from pathlib import Path

from denselab.comparison.data import open_data
from denselab.comparison.members import train_member
from denselab.comparison.plan import read_plan
from denselab.errors import DenseLabError
from denselab.log import show_always


def main(out: Path, key: str, device: str) -> int:
    """Train the member of this key; returns the exit code."""
    show_always()
    try:
        plan = read_plan(out)
        member = next(m for m in plan.members() if m.key == key)
        train_member(plan, open_data(plan, out), member, out, device, plan.command())
    except DenseLabError as error:
        print(f"denselab: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
