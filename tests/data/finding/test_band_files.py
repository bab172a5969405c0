"""Pictures of one file per band: recognised by their names, by nnU-Net's numbers, or as data.yaml says."""

import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.finding.band_files import in_band_files
from denselab.data.listing.tree import read_tree
from denselab.data.pixels.spectral_survey import GivenBands
from denselab.errors import DataError


@pytest.fixture
def scene(tmp_path, band_numbers, write_stack, half_and_half):
    """scene(folder, name, endings): one file per ending and the label NAME.png; returns the numbers."""

    def make(folder, name, endings, seed=0, suffix=".tif", dtype=np.uint16):
        pixels = band_numbers(len(endings), dtype, seed)
        for band, ending in enumerate(endings):
            path = tmp_path / folder / f"{name}{ending}{suffix}"
            write_stack(path, pixels[..., band])
        half_and_half(tmp_path / folder.replace("images", "labels") / f"{name}.png")
        return pixels

    return make


@pytest.mark.parametrize(
    ("endings", "names", "rgb"),
    [
        (("_B02", "_B03", "_B04", "_B8A"), ("B02", "B03", "B04", "B8A"), (2, 1, 0)),
        (("_red", "_nir"), ("red", "nir"), None),
        (("-band_1", "-band_2", "-band_10"), ("band_1", "band_2", "band_10"), None),
        (("_VV", "_VH"), ("VH", "VV"), None),
    ],
)
def test_files_named_by_their_bands_are_one_picture(tmp_path, scene, endings, names, rgb):
    pixels = {name: scene("images", name, endings, seed) for seed, name in enumerate(("a", "b", "c"))}
    data = open_dataset(tmp_path)
    assert [item.name for item in data.items] == ["images/a", "images/b", "images/c"]
    assert data.bands is not None
    assert (data.bands.names, data.bands.rgb) == (names, rgb)
    order = [[e[1:] for e in endings].index(name) for name in names]
    for item in data.items:
        assert np.array_equal(data.read(item).image, pixels[item.name[-1]][..., order])


def test_channels_of_nnunet(tmp_path, scene):
    pixels = scene("imagesTr", "case_01", ("_0000", "_0001"))
    scene("imagesTr", "case_02", ("_0000", "_0001"))
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "T2"}}))
    data = open_dataset(tmp_path)
    assert data.bands is not None
    assert data.bands.names == ("T1", "T2")
    assert np.array_equal(data.read(data.items[0]).image, pixels)
    assert [item.name for item in data.items] == ["imagesTr/case_01", "imagesTr/case_02"]


def test_a_dataset_json_of_any_depth_names_no_channels(tmp_path, scene):
    """It ended as a fault of ours: RecursionError."""
    for case in ("case_01", "case_02"):
        scene("imagesTr", case, ("_0000", "_0001"))
    (tmp_path / "dataset.json").write_text("[" * 100_000)
    assert in_band_files(read_tree(tmp_path), GivenBands())[1].names == ("channel0", "channel1")


def test_frames_of_a_film_are_no_channels(tmp_path, band_numbers, write_stack, half_and_half):
    for frame in range(4):
        write_stack(tmp_path / "images" / f"film_{frame:04d}.tif", band_numbers(1, np.uint8)[..., 0])
        half_and_half(tmp_path / "labels" / f"film_{frame:04d}.png")
    data = open_dataset(tmp_path)
    assert len(data.items) == 4
    assert data.bands is None


def test_other_pictures_beside_them_leave_names_alone(tmp_path, write_stack, band_numbers, half_and_half):
    """A name that ends in a colour says nothing where others do not."""
    for name in ("car_red", "car_blue", "house"):
        write_stack(tmp_path / "images" / f"{name}.tif", band_numbers(3, np.uint8))
        half_and_half(tmp_path / "labels" / f"{name}.png")
    data = open_dataset(tmp_path)
    assert len(data.items) == 3
    assert data.bands is None


def test_data_yaml_names_the_files_of_each_band(tmp_path, write_stack, half_and_half):
    """A folder for each band, as in Landsat collections."""
    for name in ("p1", "p2"):
        for value, band in enumerate(("red", "nir")):
            write_stack(tmp_path / "images" / band / f"{band}_{name}.tif", np.full((6, 8), 1000 * value + 5, np.uint16))
        half_and_half(tmp_path / "labels" / f"{name}.png")
    (tmp_path / "data.yaml").write_text(
        "images: images/red\nmasks: labels\npattern: {image: 'red_*', mask: '*'}\n"
        "band_files: {nir: 'nir/nir_*', red: 'red/red_*'}\ndisplay_bands: nir\n"
    )
    with pytest.raises(DataError, match="no picture"):
        open_dataset(tmp_path)  # the first band's files stand for the picture: they must be those of `images`
    text = (tmp_path / "data.yaml").read_text()
    swapped = text.replace("{nir: 'nir/nir_*', red: 'red/red_*'}", "{red: 'red/red_*', nir: 'nir/nir_*'}")
    (tmp_path / "data.yaml").write_text(swapped)
    data = open_dataset(tmp_path)
    assert data.bands is not None
    assert (data.bands.names, data.bands.display) == (("red", "nir"), (1, 1, 1))
    assert data.read(data.items[0]).image[0, 0].tolist() == [5.0, 1005.0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("bands: 0", "bands: 0; write a number from 1"),
        ("bands: [a, A]", "give each band a name of its own"),
        ("bands: {0: a}", "bands are numbered from 1"),
        ("bands: [a]\nband_files: {b: '*_b'}", "both name the bands"),
        ("band_files: ['*_a', '*_a']", "all different"),
        ("band_files: ['a', '*_b']", "with one \\* for what all bands share"),
        ("bands: [a]\nband_files: ['*_a', '*_b']", "write as many names"),
        ("bands: [red, green]\ndisplay_bands: nir", "there is no band 'nir'"),
        ("band: 4", "did you mean 'bands'"),
        ("bands: 2\nwhite: 4095", "take `white` out"),
    ],
)
def test_what_data_yaml_cannot_say(tmp_path, write_stack, band_numbers, half_and_half, lines, message):
    for name in ("a", "b"):
        write_stack(tmp_path / "images" / f"{name}.tif", band_numbers(2))
        half_and_half(tmp_path / "labels" / f"{name}.png")
    (tmp_path / "data.yaml").write_text(lines)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path)


def test_arrays_with_labels_as_arrays(tmp_path, write_stack, band_numbers):
    for seed, name in enumerate(("a", "b")):
        write_stack(tmp_path / "images" / f"{name}.npy", band_numbers(2, np.float32, seed))
        write_stack(tmp_path / "labels" / f"{name}.npy", np.eye(6, 8, dtype=np.int64))
    data = open_dataset(tmp_path)
    assert data.bands is not None
    sample = data.read(data.items[1])
    assert np.array_equal(sample.image, band_numbers(2, np.float32, 1))
    assert np.array_equal(sample.labels, np.eye(6, 8))


def test_arrays_beside_pictures_are_no_pictures(tmp_path, write_stack, band_numbers, half_and_half):
    """Features of another program, stored beside the photographs."""
    for name in ("a", "b"):
        write_stack(tmp_path / "images" / f"{name}.tif", band_numbers(3, np.uint8))
        write_stack(tmp_path / "images" / f"{name}.npy", band_numbers(2, np.float32))
        half_and_half(tmp_path / "labels" / f"{name}.png")
    data = open_dataset(tmp_path)
    assert (len(data.items), data.bands) == (2, None)
    assert {item.image.suffix for item in data.items} == {".tif"}


def test_a_folder_for_each_band(save, tmp_path):
    """38-Cloud: train_red/red_patch_1 beside train_nir/nir_patch_1. Each was a picture, and none had a label."""
    for number in range(4):
        for band in ("red", "green", "blue", "nir"):
            save(f"train_{band}/{band}_patch_{number}.png", np.full((6, 8), 40 * number, np.uint8))
        save(f"train_gt/gt_patch_{number}.png", np.tile([0, 255], (6, 4)))
    data = open_dataset(tmp_path)
    assert (len(data.items), data.bands.names if data.bands else ()) == (4, ("red", "green", "blue", "nir"))
