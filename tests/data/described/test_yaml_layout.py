import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.errors import DataError, NoSuchPath


@pytest.fixture
def ready(save, photo, tmp_path):
    """Folders whose names say nothing: one/*_x.png and two/*_y.png."""
    for number in range(4):
        save(f"one/p{number}_x.png", photo(1, 3, number))
        save(f"two/p{number}_y.png", [[0, 1, 255]])
    return tmp_path


def test_folders_and_pattern(ready, write):
    write("data.yaml", 'images: one\nmasks: two\npattern: {image: "*_x", mask: "*_y"}\n')
    data = open_dataset(ready)
    assert [(item.name, item.source.path.name) for item in data.items][:2] == [
        ("one/p0_x", "p0_y.png"),
        ("one/p1_x", "p1_y.png"),
    ]
    assert open_dataset(ready / "data.yaml").items == data.items


def test_path_relative_to_the_file(ready, write):
    file = write("settings/mine.yaml", "path: ..\nimages: one\nmasks: two\n")
    assert open_dataset(file).root.resolve() == ready.resolve()


def test_label_table_as_rows_names_or_mapping(ready, write):
    head = "images: one\nmasks: two\n"
    write(
        "data.yaml",
        head
        + "labels: [{id: 0, name: sky, colour: [1, 2, 3]}, {id: 1, name: road}, {id: 255, name: void, role: ignore}]\n",
    )
    entries = open_dataset(ready).label_space.entries
    assert [(e.id, e.name, e.role) for e in entries] == [
        (0, "sky", "class"),
        (1, "road", "class"),
        (255, "void", "ignore"),
    ]
    assert entries[0].colour == (1, 2, 3)
    write("data.yaml", head + "labels: [sky, road]\n")
    assert open_dataset(ready).label_space.names == ("sky", "road")
    write("data.yaml", head + "labels: {0: sky, 1: road}\nignore: [1, 255]\n")
    assert open_dataset(ready).label_space.names == ("sky",)


def test_255_as_a_class_where_the_user_says_so(save, photo, tmp_path, write):
    for number in range(2):
        save(f"images/{number}.png", photo(1, 3))
        save(f"labels/{number}.png", [[0, 128, 255]])
    rows = "{id: 0, name: a}, {id: 128, name: b}"
    with pytest.raises(DataError, match=r"255 is a class too"):
        open_dataset(tmp_path)
    write("data.yaml", f"encoding: index\nlabels: [{rows}, {{id: 255, name: c}}]\n")
    assert open_dataset(tmp_path).label_space.names == ("a", "b", "c")


def test_the_line_that_the_error_gives_settles_it(save, photo, tmp_path, write):
    """The message names two lines; writing one of them must open the set, with nothing else beside it."""
    for number in range(2):
        save(f"images/{number}.png", photo(1, 3))
        save(f"labels/{number}.png", [[0, 128, 255]])
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    lines = [part.split("`")[0] for part in str(caught.value).split("write `")[1:]]
    assert len(lines) == 2
    classes = []
    for line in lines:
        write("data.yaml", line + "\n")
        classes.append(open_dataset(tmp_path).label_space.num_classes)
    assert classes == [3, 2]


def test_splits_by_names_and_by_list(ready, write):
    write("my_val.txt", "p3_x.png\n")
    write("data.yaml", "images: one\nmasks: two\nsplits: {train: [p0_x, p1_x], val: my_val.txt}\n")
    data = open_dataset(ready)
    assert [item.name for item in data.of_split("train")] == ["one/p0_x", "one/p1_x"]
    assert [item.name for item in data.of_split("val")] == ["one/p3_x"]


def test_folders_by_split(save, photo, tmp_path, write):
    for folder, number in (("aaa", 1), ("bbb", 2)):
        for name in ("p", "q"):
            save(f"pics/{folder}/{name}.png", photo(1, 2))
            save(f"truth/{folder}/{name}.png", [[0, number]])
    write("data.yaml", "images: {train: pics/aaa, val: pics/bbb}\nmasks: {train: truth/aaa, val: truth/bbb}\n")
    data = open_dataset(tmp_path)
    assert [data.read_labels(item).tolist() for item in data.of_split("train")] == [[[0, 1]]] * 2
    assert [data.read_labels(item).tolist() for item in data.of_split("val")] == [[[0, 2]]] * 2


def test_colour_table(save, photo, tmp_path, write):
    for number in range(2):
        save(f"images/{number}.png", photo(1, 2))
        save(f"labels/{number}.png", np.array([[(255, 0, 0), (0, 0, 255)]], np.uint8))
    write(
        "data.yaml",
        "labels: [{id: 3, name: red, colour: [255, 0, 0]}, {id: 8, name: blue, colour: [0, 0, 255], role: ignore}]\n",
    )
    data = open_dataset(tmp_path)
    assert data.items[0].source.ids().tolist() == [[3, 8]]
    assert data.read_labels(data.items[0]).tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("objects", [[0, 1, 1]]), ("two-valued", [[0, 0, 255]]), ("index", [[0, 100, 200]]), ("divided", [[0, 1, 2]])],
)
def test_encoding_as_told(save, photo, tmp_path, write, encoding, expected):
    for number in range(2):
        save(f"images/{number}.png", photo(1, 3))
        save(f"labels/{number}.png", [[0, 100, 200]])
    write("data.yaml", f"encoding: {encoding}\ndivisor: 100\n")
    assert open_dataset(tmp_path).items[0].source.ids().tolist() == expected


def test_threshold_as_told(save, photo, tmp_path, write):
    for number in range(2):
        save(f"images/{number}.png", photo(1, 3))
        save(f"labels/{number}.png", [[0, 100, 200]])
    write("data.yaml", "encoding: two-valued\nthreshold: 50\n")
    assert open_dataset(tmp_path).items[0].source.ids().tolist() == [[0, 255, 255]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imgaes: one\n", "unknown key 'imgaes'; did you mean 'images'"),
        ("zzz: one\n", "unknown key 'zzz'; valid keys are path, layout"),
        ("pattern: {imag: a}\n", "unknown key 'pattern.imag'; did you mean 'image'"),
        ("threshold: -1\n", "threshold: Input should be greater than or equal to 1"),
        ("encoding: colours\n", "encoding: "),
        ("layout: vocc\n", "layout: "),
        ("- a\n", "holds list"),
        ("a: [\n", "not YAML"),
        ("2024-01-01: one\n", "unknown key '2024-01-01'"),
        ("images: one\nmasks: two\nlabels: [{id: 99999999999999999999, name: a}]\n", "does not fit into 32 bits"),
        ("images: one\nmasks: nowhere\n", "masks: no picture"),
        ("images: one\nmasks: two\nlabels: [{id: 0, name: a}, {id: 0, name: b}]\n", "id 0 is listed twice"),
        ("layout: coco\n", "layout coco does not fit"),
        ("annotations: nothing.json\n", "nothing.json does not exist"),
        ('images: one\nmasks: two\npattern: {image: "q*", mask: "*"}\n', "pairs no file"),
        ("images: one\nmasks: two\nsplits: {train: two}\n", "splits.train: no labelled picture in"),
        ("images: one\nmasks: two\nignore: [1]\n", "ignore needs `labels`"),
    ],
)
def test_wrong_settings_are_named(ready, write, text, message):
    write("data.yaml", text)
    with pytest.raises(DataError) as caught:
        open_dataset(ready)
    assert message in str(caught.value)
    assert "data.yaml" in str(caught.value) or "label table" in str(caught.value)


def test_missing_yaml(tmp_path):
    with pytest.raises(NoSuchPath, match=r"mine\.yaml does not exist"):
        open_dataset(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "labels: [{id: 0, name: a, color: [1, 2, 3]}, {id: 1}]",
            r"labels: unknown key 'color'; did you mean 'colour'",
        ),
        ("labels: {a: b}", r"labels: \[road, car\] or \{0: road.* was expected \(got"),
        ("path: nowhere", r"path: .*nowhere is not a folder"),
        ("splits: {train: gone.txt}", r"gone\.txt: cannot be read \(No such file or directory\); correct the name"),
    ],
)
def test_what_is_wrong_in_it_is_said_with_the_remedy(ready, write, text, message):
    """American `color` was passed over in silence; a missing list was said to need UTF-8."""
    head = "images: one\nmasks: two\n" if "path" not in text else ""
    file = write("data.yaml", f"{head}{text}\n")
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(ready)
    assert str(file) in str(caught.value) or "gone.txt" in text
