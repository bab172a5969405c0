"""Label maps written by bands: PNG and GeoTIFF, read back by other libraries."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PILImage
from PIL.PngImagePlugin import PngInfo

from denselab.errors import DataError
from denselab.inference import geojson
from denselab.inference.geojson import write_polygons
from denselab.inference.geotiff import longitude_latitude, read_georeference, write_label_tiff
from denselab.inference.label_png import write_label_png
from denselab.inference.marks import END, MARK, SEALED, change_of, read_mark
from denselab.inference.prediction import label_png
from denselab.labels import LabelEntry, LabelSpace

RNG = np.random.default_rng(2)
IDS = RNG.choice(np.array([0, 10, 20, 30], np.uint8), (70, 45))
UTM = (  # zone 33 north: EPSG 32633
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633), True),
)


@pytest.fixture
def placed(tmp_path: Path) -> Path:
    """A GeoTIFF of 70 x 45 pixels of half a metre."""
    tifffile.imwrite(tmp_path / "placed.tif", np.zeros((70, 45, 3), np.uint8), photometric="rgb", extratags=UTM)
    return tmp_path / "placed.tif"


@pytest.mark.parametrize("height", [1, 32, 70])
def test_png_by_bands(space: LabelSpace, tmp_path: Path, height: int) -> None:
    bands = (IDS[top : top + height] for top in range(0, 70, height))
    write_label_png(tmp_path / "a.png", bands, IDS.shape, space, "some mark")
    (tmp_path / "b.png").write_bytes(label_png(IDS, space, "some mark"))
    with PILImage.open(tmp_path / "a.png") as ours, PILImage.open(tmp_path / "b.png") as pillow:
        assert np.array_equal(np.asarray(ours), np.asarray(pillow))
        assert (ours.mode, ours.getpalette()) == (pillow.mode, pillow.getpalette())
        assert ours.text[MARK] == pillow.text[MARK]
    for name in ("a.png", "b.png"):
        with (tmp_path / name).open("rb") as file:
            assert read_mark(file) == "some mark"
            assert change_of(file) == ""


def test_png_of_16_bits(tmp_path: Path) -> None:
    wide = LabelSpace((LabelEntry(0, "a", (0, 0, 0)), LabelEntry(4000, "b", (9, 9, 9))))
    ids = np.where(IDS > 10, np.uint16(4000), np.uint16(0))
    write_label_png(tmp_path / "a.png", [ids[:30], ids[30:]], ids.shape, wide)
    with PILImage.open(tmp_path / "a.png") as found:
        assert np.array_equal(np.asarray(found), ids)


def test_what_is_no_marked_png_has_no_mark(tmp_path: Path) -> None:
    for content in (b"", b"GIF89a....", b"\x89PNG\r\n\x1a\n\0\0"):
        (tmp_path / "a").write_bytes(content)
        with (tmp_path / "a").open("rb") as file:
            assert read_mark(file) == ""
            assert change_of(file) == "", "a file that was cut short is nobody's work"


@pytest.mark.parametrize("mark", ["some mark", ""])
def test_a_label_png_that_was_changed_is_known(space: LabelSpace, tmp_path: Path, mark: str) -> None:
    """By whatever program: Pillow drops the texts of a PNG, others keep them, and one may add to the file."""
    path = tmp_path / "a.png"
    path.write_bytes(label_png(IDS, space, mark))
    with PILImage.open(path) as found:
        kept = PngInfo()
        for key, text in found.text.items():
            kept.add_text(key, text)
        found.save(tmp_path / "plain.png")
        found.save(tmp_path / "texts.png", pnginfo=kept)
    whole = path.read_bytes()
    (tmp_path / "one byte.png").write_bytes(whole[:-90] + bytes([whole[-90] ^ 1]) + whole[-89:])
    changes = {change_of(BytesIO(name.read_bytes())) for name in tmp_path.glob("*.png") if name != path}
    assert len(changes - {""}) == 3
    with path.open("rb") as file:
        assert change_of(file) == ""


def test_a_label_png_of_before_there_were_seals_is_ours(space: LabelSpace, tmp_path: Path) -> None:
    whole = label_png(IDS, space, "some mark")
    (tmp_path / "a.png").write_bytes(whole[:-SEALED] + END)
    with (tmp_path / "a.png").open("rb") as file:
        assert change_of(file) == ""


def test_geotiff_lies_where_the_picture_lies(space: LabelSpace, placed: Path, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    reference = read_georeference(placed)
    assert reference is not None
    bands = (IDS[top : top + 9] for top in range(0, 70, 9))
    write_label_tiff(tmp_path / "labels.tif", bands, IDS.shape, space, reference, 255)
    with rasterio.open(placed) as picture, rasterio.open(tmp_path / "labels.tif") as labels:
        assert labels.crs == picture.crs == "EPSG:32633"
        assert labels.transform == picture.transform
        assert labels.nodata == 255
        assert np.array_equal(labels.read(1), IDS)
        assert labels.colormap(1)[20] == (0, 255, 0, 255)
        assert labels.block_shapes == [(512, 512)]
        assert tuple(labels.transform)[:6] == pytest.approx(reference.affine)
    assert [float(v) for v in reference.place(np.array(4), np.array(6))] == [500002, 5399997], "half a metre a pixel"


def test_a_place_of_pixel_centres_is_half_a_pixel_off(placed: Path, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    point = (*UTM[:2], (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 2, 3072, 0, 1, 32633), True))
    tifffile.imwrite(tmp_path / "point.tif", np.zeros((7, 5), np.uint8), extratags=point)
    reference = read_georeference(tmp_path / "point.tif")
    assert reference is not None
    with rasterio.open(tmp_path / "point.tif") as opened:
        assert tuple(opened.transform)[:6] == pytest.approx(reference.affine)


def test_polygons_are_in_longitude_and_latitude(space: LabelSpace, placed: Path, tmp_path: Path) -> None:
    """x = 500,000 m is the middle meridian of zone 33: 15 degrees east."""
    pytest.importorskip("rasterio")
    import json

    reference = read_georeference(placed)
    assert reference is not None
    place = longitude_latitude(reference)
    labels = np.zeros((70, 45), np.uint8)
    assert write_polygons(tmp_path / "a.geojson", [labels], space, place, picture="a") == 1
    (feature,) = json.loads((tmp_path / "a.geojson").read_text())["features"]
    (ring,) = feature["geometry"]["coordinates"]
    longitudes, latitudes = np.array(ring).T
    assert longitudes.min() == pytest.approx(15)
    assert 48 < latitudes.min() < latitudes.max() < 49
    assert ring[0] == ring[-1]
    area = (longitudes[:-1] * latitudes[1:] - longitudes[1:] * latitudes[:-1]).sum()
    assert area > 0, "counterclockwise, as RFC 7946 asks"
    assert feature["properties"] == {"id": 0, "class": "ground", "picture": "a"}


def test_small_regions_turn_the_right_way_wherever_they_lie(
    space: LabelSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of products of whole degrees only noise was left for a region of few pixels, and some rings were the other way."""
    import json

    monkeypatch.setattr(geojson, "REGIONS", 7)
    labels = np.random.default_rng(0).integers(0, 4, (60, 60)).astype(np.uint8)
    write_polygons(tmp_path / "flat.geojson", [labels], space)
    write_polygons(tmp_path / "a.geojson", [labels], space, lambda x, y: (149.1 + 4e-7 * x, 48.7 - 4e-7 * y))
    flat, found = (
        [feature["geometry"]["coordinates"] for feature in json.loads((tmp_path / name).read_text())["features"]]
        for name in ("flat.geojson", "a.geojson")
    )
    assert [[len(ring) for ring in rings] for rings in found] == [[len(ring) for ring in rings] for rings in flat]
    for rings in found:
        for number, ring in enumerate(rings):
            x, y = (np.round(np.array(ring) * 1e7).astype(np.int64) - (1_491_000_000, 487_000_000)).T
            area = (x[:-1] * y[1:] - x[1:] * y[:-1]).sum()
            assert (area < 0) == (number > 0), "counterclockwise, and holes clockwise"


def test_a_plain_tiff_has_no_place(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 3), np.uint8))
    assert read_georeference(tmp_path / "a.tif") is None
    assert read_georeference(tmp_path / "a.png") is None


@pytest.mark.parametrize(
    "tags",
    [
        {33550: ("d", 1, 1.0)},
        {33550: ("s", 0, "one metre")},
        {33550: ("d", 3, (0.0, 0.0, 0.0))},
        {33550: ("d", 3, (float("nan"), 1.0, 0.0))},
        {33922: ("s", 0, "hello world")},
    ],
)
def test_tags_that_tell_no_place_are_none(tmp_path: Path, tags: dict[int, tuple[object, ...]]) -> None:
    """One number where three are wanted, or text, ended `predict` for all pictures as a fault of ours."""
    known = {code: more for code, *more, _ in UTM} | tags
    extra = [(code, *more, True) for code, more in known.items()]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb", extratags=extra)
    assert read_georeference(tmp_path / "a.tif") is None


def test_tags_of_one_number_and_of_other_letters_are_carried_over(space: LabelSpace, tmp_path: Path) -> None:
    """A single parameter of a projection, letters beyond ASCII and keys of one number ended the writing of labels."""
    more = [(34736, "d", 1, 6378137.0, True), (34737, "s", 0, "Réseau géodésique|".encode(), True)]
    picture, labels = tmp_path / "a.tif", tmp_path / "labels.tif"
    tifffile.imwrite(picture, np.zeros((9, 9, 3), np.uint8), photometric="rgb", extratags=[*UTM, *more])
    reference = read_georeference(picture)
    assert reference is not None
    write_label_tiff(labels, [np.zeros((9, 9), np.uint8)], (9, 9), space, reference)
    again = read_georeference(labels)
    assert again is not None
    assert again.tags == reference.tags
    assert again.tags[34736] == (6378137.0,)
    odd = [*UTM[:2], (34735, "H", 1, 1, True), (34737, "H", 2, (1, 2), True)]
    tifffile.imwrite(picture, np.zeros((9, 9, 3), np.uint8), photometric="rgb", extratags=odd)
    reference = read_georeference(picture)
    assert reference is not None
    assert set(reference.tags) == {33550, 33922, 34735}
    write_label_tiff(labels, [np.zeros((9, 9), np.uint8)], (9, 9), space, reference)


def test_a_coordinate_system_that_leads_nowhere_is_said(tmp_path: Path) -> None:
    """GDAL's own error, a page long, ended `predict --polygons` as a fault of ours."""
    pytest.importorskip("rasterio")
    local = [*UTM[:2], (34735, "H", 8, (1, 1, 0, 1, 1025, 0, 1, 1), True)]
    far = [UTM[0], (33922, "d", 6, (0.0, 0.0, 0.0, 1e30, 1e30, 0.0), True), UTM[2]]
    for tags in (local, far):
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb", extratags=tags)
        reference = read_georeference(tmp_path / "a.tif")
        assert reference is not None
        with pytest.raises(DataError, match=r"a\.tif: .* coordinate system.*gdal_edit"):
            longitude_latitude(reference)(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
