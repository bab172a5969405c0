"""What files store, band by band: every form of the same numbers, and what is no picture."""

import numpy as np
import pytest
import tifffile

from denselab.data.pixels.images import picture_size, read_image, read_label_pixels
from denselab.data.pixels.stored_bands import band_axis, band_form, stored_bands
from denselab.errors import DataError


@pytest.mark.parametrize(
    ("name", "turned", "options"),
    [
        ("contig.tif", (0, 1, 2), {}),
        ("planar.tif", (2, 0, 1), {"planarconfig": "separate"}),
        ("pages.tif", (2, 0, 1), {"planarconfig": None, "metadata": None}),
        ("shaped.tif", (2, 0, 1), {"planarconfig": None}),
        ("last.npy", (0, 1, 2), {}),
        ("first.npy", (2, 0, 1), {}),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_every_form_holds_the_same_numbers(tmp_path, band_numbers, write_stack, name, turned, options, dtype):
    pixels = band_numbers(5, dtype)
    path = write_stack(tmp_path / name, pixels.transpose(turned), **options)
    form = band_form(path)
    assert (form.size, form.count, form.dtype) == ((6, 8), 5, np.dtype(dtype))
    read, missing = stored_bands(path)
    assert missing is None
    assert read.dtype == dtype
    assert np.array_equal(read, pixels)
    assert picture_size(path) == (6, 8)


def test_one_band_and_the_orientation_of_a_tiff(tmp_path, band_numbers, write_stack):
    grey = band_numbers(1)[..., 0]
    assert band_form(write_stack(tmp_path / "a.npy", grey)).count == 1
    turned = write_stack(tmp_path / "b.tif", band_numbers(2), extratags=[(274, "H", 1, 6, True)])
    assert band_form(turned).size == (8, 6)
    assert np.array_equal(stored_bands(turned)[0], np.rot90(band_numbers(2), -1))


def test_names_alpha_and_nodata_stand_in_the_tags(tmp_path, band_numbers, write_stack):
    described = "".join(
        f'<Item name="DESCRIPTION" sample="{i}" role="description">{name}</Item>'
        for i, name in enumerate(("nir", "red"))
    )
    tags = [(42112, "s", 0, f"<GDALMetadata>{described}</GDALMetadata>", True), (42113, "s", 0, "-9", True)]
    pixels = band_numbers(2, np.int16)
    pixels[2, 3] = -9
    pixels[4, 4, 0] = -9  # of one band only: a number like others
    path = write_stack(tmp_path / "a.tif", pixels, extratags=tags)
    assert band_form(path).names == ("nir", "red")
    _, missing = stored_bands(path)
    assert missing is not None
    assert np.argwhere(missing).tolist() == [[2, 3]]
    colours = band_numbers(4, np.uint8)
    marked = write_stack(tmp_path / "b.tif", colours, photometric="rgb", extrasamples=["unassalpha"])
    assert (band_form(marked).alpha, band_form(marked).coloured) == (True, True)


def test_which_axis_holds_the_bands():
    assert band_axis((40, 50, 12), "a") == 2
    assert band_axis((12, 40, 50), "a") == 0
    assert band_axis((40, 50), "a") is None
    assert band_axis((4, 4, 8), "a", count=8) == 2
    with pytest.raises(DataError, match="does not tell which axis holds the bands; write `bands: NUMBER`"):
        band_axis((4, 4, 4), "a")
    with pytest.raises(DataError, match=r"shape 2 x 3 x 4 x 5; a picture is"):
        band_axis((2, 3, 4, 5), "a")


def test_what_is_no_picture_is_refused_by_name(tmp_path):
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(DataError, match=r"text\.npy: not an array that can be read"):
        band_form(tmp_path / "text.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"objects\.npy: not an array that can be read"):
        band_form(tmp_path / "objects.npy")
    np.save(tmp_path / "complex.npy", np.zeros((3, 3), np.complex64))
    with pytest.raises(DataError, match="an array of complex64"):
        band_form(tmp_path / "complex.npy")
    tifffile.imwrite(tmp_path / "volume.tif", np.zeros((4, 8, 9), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(DataError, match="a stack of shape 4 x 8 x 9; pictures here are 2-D"):
        band_form(tmp_path / "volume.tif")


def test_a_picture_of_other_bands_is_not_cut_to_rgb(tmp_path, band_numbers, write_stack):
    """The first three bands of a stack were read as RGB, without a word."""
    for bands in (2, 4, 5):
        path = write_stack(tmp_path / f"{bands}.tif", band_numbers(bands, np.uint8))
        with pytest.raises(DataError, match=rf"{bands} bands, but expected: 3 \(RGB\) or 1 \(grey\)"):
            read_image(path)
    opaque = band_numbers(4, np.uint8)
    opaque[..., 3] = 255
    assert np.array_equal(read_image(write_stack(tmp_path / "rgba.tif", opaque)), opaque[..., :3])
    with pytest.raises(DataError, match="5 bands, but expected: 3"):
        read_image(write_stack(tmp_path / "five.npy", band_numbers(5)))


def test_arrays_are_pictures_and_labels(tmp_path, write_stack, photo):
    assert np.array_equal(read_image(write_stack(tmp_path / "a.npy", photo())), photo())
    ids = np.arange(6, dtype=np.int64).reshape(2, 3)
    assert np.array_equal(read_label_pixels(write_stack(tmp_path / "b.npy", ids[..., None])), ids)
    assert read_label_pixels(write_stack(tmp_path / "c.npy", ids > 2)).dtype == np.uint8
    with pytest.raises(DataError, match=r"shape \(2, 3, 4\); labels are \(H, W\)"):
        read_label_pixels(write_stack(tmp_path / "d.npy", np.zeros((2, 3, 4))))
