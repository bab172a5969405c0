import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.caching import FunctionCache
from numpy.typing import NDArray

from denselab.compiled import compiled
from denselab.errors import DataError, ShapeError
from denselab.evaluation.confusion import _kernel, _words, add_confusion, confusion_matrix


def by_bincount(truth: NDArray[Any], prediction: NDArray[Any], k: int, ignore: int) -> NDArray[np.int64]:
    valid = truth != ignore
    pairs = truth[valid].astype(np.int64) * k + prediction[valid].astype(np.int64)
    return np.bincount(pairs, minlength=k * k).reshape(k, k)


def maps(
    seed: int, shape: tuple[int, ...], k: int, ignore: int, dtype: type, flat: bool
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Random maps, in runs of one value where `flat` is set, with ignored truth and predictions of anything there."""
    rng = np.random.default_rng(seed)
    both = rng.integers(0, k, (2, *shape))
    if flat:
        both = np.repeat(both, 13, axis=-1)[..., : shape[-1]]
    truth, prediction = both
    void = rng.random(truth.shape) < 0.2
    truth, prediction = (
        np.where(void, ignore, truth),
        np.where(void & (rng.random(truth.shape) < 0.5), ignore, prediction),
    )
    return truth.astype(dtype), prediction.astype(dtype)


def test_by_hand() -> None:
    truth = np.array([[0, 0, 1], [2, 255, 2]], dtype=np.uint8)
    prediction = np.array([[0, 1, 1], [2, 0, 0]], dtype=np.uint8)
    counts = confusion_matrix(truth, prediction, 3, 255)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [1, 0, 1]])


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(0, 9), st.integers(0, 70)),
    k=st.sampled_from([1, 2, 11, 150, 255]),
    wide=st.booleans(),
    flat=st.booleans(),
)
def test_equals_bincount(seed: int, shape: tuple[int, int], k: int, wide: bool, flat: bool) -> None:
    """Every length modulo 8 and 4, both widths, flat and noisy words."""
    dtype, ignore = (np.uint16, 65535) if wide else (np.uint8, 255)
    truth, prediction = maps(seed, shape, k, ignore, dtype, flat)
    np.testing.assert_array_equal(
        confusion_matrix(truth, prediction, k, ignore), by_bincount(truth, prediction, k, ignore)
    )


@pytest.mark.parametrize(
    "view",
    [np.s_[:, ::2], np.s_[::-1], np.s_[:, 1:], np.s_[3:4, 3:60]],
    ids=["strided", "reversed", "cropped", "unaligned"],
)
def test_any_memory_layout(view: Any) -> None:
    truth, prediction = maps(0, (20, 65), 5, 255, np.uint8, flat=True)
    before = truth.copy()
    np.testing.assert_array_equal(
        confusion_matrix(truth[view], np.asfortranarray(prediction)[view], 5, 255),
        by_bincount(truth[view], prediction[view], 5, 255),
    )
    np.testing.assert_array_equal(truth, before)
    assert truth.flags.writeable


def test_read_only_maps_are_fine() -> None:
    """Pillow hands out read-only arrays."""
    truth, prediction = maps(0, (4, 16), 3, 255, np.uint8, flat=False)
    truth.flags.writeable = prediction.flags.writeable = False
    np.testing.assert_array_equal(confusion_matrix(truth, prediction, 3, 255), by_bincount(truth, prediction, 3, 255))


def test_one_compilation_serves_all() -> None:
    """numba compiles anew for read-only, unaligned or strided arrays; half a second each would hit the first pictures."""
    truth, prediction = maps(0, (4, 65), 3, 255, np.uint8, flat=False)
    for a, b in ((truth, prediction), (truth[:, ::2], prediction[:, ::2]), (truth[:1, 1:], prediction[:1, 1:])):
        confusion_matrix(a, b, 3, 255)
        confusion_matrix(a.astype(np.uint16), b, 3, 255)
        for labels in (a, b):
            labels.flags.writeable = False
        confusion_matrix(a, b, 3, 255)
    assert len(_kernel().made.signatures) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("start", range(9))
def test_words_are_aligned(start: int) -> None:
    """numba does not look; a machine that insists on alignment would stop, or read wrongly."""
    labels = np.arange(64, dtype=np.uint8)[start:][:48]
    words = _words(labels)
    assert words.flags.aligned
    assert words.tobytes() == labels.tobytes()


@pytest.mark.parametrize("dtypes", [(np.uint8, np.uint16), (np.uint16, np.int64), (np.int32, np.uint8)])
def test_mixed_dtypes(dtypes: tuple[type, type]) -> None:
    truth, prediction = maps(1, (7, 30), 200, 255, np.int64, flat=True)
    np.testing.assert_array_equal(
        confusion_matrix(truth.astype(dtypes[0]), prediction.astype(dtypes[1]), 200, 255),
        by_bincount(truth, prediction, 200, 255),
    )


def test_two_valued_maps_may_be_bool() -> None:
    truth, prediction = np.array([[True, False, True]]), np.array([[True, True, True]])
    np.testing.assert_array_equal(confusion_matrix(truth, prediction, 2, 255), [[0, 1], [0, 2]])


@pytest.mark.parametrize("ignore", [0, 2])
def test_a_class_may_be_ignored(ignore: int) -> None:
    truth, prediction = maps(3, (5, 33), 4, 1, np.uint8, flat=True)
    np.testing.assert_array_equal(
        confusion_matrix(truth, prediction, 4, ignore), by_bincount(truth, prediction, 4, ignore)
    )


def test_adds_in_place() -> None:
    truth, prediction = maps(0, (6, 40), 5, 255, np.uint8, flat=True)
    counts = confusion_matrix(truth[:2], prediction[:2], 5, 255)
    add_confusion(counts, truth[2:], prediction[2:], 255)
    np.testing.assert_array_equal(counts, by_bincount(truth, prediction, 5, 255))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_strangers_are_named_and_nothing_is_added(dtype: type) -> None:
    truth, prediction = np.zeros((2, 3, 30), dtype=dtype)
    prediction[0] = 7
    counts = np.zeros((5, 5), dtype=np.int64)
    with pytest.raises(
        DataError, match=r"prediction 7 at 30 pixels is not a class \(0..4\); ids in files are not class indices"
    ):
        add_confusion(counts, truth, prediction, 255)
    with pytest.raises(DataError, match=r"truth 7 at 30 pixels is neither a class \(0..4\) nor the ignore_index 255"):
        add_confusion(counts, prediction, truth, 255)
    assert not counts.any()


def test_wrong_input_is_named() -> None:
    with pytest.raises(ShapeError, match=r"truth \(2, 3\) and prediction \(3, 2\) differ"):
        confusion_matrix(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2, 255)
    with pytest.raises(DataError, match="prediction has dtype float64; whole numbers"):
        confusion_matrix(np.zeros((2, 3), np.uint8), np.zeros((2, 3)), 2, 255)
    with pytest.raises(DataError, match="truth holds -1; class indices"):
        confusion_matrix(np.array([-1]), np.zeros(1, np.uint8), 2, 255)
    with pytest.raises(ShapeError, match=r"counts \(2, 3\) int64"):
        add_confusion(np.zeros((2, 3), np.int64), np.zeros(1, np.uint8), np.zeros(1, np.uint8), 255)


def test_large_counts_are_exact() -> None:
    """Sums in float32 stop at 16.7 million pixels."""
    counts = np.full((1, 1), 2**60, dtype=np.int64)
    add_confusion(counts, np.zeros((1001, 1001), np.uint8), np.zeros((1001, 1001), np.uint8), 255)
    assert counts[0, 0] == 2**60 + 1001 * 1001


def test_machine_code_goes_elsewhere_where_the_package_is_read_only(tmp_path: Path) -> None:
    """An installed package may belong to root: numba must fall back to the user's cache, or to none."""
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__pycache__").write_text("in the way: nothing can be cached beside the module")
    (tmp_path / "pack" / "loops.py").write_text("def double(x):\n    return 2 * x\n")
    program = "from denselab.compiled import compiled; import loops; print(compiled(loops.double)(21))"
    for home in (tmp_path / "home", Path("/proc/nowhere")):  # a cache folder that can be written, and one that cannot
        ran = subprocess.run(
            [sys.executable, "-B", "-W", "error", "-c", program],
            env={"PYTHONPATH": str(tmp_path / "pack"), "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.stdout, ran.stderr) == ("42\n", "")
    assert list((tmp_path / "home" / "cache").rglob("*.nbi"))


def test_machine_code_that_cannot_be_kept_works_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or a quota."""

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FunctionCache, "save_overload", full)
    double = compiled(doubled)
    with pytest.warns(RuntimeWarning, match="could not be kept: .*No space left"):
        assert double(np.int16(21)) == 42


def doubled(x: Any) -> Any:
    return 2 * x


def test_other_compile_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: object) -> None:
        raise RuntimeError("of another kind")

    monkeypatch.setattr("denselab.compiled.code_cache.CodeCache", broken)
    with pytest.raises(RuntimeError, match="of another kind"):
        compiled(doubled)(1)
