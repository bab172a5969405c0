"""Files that do not mean alike, or were smoothed, are asked about; those that only look so are read as they are."""

import re

import numpy as np
import pytest
from PIL import Image

from denselab.data.item import FileLabels, NamedLabel
from denselab.data.label_files.encodings import Encoding
from denselab.data.label_files.infer import infer_encoding
from denselab.errors import DataError

DISC = np.hypot(*(np.indices((40, 40)) - 20)) < 12
RED, BLUE = (255, 0, 0), (0, 0, 255)


def palette_file(path, indices, *colours):
    picture = Image.fromarray(np.asarray(indices, np.uint8))
    picture.putpalette([number for colour in colours for number in colour])
    picture.save(path)
    return path


def test_masks_of_0_and_1_beside_masks_of_0_and_255(save):
    """Half of the foreground was left out without a word: 255 was taken for ignore."""
    paths = [save("a.png", [[0, 1]]), save("b.png", [[0, 255]]), save("c.png", [[0, 0]])]
    with pytest.raises(DataError, match=r"holds 0 and 255 alone, but .*a\.png holds 1\. .*`threshold: 1`"):
        infer_encoding(paths)
    with pytest.raises(DataError, match="holds 0 and 255 alone"):
        infer_encoding(paths, [NamedLabel(0, "ground"), NamedLabel(1, "road")])
    named = infer_encoding(paths, [NamedLabel(0, "a"), NamedLabel(1, "b"), NamedLabel(255, "void", ignore=True)])
    assert named.table.num_classes == 2


def test_255_beside_ids_in_any_file_is_no_question(save):
    found = infer_encoding([save("a.png", [[0, 1, 255]]), save("b.png", [[0, 255]])])
    assert [entry.role for entry in found.table.entries] == ["class", "class", "ignore"]
    assert infer_encoding([save("c.png", [[0, 1]]), save("d.png", [[255, 255]])]).table.num_classes == 2


def test_colours_that_change_their_index(tmp_path):
    """Palettes made anew for each file gave one class the number of another, and no warning."""
    first = palette_file(tmp_path / "a.png", [[0, 1, 2]], (0, 0, 0), RED, BLUE)
    second = palette_file(tmp_path / "b.png", [[0, 1, 2]], (0, 0, 0), BLUE, RED)
    with pytest.raises(DataError, match=re.escape("1 is (0, 0, 255) in its palette, but (255, 0, 0) in a.png")):
        infer_encoding([first, second])
    by_colour = infer_encoding([first, second], given=Encoding("colour"))
    names = {entry.id: entry.colour for entry in by_colour.table.entries}
    for path, colours in ((first, [(0, 0, 0), RED, BLUE]), (second, [(0, 0, 0), BLUE, RED])):
        assert [names[int(i)] for i in FileLabels(path, by_colour.encoding).ids()[0]] == colours
        assert FileLabels(path, by_colour.encoding).summary() == {0: 1, 1: 1, 2: 1}


def test_an_index_that_stands_for_another_colour_in_each_file(tmp_path):
    """Where a file holds few classes, its own palette numbers them from 1 whatever they are."""
    paths = [palette_file(tmp_path / f"{i}.png", [[0, 1]], (0, 0, 0), c) for i, c in enumerate((RED, BLUE))]
    with pytest.raises(DataError, match="`encoding: colour`"):
        infer_encoding(paths)
    assert len(infer_encoding(paths, given=Encoding("colour")).table.entries) == 3


def test_made_up_palettes_of_files_whose_numbers_are_the_classes(tmp_path):
    """A file that skips an index has numbers of its set; unless a colour moves, its palette says nothing."""
    first = palette_file(tmp_path / "a.png", [[0, 2]], (0, 0, 0), (1, 2, 3), RED)
    second = palette_file(tmp_path / "b.png", [[0, 1, 2]], (0, 0, 0), (4, 5, 6), BLUE)
    assert infer_encoding([first, second]).table.num_classes == 3
    moved = palette_file(tmp_path / "c.png", [[0, 1, 2]], (0, 0, 0), RED, BLUE)
    with pytest.raises(DataError, match="in its palette, but"):
        infer_encoding([first, moved])


def soft(tmp_path, colours, name="a.png"):
    labels = DISC + 2 * np.roll(DISC[:, ::-1], 25, 1) * ~DISC
    sharp = Image.fromarray(np.array(colours, np.uint8)[np.minimum(labels, 2)])
    soft = sharp.resize((80, 80), Image.Resampling.BILINEAR).resize((40, 40), Image.Resampling.BILINEAR)
    soft.save(tmp_path / name)
    sharp.save(tmp_path / f"sharp-{name}")
    return tmp_path / name, tmp_path / f"sharp-{name}"


def test_soft_edges_of_colours_are_no_classes(tmp_path):
    """Three classes became fourteen, and the training went on."""
    smooth, sharp = soft(tmp_path, [[0, 0, 0], RED, [0, 90, 200]])
    with pytest.raises(DataError, match="stand along borders alone and lie between two others"):
        infer_encoding([smooth])
    assert len(infer_encoding([sharp]).table.entries) == 3


def test_classes_whose_colours_lie_between_others_stay(tmp_path):
    """VOC's colours are mixtures of each other: (64, 0, 0) lies between black and (128, 0, 0)."""
    levels = [0, 64, 128, 192]
    colours = np.array([(r, g, b) for r in levels for g in levels for b in (0, 128)], np.uint8)
    Image.fromarray(np.tile(colours[np.arange(32).reshape(4, 8).repeat(5, 0).repeat(5, 1)], (2, 1, 1))).save(
        tmp_path / "a.png"
    )
    assert len(infer_encoding([tmp_path / "a.png"]).table.entries) == 32


def test_an_area_between_0_and_255_may_be_a_class(tmp_path):
    """Three grey levels with soft edges were cut at 128 into two."""
    smooth, _ = soft(tmp_path, [0, 127, 255])
    with pytest.raises(DataError, match="areas of 127 as well"):
        infer_encoding([smooth])
    assert infer_encoding([smooth], given=Encoding("two-valued")).table.num_classes == 2


def test_ids_in_webp_with_losses_are_refused_and_without_are_read(tmp_path):
    """Lossy WebP gave a class to every grey value around the ids."""
    labels = Image.fromarray((DISC * 40 + np.roll(DISC, 15) * 40).astype(np.uint8))
    for name, lossless in (("a.webp", False), ("b.webp", True)):
        labels.save(tmp_path / name, lossless=lossless, quality=50)
    with pytest.raises(DataError, match=r"a\.webp: labels saved as WebP with losses, which changes the ids"):
        infer_encoding([tmp_path / "a.webp"])
    assert len(infer_encoding([tmp_path / "b.webp"]).table.entries) == len(np.unique(labels))


VIRIDIS = np.array([[68, 1, 84], [33, 145, 140], [253, 231, 37]], np.uint8)


def test_colours_of_a_map_that_each_file_spans_by_itself(save):
    """Saved by matplotlib, the highest class of each file is yellow: a class had the colour of another, unsaid."""
    rows = {"a.png": [0, 1, 2], "b.png": [0, 0, 2], "c.png": [0, 0, 0]}
    paths = [save(name, VIRIDIS[[row]]) for name, row in rows.items()]
    with pytest.raises(DataError, match=r"b\.png as a\.png, so that each was scaled by itself"):
        infer_encoding(paths)
    told = [NamedLabel(i, f"class {i}", tuple(map(int, colour))) for i, colour in enumerate(VIRIDIS)]
    assert infer_encoding(paths, told).table.num_classes == 3


def test_colours_of_a_map_that_are_the_same_in_all_files(save):
    """A file without the last class has no yellow, or all files have the same colours: they are the classes."""
    first = save("a.png", VIRIDIS[[[0, 1, 2]]])
    assert infer_encoding([first, save("b.png", VIRIDIS[[[0, 1, 1]]])]).table.num_classes == 3
    assert infer_encoding([first, save("c.png", VIRIDIS[[[2, 1, 0]]])]).table.num_classes == 3


def test_grey_levels_that_each_file_spans_by_itself(save):
    """The question offered 255 as a class or as no label; in files scaled by themselves it is neither."""
    scaled = [save("a.png", [[0, 85, 170, 255]]), save("b.png", [[0, 128, 255]]), save("c.png", [[0, 0, 0]])]
    with pytest.raises(DataError, match="Every file has 0 and 255: if each was scaled to them by itself"):
        infer_encoding(scaled)
    with pytest.raises(DataError, match=r"\[0, 127, 255\]. Every file has 0 and 255"):
        infer_encoding([save("d.png", [[0, 127, 255]]), save("e.png", [[0, 255]])])
    with pytest.raises(DataError, match=r"\[0, 128, 255\]. Either 255 is a class too"):
        infer_encoding([save("f.png", [[0, 128, 255]]), save("g.png", [[0, 128, 128]])])


def test_dots_that_make_a_colour_are_no_labels(tmp_path):
    """convert("P") shows a colour that its palette lacks by dots of two others: 16 classes without a word."""
    colours = np.array([(0, 0, 0), (128, 64, 30), (100, 140, 70)], np.uint8)[
        DISC.astype(int) + (np.indices(DISC.shape)[0] > 30)
    ]
    Image.fromarray(colours).convert("P").save(tmp_path / "a.png")
    with pytest.raises(
        DataError, match=r"differ from all four beside them: the colours were dithered.*`encoding: index`"
    ):
        infer_encoding([tmp_path / "a.png"])
    assert infer_encoding([tmp_path / "a.png"], given=Encoding("index"))
    lines = palette_file(tmp_path / "b.png", np.where(np.arange(40) % 10 == 0, 2, DISC), (0, 0, 0), RED, BLUE)
    assert infer_encoding([lines]).table.num_classes == 3


def test_a_colour_for_each_object_is_asked_about(tmp_path):
    """BBBC039 numbers its nuclei in red: each was a class."""
    numbers = np.kron(np.arange(25).reshape(5, 5), np.ones((4, 4), int))
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([numbers, numbers * 0, numbers * 0]).astype(np.uint8)).save(path)
    with pytest.raises(DataError, match=r"25 colours, each in one piece.*`encoding: objects`.*`encoding: colour`"):
        infer_encoding([path])
    objects = infer_encoding([path], given=Encoding("objects"))
    assert FileLabels(path, objects.encoding).ids().tolist() == (numbers > 0).astype(int).tolist()
    assert FileLabels(path, objects.encoding).summary() == {0: 16, 1: 384}
    assert infer_encoding([path], given=Encoding("colour")).table.num_classes == 25


def test_soft_edges_between_the_colours_of_a_table(tmp_path):
    """Each file named one colour in no table, to be added, where all were mixtures of two in it."""
    sharp = Image.fromarray(np.where(DISC[..., None], np.uint8((0, 128, 0)), np.uint8((0, 0, 0))))
    sharp.resize((60, 60), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    names = [NamedLabel(0, "ground", (0, 0, 0)), NamedLabel(1, "tree", (0, 128, 0))]
    with pytest.raises(
        DataError, match="the labels were smoothed or resized like a photo. Save them without smoothing$"
    ):
        infer_encoding([tmp_path / "a.png"], names)


def test_greys_in_another_order_in_each_file(tmp_path):
    """A tool that makes palettes small sorts them by how often each grey occurs."""
    black, white = (0, 0, 0), (255, 255, 255)
    paths = [
        palette_file(tmp_path / "a.png", DISC, black, white),
        palette_file(tmp_path / "b.png", ~DISC, white, black),
    ]
    with pytest.raises(DataError, match="`encoding: colour`"):
        infer_encoding(paths)
    by_colour = infer_encoding(paths, given=Encoding("colour"))
    first, second = (FileLabels(path, by_colour.encoding).ids() for path in paths)
    assert (first == second).all()


def test_colours_that_one_file_alone_has_are_asked_about(tmp_path):
    """A colour for each object, drawn anew for each picture: 51 classes, and a warning that val lacks 34."""
    paths = []
    for number in range(5):
        colours = np.random.default_rng(number).integers(1, 256, (6, 3)).astype(np.uint8)
        colours[0] = 0
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(colours[np.arange(60).reshape(6, 10) % 6].repeat(4, 0).repeat(4, 1)).save(paths[-1])
    with pytest.raises(DataError, match=r"26 colours, of which 25 stand in one file alone.*`encoding: objects`"):
        infer_encoding(paths)
    objects = infer_encoding(paths, given=Encoding("objects"))
    assert {int(i) for path in paths for i in np.unique(FileLabels(path, objects.encoding).ids())} == {0, 1}
