"""Fixtures that several parts share."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test pictures beside the checkout; a clone elsewhere has none and skips."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real test pictures (../shared/data) are not beside this checkout")
    return SHARED_DATA
