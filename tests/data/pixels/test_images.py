import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from denselab.data.pixels.depth import scale_to_8_bits
from denselab.data.pixels.images import (
    picture_size,
    read_image,
    read_label_pixels,
    read_palette,
)
from denselab.data.pixels.opening import EXIF_ORIENTATION
from denselab.errors import DataError


def test_rgb_comes_back_unchanged(save, photo):
    pixels = photo(5, 7)
    image = read_image(save("a.png", pixels))
    assert image.dtype == np.uint8
    assert np.array_equal(image, pixels)
    assert image.flags.writeable


def test_grey_becomes_three_equal_channels(save):
    grey = np.array([[0, 7], [200, 255]], dtype=np.uint8)
    assert np.array_equal(read_image(save("a.png", grey)), np.stack([grey] * 3, axis=-1))


def test_alpha_is_dropped(save, photo):
    rgba = np.dstack([photo(4, 4), np.array([[0, 80, 160, 255]] * 4, dtype=np.uint8)])
    assert np.array_equal(read_image(save("a.png", rgba)), rgba[..., :3])


def test_palette_picture_is_read_in_its_colours(save):
    path = save("a.png", np.array([[0, 1]], dtype=np.uint8), palette=[10, 20, 30, 40, 50, 60])
    assert read_image(path).tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_palette_label_is_read_as_its_indices(save):
    path = save("a.png", np.array([[0, 1]], dtype=np.uint8), palette=[10, 20, 30, 40, 50, 60])
    assert read_label_pixels(path).tolist() == [[0, 1]]
    assert read_palette(path)[:2] == ((10, 20, 30), (40, 50, 60))


def test_one_bit_label_is_0_and_1(save):
    assert read_label_pixels(save("a.png", np.array([[True, False]]))).tolist() == [[1, 0]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_label_keeps_its_numbers(save, tmp_path, suffix):
    numbers = np.array([[0, 300], [65535, 7]], dtype=np.uint16)
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, numbers)
    else:
        save("a.png", numbers)
    assert read_label_pixels(path).tolist() == numbers.tolist()


@pytest.mark.parametrize(("top", "depth"), [(200, 255), (1000, 1023), (4095, 4095), (5000, 16383), (40000, 65535)])
def test_16_bits_are_scaled_by_the_depth_in_use(tmp_path, top, depth):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, top]], dtype=np.uint16))
    assert read_image(tmp_path / "a.tif")[0, 1].tolist() == [round(top * 255 / depth)] * 3


def test_real_values_outside_0_to_1_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"scale to 0..1"):
        scale_to_8_bits(np.array([[0.0, 3.0]]), tmp_path / "a.tif")
    assert scale_to_8_bits(np.array([[0.0, 0.5, 1.0]]), tmp_path / "a.tif").tolist() == [[0, 128, 255]]


def test_exif_orientation_is_applied_to_pictures_and_sizes(tmp_path, photo):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    pixels = photo(4, 10)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(pixels, -1))
    assert picture_size(tmp_path / "a.png") == (10, 4)
    assert read_label_pixels(tmp_path / "a.png").shape == (4, 10, 3)


def test_stack_is_refused_with_its_shape(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 8, 9), dtype=np.uint16))
    with pytest.raises(DataError, match=r"stack\.tif: a stack of shape 5 x 8 x 9.*each slice"):
        read_image(tmp_path / "stack.tif")


def test_planar_rgb_tiff_is_not_a_stack(tmp_path, photo):
    pixels = photo(6, 7)
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(pixels, -1, 0).copy(), photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_image(tmp_path / "a.tif"), pixels)


def header_only_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [21_000, 40_000])
def test_header_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(header_only_png(side, side))
    with pytest.raises(DataError, match=r"bomb\.png: the header claims.*tiles"):
        read_image(tmp_path / "bomb.png")


def test_large_but_plausible_header_is_opened():
    """12,000 x 12,000 pictures exist (144 million pixels, above Pillow's own warning)."""
    assert Image.MAX_IMAGE_PIXELS > 12_000 * 12_000


@pytest.mark.parametrize("reader", [read_image, read_label_pixels, picture_size])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.png", b"", "the file is empty"),
        ("text.png", b"this is no picture at all", "not a picture"),
        ("empty.tif", b"", "the file is empty"),
        ("text.tif", b"this is no picture at all", "damaged or unsupported TIFF"),
    ],
)
def test_bad_files_are_named_with_a_remedy(tmp_path, reader, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: {message}"):
        reader(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_truncated_file_is_named(tmp_path, photo, name):
    pixels = photo(64, 64)
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, pixels)
    else:
        Image.fromarray(pixels).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"{name}: damaged"):
        read_image(tmp_path / name)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.png: no such file"):
        read_image(tmp_path / "nowhere.png")


def test_a_palette_of_a_truncated_picture_names_the_file(save):
    """A label cut short ended `check` as a fault of ours: Pillow decodes a picture before it tells the palette."""
    path = save("a.png", np.random.default_rng(0).integers(0, 7, (50, 80)), palette=list(range(21)))
    assert read_palette(path)[1] == (3, 4, 5)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"a\.png: damaged or truncated"):
        read_palette(path)


@pytest.mark.parametrize(("axis", "way"), [(-1, r"a\.argmax\(-1\)"), (0, r"a\.argmax\(0\)")])
def test_one_hot_labels_are_told_the_way_to_numbers(tmp_path, axis, way):
    """ "Save each map in a file of its own" was said of planes that are the classes of one map."""
    ids = np.array([[0, 1, 2, 1], [2, 2, 0, 0]])
    planes = np.moveaxis(np.eye(3, dtype=np.uint8)[ids], -1, axis)
    np.save(tmp_path / "a.npy", planes)
    with pytest.raises(DataError, match=way):
        read_label_pixels(tmp_path / "a.npy")
    assert planes.argmax(axis).tolist() == ids.tolist()
    np.save(tmp_path / "a.npy", planes * 2)
    with pytest.raises(DataError, match="save each map in a file of its own"):
        read_label_pixels(tmp_path / "a.npy")
