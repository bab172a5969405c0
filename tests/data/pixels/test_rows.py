"""Pictures and labels by bands of rows: the same numbers as from the whole file, whatever the form of the file."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as PILImage

from denselab.data.pixels import rows as rows_module
from denselab.data.pixels.images import picture_pixels, read_image, read_label_pixels
from denselab.data.pixels.not_by_rows import NotByRows
from denselab.data.pixels.rows import RowWindow, open_rows, white_of_rows
from denselab.errors import DataError

SIZE = (53, 37)
RNG = np.random.default_rng(3)
RGB = np.ascontiguousarray(np.kron(RNG.integers(0, 256, (11, 8, 3)), np.ones((5, 5, 1)))[:53, :37].astype(np.uint8))
GREY = RGB[..., 0].copy()
DEEP = (RGB.astype(np.uint16) << 4) + 3


def png(path: Path, mode: str) -> Path:
    picture = PILImage.fromarray(RGB)
    if mode == "I;16":
        PILImage.fromarray(DEEP[..., 0].copy()).save(path)
    elif mode.startswith("P"):
        picture.quantize(int(mode[1:])).save(path, bits={2: 1, 4: 2, 16: 4, 256: 8}[int(mode[1:])])
    else:
        picture.convert(mode).save(path)
    return path


def by_bands(path: Path, labels: bool, heights: tuple[int, ...] = (1, 20, 7, 25)) -> np.ndarray:
    rows, top, parts = open_rows(path), 0, []
    for height in heights:
        parts.append(rows.labels(top, top + height) if labels else rows.picture(top, top + height)[0])
        top += height
    assert top == rows.size[0]
    return np.concatenate(parts)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "LA", "RGBA", "I;16", "P2", "P4", "P16", "P256"])
def test_png_of_every_kind(tmp_path: Path, mode: str) -> None:
    path = png(tmp_path / "a.png", mode)
    shown = picture_pixels(path)
    found = by_bands(path, labels=False)
    found = found if found.ndim == shown.ndim else np.repeat(found[..., None], 3, axis=2)
    assert np.array_equal(found, shown)
    assert np.array_equal(by_bands(path, labels=True), read_label_pixels(path))


TIFFS = {
    "plain": {},
    "strips": {"rowsperstrip": 6, "compression": "zlib"},
    "tiles": {"tile": (16, 16), "compression": "zlib", "predictor": True},
    "plain tiles": {"tile": (16, 32)},
    "big": {"bigtiff": True, "tile": (16, 16)},
    "planes": {"planarconfig": "separate", "tile": (16, 16), "compression": "zlib"},
    "motorola": {"byteorder": ">", "rowsperstrip": 4},
}


@pytest.mark.parametrize("kind", TIFFS)
@pytest.mark.parametrize("pixels", [RGB, DEEP, GREY], ids=["rgb", "deep", "grey"])
def test_tiff_of_every_kind(tmp_path: Path, kind: str, pixels: np.ndarray) -> None:
    options = dict(TIFFS[kind])
    opening = {key: options.pop(key) for key in ("bigtiff", "byteorder") if key in options}
    planes = "planarconfig" in options and pixels.ndim == 3
    if "planarconfig" in options and not planes:
        options.pop("planarconfig")
    with tifffile.TiffWriter(tmp_path / "a.tif", **opening) as file:
        shown = np.moveaxis(pixels, 2, 0) if planes else pixels
        file.write(shown, photometric="rgb" if pixels.ndim == 3 else "minisblack", metadata=None, **options)
    assert np.array_equal(by_bands(tmp_path / "a.tif", labels=False), picture_pixels(tmp_path / "a.tif"))
    assert np.array_equal(by_bands(tmp_path / "a.tif", labels=True), read_label_pixels(tmp_path / "a.tif"))


def test_nodata_is_told_and_black(tmp_path: Path) -> None:
    deep = DEEP[..., 0].copy()
    deep[20:30] = 9999
    tifffile.imwrite(tmp_path / "a.tif", deep, extratags=[(42113, "s", 0, "9999", True)], rowsperstrip=8)
    pixels, missing = open_rows(tmp_path / "a.tif").picture(18, 32)
    assert missing is not None
    assert missing[:, 0].tolist() == [False] * 2 + [True] * 10 + [False] * 2
    assert (pixels[missing] == 0).all()
    assert np.array_equal(by_bands(tmp_path / "a.tif", labels=True), read_label_pixels(tmp_path / "a.tif"))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_window_over_the_rows_is_the_picture(tmp_path: Path, name: str) -> None:
    PILImage.fromarray(RGB).save(tmp_path / name)
    window = RowWindow(open_rows(tmp_path / name))
    assert window.shape == (53, 37, 3)
    for top, bottom in ((0, 20), (5, 25), (5, 25), (40, 53), (10, 12)):
        assert np.array_equal(window[top:bottom, 3:30], RGB[top:bottom, 3:30])
    assert np.array_equal(window[::7], RGB[::7])


@pytest.mark.parametrize("step", [1, 3, 8])
def test_rows_are_read_in_pieces_of_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(rows_module, "PIECE_PIXELS", 4 * 37)
    compression = None if step == 1 else "zlib"
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", rowsperstrip=step, compression=compression)
    window = RowWindow(open_rows(tmp_path / "a.tif"))
    for top, bottom in ((1, 2), (1, 20), (4, 25), (24, 26), (26, 53), (0, 53), (52, 53)):
        assert np.array_equal(window[top:bottom], RGB[top:bottom])


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("tile", [None, (16, 16), (16, 32)])
def test_some_columns_are_read_alone(tmp_path: Path, tile: tuple[int, int] | None, planes: bool) -> None:
    stored = np.moveaxis(RGB, 2, 0) if planes else RGB
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate" if planes else "contig"}
    tifffile.imwrite(tmp_path / "a.tif", stored, tile=tile, compression="zlib", **options)
    PILImage.fromarray(RGB).save(tmp_path / "a.png")
    for rows in (open_rows(tmp_path / "a.tif"), open_rows(tmp_path / "a.png")):
        for left, right in ((0, 37), (0, 16), (16, 32), (5, 20), (20, 37), (36, 37)):
            assert np.array_equal(rows.picture(3, 40, (left, right))[0], RGB[3:40, left:right])


def test_tiles_side_by_side_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    """Tiles of 256 rows across 40,000 pixels were decoded at once, 30 MiB beside the rows that are held."""
    packed: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
    tifffile.imwrite(tmp_path / "a.tif", RNG.integers(0, 9, (192, 6400, 3), dtype=np.uint8), **packed)
    rows = open_rows(tmp_path / "a.tif")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "PIECE_PIXELS", 64 * 64 * 4)
        window = RowWindow(rows)
        tracemalloc.start()
        held = window[0:64]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2.4 * held.nbytes, "127 rows: those asked for, room for what is stored with them; and a piece"


def test_a_window_holds_its_rows_once(tmp_path: Path) -> None:
    """200 rows of 1,000 pixels are 600 kB; what is read at a time is a tenth of that."""
    packed: dict[str, Any] = {"photometric": "rgb", "rowsperstrip": 8, "compression": "zlib"}
    tifffile.imwrite(tmp_path / "a.tif", RNG.integers(0, 9, (2000, 1000, 3), dtype=np.uint8), **packed)
    rows = open_rows(tmp_path / "a.tif")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "PIECE_PIXELS", 20_000)
        window = RowWindow(rows)
        tracemalloc.start()
        places = set()
        for top in range(0, 1800, 150):
            band = window[top : top + 200]
            assert len(band) == 200
            places.add(band.__array_interface__["data"][0])
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert found < 208 * 3_000 + 250_000, "and not the rows before and after each step at once: 1.05 MB"
    assert len(places) == 1, "bands of one height take turns in one array"


def test_white_of_real_numbers_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", (RGB / np.float32(255)).astype(np.float32), photometric="rgb")
    asked: list[Path] = []
    monkeypatch.setattr(rows_module, "PIECE_PIXELS", 37)
    monkeypatch.setattr(rows_module, "white_of_rows", lambda rows: asked.append(rows.path) or white_of_rows(rows))
    window = RowWindow(open_rows(tmp_path / "a.tif"))
    assert np.array_equal(window[:20], RGB[:20])
    assert np.array_equal(window[20:53], RGB[20:53])
    assert len(asked) == 1


def test_deep_pictures_get_the_white_that_the_whole_would(tmp_path: Path) -> None:
    deep = DEEP[..., 0].copy()
    deep[4, 4] = 65535  # one dead pixel, which does not count
    for name in ("a.png", "a.tif"):
        PILImage.fromarray(deep).save(tmp_path / name)
        assert white_of_rows(open_rows(tmp_path / name)) == 4095
        assert np.array_equal(RowWindow(open_rows(tmp_path / name))[:], read_image(tmp_path / name))


def test_white_by_bands_and_whole_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from denselab.data.pixels.depth import depth_of, peak

    monkeypatch.setattr(rows_module, "BAND_PIXELS", 50)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        deep = rng.integers(0, 200, (23, 19)).astype(np.uint16)
        y, x = rng.integers(0, 22, 2)
        deep[y : y + rng.integers(1, 4), min(x, 15) : min(x, 15) + 3] = 2 ** rng.integers(8, 16)
        tifffile.imwrite(tmp_path / "a.tif", deep, rowsperstrip=4)
        assert white_of_rows(open_rows(tmp_path / "a.tif")) == depth_of(peak(deep)), seed


def test_what_gives_no_rows_says_why(tmp_path: Path) -> None:
    PILImage.fromarray(RGB).save(tmp_path / "a.webp")
    turned = PILImage.fromarray(RGB)
    turned.getexif()[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=turned.getexif())
    tifffile.imwrite(tmp_path / "turned.tif", RGB, extratags=[(274, "H", 1, 6, True)])
    for name in ("a.webp", "turned.png"):
        with pytest.raises(NotByRows, match=name):
            open_rows(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_truncated_file_is_named(tmp_path: Path, name: str) -> None:
    noise = RNG.integers(0, 256, (200, 100, 3), dtype=np.uint8)
    PILImage.fromarray(noise).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2] if name == "a.png" else whole[:30_000])
    rows = open_rows(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}.*damaged"):
        [rows.picture(top, top + 20) for top in range(0, 200, 20)]


def test_jpeg_through_gdal(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    PILImage.fromarray(RGB).save(tmp_path / "a.jpg", quality=95, subsampling=0)
    found = by_bands(tmp_path / "a.jpg", labels=False).astype(int)
    assert np.abs(found - read_image(tmp_path / "a.jpg")).max() <= 2, "two builds of libjpeg"
    turned = PILImage.fromarray(RGB)
    turned.getexif()[0x0112] = 3
    turned.save(tmp_path / "b.jpg", exif=turned.getexif())
    with pytest.raises(NotByRows, match="turned"):
        open_rows(tmp_path / "b.jpg")
