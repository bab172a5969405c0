"""Documents of others: what is read, and what is refused at once."""

import contextlib
import os
import socket
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from denselab import documents
from denselab.documents import Unreadable, open_ordinary, parse_json, parse_yaml, read_bytes, read_text


def test_an_ordinary_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xc3\xa4\r\n")
    (tmp_path / "b").symlink_to("a")
    assert read_bytes(tmp_path / "b", 4) == b"\xc3\xa4\r\n"
    assert read_text(tmp_path / "a") == "ä\r\n"
    with pytest.raises(Unreadable, match="more than 3 bytes"):
        read_bytes(tmp_path / "a", 3)


def test_what_might_never_end_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/s")  # a socket's name may have 100 characters only
        os.close(here)
        for name, word in (("pipe", "a pipe"), ("s", "a socket"), (".", "a folder")):
            with pytest.raises(Unreadable, match=word):
                open_ordinary(tmp_path / name)
    with pytest.raises(Unreadable, match="a device"):
        open_ordinary(Path("/dev/zero"))
    with pytest.raises(Unreadable, match="name cannot be used"):
        open_ordinary(Path("a\0b"))
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        open_ordinary(tmp_path / "loop")


def test_plain_yaml_is_read_as_before() -> None:
    text = "a: &x {k: 1, l: [1, 2.5, yes, null]}\nb: {<<: *x, k: 3}\nc: 2024-01-01\n"
    assert parse_yaml(text) == {
        "a": {"k": 1, "l": [1, 2.5, True, None]},
        "b": {"k": 3, "l": [1, 2.5, True, None]},
        "c": "2024-01-01",
    }
    assert parse_yaml("") is None


BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20))
MERGES = "a0: &a0 {k0: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}], k{i}: 1}}\n" for i in range(1, 20)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("lr: 1\nlr: 2\n", "the key 'lr' is given twice, again in line 2"),
        ("a: {b: 1, b: 1}", "'b' is given twice"),
        ("[" * 5000, "nested more than 64 levels"),
        (BOMB, "aliases written out"),
        (MERGES, "aliases written out"),
        ("a: &a [*a]", "refers to itself"),
        (f"a: {'9' * 5000}", "cannot be read"),
        ("a: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("a: [1", "while parsing a flow sequence"),
        ("? [1, {a: b}]\n: 2", "unhashable key"),
        ("x" * (documents.MAX_YAML_BYTES + 1), "far more than settings need"),
    ],
)  # fmt: skip
def test_yaml_that_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5001 + b"}", "4300 digits"),
        (b"\xff\xfe\x00", "decode"),
        (b"{", "Expecting property name"),
    ],
)
def test_json_that_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        parse_json(content)


@given(st.binary(max_size=60) | st.text(max_size=60))
@example("[" * 100_000)
@example(b"\x80")
@example("1" * 5000)
def test_any_json_is_a_value_or_unreadable(content: bytes | str) -> None:
    with contextlib.suppress(Unreadable):
        parse_json(content)


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!<>|?#%'\"\n ,0.~=_x"), max_size=60) | st.text(max_size=60))
@example("&a [*a]")
@example("? &a : *a")
@example("<<: 1")
@example("<<: [1]")
@example("= : 1")
@example("!!int x")
@example("0x")
@example("1:99999999999999999:1")
@example("!!timestamp 2001-99-99")
@example("!!binary a")
@example("!!set {a, a}")
@example("!!omap [a]")
def test_any_yaml_is_what_pyyaml_reads_or_unreadable(text: str) -> None:
    with contextlib.suppress(Unreadable):
        value = parse_yaml(text)
        if "-" not in text:  # where no date may stand
            assert repr(value) == repr(yaml.safe_load(text))
