"""Depth: decided once for a data set, the same in every format, and not by one dead pixel."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from denselab.data import open_dataset
from denselab.data.pixels.depth import common_white, peak, scale_to_8_bits
from denselab.data.pixels.images import picture_bits, read_image, read_label_pixels
from denselab.data.pixels.png16 import ADAM7, WHOLE, deep_png_pixels
from denselab.errors import DataError

SIZE = (24, 32)


def png16(path, pixels, significant=None):
    """A 16-bit PNG, grey or colour, with sBIT where told: Pillow writes 16 bits in grey only, and no sBIT."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = np.ascontiguousarray(pixels, dtype=">u2").reshape(pixels.shape[0], -1).view(np.uint8)
    rows = np.concatenate([np.zeros((len(rows), 1), np.uint8), rows], axis=1)
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0))
    body += chunk(b"sBIT", bytes([significant] * channels)) if significant else b""
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b""))


def pnm(path, pixels, highest=65535):
    kind = b"P5" if pixels.ndim == 2 else b"P6"
    header = b"%s\n# a camera\n%d %d\n%d\n" % (kind, pixels.shape[1], pixels.shape[0], highest)
    path.write_bytes(header + pixels.astype(">u2" if highest > 255 else "u1").tobytes())


def tiff(path, pixels, **options):
    tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", **options)


WRITERS = {"png": png16, "tif": tiff, "ppm": pnm}


def camera(bits, seed=0, colour=True, brightness=1.0):
    """A smooth uint16 picture of a camera of so many bits; brightness: its largest number, of the camera's."""
    ramp = np.linspace(0, brightness * (2**bits - 1), SIZE[1])
    grey = np.tile(ramp, (SIZE[0], 1))
    grey = np.stack([grey, grey[::-1, ::-1], grey * 0.5], axis=-1) if colour else grey
    return np.roll(np.rint(grey), seed, axis=1).astype(np.uint16)


@pytest.fixture
def deep_set(tmp_path, save):
    """deep_set("png", pictures, **options): a data set of these uint16 pictures with a small label each."""

    def make(suffix, pictures, **options):
        folder = tmp_path / suffix / "images"
        folder.mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(pictures):
            WRITERS[suffix](folder / f"{number}.{suffix}", pixels, **options)
            save(f"{suffix}/labels/{number}.png", np.indices(SIZE).sum(axis=0) % 2)
        return open_dataset(tmp_path / suffix)

    return make


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_a_camera_reads_alike_in_every_format(deep_set, bits, colour):
    """12-bit colour was nearly black as PNG (its high bytes), right as TIFF, and cut to 8 bits as PPM."""
    pictures = [camera(bits, seed, colour) for seed in range(3)]
    wanted = [np.rint(p * (255 / (2**bits - 1))).astype(np.uint8) for p in pictures]
    for suffix in WRITERS:
        data = deep_set(suffix, pictures)
        assert data.white == 2**bits - 1
        for item in data.items:
            expected = wanted[int(item.image.stem)]
            assert np.array_equal(data.read_image(item), expected if colour else np.stack([expected] * 3, axis=-1))


def test_a_dark_picture_of_a_set_stays_dark(deep_set):
    """Each picture had a depth of its own: night shots of a 12-bit camera came out four times too bright."""
    data = deep_set("tif", [camera(12, 0), camera(12, 1, brightness=0.2)])
    means = {item.image.stem: data.read_image(item).mean() for item in data.items}
    assert means["1"] == pytest.approx(0.2 * means["0"], rel=0.02)
    assert any("4,095 is white in all of them" in note for note in data.notes)


@pytest.mark.parametrize("suffix", WRITERS)
def test_one_dead_pixel_changes_nothing(deep_set, suffix):
    """A single pixel of 65535 made a 10-bit picture nearly black."""
    clean = [camera(10, seed, colour=False) for seed in range(2)]
    dead = [pixels.copy() for pixels in clean]
    dead[1][5, 7] = 65535
    before = {item.name: item for item in deep_set(suffix, clean).items}
    images = {name: read_image(item.image, 1023) for name, item in before.items()}
    data = deep_set(suffix, dead)
    assert data.white == 1023
    for item in data.items:
        differs = (data.read_image(item) != images[item.name]).any(axis=2)
        assert differs.sum() == (item.image.stem == "1")
    assert (read_image(next(i.image for i in data.items if i.image.stem == "1"))[0] == images["images/1"][0]).all()


def test_what_files_declare_counts_where_no_picture_exceeds_it(deep_set, tmp_path):
    dark = [camera(12, seed, brightness=0.2) for seed in range(2)]
    assert deep_set("png", dark).white == 1023, "nothing declared: by the range"
    assert deep_set("png", dark, significant=12).white == 4095
    assert deep_set("png", [p << 4 for p in dark], significant=12).white == 16383, (
        "stored in the high bits, as PNG asks"
    )
    assert deep_set("ppm", dark, highest=4095).white == 4095
    assert deep_set("ppm", dark, highest=1000).white == 1000
    assert deep_set("tif", dark, extratags=[(281, "H", 3, (4095, 4095, 4095), True)]).white == 4095
    assert deep_set("tif", dark, extratags=[(281, "H", 3, (700, 700, 700), True)]).white == 1023, (
        "a statistic, no depth"
    )


def test_data_yaml_has_the_last_word(deep_set, tmp_path):
    deep_set("tif", [camera(12, seed, brightness=0.2) for seed in range(2)])
    (tmp_path / "tif" / "data.yaml").write_text("white: 4095")
    assert open_dataset(tmp_path / "tif").white == 4095


def test_pictures_of_8_bits_need_no_depth(tmp_path, save, photo):
    for number in range(3):
        save(f"images/{number}.png", photo(4, 6, number))
        save(f"labels/{number}.png", np.eye(4, 6, dtype=np.uint8))
    data = open_dataset(tmp_path)
    assert data.white is None
    assert not any("white" in note for note in data.notes)


def test_peak_is_what_an_area_shows():
    grey = np.full((40, 50), 700, np.uint16)
    assert peak(grey) == 700
    grey[3, 4] = grey[9, :10] = 60000  # a dead pixel, a part of a dead row
    assert peak(grey) == 700
    grey[20:22, 20:22] = 3000  # small, but no single pixel
    assert peak(grey) == 3000
    assert peak(np.array([[0, 900]], np.uint16)) == 900
    assert peak(np.zeros((0, 4), np.uint16)) == 0


def test_common_white_of_a_set():
    assert common_white([900, 3000], []) == (4095, "the largest number in 2 of them is 3,000")
    assert common_white([900], [4095])[0] == 4095
    assert common_white([5000], [4095])[0] == 16383


def test_larger_numbers_than_white_are_white(tmp_path):
    assert scale_to_8_bits(np.array([[0, 511, 1023, 4000]], np.uint16), tmp_path, 1023).tolist() == [[0, 127, 255, 255]]


@pytest.mark.parametrize("colour", [True, False])
def test_alpha_of_16_bits_is_dropped(tmp_path, colour):
    pixels = camera(16, colour=colour)
    png16(tmp_path / "a.png", np.dstack([pixels, np.full(SIZE, 9, np.uint16)]))
    expected = np.rint(pixels / 257)
    assert np.array_equal(read_image(tmp_path / "a.png"), expected if colour else np.stack([expected] * 3, axis=-1))
    assert picture_bits(tmp_path / "a.png") == 16


def test_a_damaged_deep_png_is_named(tmp_path):
    png16(tmp_path / "a.png", camera(16))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:90])
    with pytest.raises(DataError, match=r"a\.png: damaged or truncated"):
        read_image(tmp_path / "a.png")


def test_ids_in_deep_files_keep_their_numbers(tmp_path):
    """Ids saved as 16-bit RGB lost their low byte, all of them 0; Pillow stretches those of a PGM to its maxval."""
    ids = np.arange(12, dtype=np.uint16).reshape(3, 4) % 5
    png16(tmp_path / "a.png", np.stack([ids] * 3, axis=-1))
    assert np.array_equal(read_label_pixels(tmp_path / "a.png"), ids)
    for highest in (4, 255, 300, 65535):
        pnm(tmp_path / "a.pgm", ids, highest)
        assert np.array_equal(read_label_pixels(tmp_path / "a.pgm"), ids)
    (tmp_path / "plain.pgm").write_text("P2 # ids\n4 3\n5\n" + " ".join(map(str, ids.ravel())))
    assert np.array_equal(read_label_pixels(tmp_path / "plain.pgm"), ids)
    (tmp_path / "cut.pgm").write_bytes(b"P5 4 3 255\n12345")
    with pytest.raises(DataError, match=r"cut\.pgm: damaged or truncated"):
        read_label_pixels(tmp_path / "cut.pgm")


def test_plain_and_raw_pnm_pictures_are_equal(tmp_path):
    pixels = camera(12)
    pnm(tmp_path / "raw.ppm", pixels, 4095)
    (tmp_path / "plain.ppm").write_text(f"P3\n{SIZE[1]} {SIZE[0]} 4095\n" + " ".join(map(str, pixels.ravel())))
    assert np.array_equal(read_image(tmp_path / "raw.ppm", 4095), read_image(tmp_path / "plain.ppm", 4095))
    Image.fromarray(read_image(tmp_path / "raw.ppm", 4095)).save(tmp_path / "eight.ppm")
    assert np.array_equal(read_image(tmp_path / "eight.ppm", 4095), read_image(tmp_path / "raw.ppm", 4095))


def filtered(rows, channels, kinds):
    """PNG's filters by their definition, in plain Python: rows (H, N) uint8, a kind 0..4 for each row."""
    pixel = 2 * channels
    lines = []
    for y, kind in enumerate(kinds):
        line = [kind]
        for x in range(rows.shape[1]):
            left = int(rows[y, x - pixel]) if x >= pixel else 0
            up = int(rows[y - 1, x]) if y else 0
            corner = int(rows[y - 1, x - pixel]) if y and x >= pixel else 0
            estimate = left + up - corner
            paeth = min((left, up, corner), key=lambda near: abs(estimate - near))
            line.append((int(rows[y, x]) - (0, left, up, (left + up) // 2, paeth)[kind]) % 256)
        lines.append(bytes(line))
    return b"".join(lines)


@pytest.mark.parametrize("interlaced", [False, True])
def test_every_filter_of_png_is_undone(tmp_path, interlaced):
    pixels = np.random.default_rng(0).integers(0, 65536, (11, 9, 3), dtype=np.uint16)
    content = b""
    for x, y, step_x, step_y in ADAM7 if interlaced else WHOLE:
        part = np.ascontiguousarray(pixels[y::step_y, x::step_x], dtype=">u2")
        rows = part.reshape(part.shape[0], -1).view(np.uint8)
        content += filtered(rows, 3, [k % 5 for k in range(len(rows))])
    header = struct.pack(">IIBBBBB", 9, 11, 16, 2, 0, 0, int(interlaced))
    body = zlib.compress(content)
    parts = [(b"IHDR", header), (b"IDAT", body[:100]), (b"IDAT", body[100:]), (b"IEND", b"")]
    written = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + written)
    assert np.array_equal(deep_png_pixels(tmp_path / "a.png"), pixels)
    high = np.array(Image.open(tmp_path / "a.png"))
    assert np.array_equal(high, pixels >> 8), "Pillow, which keeps the high bytes, reads the same file"


def test_a_deep_png_is_unpacked_no_further_than_its_pixels(tmp_path):
    """What was packed behind them was unpacked too: 50 MB of zeros are 50 kB in a file."""
    pixels = np.arange(24, dtype=np.uint16).reshape(2, 4, 3)
    content = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    packed = zlib.compress(content + bytes(5 * 10**7))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 4, 2, 16, 2, 0, 0, 0)), (b"IDAT", packed)]
    written = b"".join(struct.pack(">I", len(data)) + name + data + bytes(4) for name, data in parts)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + written)
    tracemalloc.start()
    found = deep_png_pixels(tmp_path / "a.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found, pixels)
    assert peak < 5 * 10**6


def test_signed_numbers_of_16_bits(tmp_path):
    """Above 16,383 white is 65,535, which int16 cannot hold: OverflowError."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.full((6, 8), 20000, np.int16))
    assert (read_image(path) == round(20000 * 255 / 65535)).all()


def test_small_numbers_of_16_bits_in_colour_stay(tmp_path):
    """SYNTHIA's labels, of which the high bytes were read: all black."""
    numbers = np.array([[[3, 0, 0], [8, 1, 0]]], dtype=">u2")
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + numbers.tobytes())), (b"IEND", b"")]
    written = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + written)
    assert read_label_pixels(tmp_path / "a.png").tolist() == [[[3, 0, 0], [8, 1, 0]]]
