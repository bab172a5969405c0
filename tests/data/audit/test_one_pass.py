"""A data set with every fault at once: `check` names all of them in one pass, whatever else is wrong."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denselab.api import open_for_training
from denselab.config import make_settings
from denselab.data.audit.check import CheckReport, check_dataset
from denselab.errors import DataError

SIDE = 24
EMPTY = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))  # a chunk of no pixels


def picture(seed: int, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def label(seed: int, high: int = 3) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, high, (SIDE, SIDE), dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def claims(side: int) -> bytes:
    """A PNG header that claims side x side pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + EMPTY


def turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return encoded(image, exif=exif)


FAULTS = {  # stem: (picture, label, a word of what is said, the file it is said of)
    "empty-picture": (b"", encoded(label(1)), "empty", "images"),
    "empty-label": (encoded(picture(2)), b"", "empty", "labels"),
    "text-picture": (b"hello", encoded(label(3)), "not a picture", "images"),
    "text-label": (encoded(picture(4)), b"hello", "not a picture", "labels"),
    "cut-picture": (encoded(picture(5))[:200], encoded(label(5)), "truncated", "images"),
    "cut-label": (encoded(picture(6)), encoded(label(6))[:90], "truncated", "labels"),
    "bomb-picture": (claims(60_000), encoded(label(7)), "more than 400,000,000 pixels", "images"),
    "bomb-label": (encoded(picture(8)), claims(60_000), "more than 400,000,000 pixels", "labels"),
    "strange-id": (encoded(picture(9)), encoded(Image.fromarray(np.full((SIDE, SIDE), 77, np.uint8))), "id 77", "labels"),
    "short": (encoded(picture(10)), encoded(label(10).crop((0, 0, SIDE, SIDE - 1))), "label 23x24", "images"),
    "wide": (encoded(picture(11).resize((SIDE, SIDE * 2))), encoded(label(11)), "picture 48x24", "images"),
    "ignored": (encoded(picture(12)), encoded(Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8))), "every pixel is ignored", "labels"),
    "animated": (encoded(picture(13), "PNG", save_all=True, append_images=[picture(14)]), encoded(label(13)), "animation", "images"),
    "rotated": (turned(picture(15)), encoded(label(15)), "EXIF turns", "images"),
    "lossy": (encoded(picture(16)), encoded(label(16).resize((SIDE, SIDE)), "JPEG"), "JPEG", "labels"),
    "with-alpha": (encoded(picture(17, "RGBA")), encoded(label(17)), "alpha", "images"),
    "twin-a": (encoded(picture(18)), encoded(label(18)), "", "images"),
    "twin-b": (encoded(picture(18)), encoded(label(18)), "same", "images"),
    "no-label": (encoded(picture(19)), None, "without a label", "images"),
    "no-picture": (None, encoded(label(20)), "without a picture", "labels"),
    "line\nbreak": (b"", encoded(label(21)), "empty", "images"),
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("all")
    for folder in ("images", "labels"):
        for split in ("train", "val"):
            (root / folder / split).mkdir(parents=True)
    for split, count in (("train", 12), ("val", 6)):
        for i in range(count):
            seed = 100 + i + 50 * (split == "val")
            (root / "images" / split / f"{i:02d}.png").write_bytes(encoded(picture(seed)))
            (root / "labels" / split / f"{i:02d}.png").write_bytes(encoded(label(seed)))
    for stem, (image, mask, _, _) in FAULTS.items():
        for folder, content in (("images", image), ("labels", mask)):
            if content is not None:
                suffix = "jpg" if content.startswith(b"\xff\xd8") else "png"
                (root / folder / "train" / f"{stem}.{suffix}").write_bytes(content)
    leak = (root / "images" / "train" / "00.png").read_bytes()
    (root / "images" / "val" / "leak.png").write_bytes(leak)
    (root / "labels" / "val" / "leak.png").write_bytes((root / "labels" / "train" / "00.png").read_bytes())
    os.mkfifo(root / "images" / "train" / "pipe.png")
    (root / "images" / "train" / "loop.png").symlink_to("loop.png")
    names = "".join(
        f"  - {{id: {i}, name: {name}, role: {role}}}\n"
        for i, name, role in (
            (0, "a", "class"),
            (1, "b", "class"),
            (2, "c", "class"),
            (5, "never", "class"),
            (255, "void", "ignore"),
        )
    )
    (root / "data.yaml").write_text(f"labels:\n{names}")
    return root


@pytest.fixture(scope="module")
def report(root: Path) -> CheckReport:
    return check_dataset(root, quiet=True)


@pytest.mark.parametrize("stem", [stem for stem in FAULTS if stem != "twin-a"])
def test_each_is_named(report: CheckReport, stem: str) -> None:
    _, _, word, folder = FAULTS[stem]
    told = [fault for fault in report.faults if stem in fault.file or stem in fault.message]
    assert any(
        word in f"{fault.message} {fault.kind}" and folder in f"{fault.file} {fault.message}" for fault in told
    ), report.faults


@pytest.mark.parametrize(
    ("kind", "word"),
    [("leak", "leak.png"), ("not readable", "pipe.png"), ("not readable", "loop.png"), ("absent class", "never")],
)
def test_so_are_those_of_the_whole(report: CheckReport, kind: str, word: str) -> None:
    assert any(f.kind == kind and word in f"{f.file} {f.message}" for f in report.faults), report.faults


def test_a_training_on_it_is_refused_in_one_line_that_points_to_check(root: Path) -> None:
    """A pipe among the pictures was waited for, so that it never began."""
    with pytest.raises(DataError) as refused:
        open_for_training(make_settings({"data": str(root)}))
    told = str(refused.value)
    assert "\n" not in told
    assert told.endswith(f"`denselab check {root}` lists everything")
