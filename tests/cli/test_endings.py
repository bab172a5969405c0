"""How the command line ends where no part of DenseLab expected the error."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image as PILImage

from denselab.cli import main as module


@pytest.fixture(autouse=True)
def handlers() -> object:
    """`main` sets the handler of SIGTERM; the tests' own comes back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def ending(error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    def app(**options: object) -> None:
        raise error

    monkeypatch.setattr(module, "app", app)
    with pytest.raises(SystemExit) as ended:
        module.main()
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("could not create a primitive"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_out_of_memory_is_exit_5_in_words(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the CPU it was "a fault of ours: RuntimeError: could not create a primitive"."""
    code, told = ending(error, monkeypatch, capsys)
    assert code == 5
    assert told.startswith("denselab: out of memory; use a smaller --imgsz")


@pytest.mark.parametrize("way", ["> /dev/full", ">&-"])
def test_a_result_that_nobody_can_take_is_no_fault_of_ours(way: str) -> None:
    """`denselab models --json > FILE` on a full disk, and with its output closed, spoke of a fault of ours."""
    words = f"{shlex.quote(sys.executable)} -m denselab info unet_small --json {way}"
    done = subprocess.run(words, shell=True, capture_output=True, text=True)
    expected = (
        (5, "denselab: the output cannot be written: No space left on device; free some space")
        if "full" in way
        else (0, "")
    )
    assert (done.returncode, done.stderr[: len(expected[1])]) == expected
    assert len(done.stderr.splitlines()) == (1 if expected[0] else 0)


def test_names_that_the_terminal_s_coding_lacks_are_escaped(tmp_path: Path) -> None:
    """`predict --json > FILE` with Korean class names, on Windows or under a locale of 8 bits, was "a fault of ours:
    UnicodeEncodeError" when all was done."""
    names = ("\ubc30\uacbd", "rust \U0001f342")
    for folder, shape in (("images", (8, 8, 3)), ("masks", (8, 8))):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for number in range(4):
            pixels = np.full(shape, 40 * number if folder == "images" else number % 2, np.uint8)
            PILImage.fromarray(pixels).save(tmp_path / "data" / folder / f"{number}.png")
    (tmp_path / "data" / "data.yaml").write_text(f"labels: {json.dumps(names)}\n")
    words = [sys.executable, "-m", "denselab", "check", str(tmp_path / "data"), "--out", str(tmp_path / "sheet")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    plain, told = (
        subprocess.run([*words, *more], capture_output=True, encoding="utf-8", env=environment)
        for more in ([], ["--json"])
    )
    assert plain.returncode == told.returncode == 0, plain.stderr + told.stderr
    assert "\\ubc30\\uacbd" in plain.stdout
    assert [row["name"] for row in json.loads(told.stdout)["labels"]] == list(names)


def test_a_fault_of_ours_stays_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(RuntimeError("x"), monkeypatch, capsys)[0] == 1


def test_a_stop_by_the_interrupt_key_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typer came to answer Ctrl-C itself, with an exit code and no word."""
    app = typer.Typer()

    @app.command()
    def waits() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "app", app)
    monkeypatch.setattr("sys.argv", ["denselab"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip() == "denselab: stopped"


def test_a_working_folder_that_is_gone_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In a folder that had been removed, any command was "a fault of ours: FileNotFoundError"."""
    assert ending(FileNotFoundError(2, "gone"), monkeypatch, capsys)[0] == 1
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    code, told = ending(FileNotFoundError(2, "gone"), monkeypatch, capsys)
    assert (code, told.startswith("denselab: the folder that you are in was removed")) == (2, True)


def test_a_broken_installation_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without tifffile every command ended in a traceback, before `main` had begun."""
    monkeypatch.setattr(module, "_missing", [ModuleNotFoundError("No module named 'gone'", name="gone")])
    code, told = ending(RuntimeError("not reached"), monkeypatch, capsys)
    assert code == 1
    assert told == (
        "denselab: the installation is not complete: No module named 'gone'; mend it: pip install denselab\n"
    )
