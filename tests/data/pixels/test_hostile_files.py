"""Files of a data set that would never end, claim far too much, lead elsewhere or cannot be read: refused at once, in words."""

import os
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from denselab.data import open_dataset
from denselab.data.audit.check import check_dataset
from denselab.data.label_files.shapes import Shape, ShapeLabels
from denselab.data.listing.inside import refuse_inside_data
from denselab.data.listing.json_file import read_json
from denselab.data.listing.pairing import pair_stems
from denselab.data.listing.tree import read_tree
from denselab.data.pixels.images import picture_size, read_image
from denselab.data.pixels.opening import MAX_PIXELS
from denselab.data.pixels.rows import open_rows
from denselab.data.pixels.tiff import read_tags
from denselab.data.splits.lists import read_lines
from denselab.errors import ConfigError, DataError
from denselab.inference.geotiff import read_georeference
from denselab.labels import LabelSpace
from denselab.report.contact_sheet import write_contact_sheet

EMPTY = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))  # a chunk of no pixels


def write_pairs(root: Path, count: int = 6) -> Path:
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(root / "images" / f"{i}.png")
        Image.fromarray(rng.integers(0, 3, (16, 16), dtype=np.uint8)).save(root / "labels" / f"{i}.png")
    return root


def bomb(path: Path, side: int, mode: int = 2) -> None:
    """A PNG of side x side black pixels, without holding them: 19,000 x 19,000 RGB takes 1 MB."""
    row = b"\0" * (1 + side * (3 if mode == 2 else 1))
    packer, packed = zlib.compressobj(9), b""
    for _ in range(side):
        packed += packer.compress(row)
    packed += packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, mode, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def header_only(path: Path, side: int) -> None:
    """A PNG whose header claims side x side pixels and that holds none."""
    head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + EMPTY)


@pytest.mark.parametrize(
    "name", ["images/9.png", "labels/9.png", "train.txt", "classes.txt", "labels.json", "a.xml", "id2label.json"]
)
def test_a_pipe_under_any_name_is_passed_over_and_said(tmp_path: Path, name: str) -> None:
    """`check` and `train` waited for ever for a pipe to be written to."""
    write_pairs(tmp_path)
    os.mkfifo(tmp_path / name)
    report = check_dataset(tmp_path, quiet=True)
    assert [(f.kind, f.file) for f in report.errors] == [("not readable", name)]
    assert "a pipe" in report.errors[0].message


def ring_of_pages(order: str, big: bool, pages: int) -> bytes:
    """A TIFF of pages without tags, of which the last leads back to the first but one."""
    number, count, start = ("Q", "Q", 16) if big else ("I", "H", 8)
    size = struct.calcsize(f"<{count}{number}")
    head = struct.pack(f"{order}HHHQ", 43, 8, 0, start) if big else struct.pack(f"{order}HI", 42, start)
    nexts = [start + (i + 1) * size for i in range(pages - 1)] + [start + min(1, pages - 1) * size]
    mark = b"II" if order == "<" else b"MM"
    return mark + head + b"".join(struct.pack(f"{order}{count}{number}", 0, n) for n in nexts)


@pytest.mark.parametrize("pages", [1, 2, 99, 150])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_whose_pages_lead_in_a_circle_is_refused(tmp_path: Path, order: str, big: bool, pages: int) -> None:
    """Reading one went round until memory was full."""
    path = tmp_path / "a.tif"
    path.write_bytes(ring_of_pages(order, big, pages))
    for read in (read_image, open_rows, picture_size):
        with pytest.raises(DataError, match="lead in a circle"):
            read(path)
    assert read_georeference(path) is None


def test_a_pipe_named_in_a_list_or_read_by_itself_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    for read in (read_image, read_lines, read_json):
        with pytest.raises(DataError, match="a pipe, not an ordinary file"):
            read(tmp_path / "x")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(DataError, match="cannot be opened"):
        read_image(tmp_path / "loop.png")


def test_a_link_that_points_at_itself_is_said(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    (tmp_path / "images" / "loop.png").symlink_to("loop.png")
    (tmp_path / "images" / "lost.png").symlink_to("nowhere.png")
    (tmp_path / "elsewhere").symlink_to("/tmp")
    tree = read_tree(tmp_path)
    assert [str(path) for path, _ in tree.passed_over] == ["images/loop.png", "images/lost.png"]
    assert not any(file.is_relative_to("elsewhere") for file in tree.files)


def test_links_to_folders_are_followed_unless_they_lead_back(tmp_path: Path) -> None:
    """A linked val/ was left out without a word, and val drawn from train; linked images/ were not found at all."""
    root, away = tmp_path / "data", tmp_path / "away"
    write_pairs(root / "train")
    write_pairs(away)
    (root / "val").symlink_to(away)
    (away / "round").symlink_to(away)
    (away / "back").symlink_to(root)
    (root / "again").symlink_to(root / "train")
    (root / "up").symlink_to(tmp_path)
    tree = read_tree(root)
    assert {file.parts[0] for file in tree.files} == {"train", "val"}
    assert not any(part in ("round", "back") for file in tree.files for part in file.parts)
    assert {item.split for item in open_dataset(root).items} == {"train", "val"}
    assert len(open_dataset(root).of_split("val")) == len(list((away / "images").iterdir()))


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was left out without a word, and training ran on the rest. (Root may list any folder, hence the fake.)"""
    write_pairs(tmp_path)
    (tmp_path / "images" / "more").mkdir()
    original = os.scandir

    def listing(path: Path) -> object:
        if Path(path).name == "more":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", listing)
    report = check_dataset(tmp_path, quiet=True)
    assert [(f.file, f.message) for f in report.errors] == [
        ("images/more", "the folder cannot be listed (Permission denied)")
    ]
    monkeypatch.setattr(os, "scandir", lambda path: listing(Path("more")))
    with pytest.raises(DataError, match="cannot be listed"):
        read_tree(tmp_path)


def test_sizes_are_compared_before_pixels_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` decoded a picture of 19,000 x 19,000 pixels beside a label of 16 x 16 and took 5 GB for it."""
    write_pairs(tmp_path)
    bomb(tmp_path / "images" / "3.png", 8000)
    asked = list[Path]()
    original = read_image
    monkeypatch.setattr(
        "denselab.data.dataset.read_image", lambda path, *rest: asked.append(path) or original(path, *rest)
    )
    report = check_dataset(tmp_path, quiet=True)
    assert [f.kind for f in report.errors] == ["size mismatch"]
    assert "picture 8000x8000 but label 16x16" in report.errors[0].message
    assert tmp_path / "images" / "3.png" not in asked
    assert len(asked) == 5
    write_contact_sheet(open_dataset(tmp_path), report.examples, tmp_path.with_name("sheet"))
    assert tmp_path / "images" / "3.png" not in asked


def test_an_annotation_that_claims_400_megapixels_is_not_drawn(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    dataset = open_dataset(tmp_path)
    from dataclasses import replace

    item = replace(dataset.items[0], source=ShapeLabels(tmp_path / "a.json", (20_000, 20_000), ()))
    report = check_dataset(replace(dataset, items=(item, *dataset.items[1:])), quiet=True)
    assert [f.kind for f in report.errors] == ["size mismatch"]


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (Shape(1, "rows", np.array([[0, 0], [10**5, 10**5]], float), [10**10]), "no picture's"),
        (Shape(1, "rows", np.array([[0, 0], [4, 4]], float), [10**12]), "no picture's"),
        (Shape(1, "mask", np.zeros((1, 2)), "aGVsbG8="), "holds no PNG"),
    ],
)
def test_a_mask_larger_than_any_picture_is_refused(tmp_path: Path, shape: Shape, told: str) -> None:
    with pytest.raises(DataError, match=told):
        ShapeLabels(tmp_path / "a.xml", (8, 8), (shape,)).ids()


def test_a_mask_file_is_measured_before_it_is_decoded(tmp_path: Path) -> None:
    header_only(tmp_path / "bomb.png", 40_000)
    header_only(tmp_path / "large.png", 15_000)
    os.mkfifo(tmp_path / "pipe.png")
    for name, told in (
        ("bomb.png", "pixels"),
        ("large.png", "has 15000x15000, but the picture 8x8"),
        ("pipe.png", "a pipe"),
    ):
        with pytest.raises(DataError, match=told):
            ShapeLabels(tmp_path / "a.xml", (8, 8), (Shape(1, "alpha", np.zeros((0, 2)), str(tmp_path / name)),)).ids()


def test_a_tiff_is_measured_in_pixels_not_in_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """12,000 x 12,000 RGB was refused as more than 400 million pixels."""
    monkeypatch.setattr("denselab.data.pixels.opening.MAX_PIXELS", 150)
    for planar in (None, "separate"):
        pixels = np.zeros((12, 12, 3) if planar is None else (3, 12, 12), np.uint8)
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig=planar)
        assert read_tags(tmp_path / "a.tif").size == (12, 12)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((13, 12, 3), np.uint8), photometric="rgb")
    with pytest.raises(DataError, match="13 x 12 x 3, more than 150 pixels"):
        read_tags(tmp_path / "a.tif")
    assert MAX_PIXELS == 400_000_000


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_is_refused_whatever_its_format(tmp_path: Path, suffix: str) -> None:
    """Only GIFs were: of a WEBP or PNG the first frame was taken without a word."""
    frames = [Image.new("RGB", (4, 4), (i * 90, 0, 0)) for i in range(3)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="an animation of 3 frames"):
        read_image(tmp_path / f"a.{suffix}")


def test_names_pair_however_their_accents_are_coded() -> None:
    composed, split = "bäume", unicodedata.normalize("NFD", "bäume")
    assert composed != split
    found = pair_stems([("", composed), ("", "a")], [("", split), ("", "a")])
    assert found.pairs == ((0, 0), (1, 1))
    assert "accents" in found.rule
    assert pair_stems([("", composed), ("", split)], [("", composed), ("", split)]).rule == ""  # two pictures stay two


def test_one_picture_with_alpha_among_others_is_said(tmp_path: Path) -> None:
    """Only the first eight headers were looked at."""
    write_pairs(tmp_path, 12)
    path = tmp_path / "images" / "9.png"
    Image.open(path).convert("RGBA").save(path)
    report = check_dataset(tmp_path, quiet=True)
    assert [(f.kind, f.file) for f in report.warnings if f.kind == "alpha"] == [("alpha", "images/9.png")]
    for i in range(12):
        path = tmp_path / "images" / f"{i}.png"
        Image.open(path).convert("RGBA").save(path)
    assert "alpha" not in [f.kind for f in check_dataset(tmp_path, quiet=True).warnings]  # of all: a note says so


@pytest.mark.parametrize("out", ["images", "images/new", "new", "train/new"])
def test_results_do_not_go_into_a_data_set(tmp_path: Path, out: str) -> None:
    for folder in ("images", "labels", "train/images", "train/labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    with pytest.raises(ConfigError, match="lies inside the data set"):
        refuse_inside_data(tmp_path / "data" / out)
    refuse_inside_data(tmp_path / "out")
    refuse_inside_data(None)


@pytest.mark.parametrize(
    "files",
    [
        ["train/a.png", "trainannot/a.png", "train.txt"],
        ["leftImg8bit/train/a/a_leftImg8bit.png", "gtFine/train/a/a_gtFine_labelIds.png"],
        ["images/a.jpg", "trainval.json"],
        ["train/a.jpg", "train/_annotations.coco.json"],
        [
            "stage1_train/00ae/images/00ae.png",
            "stage1_train/00ae/masks/1.png",
            "stage1_train/0bb1/images/0bb1.png",
            "stage1_train/0bb1/masks/2.png",
            "stage1_train/results/labels.json",
        ],
        ["00ae/images/00ae.png", "00ae/masks/1.png"],
    ],
)
def test_results_do_not_go_into_data_of_well_known_layouts(tmp_path: Path, files: list[str]) -> None:
    """`predict RUN photos/ --out CAMVID/out` wrote into the data set; so it was with Cityscapes, COCO's json, DSB2018."""
    for file in files:
        (tmp_path / "data" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / file).write_text('{"info": {}, "images": [{"id": 0}]}')
    with pytest.raises(ConfigError, match="lies inside the data set"):
        refuse_inside_data(tmp_path / "data" / "out")
    refuse_inside_data(tmp_path / "out")


def test_a_folder_beside_a_data_set_is_not_in_it(tmp_path: Path) -> None:
    """A set of one folder a picture made its neighbours refused, too, where its name had the word of a split."""
    for name in ("00ae", "0bb1"):
        (tmp_path / f"test of scans/{name}/masks").mkdir(parents=True)
        (tmp_path / f"test of scans/{name}/images").mkdir()
        (tmp_path / f"test of scans/{name}/images/{name}.png").touch()
    refuse_inside_data(tmp_path / "out")
    with pytest.raises(ConfigError, match="lies inside the data set"):
        refuse_inside_data(tmp_path / "test of scans/out")


def test_a_folder_of_data_sets_is_no_data_set(tmp_path: Path) -> None:
    write_pairs(tmp_path / "camvid")
    refuse_inside_data(tmp_path / "out")


def test_pictures_beside_any_json_are_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "labels.json").write_text('[{"id": 0, "name": "images"}]')
    refuse_inside_data(tmp_path / "out")


def test_results_of_films_are_no_data_set(tmp_path: Path) -> None:
    """`predict FILM --out OUT` worked once: the tables in OUT/frames beside OUT/labels were taken for pictures.

    So no film could be passed over, none be made again, and no second one go into the same folder.
    """
    for folder in ("labels", "frames"):
        (tmp_path / folder).mkdir()
    refuse_inside_data(tmp_path)  # none of its frames could be decoded
    for name in ("labels/drive.mkv", "frames/drive.csv", "frames/drive.json"):
        (tmp_path / name).touch()
    refuse_inside_data(tmp_path)
    (tmp_path / "frames" / "0001.PNG").touch()
    with pytest.raises(ConfigError, match="lies inside the data set"):
        refuse_inside_data(tmp_path)
    (tmp_path / "frames" / "0001.PNG").unlink()
    (tmp_path / "frames" / "clip1").mkdir()
    with pytest.raises(ConfigError, match="lies inside the data set"):
        refuse_inside_data(tmp_path / "new")


def test_a_million_labels_are_refused_at_once() -> None:
    with pytest.raises(DataError, match="more than 65,535 labels"):
        LabelSpace.from_list({"id": i} for i in range(1_000_000))


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "images/../../secret.png"])
def test_an_annotation_opens_nothing_outside_its_data_set(tmp_path: Path, name: str) -> None:
    """COCO's panoptic file_name and LabelMe's segm/mask were opened wherever they led."""
    with pytest.raises(DataError, match="which is outside"):
        read_tree(write_pairs(tmp_path)).path_inside(name, tmp_path / "a.json")
    assert (
        read_tree(tmp_path).path_inside("labels/../images/0.png", tmp_path / "a.json") == tmp_path / "images" / "0.png"
    )
