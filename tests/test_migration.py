"""Records of older forms are led up step by step; those of newer versions say who wrote them."""

import pytest

from denselab import __version__
from denselab.errors import CheckpointError
from denselab.migration import migrated, stamped

STEPS = {1: lambda r: {"size": r["width"], **r}, 2: lambda r: {**r, "depth": 3}}


def test_every_step_is_taken_from_where_the_record_stands() -> None:
    assert migrated({"format": 1, "width": 4}, STEPS, "c.json") == {"width": 4, "size": 4, "depth": 3}
    assert migrated({"width": 4}, STEPS, "c.json") == {"width": 4, "size": 4, "depth": 3}, "the first had no number"
    assert migrated({"format": 2, "width": 4}, STEPS, "c.json") == {"width": 4, "depth": 3}
    assert migrated({"format": 3, "width": 4}, STEPS, "c.json") == {"width": 4}
    given = {"format": 1, "width": 4}
    migrated(given, STEPS, "c.json")
    assert given == {"format": 1, "width": 4}, "what was passed in stays"


@pytest.mark.parametrize("form", [4, 0, "3", None, True, 1.0])
def test_what_this_version_does_not_know_says_who_wrote_it(form: object) -> None:
    told = rf"c\.json has format .*written by DenseLab 9\.1\.0; this is DenseLab {__version__}.*formats 1 to 3: update"
    with pytest.raises(CheckpointError, match=told):
        migrated({"format": form, "written_by": "9.1.0"}, STEPS, "c.json")
    with pytest.raises(CheckpointError, match="a DenseLab that did not note its version"):
        migrated({"format": form}, STEPS, "c.json")


def test_a_damaged_older_record_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"c\.json is not complete for format 1: KeyError\('width'\)"):
        migrated({"format": 1}, STEPS, "c.json")


def test_what_is_written_says_its_form_and_version() -> None:
    assert list(stamped({"a": 1}, 3).items()) == [("format", 3), ("written_by", __version__), ("a", 1)]
    assert migrated(stamped({"a": 1}, 3), STEPS, "c.json") == {"written_by": __version__, "a": 1}
