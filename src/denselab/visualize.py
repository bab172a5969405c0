"""Label maps as pictures: palette colours, overlay, error map, heat map, legend, and grids of pictures with captions.

All functions are pure. Pictures are (H, W, 3) uint8 RGB arrays; Pillow draws the text.
"""

import io
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from denselab.errors import ConfigError, ShapeError
from denselab.labels import Colour, LabelSpace
from denselab.numbers import finite, whole
from denselab.types import Image, LabelMap

IGNORED: Colour = (150, 150, 150)  # of ignored pixels, if the label table gives them no colour
WRONG: Colour = (255, 45, 85)  # a red not found in streets, tissue or fields, and visible on grey to the colour-blind
DIM = 0.5  # brightness of correct pixels in an error map: recognisable, but behind the errors
PAPER: Colour = (255, 255, 255)
INK: Colour = (32, 32, 36)

# Dark violet to pale yellow, rising evenly in lightness (anchors of the "magma" scale), so it prints well in grey.
HEAT: tuple[Colour, ...] = ((0, 0, 4), (59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))

# Fonts with Korean, Chinese and Japanese on common systems; Pillow's own font is Latin only.
WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NanumGothic.ttf",
    "malgun.ttf",
    "AppleSDGothicNeo.ttc",
    "msyh.ttc",
    "DejaVuSans.ttf",
)

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def colour_map(labels: LabelMap, label_space: LabelSpace) -> Image:
    """Each pixel in the colour of its class, (H, W, 3) uint8; ignored pixels get their own colour.

    labels: (H, W) class indices
    label_space: the label table
    """
    table = np.empty((label_space.ignore_index + 1, 3), dtype=np.uint8)
    table[:] = ignore_colour(label_space)
    table[: label_space.num_classes] = label_space.palette
    return table[labels]


def ignore_colour(label_space: LabelSpace) -> Colour:
    """The colour of ignored pixels: that of the table's first entry of role ignore, or grey."""
    return next((entry.colour for entry in label_space.entries if entry.role == "ignore"), IGNORED)


def overlay(image: Image, labels: LabelMap, label_space: LabelSpace, alpha: float = 0.5) -> Image:
    """The picture with the colours of the classes laid over it.

    image: (H, W, 3) uint8
    labels: (H, W) class indices
    label_space: the label table
    alpha: 0 shows only the picture, 1 only the colours

    Background and ignored pixels show the picture unchanged. Raises ShapeError if the sizes differ, ConfigError for
    another alpha.
    """
    if not 0 <= finite(alpha, "`alpha`") <= 1:
        raise ConfigError(f"`alpha` is {alpha}; expected a number from 0, the picture, to 1, the colours")
    _same_size(image, labels)
    weights = np.zeros(label_space.ignore_index + 1, dtype=np.float32)
    weights[: label_space.num_classes] = [alpha * (entry.role != "background") for entry in label_space.classes]
    colours = colour_map(labels, label_space)
    mixed = np.empty_like(image)
    for top in range(0, len(image), 256):  # in bands: a float copy of a huge picture would take 12 bytes per pixel
        band = slice(top, top + 256)
        weight = weights[labels[band]][..., None]
        mixed[band] = image[band] * (1 - weight) + colours[band] * weight + 0.5
    return mixed


def error_map(image: Image, truth: LabelMap, prediction: LabelMap, ignore_index: int) -> Image:
    """Wrong pixels in red on the dimmed grey picture, and flat grey where the truth is ignored.

    image: (H, W, 3) uint8
    truth, prediction: (H, W) class indices
    ignore_index: of the truth

    Raises ShapeError if the sizes differ.
    """
    _same_size(image, truth)
    _same_size(image, prediction)
    grey = np.asarray(PILImage.fromarray(image).convert("L"))
    result = np.repeat((grey * DIM).astype(np.uint8)[..., None], 3, axis=2)
    ignored = truth == ignore_index
    result[ignored] = IGNORED
    result[(truth != prediction) & ~ignored] = WRONG
    return result


def difference_map(image: Image, first: LabelMap, second: LabelMap) -> Image:
    """Pixels where two predictions differ, in red on the dimmed grey picture. Raises ShapeError if the sizes differ."""
    return error_map(image, first, second, ignore_index=-1)


def heat_map(values: NDArray[np.floating], low: float = 0.0, high: float = 1.0) -> Image:
    """Numbers as colours, (H, W, 3) uint8: dark violet at `low` to pale yellow at `high`; NaN is grey.

    values: (H, W)
    low, high: ends of the scale; values beyond them are clipped

    Raises ConfigError where `high` lies below `low`.
    """
    if high < low:
        raise ConfigError(f"`low` {low:g}, `high` {high:g}; the scale rises from low to high")
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    positions = np.linspace(0, 1, len(HEAT))
    anchors = np.array(HEAT, dtype=np.float64)
    channels = [np.interp(np.nan_to_num(scaled), positions, anchors[:, c]) for c in range(3)]
    result = (np.stack(channels, axis=-1) + 0.5).astype(np.uint8)
    result[np.isnan(values)] = IGNORED
    return result


def legend(label_space: LabelSpace, columns: int = 1, font_size: int = 15) -> Image:
    """The label table as a picture: colour and name of every class, in index order, down the columns.

    columns: at least 1
    font_size: pixels, at least 1

    Raises ConfigError.
    """
    columns, font_size = whole(columns, "`columns`", 1), whole(font_size, "`font_size`", 1)
    entries = [*label_space.classes, *(e for e in label_space.entries if e.role == "ignore")]
    line, swatch = round(font_size * 1.7), font_size
    rows = -(-len(entries) // columns)
    widths = [_text_width(entry.name, font_size) for entry in entries]
    column_width = max(widths) + swatch + 3 * (line - swatch) + 8
    sheet = PILImage.new("RGB", (column_width * columns, rows * line + 8), PAPER)
    draw = ImageDraw.Draw(sheet)
    for position, entry in enumerate(entries):
        x, y = 8 + position // rows * column_width, 4 + position % rows * line
        margin = (line - swatch) // 2
        box = (x, y + margin, x + swatch, y + margin + swatch)
        draw.rectangle(box, fill=entry.colour, outline=(120, 120, 120))
        _draw_text(draw, (x + swatch + 8, y + line // 2), entry.name, font_size, anchor="lm")
    return np.asarray(sheet)


def grid(
    pictures: Sequence[Image],
    captions: Sequence[str] = (),
    columns: int | None = None,
    cell_width: int = 360,
    font_size: int = 15,
) -> Image:
    """Pictures side by side on white, each fitted into a cell of one size, with its caption below.

    captions: one per picture, or none
    columns: one per picture up to 4, if not given
    cell_width: pixels; a cell has the proportions of the first picture
    font_size: pixels

    Raises ShapeError for no pictures, or for another number of captions, ConfigError for numbers below 1.
    """
    cell_width, font_size = whole(cell_width, "`cell_width`", 1), whole(font_size, "`font_size`", 1)
    if not pictures:
        raise ShapeError("a grid needs at least one picture and got none; pass a sequence that is not empty")
    if captions and len(captions) != len(pictures):
        raise ShapeError(f"{len(captions)} captions for {len(pictures)} pictures; pass one caption each, or none")
    columns = min(4, len(pictures)) if columns is None else whole(columns, "`columns`", 1)
    height, width = pictures[0].shape[:2]
    cell_height = min(max(round(cell_width * height / width), 8), 3 * cell_width)
    gap, caption_height = 8, round(font_size * 1.7) if captions else 0
    rows = -(-len(pictures) // columns)
    sheet_size = (columns * (cell_width + gap) + gap, rows * (cell_height + caption_height + gap) + gap)
    sheet = PILImage.new("RGB", sheet_size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for position, picture in enumerate(pictures):
        x = gap + position % columns * (cell_width + gap)
        y = gap + position // columns * (cell_height + caption_height + gap)
        fitted = fit(picture, cell_width, cell_height)
        sheet.paste(PILImage.fromarray(fitted), (x + (cell_width - fitted.shape[1]) // 2, y))
        if captions:
            text = _shorten(captions[position], cell_width, font_size)
            _draw_text(draw, (x + cell_width // 2, y + cell_height + caption_height // 2), text, font_size, anchor="mm")
    return np.asarray(sheet)


def fit(picture: Image, width: int, height: int) -> Image:
    """The picture scaled to fit into width x height, keeping proportions: averaged if reduced, blocky if enlarged."""
    rows, columns = picture.shape[:2]
    factor = min(width / columns, height / rows)
    size = (max(round(columns * factor), 1), max(round(rows * factor), 1))
    resample = PILImage.Resampling.LANCZOS if factor < 1 else PILImage.Resampling.NEAREST
    return np.asarray(PILImage.fromarray(picture).resize(size, resample, reducing_gap=3.0 if factor < 1 else None))


def encode_png(picture: Image) -> bytes:
    """The picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    PILImage.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def encode_jpeg(picture: Image) -> bytes:
    """The picture as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    write_jpeg(PILImage.fromarray(picture), buffer)
    return buffer.getvalue()


def write_jpeg(picture: PILImage.Image, file: BinaryIO) -> None:
    """Write a picture as a JPEG file, of quality 90."""
    picture.save(file, "JPEG", quality=90)


def _same_size(image: Image, labels: LabelMap) -> None:
    if image.shape[:2] != labels.shape:
        raise ShapeError(f"image {image.shape[:2]} but labels {labels.shape}; both must have the same height and width")


def _font(text: str, size: int) -> Font:
    if not text.isascii():
        for name in WIDE_FONTS:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    return ImageFont.load_default(size)


def can_draw(text: str) -> bool:
    """Whether a font of this machine has all letters of a text; others are drawn as boxes."""
    font = _font(text, 16)
    if not isinstance(font, ImageFont.FreeTypeFont):
        return text.isascii()
    missing = bytes(font.getmask("\uffff"))
    return all(bytes(font.getmask(letter)) != missing for letter in text)


def _drawable(text: str, font: Font) -> str:
    """The text with ? for what cannot be drawn: without FreeType, Pillow has only a Latin-1 font and raises."""
    return text if isinstance(font, ImageFont.FreeTypeFont) else text.encode("latin-1", "replace").decode("latin-1")


def _text_width(text: str, size: int) -> int:
    font = _font(text, size)
    return round(font.getlength(_drawable(text, font)))


def _draw_text(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, anchor: str) -> None:
    """Draw text with its left middle ("lm") or its middle ("mm") at a point.

    The position is computed from the text's box, because bitmap fonts have no anchors.
    """
    font = _font(text, size)
    text = _drawable(text, font)
    left, top, right, bottom = font.getbbox(text)
    x = at[0] if anchor == "lm" else at[0] - (right - left) / 2
    draw.text((x, at[1] - size * 0.62 if top >= 0 else at[1] - bottom / 2), text, fill=INK, font=font)


def _shorten(text: str, width: int, size: int) -> str:
    """The text, cut to `width`: it keeps its end after an ellipsis, because the end of a path says more."""
    if _text_width(text, size) <= width:
        return text
    low, high = 1, len(text)  # letters that are kept: `low` fit, or are the last one; more than `high` do not
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if _text_width("..." + text[-kept:], size) <= width else (low, kept - 1)
    return "..." + text[-low:]
