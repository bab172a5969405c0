"""TIFF read as its tags say: equal to the same picture as PNG, for pictures and for masks."""

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from denselab.data import open_dataset
from denselab.data.audit.check import check_dataset
from denselab.data.pixels.images import picture_mode, picture_size, read_image, read_label_pixels, read_palette
from denselab.data.pixels.tiff import read_tags
from denselab.errors import DataError
from denselab.labels import NODATA

RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
LEVELS = np.arange(24).reshape(4, 6) % 3
NODATA_TAG = 42113


def ycbcr_tiff(path, pixels, **options):
    Image.fromarray(pixels).convert("YCbCr").save(path, **options)


@pytest.fixture
def tiff(tmp_path):
    """tiff(array, **options): a file written by tifffile; nodata="99" adds GDAL's tag, orientation=6 the turn."""

    def write(pixels, name="a.tif", nodata=None, orientation=None, **options):
        tags = [(NODATA_TAG, "s", 0, nodata, True)] if nodata is not None else []
        tags += [(274, "H", 1, orientation, True)] if orientation else []
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, pixels, extratags=tags, **options)
        return path

    return write


def test_white_is_zero_is_not_a_negative(tiff):
    """A scanner's pages were trained on as negatives, and as positives once saved as PNG."""
    shown = np.stack([RAMP] * 3, axis=-1)
    assert np.array_equal(read_image(tiff(255 - RAMP, photometric="miniswhite")), shown)
    deep = tiff(65535 - RAMP.astype(np.uint16) * 257, photometric="miniswhite")
    assert np.array_equal(read_image(deep), shown)


@pytest.mark.parametrize("compression", [None, "tiff_deflate", "group4"])
def test_a_one_bit_mask_reads_alike_however_it_is_packed(tmp_path, tiff, compression):
    """A white-is-zero mask was inverted when stored plain, and right when fax-compressed."""
    mask = LEVELS > 0
    if compression == "group4":
        Image.fromarray(mask).save(tmp_path / "a.tif", compression="group4", tiffinfo={262: 0})
        path = tmp_path / "a.tif"
    else:
        path = tiff(~mask, photometric="miniswhite", compression=None if compression is None else "zlib")
    assert read_label_pixels(path).tolist() == mask.astype(int).tolist()
    assert read_label_pixels(path).dtype == np.uint8
    assert read_image(path)[..., 0].tolist() == (mask * 255).tolist()
    assert picture_mode(path) == "1"


@pytest.mark.parametrize("wide", [True, False])
def test_a_palette_is_colours_for_pictures_and_indices_for_labels(tiff, wide):
    """Palette pictures were read as grey. Some writers fill the 16-bit colour map with 8-bit numbers."""
    colours = np.zeros((256, 3), np.uint16)
    colours[:3] = [(10, 20, 30), (200, 100, 0), (0, 0, 255)]
    table = np.ascontiguousarray((colours * 257 if wide else colours).T)
    path = tiff(LEVELS.astype(np.uint8), photometric="palette", colormap=table)
    assert np.array_equal(read_image(path), colours[LEVELS])
    assert np.array_equal(read_label_pixels(path), LEVELS)
    assert read_palette(path)[:2] == ((10, 20, 30), (200, 100, 0))
    assert picture_mode(path) == "P"


def test_cmyk_is_shown_as_pillow_shows_it(tiff, photo):
    inks = np.dstack([photo(5, 7), photo(5, 7, 1)[..., 0]])
    shown = np.array(Image.fromarray(inks, "CMYK").convert("RGB"))
    assert np.abs(read_image(tiff(inks, photometric="separated")).astype(int) - shown).max() <= 1
    sixteen = tiff(inks.astype(np.uint16) * 257, photometric="separated")
    assert np.abs(read_image(sixteen).astype(int) - shown).max() <= 1


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "jpeg", "quality": 100}])
def test_ycbcr_is_converted(tmp_path, options):
    smooth = np.stack([RAMP, 240 - RAMP, np.full_like(RAMP, 90)], axis=-1).repeat(8, 0).repeat(8, 1)
    ycbcr_tiff(tmp_path / "a.tif", smooth, **options)
    assert np.abs(read_image(tmp_path / "a.tif").astype(int) - smooth).mean() < 4


def test_lab_is_converted(tmp_path, tiff, photo):
    """CIELab, 8 and 16 bits, against Pillow's colour management; colours inside sRGB come back."""
    rgb = photo(9, 9)
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = np.array(ImageCms.profileToProfile(Image.fromarray(rgb), *profiles, outputMode="LAB"))
    eight = tiff(lab, photometric="cielab")
    assert np.abs(read_image(eight).astype(int) - rgb).mean() < 2
    high = np.dstack(
        [lab[..., 0].astype(np.uint16) * 257, lab[..., 1].astype(np.uint16) << 8, lab[..., 2].astype(np.uint16) << 8]
    )
    assert np.abs(read_image(tiff(high, photometric="cielab")).astype(int) - rgb).mean() < 2
    icc = lab ^ np.array([0, 128, 128], np.uint8)
    assert np.abs(read_image(tiff(icc, photometric="icclab")).astype(int) - rgb).mean() < 2
    grey = tiff(np.array([[[255, 0, 0], [137, 0, 0]]], np.uint8), photometric="cielab")
    assert np.ptp(read_image(grey)[0], axis=1).max() <= 1, "no colour cast"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_turns_pictures_and_labels(tmp_path, tiff, photo, orientation):
    """It was ignored in TIFF and applied in JPEG; a turned picture and a turned mask belong together."""
    pixels = photo(4, 10)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    path = tiff(pixels, orientation=orientation, photometric="rgb")
    assert np.array_equal(read_image(path), read_image(tmp_path / "a.png"))
    assert picture_size(path) == picture_size(tmp_path / "a.png")
    mask = tiff(pixels[..., 0] % 3, "mask.tif", orientation=orientation)
    assert read_label_pixels(mask).shape == picture_size(path)
    assert np.array_equal(read_label_pixels(mask), read_label_pixels(path)[..., 0] % 3)


def test_pillow_turns_what_it_has_to_decode_itself(tmp_path, photo):
    Image.fromarray(photo(4, 10)).save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={274: 6})
    assert np.array_equal(read_image(tmp_path / "a.tif"), np.rot90(photo(4, 10), -1))


def test_alpha_is_dropped_and_premultiplied_colours_are_restored(tiff, photo):
    colours, alpha = photo(4, 4) | 1, np.full((4, 4), 128, np.uint8)
    straight = np.dstack([colours, alpha])
    assert np.array_equal(read_image(tiff(straight, photometric="rgb", extrasamples=["unassalpha"])), colours)
    times = np.dstack([(colours.astype(int) * 128 // 255).astype(np.uint8), alpha])
    path = tiff(times, photometric="rgb", extrasamples=["assocalpha"])
    assert np.abs(read_image(path).astype(int) - colours).max() <= 2
    grey = tiff(np.dstack([RAMP, RAMP]), photometric="minisblack", extrasamples=["unassalpha"])
    assert np.array_equal(read_image(grey)[..., 0], RAMP)
    assert np.array_equal(read_label_pixels(grey), RAMP), "a label of one channel and alpha is one channel"


@pytest.mark.parametrize(
    ("dtype", "marker", "tag"),
    [(np.uint8, 99, "99"), (np.int16, -9999, "-9999"), (np.float32, np.nan, "nan"), (np.float32, np.nan, None),
     (np.float32, -3.4028234663852886e38, "-3.40282346638529e+38"), (np.uint16, 65535, "65535 ")],
)  # fmt: skip
def test_pixels_without_data_have_no_label(tiff, photo, save, tmp_path, dtype, marker, tag):
    """Land cover drawn for a part of each tile: the marker outside it became a class of 30 % of the pixels."""
    for number in range(4):
        labels = LEVELS.astype(dtype)
        labels[:, :2] = marker
        tiff(labels, f"labels/{number}.tif", nodata=tag)
        save(f"images/{number}.png", photo(4, 6, number))
    data = open_dataset(tmp_path)
    assert [entry.id for entry in data.label_space.entries] == [0, 1, 2]
    assert data.read_labels(data.items[0]).tolist() == [[255, 255, *row[2:]] for row in LEVELS.tolist()]
    assert any("33.3% of the label pixels are" in note for note in data.notes)
    report = check_dataset(data, quiet=True)
    assert report.would_train, report.verdict
    assert sum(report.ignored_pixels.values()) == 4 * 8


def test_colours_keep_their_table_beside_pixels_without_data(tiff, photo, save, tmp_path):
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8)
    for number in range(2):
        tiff(colours[LEVELS], f"labels/{number}.tif", nodata="0", photometric="rgb")
        save(f"images/{number}.png", photo(4, 6, number))
    data = open_dataset(tmp_path)
    assert data.label_space.num_classes == 2
    assert np.array_equal(data.read_labels(data.items[0]) == 255, LEVELS == 0)


def test_negative_ids_are_left_out_with_a_note(tiff, photo, save, tmp_path):
    """-100, which PyTorch's loss ignores, was a class of its own."""
    labels = LEVELS.astype(np.int16)
    labels[0] = -100
    for number in range(2):
        tiff(labels, f"labels/{number}.tif")
        save(f"images/{number}.png", photo(4, 6, number))
    data = open_dataset(tmp_path)
    assert data.label_space.num_classes == 3
    assert (data.read_labels(data.items[0])[0] == 255).all()
    assert any("ids below 0 (-100) are left out" in note for note in data.notes)
    assert data.label_space.decode(np.array([0, 255], np.uint8)).dtype == np.uint8, "predictions still fit a PNG"
    (tmp_path / "data.yaml").write_text("labels: [{id: -100, name: sea}, {id: 0}, {id: 1}, {id: 2}]")
    assert open_dataset(tmp_path).label_space.names[0] == "sea", "a name makes it a class"


def test_fractions_are_still_refused(tiff):
    labels = np.array([[0.5, np.nan]], np.float32)
    pixels = read_label_pixels(tiff(labels, nodata="nan"))
    assert NODATA not in pixels
    assert pixels[0, 0] == 0.5


def test_missing_data_in_a_picture_is_black(tiff):
    """One marker of 65535 made a 10-bit scene nearly black; NaN was refused as `values nan..nan`."""
    scene = RAMP.astype(np.uint16) * 4
    marked = scene.copy()
    marked[0, 0] = 65535
    assert np.array_equal(read_image(tiff(marked, nodata="65535"))[1:], read_image(tiff(scene, "b.tif"))[1:])
    real = (RAMP / 255).astype(np.float32)
    real[0, 1] = np.nan
    shown = read_image(tiff(real, "c.tif"))[..., 0]
    assert shown[0, 1] == 0
    assert np.array_equal(shown[1:], RAMP[1:])


def test_a_photometric_interpretation_that_is_no_picture_is_named(tiff):
    with pytest.raises(DataError, match=r"a\.tif: photometric interpretation CFA cannot be read; save it as RGB"):
        read_image(tiff(RAMP, photometric="cfa"))


def test_several_deep_channels_in_a_compression_without_decoder_say_what_is_missing(tiff):
    """Pillow would have cut 16-bit colour to its high bytes: a 12-bit scene became nearly black."""
    path = tiff(np.zeros((4, 4, 3), np.uint16), photometric="rgb")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[259].overwrite(5)
    with pytest.raises(DataError, match=r"LZW.*imagecodecs.*pip install imagecodecs, or save it as PNG"):
        read_image(path)


def test_tags_are_read_without_the_pixels(tiff):
    tags = read_tags(tiff(RAMP, orientation=8, nodata="7"))
    assert (tags.size, tags.bits, tags.nodata, tags.channels) == ((6, 4), 8, 7.0, 1)


def test_complex_numbers_are_refused(tmp_path):
    """They ended as a fault of ours."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((4, 5), np.complex64))
    for read in (read_image, read_label_pixels):
        with pytest.raises(DataError, match=r"a\.tif: numbers of type complex64"):
            read(path)
