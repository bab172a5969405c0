"""check_dataset: what is there is counted exactly, and every planted fault is found, named and told apart."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from denselab.data.audit.check import CheckReport, check_dataset
from denselab.data.audit.faults import pairing_faults
from denselab.data.audit.findings import Fault, smeared
from denselab.data.dataset import Dataset, Item, open_dataset
from denselab.data.item import FileLabels
from denselab.data.label_files.encodings import Encoding
from denselab.data.pixels.opening import EXIF_ORIENTATION
from denselab.data.splits.likenesses import NEAR_BITS, look_of
from denselab.labels import LabelEntry, LabelSpace

TABLE = LabelSpace(
    (
        LabelEntry(0, "ground", (0, 0, 0), "background"),
        LabelEntry(1, "tree", (0, 200, 0)),
        LabelEntry(2, "car", (0, 0, 200)),
        LabelEntry(9, "void", (90, 90, 90), "ignore"),
    )
)
SIZE = (24, 32)

MakeSet = Callable[..., Dataset]


def picture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def label(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Three stripes: ground, tree, car."""
    ids = np.zeros(size, np.uint8)
    ids[size[0] // 3 :] = 1
    ids[:, size[1] - 4 - seed % 3 :] = 2
    return ids


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    """Writes `count` sound pairs (every third is val) and gives them as a Dataset."""

    def make(count: int = 6, kind: str = "index") -> Dataset:
        items = []
        for number in range(count):
            split = "val" if number % 3 == 2 else "train"
            image, labels = tmp_path / "images" / f"{number}.png", tmp_path / "labels" / f"{number}.png"
            for file in (image, labels):
                file.parent.mkdir(exist_ok=True)
            Image.fromarray(picture(number)).save(image)
            Image.fromarray(label(number)).save(labels)
            items.append(Item(f"{number}", image, FileLabels(labels, Encoding(kind)), split, ""))
        return Dataset(tmp_path, "test", kind, TABLE, tuple(items))

    return make


def only(report: CheckReport) -> Fault:
    assert len(report.faults) == 1, report.faults
    return report.faults[0]


def test_sound_data_have_no_fault_and_exact_counts(make_set: MakeSet):
    report = check_dataset(make_set(3), quiet=True)
    assert report.faults == ()
    assert report.would_train
    assert report.complete
    assert report.pictures == {"train": 2, "val": 1}
    # by hand: car is 4, 5 and 6 columns of 24 rows; ground the first 8 rows left of it; tree the other 16
    assert report.class_pixels["train"] == {"ground": 8 * (28 + 27), "tree": 16 * (28 + 27), "car": 24 * (4 + 5)}
    assert report.class_pixels["val"] == {"ground": 8 * 26, "tree": 16 * 26, "car": 24 * 6}
    assert report.class_pictures == {"ground": 3, "tree": 3, "car": 3}
    assert report.ignored_pixels == {"train": 0, "val": 0}
    assert report.sizes == ((SIZE, 3),)
    assert report.examples["car"] == ("2", "1", "0")
    assert "fit for training" in report.verdict


def test_the_report_is_plain_data(make_set: MakeSet):
    report = check_dataset(make_set(3), quiet=True, workers=1)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["would_train"] is True
    assert plain["sizes"] == [{"height": 24, "width": 32, "pictures": 3}]
    assert plain["class_pixels"] == report.class_pixels
    assert LabelSpace.from_list(plain["labels"]) == TABLE


@pytest.mark.parametrize("broken", [b"", b"not a picture", None])
@pytest.mark.parametrize("folder", ["images", "labels"])
@pytest.mark.parametrize("quick", [False, True])
def test_unreadable_files_are_named(make_set: MakeSet, broken: bytes | None, folder: str, quick: bool):
    dataset = make_set()
    file = dataset.root / folder / "1.png"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if broken is None else broken)
    report = check_dataset(dataset, quiet=True, quick=quick)
    fault = only(report)
    assert fault.kind == f"unreadable {folder[:-1].replace('image', 'picture')}"
    assert fault.severity == "error"
    assert fault.file == f"{folder}/1.png"
    assert str(dataset.root) not in fault.message
    assert fault.fix
    assert not report.would_train
    assert f"{folder}/1.png" in report.verdict


def test_size_mismatch(make_set: MakeSet):
    dataset = make_set()
    Image.fromarray(label(4, (24, 31))).save(dataset.root / "labels" / "4.png")
    fault = only(check_dataset(dataset, quiet=True))
    assert (fault.kind, fault.severity, fault.file) == ("size mismatch", "error", "images/4.png")
    assert "picture 24x32 but label 24x31 in labels/4.png" in fault.message


def test_unknown_ids_are_counted(make_set: MakeSet):
    """The id behind the last class is the commonest mistake; the message says which, how many pixels, and where."""
    dataset = make_set()
    ids = label(0)
    ids[0, :5] = 3
    ids[1, :2] = 255
    Image.fromarray(ids).save(dataset.root / "labels" / "0.png")
    report = check_dataset(dataset, quiet=True)
    fault = only(report)
    assert (fault.kind, fault.severity, fault.file) == ("unknown id", "error", "labels/0.png")
    assert "id 3 (5 pixels), id 255 (2 pixels)" in fault.message
    assert "data.yaml" in fault.fix
    assert sum(report.class_pixels["train"].values()) == 4 * 24 * 32 - 7
    assert report.ignored_pixels["train"] == 7


def save_turned(file: Path, pixels: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(pixels).save(file, exif=exif)


@pytest.mark.parametrize(
    ("orientation", "label_size", "severity"),
    [
        (6, (24, 32), "error"),
        (6, (32, 24), None),
        (8, (24, 32), "error"),
        (3, (24, 32), "warning"),
        (1, (24, 32), None),
    ],
)
def test_rotation_that_fits_one_of_the_two(
    make_set: MakeSet, orientation: int, label_size: tuple[int, int], severity: str | None
):
    dataset = make_set()
    save_turned(dataset.root / "images" / "0.png", picture(0), orientation)
    Image.fromarray(label(0, label_size)).save(dataset.root / "labels" / "0.png")
    report = check_dataset(dataset, quiet=True)
    assert [(fault.kind, fault.severity) for fault in report.faults] == ([("rotation", severity)] if severity else [])


def test_files_without_partner(make_set: MakeSet):
    dataset = make_set()
    lonely = Dataset(
        dataset.root, "test", "index", TABLE, dataset.items,
        without_label=(dataset.root / "images" / "x.png",), without_image=(dataset.root / "labels" / "y.png",),
    )  # fmt: skip
    report = check_dataset(lonely, quiet=True)
    assert [(f.kind, f.severity, f.file) for f in report.faults] == [
        ("label missing", "warning", "images/x.png"),
        ("picture missing", "warning", "labels/y.png"),
    ]
    assert report.would_train


def test_same_pixels_in_two_splits_are_a_leak_and_in_one_a_duplicate(make_set: MakeSet):
    """Another file format or name does not hide it: the decoded pixels are compared."""
    dataset = make_set()
    Image.fromarray(picture(0)).save(dataset.root / "images" / "2.png", compress_level=0)
    Image.fromarray(picture(1)).save(dataset.root / "images" / "3.png", compress_level=0)
    report = check_dataset(dataset, quiet=True)
    assert [(fault.kind, fault.severity, fault.file) for fault in report.faults] == [
        ("leak", "warning", "images/2.png"),
        ("duplicate", "warning", "images/3.png"),
    ]
    leak, duplicate = (fault.message for fault in report.faults)
    agree = f"{(label(0) == label(2)).mean():.1%}"
    assert leak == f"has the same pixels as images/0.png, val and train; their labels agree in {agree} of the pixels"
    assert duplicate.startswith("has the same pixels as images/1.png; their labels agree in")


def smooth(seed: int) -> np.ndarray:
    """A picture with large shapes, as photographs have."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC))


def test_near_duplicates_are_one_summary(make_set: MakeSet):
    dataset = make_set(9)
    for number, item in enumerate(dataset.items):
        Image.fromarray(smooth(number)).save(item.image)
        Image.fromarray(label(number, (120, 160))).save(item.source.path)
    for here, there in ((2, 0), (5, 1)):  # the same places, a little brighter and noisier
        noise = np.random.default_rng(here).normal(6, 4, (120, 160, 3))
        Image.fromarray(np.clip(smooth(there) + noise, 0, 255).astype(np.uint8)).save(dataset.items[here].image)
    fault = only(check_dataset(dataset, quiet=True))
    assert (fault.kind, fault.severity) == ("leak", "warning")
    assert "2 of 3 val pictures" in fault.message
    assert "images/2.png and images/0.png (" in fault.message
    assert "images/5.png and images/1.png (" in fault.message


def retina(seed: int) -> np.ndarray:
    """A bright disc on black, 192x192, with four faint vessels of its own."""
    rows, columns = np.mgrid[:192, :192]
    disc = np.clip(200 - np.hypot(rows - 96, columns - 77) * 0.8, 0, 255) * (np.hypot(rows - 96, columns - 96) < 91)
    rng = np.random.default_rng(seed)
    for _ in range(4):
        x, slope, bend = rng.uniform(38, 154), rng.uniform(-0.8, 0.8), rng.uniform(-0.005, 0.005)
        vessel = np.abs(columns - x - slope * (rows - 96) - bend * (rows - 96) ** 2) < 1.5
        disc[vessel] *= 0.85
    return np.repeat(disc[..., None], 3, axis=2).astype(np.uint8)


def test_pictures_that_all_look_alike_are_no_leak(make_set: MakeSet):
    """Retinas, dark round pictures, were told to be frames of one video; the same eye twice is still found."""
    dataset = make_set(15)
    for number, item in enumerate(dataset.items):
        Image.fromarray(retina(number)).save(item.image)
        Image.fromarray(label(number, (192, 192))).save(item.source.path)
    near = [np.bitwise_count(look_of(retina(0)).bits ^ look_of(retina(n)).bits).sum() for n in range(1, 15)]
    assert min(near) <= NEAR_BITS, "the bits alone do not tell them apart"
    assert not [fault for fault in check_dataset(dataset, quiet=True).faults if fault.kind == "leak"]
    again = np.clip(retina(0) + np.random.default_rng(1).normal(4, 2, (192, 192, 3)), 0, 255).astype(np.uint8)
    held = dataset.of_split("val")[0]
    Image.fromarray(again).save(held.image)
    faults = [fault for fault in check_dataset(dataset, quiet=True).faults if fault.kind == "leak"]
    assert len(faults) == 1
    assert f"images/{held.image.name} and images/0.png" in faults[0].message


def series(make_set: MakeSet, group: str, moving: bool) -> Dataset:
    """Twelve pictures of one group over two splits, frames of a pan or unrelated ones, and twenty of other places."""
    dataset = make_set(32)
    wide = np.asarray(Image.fromarray(smooth(0)).resize((640, 120)))
    items = []
    for number, item in enumerate(dataset.items):
        pan = wide[:, number * 25 : number * 25 + 160] if moving and number < 12 else smooth(number)
        Image.fromarray(pan).save(item.image)
        Image.fromarray(label(number, (120, 160))).save(item.source.path)
        where = group if number < 12 else item.name
        items.append(Item(item.name, item.image, item.source, "val" if 8 < number < 12 else "train", where))
    return Dataset(dataset.root, "test", "index", TABLE, tuple(items))


@pytest.mark.parametrize(("group", "moving", "told"), [("x/clip", True, 1), ("x/clip", False, 0), ("x/", True, 0)])
def test_a_video_in_two_splits(make_set: MakeSet, group: str, moving: bool, told: int):
    """Both the names and the pictures have to look like a video."""
    faults = check_dataset(series(make_set, group, moving), quiet=True).faults
    messages = [fault.message for fault in faults if "series" in fault.message]
    assert messages == ["9 train and 3 val pictures are of one video or series, 'clip'"] * told


def test_fingerprint_separates_the_same_scene_from_another():
    here, again, other = smooth(1), np.clip(smooth(1).astype(int) + 10, 0, 255).astype(np.uint8), smooth(2)

    def bits(one: np.ndarray, two: np.ndarray) -> int:
        return int(np.bitwise_count(look_of(one).bits ^ look_of(two).bits).sum())

    assert bits(here, again) <= NEAR_BITS
    assert bits(here, other) > 3 * NEAR_BITS
    assert look_of(np.zeros((50, 50, 3), np.uint8)) is None


def write_ids(dataset: Dataset, number: int, ids: np.ndarray) -> None:
    Image.fromarray(ids.astype(np.uint8)).save(dataset.items[number].source.path)


def test_class_absent_from_a_split(make_set: MakeSet):
    dataset = make_set(3)
    write_ids(dataset, 2, np.minimum(label(2), 1))
    fault = only(check_dataset(dataset, quiet=True))
    assert (fault.kind, fault.severity) == ("absent class", "warning")
    assert "val has no pixel of car: not measured" in fault.message


def test_class_absent_everywhere_is_one_line(make_set: MakeSet):
    dataset = make_set(3)
    for number in range(3):
        write_ids(dataset, number, np.minimum(label(number), 1))
    report = check_dataset(dataset, quiet=True)
    assert "no label has a pixel of car (1 of 3 classes)" in only(report).message
    assert report.would_train


def test_an_all_ignored_label_is_a_warning_and_all_of_them_an_error(make_set: MakeSet):
    dataset = make_set(3)
    write_ids(dataset, 0, np.full(SIZE, 9))
    fault = only(check_dataset(dataset, quiet=True))
    assert (fault.kind, fault.severity, fault.file) == ("all ignored", "warning", "labels/0.png")
    for number in (1, 2):
        write_ids(dataset, number, np.full(SIZE, 9))
    report = check_dataset(dataset, quiet=True)
    assert [fault.severity for fault in report.faults] == ["error", "warning", "warning", "warning"]
    assert report.errors[0].kind == "all ignored"
    assert not report.would_train


def test_a_quick_check_sees_that_nothing_is_labelled(make_set: MakeSet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("denselab.data.audit.check.QUICK_PICTURES", 2)
    dataset = make_set(6)
    for number in range(6):
        write_ids(dataset, number, np.full(SIZE, 9))
    report = check_dataset(dataset, quick=True, quiet=True)
    assert [(fault.kind, fault.severity) for fault in report.errors] == [("all ignored", "error")]


def test_no_pixel_to_learn_from_in_train(make_set: MakeSet):
    """Labels that count in val alone: training would run on nothing."""
    dataset = make_set(3)
    for number in (0, 1):
        write_ids(dataset, number, np.full(SIZE, 9))
    report = check_dataset(dataset, quiet=True)
    assert [(fault.kind, fault.message) for fault in report.errors] == [
        ("all ignored", "every pixel of every train label is ignored: nothing to learn from")
    ]


def test_no_pixel_to_measure_on_in_val(make_set: MakeSet):
    """It passed as fit for training, which then died in its first validation."""
    dataset = make_set(3)
    write_ids(dataset, 2, np.full(SIZE, 9))
    report = check_dataset(dataset, quiet=True)
    assert [fault.message for fault in report.errors] == [
        "every pixel of every val label is ignored: nothing to choose the best model by"
    ]


def test_a_single_class_is_nothing_to_learn(make_set: MakeSet):
    dataset = make_set(3)
    for number in range(3):
        write_ids(dataset, number, np.ones(SIZE))
    report = check_dataset(dataset, quiet=True)
    assert (only(report).kind, only(report).severity) == ("one class", "error")
    assert "'tree'" in report.verdict


@pytest.mark.parametrize(("count", "kind"), [(0, "no pictures"), (1, "one picture"), (2, "empty split")])
def test_too_few_pictures(make_set: MakeSet, count: int, kind: str):
    report = check_dataset(make_set(count), quiet=True)
    assert only(report).kind == kind
    assert not report.would_train


def test_two_valued_masks_with_grey_borders(make_set: MakeSet):
    dataset = make_set(3, kind="two-valued")
    table = LabelSpace((LabelEntry(0, "out", (0, 0, 0), "background"), LabelEntry(255, "in", (255, 255, 255))))
    dataset = Dataset(dataset.root, "test", "two-valued", table, dataset.items)
    for number in range(3):
        write_ids(dataset, number, np.where(label(number) > 0, 255, 0))
    assert check_dataset(dataset, quiet=True).faults == ()
    ids = np.where(label(1) > 0, 255, 0)
    ids[5, :6] = 77
    write_ids(dataset, 1, ids)
    fault = only(check_dataset(dataset, quiet=True))
    assert (fault.kind, fault.severity, fault.file) == ("lossy labels", "warning", "labels/1.png")
    assert f"{6 / (24 * 32):.2%}" in fault.message
    assert "128" in fault.message


def test_smooth_resizing_is_seen_and_sharp_borders_are_not():
    ids = np.zeros((64, 64), np.uint8)
    ids[20:50, 10:40] = 4
    ids[30:60, 30:60] = 9
    resize = Image.fromarray(ids).resize
    assert smeared(np.asarray(resize((150, 150), Image.Resampling.BILINEAR)))
    assert not smeared(np.asarray(resize((150, 150), Image.Resampling.NEAREST)))
    assert not smeared(ids)
    assert not smeared(np.zeros((1, 1), np.uint8))


def test_nothing_is_written(make_set: MakeSet):
    dataset = make_set()
    before = {path: path.stat().st_mtime_ns for path in dataset.root.rglob("*")}
    check_dataset(dataset, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in dataset.root.rglob("*")} == before


def test_any_number_of_threads_gives_the_same_report(make_set: MakeSet):
    dataset = make_set(7)
    (dataset.root / "labels" / "3.png").write_bytes(b"")
    assert check_dataset(dataset, quiet=True, workers=1) == check_dataset(dataset, quiet=True, workers=5)


def test_a_quick_check_samples(make_set: MakeSet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("denselab.data.audit.check.QUICK_PICTURES", 2)
    dataset = make_set(6)
    write_ids(dataset, 3, label(3, (10, 10)))
    report = check_dataset(dataset, quick=True, quiet=True)
    assert not report.complete
    assert only(report).kind == "size mismatch"  # found from the headers
    assert sum(report.class_pictures.values()) in (6, 5, 4)


def test_a_path_is_opened(make_set: MakeSet):
    root = make_set(6).root
    report = check_dataset(root, quiet=True, seed=1)
    assert sum(report.pictures.values()) == 6
    assert report.would_train
    assert report.class_pixels == check_dataset(open_dataset(root, seed=1), quiet=True).class_pixels


def test_a_tiff_and_its_label_turned_by_their_tags_fit(tmp_path):
    """Both orientation tags are obeyed; a label PNG beside a turned TIFF is asked about, as beside a turned JPEG."""
    tag = [(274, "H", 1, 3, True)]
    for folder, seed in (("images", 1), ("labels", 2)):
        (tmp_path / folder).mkdir()
        pixels = np.random.default_rng(seed).integers(0, 3, (8, 8), dtype=np.uint8)
        for number in range(4):
            tifffile.imwrite(tmp_path / folder / f"{number}.tif", pixels + number * (folder == "images"), extratags=tag)
    assert not [f for f in check_dataset(tmp_path, quiet=True).faults if f.kind == "rotation"]
    tifffile.imwrite(tmp_path / "labels" / "0.tif", np.eye(8, dtype=np.uint8))
    assert [f.file for f in check_dataset(tmp_path, quiet=True).faults if f.kind == "rotation"] == ["images/0.tif"]


def test_a_background_that_is_called_unlabelled_is_pointed_out(tmp_path: Path) -> None:
    """Where 0 is called unlabeled, a tool that paints objects leaves most pixels out, and no background is learnt."""
    for number in range(4):
        for folder, pixels in (("images", picture(number)), ("masks", np.where(label(number) == 2, 2, 0))):
            (tmp_path / folder).mkdir(exist_ok=True)
            pixels[0, :3] = 1
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / folder / f"{'abcd'[number]}.png")
    (tmp_path / "classes.txt").write_text("unlabeled\nrust\npaint\n")
    (fault,) = [f for f in check_dataset(tmp_path, quiet=True).faults if f.kind == "unlabelled"]
    assert (
        fault.message == "85% of the pixels are left out, since 0 is called 'unlabeled': what is there is never learnt"
    )
    line = fault.fix.split("`")[1]
    (tmp_path / "data.yaml").write_text(line + "\n")
    report = check_dataset(tmp_path, quiet=True)
    assert report.label_space.num_classes == 3
    assert not any(fault.kind == "unlabelled" for fault in report.faults)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("pa_jpg.rf.1", "pb_jpg.rf.2", "pa_jpg.rf.3"), "copies of 1 picture stand in two splits, as the names tell: "),
        (("patient01_a", "patient02_a", "patient01_b"), "pictures of 1 patient or case stand in two splits, as the "),
        (("x/case7/a", "x/case8/a", "x/case7/b"), "pictures of 1 patient or case"),
        (("big_r0_c0", "small_r0_c0", "big_r0_c1"), "tiles of 1 picture stand in two splits, as the names tell: "),
        (("area_0_10_40_60", "b", "area_20_0_60_50"), "tiles of 1 picture"),
        (("patient01_a", "patient02_a", "patient03_a"), None),
        (("tile_0_sat", "tile_1_sat", "tile_2_sat"), None),  # they are of no scene called "sat"
        (("IMG_0001_JPG.rf.1", "b", "IMG_0001_JPG.rf.2"), None),  # of two cameras
        (("train/case1/a", "train/case2/a", "val/case1/a"), None),  # each split counts anew
    ],
)
def test_names_that_tell_of_a_leak(make_set: MakeSet, names: tuple[str, ...], told: str | None):
    """Slices that do not look alike, and copies that were turned, stood in two given splits without a word."""
    dataset = make_set(3)
    items = tuple(replace(item, name=name) for item, name in zip(dataset.items, names, strict=True))
    report = check_dataset(replace(dataset, items=items), quiet=True)
    leaks = [fault.message for fault in report.warnings if fault.kind == "leak"]
    assert [message.startswith(told or "") for message in leaks] == ([True] if told else [])


def test_a_transposed_label_is_told_so(make_set: MakeSet):
    dataset = make_set()
    Image.fromarray(label(0).T.copy()).save(dataset.root / "labels" / "0.png")
    [fault] = check_dataset(dataset, quiet=True).errors
    assert fault.fix.startswith("height and width are exchanged: transpose the label")


def test_files_beside_the_labels_are_one_warning(make_set: MakeSet):
    """An overlay beside each mask was a "label without a picture" each, to be given one."""
    dataset = make_set(4)
    for item in dataset.items:
        for name in (f"{item.source.path.stem}_overlay.png", f"old/{item.source.path.name}"):
            path = dataset.root / "labels" / name
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(label(0)).save(path)
    [fault] = [f for f in check_dataset(dataset.root, quiet=True).faults if f.kind == "picture missing"]
    assert fault.message.startswith("8 further files beside the labels of pictures that have one: labels/")
    Image.fromarray(picture(7)).save(dataset.root / "images" / f"{dataset.items[0].image.stem}_preview.png")
    [fault] = [f for f in check_dataset(dataset.root, quiet=True).faults if f.kind == "label missing"]
    assert fault.message.startswith("1 picture called as a labelled one and more: images/")


def test_labelled_pictures_are_gone_through_once_for_all_without_a_label(make_set: MakeSet):
    """Their names were gathered anew for each: seconds for thousands of both."""

    class Counted(tuple[Item, ...]):
        passes = 0

        def __iter__(self) -> Iterator[Item]:
            Counted.passes += 1
            return super().__iter__()

    dataset = make_set(3)
    lonely = tuple(dataset.root / "images" / f"lonely_{number}.png" for number in range(50))
    faults = pairing_faults(replace(dataset, items=Counted(dataset.items), without_label=lonely))
    assert len(faults) == 50
    assert Counted.passes <= 2
