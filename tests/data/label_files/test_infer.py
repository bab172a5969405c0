import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from denselab.data import open_dataset
from denselab.data.item import FileLabels, NamedLabel
from denselab.data.label_files.encodings import Encoding
from denselab.data.label_files.infer import infer_encoding
from denselab.data.label_files.likeness import is_smeared_two_valued
from denselab.errors import DataError


def ids_and_roles(table) -> list[tuple[int, str]]:
    return [(entry.id, entry.role) for entry in table.entries]


def test_index_with_255_beside_small_ids(save):
    found = infer_encoding([save("a.png", [[0, 1]]), save("b.png", [[2, 255]])])
    assert found.encoding.kind == "index"
    assert ids_and_roles(found.table) == [(0, "class"), (1, "class"), (2, "class"), (255, "ignore")]
    assert any("255 stands beside small ids" in note for note in found.notes)


def test_ids_of_all_files_are_in_the_table(save):
    paths = [save(f"{i}.png", np.full((2, 2), i, np.uint8)) for i in range(30)]
    assert [entry.id for entry in infer_encoding(paths).table.entries] == list(range(30))


def test_0_and_255_are_two_classes(save):
    found = infer_encoding([save("a.png", [[0, 255]]), save("b.png", [[255, 255]])])
    assert ids_and_roles(found.table) == [(0, "class"), (255, "class")]
    assert found.description == "two-valued 0/255"


def test_two_names_for_0_and_255(save):
    names = [NamedLabel(0, "membrane"), NamedLabel(1, "cell")]
    found = infer_encoding([save("a.png", [[0, 255]])], names)
    assert {entry.id: entry.name for entry in found.table.entries} == {0: "membrane", 255: "cell"}


def test_one_bit(save):
    found = infer_encoding([save("a.png", np.array([[True, False]]))])
    assert found.description == "1-bit"
    assert [entry.id for entry in found.table.entries] == [0, 1]


def test_palette_index_counts_where_told_and_beside_a_palette_of_greys(save):
    first = save("a.png", [[0, 2]], palette=[0, 0, 0, 9, 9, 9, 50, 60, 70])
    second = save("b.png", [[0, 2]], palette=[0, 0, 0, 1, 2, 3, 4, 5, 6])
    grey = save("c.png", [[0, 2]], palette=[0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert [entry.id for entry in infer_encoding([first, grey]).table.entries] == [0, 2]
    found = infer_encoding([first, second], given=Encoding("index"))
    assert [entry.id for entry in found.table.entries] == [0, 2]
    assert found.table.entries[1].colour not in ((50, 60, 70), (4, 5, 6))


def test_palette_that_all_share_gives_the_colours(save):
    palette = [0, 0, 0, 9, 9, 9, 50, 60, 70]
    found = infer_encoding([save("a.png", [[0, 2]], palette=palette), save("b.png", [[1, 2]], palette=palette)])
    assert [entry.colour for entry in found.table.entries] == [(0, 0, 0), (9, 9, 9), (50, 60, 70)]


def test_16_bit_ids(save):
    found = infer_encoding([save("a.png", np.array([[0, 1000], [7, 7]], np.uint16))])
    assert [entry.id for entry in found.table.entries] == [0, 7, 1000]
    assert "16-bit" in found.description


def disc(size: int = 120) -> Image.Image:
    rows, columns = np.mgrid[:size, :size]
    return Image.fromarray((((rows - 50) ** 2 + (columns - 60) ** 2 < 40**2) * 255).astype(np.uint8))


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_mask_smeared_by_jpeg_is_thresholded(tmp_path, quality):
    disc().save(tmp_path / "a.jpg", quality=quality)
    found = infer_encoding([tmp_path / "a.jpg"])
    assert found.encoding.kind == "two-valued"
    assert any("smeared (JPEG)" in note and "threshold 128" in note for note in found.notes)


@pytest.mark.parametrize("radius", [0.5, 1, 3])
def test_anti_aliased_mask_is_thresholded(tmp_path, radius):
    disc().filter(ImageFilter.GaussianBlur(radius)).save(tmp_path / "a.png")
    found = infer_encoding([tmp_path / "a.png"])
    assert found.description.startswith("two-valued 0/255, smeared")
    assert [entry.id for entry in found.table.entries] == [0, 255]


def test_thin_structures_blurred_by_a_pixel_are_not_256_classes(shared_data, tmp_path):
    """A blur of one pixel leaves only 84 % of a membrane mask near 0 and 255; it was once read as 256 class ids."""
    with Image.open(shared_data / "membrane" / "label" / "0.png") as mask:
        mask.convert("L").filter(ImageFilter.GaussianBlur(1)).save(tmp_path / "a.png")
    assert infer_encoding([tmp_path / "a.png"]).encoding.kind == "two-valued"


def test_all_grey_values_are_asked_about(save):
    path = save("a.png", np.tile(np.arange(256, dtype=np.uint8).repeat(2), 2).reshape(32, 32))
    with pytest.raises(DataError, match=r"256 of the 256 grey values.*`encoding: two-valued`.*`encoding: index`"):
        infer_encoding([path])
    assert infer_encoding([path], given=Encoding("index")).table.num_classes == 255  # 255 beside other ids is ignore


@pytest.mark.parametrize(
    "totals",
    [
        {0: 900, 1: 50, 2: 40, 255: 10},
        {0: 500, 255: 500},
        dict.fromkeys(range(182), 10) | {255: 900},
        dict.fromkeys(range(256), 10),
        {0: 500, 128: 500, 255: 500},
        {7: 900, 3: 50, 120: 30, 230: 20},
        {},
    ],
)
def test_class_ids_are_not_taken_for_a_smeared_mask(totals):
    assert not is_smeared_two_valued(totals)


@given(st.dictionaries(st.integers(0, 200), st.integers(1, 1000), min_size=1), st.integers(0, 1000))
def test_small_ids_beside_255_are_never_smeared(totals, void):
    assert not is_smeared_two_valued(totals | ({255: void} if void else {}))


def test_classes_saved_as_jpeg_are_refused(tmp_path):
    labels = np.zeros((32, 32), np.uint8)
    labels[8:20, 8:20], labels[20:, :] = 60, 120
    Image.fromarray(labels).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: labels saved as JPEG.*PNG"):
        infer_encoding([tmp_path / "a.jpg"])


def test_grey_levels_with_255_are_asked_about(save):
    path = save("a.png", [[0, 128, 255]])
    with pytest.raises(DataError) as caught:
        infer_encoding([path])
    message = str(caught.value)
    assert "a.png" in message
    assert "{id: 255, name: class 255}" in message
    assert "{id: 255, name: void, role: ignore}" in message


def test_colours_give_ids_in_a_fixed_order(save):
    black, green, red = (0, 0, 0), (0, 255, 0), (255, 0, 0)
    first = save("a.png", np.array([[red, black]], np.uint8))
    second = save("b.png", np.array([[green, black]], np.uint8))
    tables = [infer_encoding(paths).table for paths in ([first, second], [second, first])]
    assert tables[0] == tables[1]
    assert [(e.id, e.colour, e.role) for e in tables[0].entries] == [
        (0, black, "background"),
        (1, green, "class"),
        (2, red, "class"),
    ]


def test_given_colours_are_used_and_strange_ones_told(save):
    names = [NamedLabel(4, "crop", (0, 255, 0)), NamedLabel(9, "soil", (0, 0, 0))]
    found = infer_encoding([save("a.png", np.array([[(0, 255, 0), (9, 9, 200)]], np.uint8))], names)
    assert dict(found.encoding.colours) == {(0, 255, 0): 4, (0, 0, 0): 9}
    assert any("(9, 9, 200)" in note for note in found.notes)


def test_photographs_are_no_labels(save, photo):
    with pytest.raises(DataError, match=r"colours in the label files"):
        infer_encoding([save("a.png", photo(40, 40))])


def test_numbers_and_colours_in_one_set_are_refused(save):
    with pytest.raises(DataError, match=r"b\.png holds numbers but .*a\.png holds colours"):
        infer_encoding([save("a.png", np.array([[(255, 0, 0)]], np.uint8)), save("b.png", [[1]])])


def objects(dtype, shape=(60, 60)) -> np.ndarray:
    """25 squares with the numbers 1, 4, 7, ..., each in one piece."""
    canvas = np.zeros(shape, dtype)
    for position in range(25):
        row, column = divmod(position, 5)
        canvas[12 * row : 12 * row + 8, 12 * column : 12 * column + 8] = 1 + 3 * position
    return canvas


def test_16_bit_object_numbers_are_one_class(save):
    found = infer_encoding([save("a.png", objects(np.uint16))])
    assert found.encoding.kind == "objects"
    assert [entry.name for entry in found.table.entries] == ["background", "object"]
    assert any("single objects" in note for note in found.notes)


def test_8_bit_object_numbers_are_asked_about(save):
    with pytest.raises(DataError, match=r"`encoding: objects`.*`encoding: index`"):
        infer_encoding([save("a.png", objects(np.uint8))])


def test_told_encoding_is_not_questioned(save):
    found = infer_encoding([save("a.png", objects(np.uint8))], given=Encoding("index"))
    assert len(found.table.entries) == 26
    assert infer_encoding([save("b.png", [[0, 128, 255]])], given=Encoding("objects")).encoding.kind == "objects"


def test_unreadable_labels_are_told_and_none_readable_is_an_error(save, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    found = infer_encoding([save("a.png", [[0, 1]]), tmp_path / "bad.png"])
    assert any("1 label file cannot be read" in note and "bad.png" in note for note in found.notes)
    with pytest.raises(DataError, match=r"bad\.png: the file is empty"):
        infer_encoding([tmp_path / "bad.png"])


def test_names_for_more_ids_than_occur_and_ids_without_name(save):
    names = [NamedLabel(0, "sky"), NamedLabel(1, "road"), NamedLabel(5, "car")]
    found = infer_encoding([save("a.png", [[0, 1, 3, 255]])], names)
    assert {e.id: e.role for e in found.table.entries} == {0: "class", 1: "class", 5: "class", 255: "ignore"}
    assert any("ids 3 occur in labels but have no name" in note for note in found.notes)


def test_names_without_colours_beside_colours_are_asked_about(save, photo, write, tmp_path):
    """classes.txt was passed over in silence: the classes were called #ff0000 and the like."""
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 3))
        save(f"labels/{name}.png", np.array([[(0, 0, 0), (255, 0, 0), (0, 0, 255)]], np.uint8))
    write("classes.txt", "ground\nroad\n")
    with pytest.raises(DataError, match=r"coded in 3 colours, but the 2 names given have no colours") as caught:
        open_dataset(tmp_path)
    line = str(caught.value).split("`")[1]
    assert line.startswith(
        "labels: [{id: 0, name: ground, colour: [0, 0, 0]}, {id: 1, name: road, colour: [0, 0, 255]}"
    )
    write("data.yaml", line + "\n")
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0]).tolist() == [[0, 2, 1]]


@pytest.mark.parametrize(
    ("values", "names", "line"),
    [
        ([1, 2], "ab", "[{id: 1, name: a}, {id: 2, name: b}]"),
        ([0, 100], "ab", "[{id: 0, name: a}, {id: 100, name: b}]"),
        ([0, 7, 9], "abcde", "[{id: 0, name: a}, {id: 7, name: class 7}, {id: 9, name: class 9}]"),
    ],
)
def test_names_that_count_otherwise_than_the_files(save, values, names, line):
    """They were unknown ids in every file, and the line that was offered ignored them: one class was left."""
    path = save("a.png", np.array([values] * 4, np.uint8))
    given = [NamedLabel(n, name) for n, name in enumerate(names)]
    with pytest.raises(DataError) as caught:
        infer_encoding([path], given)
    assert f"`labels: {line}`" in str(caught.value)


def test_0_and_255_beside_three_names_are_asked_about(save):
    """255 was taken for ignore: every labelled pixel was background."""
    path = save("a.png", np.array([[0, 255]] * 4, np.uint8))
    with pytest.raises(DataError, match=r"`labels: \[\{id: 0, name: a\}, \{id: 255, name: foreground\}\]`"):
        infer_encoding([path], [NamedLabel(n, name) for n, name in enumerate("abc")])


def test_three_ids_at_both_ends_are_no_smeared_mask(save):
    """0, 1 and 254 became background and foreground, 1 with 0."""
    path = save("a.png", np.array([[0, 1, 1, 254]] * 4, np.uint8))
    assert ids_and_roles(infer_encoding([path]).table) == [(0, "class"), (1, "class"), (254, "class")]


@pytest.mark.parametrize(("bits", "marker"), [(np.uint16, 9999), (np.uint16, 32767), (np.uint8, 99)])
def test_a_lone_number_far_above_the_others_is_asked_about(save, bits, marker):
    """No-data pixels were a class."""
    path = save("a.png", np.array([[0, 1, 2, marker]], bits))
    with pytest.raises(DataError, match=rf"Either {marker} is a class too .* or it is left out"):
        infer_encoding([path])


def test_254_beside_255_is_asked_about(save):
    with pytest.raises(DataError, match=r"name: ignore, role: ignore}\]` in data\.yaml\) or it is left out"):
        infer_encoding([save("a.png", np.array([[0, 1, 254, 255]], np.uint8))])


def test_a_hundred_classes_hold_99(save):
    path = save("a.png", np.tile(np.arange(100, dtype=np.uint8), (2, 3)))
    assert infer_encoding([path]).table.num_classes == 100


def test_0_and_65535_are_two_classes(save):
    """TGS salt's masks: 65535 was ignored, and one class left."""
    found = infer_encoding([save("a.png", np.array([[0, 65535]], np.uint16))])
    assert ids_and_roles(found.table) == [(0, "class"), (255, "class")]
    assert found.encoding.kind == "two-valued"


@pytest.mark.parametrize(
    ("first", "offered"),
    [(1, "[{id: 1, name: a}"), (0, "[{id: 0, name: background, role: background}, {id: 1, name: a}")],
)
def test_names_that_may_count_one_lower_than_the_labels_are_asked_about(save, first, offered):
    """The remedy for the id without a name kept the names one too low: the first class stayed without a pixel."""
    names = [NamedLabel(number, name) for number, name in enumerate("abc")]
    with pytest.raises(DataError, match="the labels hold 3, but the 3 names end with 2 c") as error:
        infer_encoding([save("a.png", [[first, 1, 2, 3]])], names)
    assert f"{offered}, {{id: 2, name: b}}, {{id: 3, name: c}}]" in str(error.value)


def test_colours_with_red_and_blue_exchanged_are_told_with_the_line_that_reads_them(save):
    """OpenCV writes BGR: "not in the colour table" was said of each file, and more classes were offered."""
    labels = save("a.png", np.array([[[0, 0, 0], [10, 50, 250], [100, 200, 0]]], np.uint8))
    colours = {"ground": (0, 0, 0), "farm": (250, 50, 10), "town": (0, 200, 100)}
    names = [NamedLabel(n, name, colour) for n, (name, colour) in enumerate(colours.items())]
    with pytest.raises(DataError, match="red and blue exchanged; write in data.yaml") as told:
        infer_encoding([labels], names)
    line = yaml.safe_load(str(told.value).split("`")[1])
    assert [(row["name"], row["colour"]) for row in line["labels"]] == [
        ("ground", [0, 0, 0]), ("farm", [10, 50, 250]), ("town", [100, 200, 0])
    ]  # fmt: skip


def test_colours_near_those_of_the_names_are_no_new_classes(save):
    """Compressed, or painted loosely: each of hundreds of colours was offered as a new class."""
    near = np.random.default_rng(0).integers(0, 8, (12, 12, 3)) + np.array([100, 200, 0])
    names = [NamedLabel(0, "ground", (0, 0, 0)), NamedLabel(1, "town", (100, 200, 0))]
    with pytest.raises(DataError, match=r"near one of the names, and of none: .*save each pixel in the very colour"):
        infer_encoding([save("a.png", near.astype(np.uint8))], names)


def test_ids_times_255_that_ran_over_are_asked_about(save):
    """1 and 2 were 255 and 254: the one was left out, and the other the only class."""
    with pytest.raises(DataError, match=r"255 is 1 and 254 is 2 .*, or 255 is left out") as asked:
        infer_encoding([save("a.png", [[0, 254, 255]]), save("b.png", [[0, 255, 0]])])
    times, void = (yaml.safe_load(line)["labels"] for line in str(asked.value).split("`")[1::2])
    assert {row["id"]: row["name"] for row in times} == {0: "class 0", 254: "class 2", 255: "class 1"}
    assert [row["id"] for row in void if row.get("role") == "ignore"] == [255]
    with pytest.raises(DataError, match="ids times 255"):
        infer_encoding([save("c.png", [[0, 253, 254, 255]])])
    assert infer_encoding([save("d.png", [[0, 254]])]).table.num_classes == 2
    names = [NamedLabel(i, f"n{i}", ignore=i == 255) for i in (0, 254, 255)]
    assert infer_encoding([save("a.png", [[0, 254, 255]])], names).table.num_classes == 2


def test_colours_in_jpeg_beside_a_table_are_refused_for_the_form(save, tmp_path):
    """Each file had 2,000 "colours in no table", to be added one by one."""
    colours = np.kron(
        np.array([[[0, 0, 0], [128, 0, 0]], [[0, 128, 0], [0, 0, 0]]], np.uint8), np.ones((9, 9, 1), np.uint8)
    )
    noisy = np.random.default_rng(0).integers(0, 60, (18, 18, 3)) + colours
    path = save("a.jpg", noisy.astype(np.uint8))
    names = [NamedLabel(0, "ground", (0, 0, 0)), NamedLabel(1, "roof", (128, 0, 0)), NamedLabel(2, "tree", (0, 128, 0))]
    with pytest.raises(
        DataError, match=r"a\.jpg: .* colours in the label files; JPEG changes them\. Export the labels as"
    ):
        infer_encoding([path], names)


def test_a_gif_of_greys_has_its_own_palette(save):
    """In a GIF's palette stand the greys that it holds: 2 was 1 in a file without 1, and nothing was said."""
    paths = [save("a.gif", [[0, 1, 2] * 3] * 3), save("b.gif", [[0, 2, 2] * 3] * 3)]
    with pytest.raises(
        DataError, match=r"1 is \(2, 2, 2\) in its palette, but \(1, 1, 1\) in a\.gif.*`encoding: colour`"
    ):
        infer_encoding(paths)
    by_colour = infer_encoding(paths, given=Encoding("colour"))
    read = [FileLabels(path, by_colour.encoding).ids()[0, :3].tolist() for path in paths]
    assert read == [[0, 1, 2], [0, 2, 2]]
    assert infer_encoding([save("c.gif", [[0, 255]]), save("d.gif", [[255, 0]])]).table.num_classes == 2


def test_numbers_have_no_colours(save):
    with pytest.raises(DataError, match="are numbers, and have no colours; take `encoding: colour` out"):
        infer_encoding([save("a.png", [[0, 1]])], given=Encoding("colour"))  # StopIteration


@pytest.mark.parametrize(
    ("numbers", "answer"),
    [
        ([[7, 26000, 26001, 24000]], "encoding: divided\n"),
        ([[7 * 256, 26 * 256 + 1, 26 * 256 + 2, 24 * 256 + 1]], "encoding: divided\ndivisor: 256\n"),
    ],
)
def test_a_class_and_an_object_in_one_number_are_asked_about(save, photo, write, tmp_path, numbers, answer):
    """Each car was a class of its own. The answer for KITTI's numbers then failed: the table was made by thousands."""
    for name in "abc":
        save(f"images/{name}.png", photo(1, 4))
        save(f"labels/{name}.png", np.array(numbers, np.uint16))
    with pytest.raises(DataError, match="a class times .* and the number of an object") as asked:
        open_dataset(tmp_path)
    *line, other = str(asked.value).split("`")[1::2]
    assert ("\n".join(line) + "\n", other) == (answer, "encoding: index")
    write("data.yaml", answer)
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("class 7", "class 24", "class 26")
    assert data.read_labels(data.items[0]).tolist() == [[0, 2, 2, 1]]
    write("data.yaml", other)
    assert open_dataset(tmp_path).label_space.num_classes == 4


@pytest.mark.parametrize("ids", [[0, 300, 301], [1110, 1120, 2110], [1000, 2000, 3000]])
def test_large_ids_are_no_classes_of_objects(save, ids):
    assert infer_encoding([save("a.png", np.array([ids], np.uint16))]).table.num_classes == len(ids)


@pytest.mark.parametrize("top", [180, 5000])
def test_numbers_that_change_everywhere_are_no_labels(save, top):
    """Grey photographs, and depths, in a folder called labels: hundreds of classes, fit for training."""
    rows = np.random.default_rng(0).integers(0, top, (24, 24)).astype(np.uint8 if top < 256 else np.uint16)
    path = save("a.png", rows)
    with pytest.raises(DataError, match=r"of the pixels differ from the next: a grey photograph or distances"):
        infer_encoding([path])
    assert infer_encoding([path], given=Encoding("index"))
    calm = np.kron(np.arange(36).reshape(6, 6) % 30, np.ones((4, 4), int))
    assert infer_encoding([save("b.png", np.hstack([calm, calm]))]).table.num_classes == 30


def counted(number: int, split: bool = False):
    """A label file of so many objects, each a column of two pixels; split: each in two pieces."""
    pixels = np.zeros((6, 40), np.uint8)
    for n in range(1, number + 1):
        pixels[1:5, 3 * n : 3 * n + 2] = n
        pixels[3, 3 * n : 3 * n + 2] *= not split
    return pixels


@pytest.mark.parametrize(
    ("numbers", "split", "asked"), [((3, 5, 8), False, True), ((3, 5, 8), True, False), ((8, 8, 8), False, False)]
)
def test_a_few_objects_in_each_file_are_asked_about(save, numbers, split, asked):
    """GlaS, leaves of CVPPP: 1 is another gland in each picture. Twenty were needed for the question."""
    paths = [save(f"{n}.png", counted(number, split)) for n, number in enumerate(numbers)]
    if not asked:
        assert infer_encoding(paths).encoding.kind == "index"
        return
    with pytest.raises(DataError, match=r"counts from 1 to a number of its own \(3, 5, 8\).*`encoding: objects`"):
        infer_encoding(paths)
    assert infer_encoding(paths, given=Encoding("objects")).table.num_classes == 2


@pytest.mark.parametrize("levels", [(0, 255), (0, 128, 255)])
def test_greys_are_named_by_their_colours(save, levels):
    """DeepGlobe's roads: class_dict.csv has road 255,255,255 before background 0,0,0, and the names were exchanged."""
    names = [NamedLabel(n, f"grey {g}", (g, g, g)) for n, g in enumerate(reversed(levels))]
    rgb = np.repeat(np.tile(np.array(levels, np.uint8), (6, 4))[..., None], 3, axis=2)
    found = infer_encoding([save("a.png", rgb)], names)
    assert [(entry.id, entry.name) for entry in found.table.entries] == [(g, f"grey {g}") for g in sorted(levels)]
    smooth = np.clip(rgb.astype(int) + 3, 0, 252).astype(np.uint8)
    if len(levels) == 2:  # as JPEG has it
        smeared = infer_encoding([save("b.png", np.vstack([rgb, smooth, 255 - smooth // 40]))], names)
        assert [entry.name for entry in smeared.table.entries] == ["grey 0", "grey 255"]


def test_the_place_in_the_table_counts_where_the_files_hold_numbers(save):
    names = [NamedLabel(0, "road", (255, 255, 255)), NamedLabel(1, "ground", (0, 0, 0))]
    found = infer_encoding([save("a.png", [[0, 1]])], names)
    assert [entry.name for entry in found.table.entries] == ["road", "ground"]
