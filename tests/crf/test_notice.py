"""The remark about compilation: once for a number of lanes, when something is compiled, and only then."""

import numba
import pytest

from denselab.crf import notice


def test_the_first_compilation_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notice, "_told", set())
    compiled = numba.njit(lambda x: x + 1)
    with notice.announced(21):
        pass
    assert capsys.readouterr().err == ""
    with notice.announced(21), notice.announced(21):
        assert compiled(1) == 2
    assert capsys.readouterr().err.count("compiling the dense CRF for this machine and 21 classes (about 15 s") == 1
    with notice.announced(24):  # as many lanes as 21
        assert compiled(1.5) == 2.5  # another type: compiled again, but the user knows by now
        assert compiled(1) == 2
    assert capsys.readouterr().err == ""
    with notice.announced(150):
        assert compiled(1j) == 1 + 1j
    assert "150 classes (about 25 s" in capsys.readouterr().err
