"""The pages that add something are complete: their blocks, written into a copy of the repository, make the tests pass.

Followed literally, an earlier page left six tests failing: the plain version and the recipe for CamVid were demanded by tests and
mentioned nowhere.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE, DATA_PAGE = ROOT / "docs" / "add-a-model.md", ROOT / "docs" / "add-a-dataset.md"
STEP = re.compile(
    r"^`(?P<file>[^`]+)`, (?:a new file|above the line that begins with `(?P<anchor>[^`]+)`):\n\n```\w*\n(?P<text>.*?)```$",
    re.DOTALL | re.MULTILINE,
)
# What fails if a step is missing: whatever is demanded of one network by its name, or of all at once.
DEMANDED = [
    "tests/models/test_mynet.py",
    "tests/models/test_contract.py::test_every_model_has_a_case",
    *(
        f"tests/models/test_contract.py::test_{what}[mynet]"
        for what in (
            "forward_is_the_enlarged_coarse_logits",
            "a_picture_does_not_see_its_neighbours_in_the_batch",
            "every_learnable_parameter_gets_a_finite_gradient",
            "save_and_load",
            "at_rate_zero_the_pretrained_part_stays_and_the_rest_learns",
            "overfits_two_pictures",
        )
    ),
    "tests/models/test_entries.py::test_what_depends_on_the_classes_is_not_pretrained[mynet]",
    "tests/test_build.py::test_other_channels_and_one_class[mynet]",
    "tests/test_camvid_protocol.py::test_every_network_has_a_recipe",
    "tests/test_docs.py::test_every_network_s_file_has_a_row_with_its_certificate",
    "tests/test_plain_networks.py::test_every_network_has_another_side",
    "tests/test_plain_networks.py::test_the_same_work[mynet]",
]


@dataclass(frozen=True)
class Step:
    """A block of the page. anchor: how the line begins above which it goes; None where it is a whole file."""

    file: str
    anchor: str | None
    text: str

    def follow(self, root: Path) -> None:
        path = root / self.file
        if self.anchor is None:
            assert not path.exists()
            path.write_text(self.text, encoding="utf-8")
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (place,) = [i for i, line in enumerate(lines) if line.strip().startswith(self.anchor)]
        path.write_text("".join([*lines[:place], self.text, *lines[place:]]), encoding="utf-8")


def steps(page: Path = PAGE) -> list[Step]:
    found = STEP.finditer(page.read_text(encoding="utf-8"))
    return [Step(match["file"], match["anchor"], match["text"]) for match in found]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository as far as these tests read it."""
    for folder in ("src", "tests", "benchmarks", "docs"):
        ignored = shutil.ignore_patterns("__pycache__", "golden", "_build", "*.png", "*.egg-info")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    for file in ("README.md", "README.ko.md", "CONTRIBUTING.md", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def test_every_block_of_the_page_is_a_step() -> None:
    """A block that the test did not see would be a step that nobody has checked; the two commands are no steps."""
    fences = PAGE.read_text(encoding="utf-8").count("```") // 2
    assert len(steps()) == fences - 1
    assert len({step.file for step in steps() if step.anchor is None}) == 2


def test_the_page_adds_a_network(copy: Path) -> None:
    follow(PAGE, copy, DEMANDED)


def test_the_page_adds_a_layout(copy: Path) -> None:
    """It told what to do in words alone, so that nothing said when one of the places that it names was gone."""
    assert len(steps(DATA_PAGE)) == 7
    follow(DATA_PAGE, copy, [f"tests/data/layouts/test_{name}_layout.py" for name in ("mylayout", "mytool")])


def follow(page: Path, copy: Path, tests: list[str]) -> None:
    """Write the blocks of a page into the copy, and run tests there."""
    for step in steps(page):
        step.follow(copy)
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
