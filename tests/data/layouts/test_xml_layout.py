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
    assert any("1 polyline shape without an area" in note for note in data.notes)


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
