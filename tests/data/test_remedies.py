"""Every line for data.yaml that a refusal or a note prints is pasted as it stands, and `denselab check` then succeeds."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from PIL import Image
from typer.testing import CliRunner

from denselab.cli.check import check
from denselab.cli.main import app as main_app
from denselab.data import open_dataset
from denselab.data.audit.check import check_dataset
from denselab.data.described.yaml_file import Settings
from denselab.errors import DataError, SeveralDataSets

app = typer.Typer()
app.command()(check)
TICKED = re.compile(r"`([^`]*)`")
GREY = np.zeros((12, 16, 3), np.uint8)
HALF = np.where(np.arange(16) < 8, 0, 1) * np.ones((12, 1), int)


class Folder:
    """A data set under construction."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seed = 0

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text, encoding="utf-8")

    def label(self, name: str, pixels: Any, **options: Any) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels).astype(np.uint8)).save(self.root / name, **options)

    def photo(self, name: str, size: tuple[int, int] = (12, 16)) -> None:
        self.seed += 1
        self.label(name, np.random.default_rng(self.seed).integers(0, 256, (*size, 3)))

    def pairs(self, pixels: Any = HALF, names: str = "abcd", masks: str = "masks", images: str = "images") -> None:
        for name in names:
            if not (self.root / f"{images}/{name}.png").exists():
                self.photo(f"{images}/{name}.png")
            self.label(f"{masks}/{name}.png", pixels)


def coco(*files: str, category: str = "rust", segmented: bool = True) -> str:
    outline = {"segmentation": [[2, 2, 9, 2, 9, 9, 2, 9]]} if segmented else {"bbox": [2, 2, 7, 7]}
    return json.dumps({
        "images": [{"id": n, "file_name": f, "height": 12, "width": 16} for n, f in enumerate(files)],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, **outline} for n, _ in enumerate(files)],
        "categories": [{"id": 1, "name": category}],
    })  # fmt: skip


def drive(d: Folder) -> None:
    for split, n in (("training", 21), ("test", 1)):
        for number in (n, n + 1):
            d.photo(f"{split}/images/{number:02}_{split}.png")
            d.label(f"{split}/1st_manual/{number:02}_manual1.png", HALF * 255)
            d.label(f"{split}/mask/{number:02}_{split}_mask.png", np.where(np.arange(16) < 15, 255, HALF * 0))


def odd_folder_names(d: Folder) -> None:
    for masks in ("masks: 1", "masks [new]"):
        d.pairs(masks=masks)


def held_out_only(d: Folder) -> None:
    d.pairs(images="test/images", masks="test/masks")
    d.write("classes.txt", "ground\nroad\n")


def shapes_beside_pictures(d: Folder) -> None:
    d.pairs()
    d.write("annotations.json", coco("a.png", "b.png", "c.png"))


def instances_and_stuff(d: Folder) -> None:
    for name in "abc":
        d.photo(f"images/{name}.png")
    d.write("annotations/instances_x.json", coco("a.png", "b.png", "c.png"))
    d.write("annotations/stuff_x.json", coco("a.png", "b.png", "c.png", category="sky"))


def instances_and_stuff_of_splits(d: Folder) -> None:
    for split in ("train", "val"):
        for name in "ab":
            d.photo(f"{split}/{split}{name}.png")
        files = [f"{split}{name}.png" for name in "ab"]
        d.write(f"annotations/instances_{split}.json", coco(*files))
        d.write(f"annotations/stuff_{split}.json", coco(*files, category="sky"))


def panoptic_or_key_points(d: Folder) -> None:
    for name in "abc":
        d.photo(f"images/{name}.png")
    d.write("annotations/instances_x.json", coco("a.png", "b.png", "c.png"))
    d.write("annotations/person_keypoints_x.json", coco("a.png", "b.png", "c.png", category="person"))


def grey_levels(d: Folder) -> None:
    d.pairs(np.repeat([[0, 128, 255, 0]], 12, axis=0).repeat(4, axis=1))


def nearly_all_grey_values(d: Folder) -> None:
    d.pairs(np.random.default_rng(1).integers(0, 256, (12, 16)))


def numbers_in_pieces(d: Folder) -> None:
    d.pairs(np.arange(24).repeat(8).reshape(12, 16))


def sixteen_bit_objects(d: Folder) -> None:
    for name in "abcd":
        d.photo(f"images/{name}.png")
        (d.root / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.arange(0, 24).repeat(8).reshape(12, 16).astype(np.uint16)).save(d.root / f"masks/{name}.png")


def unnamed(d: Folder) -> None:
    d.pairs(HALF + 2)


def unnamed_two_valued(d: Folder) -> None:
    d.pairs(HALF * 255)


def unnamed_with_255(d: Folder) -> None:
    d.pairs(np.where(np.arange(16) < 4, 255, HALF))


def colours(d: Folder) -> None:
    d.pairs(np.where(HALF[..., None] == 1, np.array([255, 0, 0]), 0))


def negative(d: Folder) -> None:
    import tifffile

    for name in "abcd":
        d.photo(f"images/{name}.png")
        (d.root / "masks").mkdir(exist_ok=True)
        tifffile.imwrite(d.root / f"masks/{name}.tif", (HALF * np.where(np.arange(16) < 12, 1, -1)).astype(np.int16))


def unknown_id(d: Folder) -> None:
    d.pairs(np.where(np.arange(16) < 4, 7, HALF))
    d.write("classes.txt", "ground\nroad\n")


def list_without_all(d: Folder) -> None:
    d.pairs()
    d.write("train.txt", "a\nb\n")


def list_and_val(d: Folder) -> None:
    d.pairs()
    d.write("splits/train list.txt", "a\n")
    d.write("splits/val.txt", "b\n")


def folds(d: Folder) -> None:
    d.pairs()
    d.write(
        "splits_final.json",
        json.dumps([{"train": ["a", "b", "c"], "val": ["d"]}, {"train": ["d"], "val": ["a", "b", "c"]}]),
    )


def deep(d: Folder) -> None:
    for name in "abcd":
        (d.root / "images").mkdir(exist_ok=True)
        values = np.random.default_rng(ord(name)).integers(0, 4000, (12, 16)).astype(np.uint16)
        Image.fromarray(values).save(d.root / f"images/{name}.png")
        d.label(f"masks/{name}.png", HALF)


def labelme(d: Folder, *labels: str) -> None:
    square = [[2, 2], [9, 2], [9, 9], [2, 9]]
    for name in "abc":
        d.photo(f"{name}.png")
        shapes = [
            {"label": label, "points": square, "shape_type": "polygon"} for label in labels or ("rust", "a, b: c")
        ]
        d.write(
            f"{name}.json",
            json.dumps({"shapes": shapes, "imagePath": f"{name}.png", "imageHeight": 12, "imageWidth": 16}),
        )


def bad_names_file(d: Folder) -> None:
    d.pairs()
    d.write("class_dict.csv", "a,b,c\n1,2,3\n")


def names_that_disagree(d: Folder) -> None:
    for split, names in (("train", "ground,road"), ("valid", "road,ground")):
        d.pairs(images=f"{split}/images", masks=f"{split}/masks")
        d.write(f"{split}/classes.txt", names.replace(",", "\n") + "\n")


def via_attributes(d: Folder) -> None:
    shape = {"name": "rect", "x": 2, "y": 2, "width": 7, "height": 6}
    region = {"shape_attributes": shape, "region_attributes": {"the kind": "rust", "how: old": "new"}}
    for name in "abc":
        d.photo(f"{name}.png")
    d.write("via.json", json.dumps({n: {"filename": f"{n}.png", "size": 1, "regions": [region]} for n in "abc"}))


def annotators(d: Folder) -> None:
    value = {"x": 10, "y": 10, "width": 50, "height": 50, "rectanglelabels": ["rust"]}
    result = [
        {"original_width": 16, "original_height": 12, "image_rotation": 0, "type": "rectanglelabels", "value": value}
    ]
    done = [{"result": result, "completed_by": person} for person in (3, 8)]
    for name in "abc":
        d.photo(f"images/{name}.png")
    tasks = [{"id": n, "data": {"image": f"{name}.png"}, "annotations": done} for n, name in enumerate("abc")]
    d.write("export.json", json.dumps(tasks))


def runs(d: Folder, rows: bool = False) -> None:
    """A disc in pictures of 12 x 16, numbered down the columns or along the rows; a fourth picture without a row."""
    grid = np.indices((12, 16))
    disc = (grid[0] - 6) ** 2 + (grid[1] - 8) ** 2 <= 16
    numbers = np.flatnonzero(disc.ravel() if rows else disc.T.ravel()) + 1
    text = " ".join(f"{n} 1" for n in numbers)
    for name in "abcd":
        d.photo(f"images/{name}.png")
    d.write("train.csv", "ImageId,EncodedPixels\n" + "".join(f"{name}.png,{text}\n" for name in "abc"))


def runs_along_rows(d: Folder) -> None:
    runs(d, rows=True)


def runs_along_rows_beside_masks(d: Folder) -> None:
    runs_along_rows(d)
    for name in "abc":
        d.label(f"train_masks/{name}.png", HALF)


def two_tables_of_runs(d: Folder) -> None:
    runs(d)
    d.write("new: 2.csv", (d.root / "train.csv").read_text(encoding="utf-8"))


def channels(d: Folder) -> None:
    d.write("dataset.json", json.dumps({"labels": {"background": 0, "road": 1}}))
    for case in ("x_001", "x_002", "x_003"):
        for channel in (0, 1):
            d.photo(f"imagesTr/{case}_000{channel}.png")
        d.label(f"labelsTr/{case}.png", HALF)


def bdd(d: Folder) -> None:
    for task, size in (("sem_seg", "10k"), ("drivable", "100k")):
        for split in ("train", "val"):
            for name in "ab":
                d.photo(f"images/{size}/{split}/{split}{name}{size}.jpg")
                d.label(f"labels/{task}/masks/{split}/{split}{name}{size}.png", HALF)


def two_annotators(d: Folder) -> None:
    for name in ("01L", "01R", "02L", "02R"):
        d.photo(f"{name}.png")
        d.label(f"{name}_1stHO.png", HALF * 255)
        d.label(f"{name}_2ndHO.png", HALF * 255)


def names_count_from_0(d: Folder) -> None:
    d.pairs(HALF + 1)
    d.write("classes.txt", "ground\nroad\n")


def three_names_of_two_values(d: Folder) -> None:
    d.pairs(HALF * 255)
    d.write("classes.txt", "ground\nroad\nsky\n")


def transparent_entry(d: Folder) -> None:
    d.pairs()
    for name in "abcd":
        d.label(f"masks/{name}.png", np.where(np.arange(16) < 4, 2, HALF), transparency=2)


def lists_of_folds(d: Folder) -> None:
    d.pairs()
    for number, held in enumerate("ab"):
        d.write(f"train_fold{number}.txt", "".join(f"{name}\n" for name in "abcd" if name != held))
        d.write(f"val_fold{number}.txt", f"{held}\n")


def ignored(d: Folder) -> None:
    d.pairs()
    d.write("classes.txt", "void\nunlabelled\n")
    d.write("data.yaml", "labels: [{id: 0, name: x, role: ignore}, {id: 1, name: y, role: ignore}, {id: 2, name: z}]\n")


def one_class_beside_unlabelled(d: Folder) -> None:
    d.pairs(np.where(HALF[..., None] == 1, [128, 64, 128], 0))
    d.write("class_dict.csv", "name,r,g,b\nunlabeled,0,0,0\npaved,128,64,128\n")


def covered(d: Folder) -> None:
    labelme(d, "small, red", "above")


def lone_marker(d: Folder) -> None:
    d.pairs(np.where(np.arange(16) < 4, 99, np.where(np.arange(16) < 8, 2, HALF)))


def counting_otherwise(d: Folder) -> None:
    d.pairs(np.where(np.arange(16) < 2, 255, np.where(np.arange(16) < 4, 2, HALF)))
    d.write("labels.txt", "0: unlabeled\n1: person\n2: bicycle\n3: car\n")


def two_names_files(d: Folder) -> None:
    d.pairs()
    d.write("classes.txt", "ground\nroad\n")
    d.write("names.json", json.dumps(["road", "ground"]))


def a_shared_colour(d: Folder) -> None:
    d.pairs(np.where(HALF[..., None] == 1, [128, 64, 128], 0))
    d.write("class_dict.csv", "name,r,g,b\nground,0,0,0\nroad,128,64,128\npath,128,64,128\n")


def labels_within_labels(d: Folder) -> None:
    d.pairs(masks="gt/labels")
    d.pairs(np.where(HALF[..., None] == 1, [128, 64, 128], 0), masks="gt/colour")


def transparent_background(d: Folder) -> None:
    d.pairs()
    for name in "abcd":
        d.label(f"masks/{name}.png", np.dstack([HALF * 255, HALF * 0, HALF * 0, HALF * 255]))


def thermal(d: Folder) -> None:
    d.pairs()
    for seed, name in enumerate("abcd"):
        pixels = np.random.default_rng(seed).integers(29000, 31000, (12, 16)).astype(np.uint16)
        Image.fromarray(pixels).save(d.root / f"images/{name}.png")


def masks_of_two_tools(d: Folder) -> None:
    d.pairs(names="ab")
    d.pairs(HALF * 255, names="cd")


def ids_and_masks(d: Folder) -> None:
    d.pairs(np.where(np.arange(16) < 4, 2, HALF), names="ab")
    d.pairs(HALF * 255, names="cd")
    d.write("classes.txt", "ground\nroad: wet\nsky\n")


def shuffled_palettes(d: Folder) -> None:
    """Red and blue change their numbers from file to file, as after `quantize`."""
    for name, order in zip("abcd", ([0, 1, 2], [0, 2, 1]) * 2, strict=True):
        d.photo(f"images/{name}.png")
        picture = Image.fromarray(
            np.argsort(order)[np.repeat([[0, 0, 1, 2]], 12, axis=0).repeat(4, axis=1)].astype("uint8")
        )
        picture.putpalette(np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]])[order].ravel().tolist())
        (d.root / "masks").mkdir(exist_ok=True)
        picture.save(d.root / f"masks/{name}.png")


def smoothed(d: Folder, colours: Any) -> None:
    """Labels of three classes, enlarged and reduced again as a photograph is."""
    labels = np.zeros((24, 32), int)
    labels[2:10, 3:12], labels[12:22, 15:26] = 1, 2
    for name in "abcd":
        d.photo(f"images/{name}.png", (24, 32))
        (d.root / "masks").mkdir(exist_ok=True)
        sharp = Image.fromarray(np.array(colours, np.uint8)[labels])
        soft = sharp.resize((64, 48), Image.Resampling.BILINEAR).resize((32, 24), Image.Resampling.BILINEAR)
        soft.save(d.root / f"masks/{name}.png")


def soft_colours(d: Folder) -> None:
    smoothed(d, [[0, 0, 0], [220, 20, 60], [0, 90, 200]])


def soft_greys(d: Folder) -> None:
    smoothed(d, [0, 127, 255])


def names_without_the_background(d: Folder) -> None:
    d.pairs(np.where(np.arange(16) < 4, 2, HALF))
    d.write("classes.txt", "road\nsky\n")


# Each case with the number of ways that its messages print.
def ids_times_255(d: Folder) -> None:
    d.pairs(np.where(np.arange(16) < 4, 0, np.where(np.arange(16) < 9, 255, 254)) * np.ones((12, 1), int))


def two_readers(d: Folder) -> None:
    for name in "abcd":
        d.photo(f"images/{name}.png")
        for reader in (1, 2):
            d.label(f"masks/{name}_reader{reader}.png", HALF)


def two_ways_of_calling(d: Folder) -> None:
    for number, name in enumerate("abcd"):
        d.photo(f"images/{name}.png")
        d.label(f"masks/{name}_label{'Train' * (number % 2)}Ids.png", HALF)


def exposures(d: Folder) -> None:
    for scene in "abcd":
        d.label(f"masks/{scene}.png", HALF)
        for end in ("ev0", "ev+2"):
            d.photo(f"images/{scene}_{end}.png")


def two_labelled_dates(d: Folder) -> None:
    for date in (1, 2):
        d.pairs(images=f"im{date}", masks=f"label{date}")


def manuscripts(d: Folder) -> None:
    for part in ("CB55", "CS18"):
        for split in ("training", "validation"):
            d.pairs(names="ab", images=f"{part}/img/{split}", masks=f"{part}/gt/{split}")


def numbered_parts(d: Folder) -> None:
    for part in (1, 2):
        d.pairs(names=("ab", "cd")[part - 1], images=f"images_part{part}", masks=f"masks_part{part}")


def masks_in_another_language(d: Folder) -> None:
    d.pairs(images="fotos", masks="mascaras")


def a_folder_for_each_class(d: Folder) -> None:
    d.pairs()
    for kind in ("cat", "dog"):
        for name in "abcd":
            d.label(f"labels/{kind}/{name}.png", HALF)


def colours_of_objects(d: Folder) -> None:
    pieces = np.kron(np.arange(24).reshape(4, 6), np.ones((3, 3), int))[:, :16]
    d.pairs(np.dstack([pieces, pieces * 0, pieces * 0]))


def objects_of_classes(d: Folder) -> None:
    for name in "abcd":
        d.photo(f"images/{name}.png")
        (d.root / "labels").mkdir(exist_ok=True)
        Image.fromarray((26000 + HALF + 2000 * (np.arange(16) % 3)).astype(np.uint16)).save(
            d.root / f"labels/{name}.png"
        )


def runs_of_coco_along_rows(d: Folder) -> None:
    document = json.loads(coco("a.png", "b.png", "c.png", "d.png"))
    for name in "abcd":
        d.photo(f"images/{name}.png")
    for annotation in document["annotations"]:
        annotation |= {"segmentation": {"size": [12, 16], "counts": [18, 10, 6, 10, 148]}, "bbox": [2, 1, 10, 2]}
    d.write("annotations.json", json.dumps(document))


def two_dates(d: Folder) -> None:
    for date in "AB":
        d.pairs(HALF * 255, images=f"train/{date}", masks="train/label")


def a_few_objects(d: Folder) -> None:
    for name, count in zip("abcd", (3, 5, 8, 8), strict=True):
        d.pairs(np.where(np.arange(16) < count, np.arange(16) + 1, 0) * np.ones((12, 1), int), names=name)


def numbers_beside_red(d: Folder) -> None:
    red = np.repeat([3, 8, 8, 10], 4) * np.ones((12, 1), int)
    number = np.repeat([0, 1, 2, 0], 4) * np.ones((12, 1), int)
    d.pairs(np.dstack([red, number, red * 0]))


def endings_of_both(d: Folder) -> None:
    for name in ("f_01", "f_02"):
        d.photo(f"rgb_anon/{name}_rgb_anon.png")
        for kind, shift in (("labelIds", 7), ("labelTrainIds", 0)):
            d.label(f"gt/{name}_gt_{kind}.png", HALF + shift)


def copies_outside(d: Folder) -> None:
    for home, names in (("train/", "abc"), ("test/", "de"), ("", "abcde")):
        d.pairs(names=names, images=f"{home}images", masks=f"{home}masks")


CASES: tuple[tuple[Callable[[Folder], None], int], ...] = (
    (drive, 2), (odd_folder_names, 2), (held_out_only, 1), (shapes_beside_pictures, 2), (instances_and_stuff, 2),
    (instances_and_stuff_of_splits, 2), (panoptic_or_key_points, 2), (grey_levels, 2), (nearly_all_grey_values, 2),
    (numbers_in_pieces, 2), (sixteen_bit_objects, 1), (unnamed, 1), (unnamed_two_valued, 1), (unnamed_with_255, 1),
    (colours, 1), (negative, 2), (unknown_id, 1), (list_without_all, 2), (list_and_val, 2), (folds, 2), (deep, 2),
    (labelme, 1), (via_attributes, 2), (annotators, 2), (runs, 2), (runs_along_rows, 2), (runs_along_rows_beside_masks, 3), (two_tables_of_runs, 2),
    (channels, 2), (bdd, 2), (ignored, 1), (covered, 1), (two_annotators, 2), (names_count_from_0, 1),
    (three_names_of_two_values, 1), (transparent_entry, 2), (lists_of_folds, 2),
    (one_class_beside_unlabelled, 1), (lone_marker, 2), (counting_otherwise, 2), (two_names_files, 2),
    (a_shared_colour, 2), (labels_within_labels, 2), (transparent_background, 1), (thermal, 3),
    (masks_of_two_tools, 2), (ids_and_masks, 2), (shuffled_palettes, 2), (soft_colours, 1), (soft_greys, 1),
    (names_without_the_background, 1), (ids_times_255, 2), (two_readers, 2), (two_ways_of_calling, 3),
    (numbered_parts, 3), (masks_in_another_language, 1), (a_folder_for_each_class, 1), (colours_of_objects, 2),
    (objects_of_classes, 2), (runs_of_coco_along_rows, 2), (two_dates, 2), (a_few_objects, 2), (numbers_beside_red, 2),
    (endings_of_both, 2), (copies_outside, 2), (exposures, 3), (two_labelled_dates, 3), (manuscripts, 1),
)  # fmt: skip


def told(root: Path) -> list[str]:
    """All that is said about a folder: the refusal, or the notes and faults."""
    try:
        dataset = open_dataset(root)
    except DataError as error:
        return [str(error)]
    faults = check_dataset(dataset, quiet=True).faults
    return [*dataset.notes, *(f"{fault.message}; {fault.fix}" for fault in faults)]


def ways(text: str) -> list[str]:
    """The contents of data.yaml that a message offers: ticked lines, those joined by "and" together."""
    found: list[list[str]] = []
    last = 0
    for match in TICKED.finditer(text):
        line, between = match[1], re.sub(r"\([^()]*\)", "", text[last : match.start()]).strip()
        last = match.end()
        try:
            keys = yaml.safe_load(line)
        except yaml.YAMLError:
            continue
        if (
            not isinstance(keys, dict)
            or not set(keys) <= set(Settings.model_fields)
            or re.search(r"\b(FOLDER|NAME|FILE)\b", line)
        ):
            continue
        if found and between == "and":
            found[-1].append(line)
        else:
            found.append([line])
    return ["\n".join(lines) + "\n" for lines in found]


def offered(root: Path) -> list[str]:
    return list(dict.fromkeys(way for text in told(root) for way in ways(text)))


@pytest.mark.parametrize(("build", "count"), CASES, ids=[build.__name__ for build, _ in CASES])
def test_what_is_printed_works_when_it_is_pasted(build, count, tmp_path, monkeypatch):
    root = tmp_path / "data"
    root.mkdir()
    build(Folder(root))
    monkeypatch.chdir(tmp_path)
    lines = offered(root)
    assert len(lines) == count, lines
    for way in lines:
        (root / "data.yaml").write_text(way, encoding="utf-8")
        result = CliRunner().invoke(app, [str(root), "--workers", "1"])
        assert result.exit_code == 0, f"{way}\n{result.output}\n{result.exception}"


TEMPLATES: tuple[tuple[Callable[[Folder], None], str, str], ...] = (
    (lambda d: _renamed(d), "`pattern: {image: 'A*', mask: 'B*'}`", "pattern: {image: 'cam*', mask: 'gt*x'}\n"),
    (drive, "`ignore_mask: FOLDER`", "masks: {train: training/1st_manual, test: test/1st_manual}\n"
     "images: {train: training/images, test: test/images}\nignore_mask: {train: training/mask, test: test/mask}\n"),
    (bad_names_file, "`labels: {0: NAME, 1: NAME}`", "labels: {0: ground, 1: road}\n"),
    (names_that_disagree, "`labels: {0: NAME, 1: NAME}`", "labels: {0: ground, 1: road}\n"),
    (lambda d: _unlisted_colour(d), "{id: 1, name: new 1, colour: [255, 0, 0]}",
     "labels: [{id: 0, name: ground, colour: [0, 0, 0]}, {id: 1, name: new 1, colour: [255, 0, 0]}]\n"),
)  # fmt: skip


def _renamed(d: Folder) -> None:
    for number in range(4):
        d.photo(f"images/cam{number}.png")
        d.label(f"masks/gt{number}x.png", HALF)
    d.label("masks/other.png", HALF)


def _unlisted_colour(d: Folder) -> None:
    colours(d)
    d.write("data.yaml", "labels: [{id: 0, name: ground, colour: [0, 0, 0]}]\n")


@pytest.mark.parametrize(("build", "printed", "pasted"), TEMPLATES)
def test_a_template_works_when_its_capitals_are_filled_in(build, printed, pasted, tmp_path, monkeypatch):
    root = tmp_path / "data"
    root.mkdir()
    build(Folder(root))
    monkeypatch.chdir(tmp_path)
    assert any(printed in text for text in told(root)), told(root)
    (root / "data.yaml").write_text(pasted, encoding="utf-8")
    result = CliRunner().invoke(app, [str(root), "--workers", "1"])
    assert result.exit_code == 0, result.output


def test_the_line_goes_into_the_folder_that_holds_the_data(tmp_path):
    """The refusal came from a sub-folder: its line did not fit into the folder that was given, and was not read below."""
    root = tmp_path / "download" / "set"
    root.mkdir(parents=True)
    instances_and_stuff(Folder(root))
    with pytest.raises(DataError, match=r"\(data\.yaml goes into .*download/set\)"):
        open_dataset(tmp_path)
    line = offered(root)[0]
    (root / "data.yaml").write_text(line, encoding="utf-8")
    assert len(open_dataset(tmp_path)) == 3
    (root / "data.yaml").unlink()
    (tmp_path / "data.yaml").write_text("path: download/set\n" + line, encoding="utf-8")
    assert len(open_dataset(tmp_path)) == 3


def test_the_lines_fit_the_folder_that_was_given(tmp_path):
    root = tmp_path / "download" / "DRIVE"
    root.mkdir(parents=True)
    drive(Folder(root))
    (tmp_path / "data.yaml").write_text(offered(tmp_path)[0], encoding="utf-8")
    assert len(open_dataset(tmp_path)) == 4


def test_a_question_is_answered_and_a_run_is_planned(tmp_path):
    drive(Folder(tmp_path))
    (tmp_path / "data.yaml").write_text(offered(tmp_path)[0], encoding="utf-8")
    result = CliRunner().invoke(
        main_app, ["train", str(tmp_path), "--out", str(tmp_path.parent / "run"), "--epochs", "1", "--model", "unet_small",
                   "--imgsz", "32x32", "--device", "cpu", "--dry-run"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("build", [grey_levels, held_out_only], ids=["asked when opened", "refused by train"])
def test_the_pasted_answer_trains(build, tmp_path):
    """The refusal of `train` itself is pasted: what it prints is cut to one error, with the way out of that one."""
    build(Folder(tmp_path))
    run = ["--out", str(tmp_path.parent / f"run {build.__name__}"), "--epochs", "1", "--imgsz", "32x32"]
    command = ["train", str(tmp_path), *run, "--model", "unet_small", "--device", "cpu", "validations=1"]
    refused = CliRunner().invoke(main_app, command)
    assert isinstance(refused.exception, DataError)
    (tmp_path / "data.yaml").write_text(ways(str(refused.exception))[0], encoding="utf-8")
    trained = CliRunner().invoke(main_app, command)
    assert trained.exit_code == 0, trained.exception


def test_each_of_several_data_sets_opens(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        Folder(tmp_path / name).pairs(names="abcd" if name == "first" else "efgh")
    with pytest.raises(SeveralDataSets, match="open one of them: first, second") as caught:
        open_dataset(tmp_path)
    assert [len(open_dataset(folder)) for folder in caught.value.folders] == [4, 4]
