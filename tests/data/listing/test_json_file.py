"""JSON of tools: one document, or one in each line."""

import json

import pytest

from denselab.data.listing.json_file import read_json
from denselab.errors import DataError


def test_a_document_in_each_line(tmp_path):
    """TuSimple's .json was refused as damaged, and with it the whole folder."""
    path = tmp_path / "labels.json"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert read_json(path) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "text", [json.dumps({"a": [1]}, indent=1)[:-2], '{"a": 1}\n{"a": ', "[1]\n[2]", "", '{"a": 1}x']
)
def test_what_is_cut_short_is_refused(tmp_path, text):
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(DataError, match="not JSON that can be read"):
        read_json(path)
