"""The harness of `make reliability`: its faults are faults, its limits hold, and its table tells what fell."""

import errno
import json
import os
import signal
import sys
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from reliability import lab  # noqa: E402
from reliability.faulty import KINDS, fail_writes  # noqa: E402
from reliability.lab import Check, Outcome  # noqa: E402
from reliability.material import png_that_claims  # noqa: E402
from reliability.record import BEGIN, END, Group, kept, table_of, tried, write_into  # noqa: E402


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_fails_from_the_given_one_on_and_only_below_the_folder(tmp_path: Path, kind: str) -> None:
    (tmp_path / "below").mkdir()

    def write() -> int:
        (tmp_path / "beside").write_bytes(b"whole")
        (tmp_path / "below" / "first").write_bytes(b"whole")
        try:
            (tmp_path / "below" / "second").write_bytes(b"content")
        except OSError as error:
            return error.errno or 0
        return 0

    ended = lab.run(write, before=fail_writes(tmp_path / "below", kind, 1))
    assert ended.code == KINDS[kind], ended.err
    assert (tmp_path / "below" / "first").read_bytes() == (tmp_path / "beside").read_bytes() == b"whole"
    if kind == "short":
        assert (tmp_path / "below" / "second").read_bytes() == b"con"
    assert KINDS["full"] == errno.ENOSPC


def test_a_child_is_stopped_and_what_it_said_is_kept() -> None:
    def say_and_wait() -> int:
        print("here", flush=True)
        signal.pause()
        return 0

    ended = lab.run(say_and_wait, stop=(0.03, signal.SIGKILL))
    assert (ended.code, ended.out, ended.late) == (-signal.SIGKILL, "here\n", False)
    assert lab.run(say_and_wait, seconds=0.03).late


def test_a_child_has_no_more_memory_than_it_was_given() -> None:
    def take() -> int:
        try:
            mmap(-1, 200 * 2**20)  # new pages: a bytearray may lie in what the process before its fork has freed
        except OSError:
            return 5
        return 0

    assert lab.run(take, room=50 * 2**20).code == 5
    assert lab.run(take, room=400 * 2**20).code == 0


@pytest.mark.parametrize(
    ("code", "err", "held"),
    [(0, "", True), (5, "the disk is full", True), (1, "a fault of ours: X", False), (-11, "", False)],
)
def test_an_end_in_words(code: int, err: str, held: bool) -> None:
    assert Outcome(code, 0.0, 0.0, 0.0, "", err, False).in_words is held


def test_bombs_are_small_and_claim_much(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_that_claims(1000, 2000, pixels=True))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (2000, 1000)
        picture.load()
    assert os.path.getsize(tmp_path / "a.png") < 40_000


CHECKS = (Check("a", True), Check("b", False, "exit 1"))


def test_the_table_counts_and_names_what_fell() -> None:
    text = table_of({"kills": Group(CHECKS, False, 60.0, "abc")})
    assert "1 of 2 held" in text
    assert "| kills | 1 | 2 | the quick ones, 1.0 min | abc |" in text
    assert "- kills: b: exit 1" in text


def test_what_was_tried_is_kept_check_by_check_and_taken_up_when_complete(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "kills.jsonl"
    assert kept(file, False) is None

    def stopped() -> Iterator[Check]:
        yield CHECKS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tried(stopped(), True, file)
    assert json.loads(file.read_text())["name"] == "a"
    assert kept(file, False) is None  # not complete
    file.write_text(file.read_text() + '{"long": tr')
    assert kept(file, False) is None  # stopped in the middle of a line
    group = tried(iter(CHECKS), True, file)
    assert kept(file, True) == kept(file, False) == group
    assert kept(file, True).checks == CHECKS
    tried(iter(CHECKS), False, file)
    assert kept(file, True) is None  # the quick ones alone


def test_a_table_replaces_the_one_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_into(page, "new")
    assert page.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
