import pytest

from denselab.data import open_dataset
from denselab.errors import DataError

CVAT = """<annotations><meta/>
<image id="0" name="a.png" width="4" height="2" subset="Train">
  <polygon label="road" points="0,0;4,0;4,2;0,2" z_order="0"/>
  <box label="car" xtl="1" ytl="0" xbr="2" ybr="1" z_order="2"/>
  <mask label="sign" rle="0,2" left="3" top="0" width="1" height="2" z_order="1"/>
  <polyline label="lane" points="0,0;1,1"/>
  <ellipse label="sign" cx="0.5" cy="1.5" rx="0.4" ry="0.4" z_order="3"/>
</image>
<image id="1" name="b.png" width="4" height="2" subset="Validation"/>
</annotations>"""


def test_cvat_draws_by_z_order(save, photo, write, tmp_path):
    save("images/Train/a.png", photo(2, 4))
    save("images/Validation/b.png", photo(2, 4))
    write("annotations.xml", CVAT)
    data = open_dataset(tmp_path)
    assert data.layout == "CVAT for images"
    assert data.label_space.names == ("background", "car", "road", "sign")
    assert data.splits == ("train", "val")
    assert data.read_labels(data.of_split("train")[0]).tolist() == [[2, 1, 2, 3], [3, 2, 2, 3]]
    assert any("1 polyline shape without an outline" in note for note in data.notes)


def cvat(*shapes: str) -> str:
    """An annotations.xml with one picture a.png of 8 x 8."""
    return f'<annotations><image id="0" name="a.png" width="8" height="8">{"".join(shapes)}</image></annotations>'


TURNED_BOX = '<box label="bar" xtl="3" ytl="0" xbr="5" ybr="8" rotation="90"/>'
TURNED_ELLIPSE = '<ellipse label="bar" cx="4" cy="4" rx="4" ry="1" rotation="90"/>'


def test_cvat_turns_boxes_and_ellipses(save, photo, write, tmp_path):
    """The turn was not read: a lying plank stood upright, without a word."""
    save("images/a.png", photo(8, 8))
    write("annotations.xml", cvat(TURNED_BOX))
    labels = open_dataset(tmp_path).items[0].source.ids()
    assert labels.astype(bool).any(axis=1).tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert labels[3:5].all()
    write("annotations.xml", cvat(TURNED_ELLIPSE))
    labels = open_dataset(tmp_path).items[0].source.ids()
    assert labels.astype(bool).any(axis=0).tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert labels[1:7, 3:5].all()


def test_cvat_turns_clockwise(save, photo, write, tmp_path):
    """A bar on the middle row, turned by 45 degrees, falls from upper left to lower right."""
    save("images/a.png", photo(8, 8))
    write("annotations.xml", cvat('<box label="bar" xtl="0" ytl="3" xbr="8" ybr="5" rotation="45"/>'))
    labels = open_dataset(tmp_path).items[0].source.ids()
    assert labels[2, 2] == labels[5, 5] == 1
    assert labels[2, 5] == labels[5, 2] == 0


def test_cvat_says_what_has_no_outline(save, photo, write, tmp_path):
    """Cuboids and skeletons became background without a word."""
    save("images/a.png", photo(8, 8))
    write("annotations.xml", cvat(TURNED_BOX, '<cuboid label="car"/>', '<skeleton label="man"><points/></skeleton>'))
    notes = " ".join(open_dataset(tmp_path).notes)
    assert "1 cuboid shape without an outline, left out" in notes
    assert "1 skeleton shape without an outline, left out" in notes


def test_cvat_joins_the_shapes_of_two_files(save, photo, write, tmp_path):
    """Two jobs on one picture: the shapes of the first file were dropped."""
    save("images/a.png", photo(8, 8))
    write("job1.xml", cvat('<box label="bar" xtl="0" ytl="0" xbr="2" ybr="2"/>'))
    write("job2.xml", cvat('<box label="dot" xtl="4" ytl="4" xbr="5" ybr="5"/>'))
    labels = open_dataset(tmp_path).items[0].source.ids()
    assert (labels == 1).sum() == 4
    assert (labels == 2).sum() == 1


def test_cvat_tracks_are_refused(save, photo, write, tmp_path):
    save("images/frame_000010.png", photo(2, 4))
    write("annotations.xml", '<annotations><track id="0" label="x"/></annotations>')
    with pytest.raises(DataError, match=r"annotations\.xml: CVAT video tracks; export.*CVAT for images"):
        open_dataset(tmp_path)


LABELME = """<annotation><filename>a.png</filename><imagesize><nrows>2</nrows><ncols>4</ncols></imagesize>
<object><name>small</name><deleted>0</deleted><polygon>{small}</polygon></object>
<object><name>large</name><deleted>0</deleted><polygon>{large}</polygon></object>
<object><name>gone</name><deleted>1</deleted><polygon>{large}</polygon></object></annotation>"""


def points(*pairs):
    return "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in pairs)


def test_labelme_draws_the_larger_first_and_leaves_deleted_out(save, photo, write, tmp_path):
    save("Images/s/a.png", photo(2, 4))
    text = LABELME.format(small=points((0, 0), (1, 0), (1, 1), (0, 1)), large=points((0, 0), (3, 0), (3, 2), (0, 2)))
    write("Annotations/s/a.xml", text)
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("background", "large", "small")
    assert data.read_labels(data.items[0]).tolist() == [[2, 1, 1, 0], [1, 1, 1, 0]]


def test_boxes_of_voc_are_refused(save, photo, write, tmp_path):
    save("images/a.png", photo())
    write("annotations/a.xml", "<annotation><object><name>x</name><bndbox/></object></annotation>")
    with pytest.raises(DataError, match=r"a\.xml: boxes only, no outline"):
        open_dataset(tmp_path)


META = """<meta><task><labels>
<label><name>road</name><color>#0a0b0c</color><type>any</type></label>
<label><name>bar</name><color>#ff0000</color></label>
<label><name>lane</name><color>#00ff00</color><type>polyline</type></label>
</labels></task></meta>"""


def test_cvat_takes_the_labels_of_the_task(save, photo, write, tmp_path):
    """A label that this export does not show was no class, so that another export of the task had other ids."""
    save("images/a.png", photo(8, 8))
    write("annotations.xml", cvat(TURNED_BOX).replace("<annotations>", f"<annotations>{META}"))
    table = open_dataset(tmp_path).label_space
    assert table.names == ("background", "bar", "road")
    assert table.palette.tolist() == [[0, 0, 0], [255, 0, 0], [10, 11, 12]]


def test_a_picture_in_two_files_of_different_splits_is_refused(save, photo, write, tmp_path):
    """It was trained on, and the file that holds it out was passed over in silence."""
    save("images/a.png", photo(8, 8))
    for split in ("train", "val"):
        write(f"{split}.xml", cvat('<box label="bar" xtl="3" ytl="0" xbr="5" ybr="8"/>'))
    with pytest.raises(DataError, match=r"train\.xml and .*val\.xml: images/a is in train and in val"):
        open_dataset(tmp_path)
