"""What is installed."""

import pytest

from denselab import installation


def test_optional_parts_are_told_with_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    """`doctor` said "nothing is missing" where no export, film or GeoTIFF could be made."""
    wanted = [
        "torch>=2.10",
        "onnx>=1.19; extra == 'export'",
        'no-such-package>=1 ; extra == "export"',
        "numpy>=2.0; extra == 'video'",
        "ruff; extra == 'dev'",
    ]
    monkeypatch.setattr(installation.metadata, "requires", lambda name: wanted)
    assert installation.extras() == {"export": ["no-such-package"], "video": []}

    def absent(name: str) -> None:
        raise installation.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installation.metadata, "requires", absent)
    assert installation.extras() == {}
