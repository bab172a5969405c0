"""The remark about compilation: once, when something is compiled, and only then."""

import threading

import numba
import pytest

from denselab.crf import notice


def test_the_first_compilation_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notice, "_told", threading.Event())
    compiled = numba.njit(lambda x: x + 1)
    with notice.announced():
        pass
    assert capsys.readouterr().err == ""
    with notice.announced(), notice.announced():
        assert compiled(1) == 2
    assert capsys.readouterr().err.count("compiling the dense CRF") == 1
    with notice.announced():
        assert compiled(1.5) == 2.5  # another type: compiled again, but the user knows by now
        assert compiled(1) == 2
    assert capsys.readouterr().err == ""
