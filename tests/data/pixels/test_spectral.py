"""Pictures of other bands than RGB: what is decided for a data set, and how its pictures are read and shown."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from denselab.data.pixels.spectral import (
    array_as_bands,
    bands_from_record,
    read_spectral,
    shared_part,
    shown_as_rgb,
    with_display,
)
from denselab.data.pixels.spectral_survey import GivenBands, spectral_of
from denselab.errors import ConfigError, DataError, ShapeError


@pytest.fixture
def four(tmp_path, band_numbers, write_stack):
    """Three pictures of blue, green, red and nir, 16 bits."""
    given = GivenBands(names=("blue", "green", "red", "nir"))
    paths = [write_stack(tmp_path / f"{i}.tif", band_numbers(4, seed=i)) for i in range(3)]
    bands, note = spectral_of(paths, given)
    return paths, bands, note


def test_statistics_are_those_of_the_numbers(four, band_numbers):
    _, bands, note = four
    numbers = np.concatenate([band_numbers(4, seed=i).reshape(-1, 4) for i in range(3)]).astype(float)
    assert bands.real
    np.testing.assert_allclose(bands.mean, numbers.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(bands.std, numbers.std(axis=0), rtol=1e-6)
    low, high = np.percentile(numbers, [0.1, 99.9], axis=0)
    np.testing.assert_allclose(bands.low, low - (high - low), rtol=1e-6)
    np.testing.assert_allclose(bands.high, high + (high - low), rtol=1e-6)
    assert (bands.rgb, bands.display) == ((2, 1, 0), (2, 1, 0))
    assert "4 bands (blue, green, red, nir), in their own numbers" in note


def test_a_picture_keeps_its_numbers_within_the_limits(four, band_numbers, write_stack, tmp_path):
    paths, bands, _ = four
    pixels = read_spectral(paths[0], bands)
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels, band_numbers(4))
    dead = band_numbers(4)
    dead[1, 1] = 65535
    read = read_spectral(write_stack(tmp_path / "dead.tif", dead), bands)
    np.testing.assert_allclose(read[1, 1], bands.high, rtol=1e-6)


def test_pixels_without_data_become_the_mean(four, band_numbers, write_stack, tmp_path):
    _, bands, _ = four
    holed = band_numbers(4, np.float32)
    holed[0, 0], holed[1, 1, 2], holed[3, 3] = np.nan, np.inf, -1e30
    path = write_stack(tmp_path / "holed.tif", holed, extratags=[(42113, "s", 0, "-1e30", True)])
    read = read_spectral(path, bands)
    np.testing.assert_allclose(read[0, 0], bands.mean, rtol=1e-6)
    np.testing.assert_allclose(read[3, 3], bands.mean, rtol=1e-6)
    np.testing.assert_allclose(read[1, 1], [*holed[1, 1, :2], bands.mean[2], holed[1, 1, 3]], rtol=1e-6)


def test_bytes_stay_bytes_and_have_statistics_in_0_to_1(tmp_path, band_numbers, write_stack):
    paths = [write_stack(tmp_path / f"{i}.tif", band_numbers(12, np.uint8, i)) for i in range(2)]
    bands, _ = spectral_of(paths)
    numbers = np.concatenate([band_numbers(12, np.uint8, i).reshape(-1, 12) for i in range(2)]) / 255
    assert not bands.real
    np.testing.assert_allclose(bands.mean, numbers.mean(axis=0), rtol=1e-6)
    assert (bands.rgb, bands.display, bands.names[:2]) == (None, (0, 1, 2), ("band1", "band2"))
    read = read_spectral(paths[0], bands)
    assert read.dtype == np.uint8
    assert np.array_equal(read, band_numbers(12, np.uint8))
    assert np.array_equal(shown_as_rgb(read, bands), read[..., :3])


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_ordinary_pictures_are_left_to_the_ordinary_reading(tmp_path, band_numbers, write_stack, suffix):
    ordinary = {
        "grey8": band_numbers(1, np.uint8)[..., 0],
        "rgb8": band_numbers(3, np.uint8),
        "grey16": band_numbers(1)[..., 0],
        "unit": band_numbers(1, np.float32)[..., 0] / 2000,
    }
    for name, pixels in ordinary.items():
        path = write_stack(tmp_path / f"{name}{suffix}", pixels)
        assert spectral_of([path]) == (None, ""), name


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_numbers_that_8_bits_cannot_hold_are_bands(tmp_path, band_numbers, write_stack, suffix):
    """Heights in metres, Hounsfield units: they were refused, or cut off at 0."""
    for name, dtype, shift in (
        ("heights", np.float32, 0),
        ("hounsfield", np.int16, -1500),
        ("counts", np.uint32, 70000),
    ):
        pixels = (band_numbers(1, np.int64)[..., 0] + shift).astype(dtype)
        path = write_stack(tmp_path / f"{name}{suffix}", pixels)
        bands, _ = spectral_of([path])
        assert bands is not None, name
        assert bands.real
        assert np.array_equal(read_spectral(path, bands)[..., 0], pixels.astype(np.float32)), name


def test_deep_grey_and_rgb_are_read_in_full_where_data_yaml_says_so(tmp_path, band_numbers, write_stack):
    for count in (1, 3):
        pixels = band_numbers(count)
        path = write_stack(tmp_path / f"{count}.tif", pixels if count == 3 else pixels[..., 0])
        bands, _ = spectral_of([path], GivenBands(count=count))
        assert np.array_equal(read_spectral(path, bands), pixels)
    rgb = tmp_path / "photo.png"
    Image.fromarray(band_numbers(3, np.uint8)).save(rgb)
    bands, _ = spectral_of([rgb], GivenBands(names=("red", "green", "blue")))
    assert np.array_equal(read_spectral(rgb, bands), band_numbers(3, np.uint8))


def test_some_bands_of_a_file_are_taken_by_number(tmp_path, band_numbers, write_stack):
    path = write_stack(tmp_path / "a.tif", band_numbers(12))
    bands, _ = spectral_of([path], GivenBands(names=("nir", "blue"), take=(7, 1)))
    assert np.array_equal(read_spectral(path, bands), band_numbers(12)[..., [7, 1]])
    other = write_stack(tmp_path / "b.tif", band_numbers(5))
    with pytest.raises(
        DataError, match=r"b\.tif: 5 bands, but expected: 12 in the file, of which 2 bands \(nir, blue\);"
    ):
        read_spectral(other, bands)
    with pytest.raises(DataError, match="number 13, but the files hold 12 bands"):
        spectral_of([path], GivenBands(names=("x",), take=(12,)))


def test_names_must_be_as_many_as_the_bands(tmp_path, band_numbers, write_stack):
    path = write_stack(tmp_path / "a.tif", band_numbers(4))
    with pytest.raises(DataError, match=r"2 names, but the files hold 4 bands; name each, or write \{NUMBER: name\}"):
        spectral_of([path], GivenBands(names=("a", "b")))
    with pytest.raises(DataError, match="bands: 3, but the files hold 4 bands"):
        spectral_of([path], GivenBands(count=3))


def test_a_fourth_band_marked_as_alpha_is_asked_about_where_it_varies(tmp_path, band_numbers, write_stack):
    """GDAL marks the fourth band of any picture of bytes as alpha, near infrared too."""
    pixels = band_numbers(4, np.uint8)
    path = write_stack(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    with pytest.raises(DataError, match=r"`bands: \[red, green, blue, nir\]` to use it, or `bands: \{1: red, 2: green"):
        spectral_of([path])
    whole, _ = spectral_of([path], GivenBands(names=("red", "green", "blue", "nir")))
    assert np.array_equal(read_spectral(path, whole), pixels)
    three, _ = spectral_of([path], GivenBands(names=("red", "green", "blue"), take=(0, 1, 2)))
    assert np.array_equal(read_spectral(path, three), pixels[..., :3])
    opaque = pixels.copy()
    opaque[..., 3] = 255
    plain = write_stack(tmp_path / "b.tif", opaque, photometric="rgb", extrasamples=["unassalpha"])
    assert spectral_of([plain]) == (None, "")


def test_files_of_different_bands_are_no_set_of_bands(tmp_path, band_numbers, write_stack):
    paths = [write_stack(tmp_path / f"{n}.tif", band_numbers(n, np.uint8)) for n in (3, 4)]
    assert spectral_of(paths) == (None, "")


def test_one_file_per_band(tmp_path, band_numbers, write_stack):
    pixels = band_numbers(3, size=(8, 12))
    for band, name in enumerate(("B02", "B03")):
        write_stack(tmp_path / f"a_{name}.tif", pixels[..., band])
    write_stack(tmp_path / "a_B05.tif", np.full((4, 6), 7000, np.uint16))  # at half the resolution
    first = tmp_path / "a_B02.tif"
    given = GivenBands(names=("B02", "B03", "B05"), files=("*_B02", "*_B03", "*_B05"))
    bands, note = spectral_of([first], given)
    read = read_spectral(first, bands)
    assert np.array_equal(read[..., :2], pixels[..., :2])
    assert np.array_equal(read[..., 2], np.full((8, 12), 7000))
    assert "one file each (*_B02, *_B03, *_B05)" in note
    write_stack(tmp_path / "a_B05.tif", np.full((4, 9), 7000, np.uint16))
    with pytest.raises(DataError, match="8x12, but its band B05 has 4x9, another shape"):
        read_spectral(first, bands)
    (tmp_path / "a_B05.tif").unlink()
    with pytest.raises(DataError, match=r"band B05 is missing: there is no a_B05\.tif beside it"):
        read_spectral(first, bands)


def test_bytes_beside_floats(tmp_path, band_numbers, write_stack):
    """A height model beside a photograph: the bytes keep their numbers, as floats."""
    grey, heights = band_numbers(1, np.uint8)[..., 0], band_numbers(1, np.float32)[..., 0]
    first = write_stack(tmp_path / "a_red.tif", grey)
    write_stack(tmp_path / "a_dem.tif", heights)
    bands, _ = spectral_of([first], GivenBands(names=("red", "dem"), files=("*_red", "*_dem")))
    assert bands.real
    assert np.array_equal(read_spectral(first, bands), np.stack([grey, heights], axis=2))


def test_the_part_that_files_share():
    assert shared_part("x/y/a_B02.tif", "*_B02") == ("x/y/", "a")
    assert shared_part("x/red/red_a.tif", "red/red_*") == ("x/", "a")
    assert shared_part("red/red_a.tif", "red/red_*") == ("", "a")
    assert shared_part("x/green/red_a.tif", "red/red_*") is None
    assert shared_part("_B02.tif", "*_B02") is None


def test_the_record_survives_its_file(four):
    _, bands, _ = four
    assert bands_from_record(json.loads(json.dumps(asdict(bands)))) == bands


def test_shown_from_black_to_white(four):
    _, bands, _ = four
    bands = replace(bands, black=(0.0, 0.0, 1000.0, 0.0), white=(1.0, 100.0, 3000.0, 1.0))
    picture = np.zeros((1, 3, 4), np.float32)
    picture[0, :, 2] = (500, 2000, 9000)
    shown = shown_as_rgb(picture, with_display(bands, ("red",)))
    assert shown.dtype == np.uint8
    assert shown[0].tolist() == [[0, 0, 0], [128, 128, 128], [255, 255, 255]]
    assert with_display(bands, (4, "RED", "2")).display == (3, 2, 1)
    assert shown_as_rgb(shown, None) is shown


def test_display_bands_that_are_not_there(four):
    _, bands, _ = four
    with pytest.raises(ConfigError, match="there is no band 'gren'; did you mean 'green'"):
        with_display(bands, ("gren",))
    with pytest.raises(ConfigError, match="there is no band '²'"):  # a digit, but no number
        with_display(bands, ("²",))
    with pytest.raises(ConfigError, match=r"there is no band 5; the bands are blue, green, red, nir, or 1 to 4"):
        with_display(bands, (5,))
    with pytest.raises(ConfigError, match="names 2 bands; give one, or three"):
        with_display(bands, ("red", "nir"))
    with pytest.raises(ConfigError, match="`display_bands` is for pictures of other bands than RGB"):
        with_display(None, ("red",))


def test_arrays_of_callers(four, band_numbers):
    _, bands, _ = four
    assert np.array_equal(array_as_bands(band_numbers(4), bands), band_numbers(4))
    with pytest.raises(ShapeError, match=r"shape \(6, 8, 3\); the model takes \(H, W, C\) of 4 bands \(blue"):
        array_as_bands(band_numbers(3), bands)
    with pytest.raises(ShapeError, match=r"channels-first: pass array\.transpose\(1, 2, 0\)"):
        array_as_bands(band_numbers(4).transpose(2, 0, 1), bands)
    with pytest.raises(ShapeError, match="trained on 8 bits: pass uint8"):
        array_as_bands(band_numbers(4), replace(bands, real=False))


def raised(kind, seed, low=29000, high=31000):
    return np.random.default_rng(seed).integers(low, high, (20, 30)).astype(kind)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_numbers_far_above_0_and_close_together_stay_as_they_are(tmp_path, suffix):
    """A thermal camera's: scaled to 8 bits by 65,535, eight grey levels were left, without a word."""
    paths = [tmp_path / f"{number}{suffix}" for number in range(3)]
    for seed, path in enumerate(paths):
        Image.fromarray(raised(np.uint16, seed)).save(path)
    bands, note = spectral_of(paths)
    assert bands is not None
    assert bands.real
    assert "8 bits would leave 8 grey levels: `white: 65535` in data.yaml" in note
    assert np.array_equal(read_spectral(paths[0], bands)[..., 0], raised(np.float32, 0))
    assert spectral_of(paths, white=65535) == (None, "")


@pytest.mark.parametrize(("low", "high"), [(0, 300), (1000, 3000), (0, 4000), (300, 700)])
def test_other_deep_pictures_are_scaled_by_their_white(tmp_path, low, high):
    path = tmp_path / "a.png"
    Image.fromarray(raised(np.uint16, 0, low, high)).save(path)
    assert spectral_of([path]) == (None, "")


def test_three_planes_that_are_not_marked_as_rgb_are_bands(tmp_path):
    """ImageJ's composites: each of them was refused as a stack."""
    planes = np.random.default_rng(0).integers(0, 4000, (3, 20, 30), dtype=np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "CYX"})
    bands, note = spectral_of([path])
    assert bands is not None
    assert bands.names == ("band1", "band2", "band3")
    assert np.array_equal(read_spectral(path, bands), np.moveaxis(planes, 0, -1).astype(np.float32))
    assert "`bands: [band1, band2, band3]` and `display_bands: [band1, band2, band3]` in data.yaml" in note
