"""What may be passed in, what it becomes, and what is said about the rest."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from denselab.data.pixels.spectral import SpectralBands
from denselab.engine.spec import Preprocessing
from denselab.errors import ConfigError, DataError, NoSuchPath, ShapeError
from denselab.inference.film import is_film
from denselab.inference.inputs import Source, find_sources, image_id, refuse_overwriting
from denselab.inference.listing import can_stream
from denselab.inference.pictures import as_image, as_pixels

RGB = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def stems(inputs: list[str], out: Path) -> list[str]:
    return [str(source.stem) for source in find_sources(inputs, out)[0]]


def test_every_form_of_one_picture_is_the_same_array(tmp_path: Path) -> None:
    PILImage.fromarray(RGB).save(tmp_path / "a.png")
    tensor = torch.from_numpy(RGB).permute(2, 0, 1)
    forms = [RGB, tmp_path / "a.png", str(tmp_path / "a.png"), PILImage.fromarray(RGB), tensor, tensor.float() / 255]
    forms.append(np.dstack([RGB, np.zeros((4, 5), np.uint8)]))  # alpha
    for form in forms:
        assert np.array_equal(as_image(form), RGB)


def test_grey_becomes_three_equal_channels() -> None:
    grey = RGB[..., 0]
    for form in (grey, grey[..., None], PILImage.fromarray(grey), torch.from_numpy(grey)[None]):
        assert np.array_equal(as_image(form), np.repeat(grey[..., None], 3, axis=2))


def test_pil_orientation_is_applied() -> None:
    picture = PILImage.fromarray(RGB)
    picture.getexif()[0x0112] = 6  # turn by 90 degrees to the right
    assert np.array_equal(as_image(picture), np.rot90(RGB, -1))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (RGB.astype(np.float32), "dtype float32; expected uint8"),
        (RGB.astype(np.uint16), "dtype uint16"),
        (RGB.transpose(2, 0, 1), r"shape \(3, 4, 5\).*transpose\(1, 2, 0\)"),
        (np.zeros((0, 5, 3), np.uint8), r"shape \(0, 5, 3\)"),
        (np.zeros((2, 2, 2, 3), np.uint8), "shape"),
        (torch.zeros(1, 3, 4, 5), "one picture at a time"),
        (torch.full((3, 2, 2), -2.0), "values -2..-2; expected 0..1"),
        (torch.full((3, 2, 2), float("nan")), "values nan"),
        (torch.zeros(3, 2, 2, dtype=torch.int64), "dtype torch.int64"),
        (PILImage.new("F", (2, 2)), "mode F"),
        (7, "came as int"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_remedy(picture: object, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        as_image(picture)  # type: ignore[arg-type]


def test_folders_are_searched_and_mirrored_without_results_and_other_files(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a.jpg", "deep/er/b.PNG", "notes.txt", "clip.mp4", "out/labels/a.png")))
    assert stems([str(tmp_path)], tmp_path / "out") == ["a", "deep/er/b"]


def test_patterns_are_resolved_from_their_plain_beginning(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("x/one.png", "x/y/two.png", "x/y/two.txt")))
    assert stems([str(tmp_path / "x" / "**" / "*")], tmp_path / "out") == ["one", "y/two"]
    assert stems([str(tmp_path / "*" / "one.*")], tmp_path / "out") == ["x/one"]


def test_a_name_with_dots_keeps_them(tmp_path: Path) -> None:
    touch(tmp_path / "scan.v2.final.png")
    assert stems([str(tmp_path)], tmp_path / "out") == ["scan.v2.final"]


def test_equal_stems_are_told_apart(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("p/a.jpg", "p/a.png", "q/a.png", "r/q/a.png", "q/b.png")))
    assert stems([str(tmp_path / "p")], tmp_path / "out") == ["a.jpg", "a.png"]
    named = [str(tmp_path / n) for n in ("p/a.png", "q/a.png", "q/b.png")]
    assert stems(named, tmp_path / "out") == ["p-a.png", "q-a.png", "b"]
    same_folder_name = [str(tmp_path / "q" / "a.png"), str(tmp_path / "r" / "q" / "a.png")]
    found = stems(same_folder_name, tmp_path / "out")
    assert len(set(found)) == 2


def test_a_contest_knows_pictures_by_their_files(tmp_path: Path) -> None:
    """Beside a.png, a.jpg was called a.jpg.jpg in submission.csv."""
    files = ["a.jpg", "a.png", "b.c.jpg", "below/d.jpg", "e.jpg.jpg"]
    touch(*(tmp_path / "in" / file for file in files))
    found, _ = find_sources([str(tmp_path / "in")])
    assert sorted(image_id(source) for source in found) == files


def test_a_picture_that_is_named_twice_is_predicted_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    assert len(stems([str(tmp_path), str(tmp_path / "a.png")], tmp_path / "out")) == 1


def test_missing_files_and_videos_are_skipped_with_a_reason(tmp_path: Path) -> None:
    touch(tmp_path / "v.mp4")
    sources, skipped = find_sources([str(tmp_path / "v.mp4"), str(tmp_path / "no.png")], tmp_path / "out")
    assert sources == []
    assert [("ffmpeg" in s.reason, "no such file" in s.reason) for s in skipped] == [(True, False), (False, True)]


def test_results_never_land_on_inputs(tmp_path: Path) -> None:
    touch(tmp_path / "labels" / "a.png")
    source = find_sources([str(tmp_path / "labels" / "a.png")], tmp_path)[0][0]
    with pytest.raises(ConfigError, match="would overwrite an input"):
        refuse_overwriting([tmp_path / "x" / ".." / "labels" / "a.png"], [source])
    refuse_overwriting([tmp_path / "labels" / "b.png"], [Source(source.path, source.stem)])


def test_a_pattern_or_folder_without_a_picture_is_told(tmp_path: Path) -> None:
    """Beside one that has pictures it was passed over in silence."""
    touch(tmp_path / "a.png", tmp_path / "sub" / "notes.txt")
    inputs = [str(tmp_path / name) for name in ("a.png", "*.jpg", "sub")]
    sources, skipped = find_sources(inputs, tmp_path / "out")
    assert [source.path.name for source in sources] == ["a.png"]
    assert [s.reason.split(" (")[0] for s in skipped] == ["matches no picture", "holds no picture"]


def test_links_and_hidden_files(tmp_path: Path) -> None:
    """A link took the place of the file it points to, whose result was missing; macOS leaves ._a.jpg beside a.jpg."""
    touch(tmp_path / "a.jpg", tmp_path / "._a.jpg", tmp_path / ".thumbnails" / "a.jpg")
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    (tmp_path / "dangling.jpg").symlink_to("gone.jpg")
    assert stems([str(tmp_path)], tmp_path / "out") == ["a", "dangling", "link"]
    assert stems([str(tmp_path / "._a.jpg")], tmp_path / "out") == ["._a"]


def test_a_pattern_below_a_folder_with_brackets_finds_its_files(tmp_path: Path) -> None:
    """`predict RUN 'set[2024]/*.png'` matched nothing: the brackets of a folder that exists are part of its name."""
    folder = tmp_path / "set[2024]"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"x")
    sources, skipped = find_sources([f"{folder}/*.png"])
    assert ([str(source.stem) for source in sources], skipped) == (["a"], [])


def test_a_link_that_points_at_itself_is_one_bad_input(tmp_path: Path) -> None:
    """`predict` ended with "a fault of ours: RuntimeError: Symlink loop"."""
    PILImage.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    sources, skipped = find_sources([str(tmp_path)], tmp_path / "out")
    assert [source.path.name for source in sources] == ["a.png", "loop.png"]
    assert not skipped
    refuse_overwriting([tmp_path / "out" / "a.png"], sources)
    with pytest.raises(DataError, match="cannot be opened"):
        sources[1].read(Preprocessing((4, 4), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))


def test_a_name_that_no_file_can_have_is_one_bad_input(tmp_path: Path) -> None:
    """`predict` ended with "a fault of ours: File name too long", and no other picture was predicted."""
    touch(tmp_path / "a.png")
    sources, skipped = find_sources([str(tmp_path / ("b" * 5000)), str(tmp_path / "a.png")])
    assert [source.path.name for source in sources] == ["a.png"]
    assert [entry.reason for entry in skipped] == ["cannot be looked at (File name too long)"]
    assert not can_stream(["b" * 5000], tmp_path)
    assert not is_film("1" * 5000 + ".png")
    with pytest.raises(NoSuchPath, match="cannot be looked at"):
        as_image("b" * 5000)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_other_bands_in_any_precision(dtype: torch.dtype) -> None:
    """bfloat16 ended with a TypeError of torch, since numpy has no such numbers."""
    bands = SpectralBands(
        ("a", "b"), True, (0.0, 0.0), (9.0, 9.0), (0.0, 0.0), (9.0, 9.0), (1.0, 1.0), (1.0, 1.0), (0, 0, 1), stored=2
    )
    preprocessing = Preprocessing((4, 4), (0.5, 0.5), (0.5, 0.5), bands=bands)
    found = as_pixels(torch.tensor([[[0.5, 2.0]], [[8.0, 20.0]]], dtype=dtype), preprocessing)
    assert found.dtype == np.float32
    assert found.tolist() == [[[0.5, 8.0], [2.0, 9.0]]]


def test_orientation_is_applied_to_a_pil_picture_of_other_bands(tmp_path: Path) -> None:
    """The same photograph lay on its side as a PIL picture, and stood upright as a file."""
    three = ((0.0,) * 3, (255.0,) * 3, (0.0,) * 3, (255.0,) * 3, (0.5,) * 3, (0.5,) * 3)
    bands = SpectralBands(("red", "green", "blue"), False, *three, (0, 1, 2), stored=3)
    preprocessing = Preprocessing((4, 4), (0.5,) * 3, (0.5,) * 3, bands=bands)
    picture = PILImage.fromarray(RGB)
    exif = picture.getexif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    picture.save(tmp_path / "a.png", exif=exif)
    with PILImage.open(tmp_path / "a.png") as opened:
        for form in (picture, tmp_path / "a.png", opened):
            assert np.array_equal(as_pixels(form, preprocessing), np.rot90(RGB, -1))
