"""How long a film file says it is, by files of a few bytes."""

from pathlib import Path

import pytest

from denselab.inference.film_size import cut_short


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


RIFF = b"RIFF" + (12).to_bytes(4, "little") + b"AVI " + b"x" * 8
RIFF_ODD = b"RIFF" + (7).to_bytes(4, "little") + b"AVI abc"
SEGMENT = b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67"
FILES = {
    "riff": RIFF,
    "riff of two gigabytes, in two": RIFF + RIFF,
    "riff without its last byte of padding": RIFF_ODD,
    "riff with it": RIFF_ODD + b"\0",
    "boxes": box(b"ftyp", b"isom") + box(b"moov", b"abc") + box(b"mdat", b"x" * 9),
    "a box of 64 bits": box(b"ftyp", b"isom") + b"\0\0\0\1mdat" + (20).to_bytes(8, "big") + b"abcd",
    "segment": SEGMENT + b"\x84abcd",
    "a segment's length in two bytes": SEGMENT + b"\x40\x04abcd",
}
SILENT = {
    "riff that nobody ended": b"RIFF\0\0\0\0AVI abcd",
    "a box to the end": box(b"ftyp", b"isom") + b"\0\0\0\0mdat" + b"abcd",
    "a live segment": SEGMENT + b"\x01\xff\xff\xff\xff\xff\xff\xff" + b"abcd",
    "another form": b"FLV\x01\x05" + b"x" * 20,
}


@pytest.mark.parametrize("kind", FILES)
def test_a_whole_file_is_whole_and_one_without_its_end_is_cut(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "film"
    path.write_bytes(FILES[kind])
    assert not cut_short(path)
    path.write_bytes(FILES[kind] + b"\0junk behind it")
    assert not cut_short(path)
    path.write_bytes(FILES[kind][:-2])
    whole = len(FILES[kind].removesuffix(bytes(1)))
    assert cut_short(path) == f"cut short, {len(FILES[kind]) - 2} of {whole} bytes"


@pytest.mark.parametrize("kind", SILENT)
def test_a_file_that_tells_no_length_is_taken_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "film"
    for content in (SILENT[kind], SILENT[kind][:-2]):
        path.write_bytes(content)
        assert not cut_short(path)


def test_bytes_of_any_kind_end_in_an_answer(tmp_path: Path) -> None:
    for content in (b"", b"RIFF", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x00", b"\0\0\0\x09mdat", b"\0\0\0\1ftyp"):
        (tmp_path / "film").write_bytes(content)
        cut_short(tmp_path / "film")
    assert not cut_short(tmp_path / "none")
