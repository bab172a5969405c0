"""The pieces of a page: every function takes plain values, escapes them, and returns HTML.

`Html` is text that is HTML already; everything else is escaped.
"""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import Literal

from PIL import Image as PILImage

from denselab.labels import Colour
from denselab.report.style import CSS
from denselab.types import Image

SMALL = 240  # pixels: the page enlarges pictures that are narrower
LONG_NAME = 64  # letters of a picture's name that fit on one line


class Html(str):
    """Text that is HTML already."""


def text(value: object) -> Html:
    """Any value as HTML."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def join(parts: Iterable[Html]) -> Html:
    """Pieces one after the other."""
    return Html("\n".join(parts))


def page(title: str, body: Iterable[Html], language: str = "en") -> str:
    """A whole document that needs no other file. language: of its text, as in HTML's `lang`."""
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{join(body)}\n</main>\n</body>\n</html>\n"
    )


def section(anchor: str, title: str, *parts: Html) -> Html:
    """A headed part of the page that the contents list can link to."""
    return join([Html(f'<section>\n<h2 id="{anchor}">{text(title)}</h2>'), *parts, Html("</section>")])


def heading(title: str) -> Html:
    """A heading within a section."""
    return Html(f"<h3>{text(title)}</h3>")


def paragraph(content: str, note: bool = False) -> Html:
    """A paragraph of plain text; a note is printed paler."""
    return Html(f"<p{' class=note' if note else ''}>{text(content)}</p>")


def bullets(lines: Iterable[str]) -> Html:
    """A list of plain texts."""
    return Html('<ul class="plain">' + "".join(f"<li>{text(line)}</li>" for line in lines) + "</ul>")


def tile(value: str, label: str, detail: str = "", main: bool = False) -> Html:
    """One number of the headline, with its name and a remark."""
    extra = f"<span>{text(detail)}</span>" if detail else ""
    return Html(
        f'<div class="tile{" main" if main else ""}"><span>{text(label)}</span><b>{text(value)}</b>{extra}</div>'
    )


def swatch(colour: Colour) -> Html:
    """A small square of a colour."""
    return Html(f'<i class="swatch" style="background:rgb({colour[0]} {colour[1]} {colour[2]})"></i>')


def coloured(colour: Colour, name: str) -> Html:
    """A class: its colour and its name."""
    return Html(swatch(colour) + text(name))


def bar(share: float, label: str) -> Html:
    """A bar with its number beside it. share: in [0, 1]."""
    width = min(max(share, 0.0), 1.0) * 100
    return Html(f'<span class="track"><i style="width:{width:.1f}%"></i></span><span>{text(label)}</span>')


Kind = Literal["name", "number", "bar"]


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], kinds: Sequence[Kind] = (), tall: bool = False
) -> Html:
    """A table that scrolls by itself where the page is narrow.

    kinds: for each column, whether it holds names, numbers or bars; (): names in the first, numbers in the others.
    tall: limit the height; the table then scrolls in both directions.
    """
    others: Kind = "number"
    kinds = kinds or ("name", *[others] * (len(header) - 1))
    head = "".join(f'<th scope="col"{_class(k)}>{text(h)}</th>' for h, k in zip(header, kinds, strict=True))
    body = "\n".join("<tr>" + "".join(_cell(c, k) for c, k in zip(row, kinds, strict=True)) + "</tr>" for row in rows)
    return Html(
        f'<div class="scroll{" tall" if tall else ""}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _class(kind: Kind) -> str:
    return "" if kind == "number" else f' class="{kind}"'


def _cell(content: object, kind: Kind) -> str:
    cell = text(content)
    return f'<th scope="row" class="name">{cell}</th>' if kind == "name" else f"<td{_class(kind)}>{cell}</td>"


def key_values(pairs: Iterable[tuple[str, object]]) -> Html:
    """A table of two columns: keys and values."""
    rows = "\n".join(f'<tr><th scope="row">{text(key)}</th><td>{text(value)}</td></tr>' for key, value in pairs)
    return Html(f'<div class="scroll"><table class="kv"><tbody>\n{rows}\n</tbody></table></div>')


def details(summary: str, *parts: Html) -> Html:
    """Parts that stay folded until the reader opens them; needs no script."""
    return Html(f"<details><summary>{text(summary)}</summary>\n{join(parts)}\n</details>")


def chart(title: str, svg: str) -> Html:
    """A drawing with its title."""
    return Html(f'<figure class="chart card"><figcaption>{text(title)}</figcaption>{svg}</figure>')


def picture(image: Image, alt: str, exact: bool = False, css: str = "") -> Html:
    """An embedded picture. exact: without loss, for label maps; otherwise JPEG, for photographs."""
    buffer = io.BytesIO()
    if exact:
        PILImage.fromarray(image).save(buffer, "WEBP", lossless=True, quality=80, method=4)
    else:
        PILImage.fromarray(image).save(buffer, "JPEG", quality=84, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{image.shape[1]}" height="{image.shape[0]}"'
    # otherwise the browser mixes classes
    sharp = ";image-rendering:pixelated" if exact and image.shape[1] < SMALL else ""
    style = f' class="{css}"' if css else f' style="height:auto{sharp}"'
    kind = "webp" if exact else "jpeg"
    return Html(f'<img alt="{text(alt)}" {size}{style} loading="lazy" src="data:image/{kind};base64,{data}">')


def strip(title: str, scores: str, panels: Sequence[tuple[str, Html]]) -> Html:
    """Pictures side by side, each with a caption below, under a line with the name and the scores."""
    cells = "".join(f"<div>{content}<small>{text(caption)}</small></div>" for caption, content in panels)
    five = " five" if len(panels) == 5 else ""
    shown = title if len(title) <= LONG_NAME else "…" + title[-LONG_NAME:]  # the end of a path tells more
    caption = f'<figcaption title="{text(title)}">{text(shown)}<span>{text(scores)}</span></figcaption>'
    return Html(f'<figure class="strip">{caption}<div class="panels{five}">{cells}</div></figure>')


def matrix(shares: Sequence[Sequence[float]], names: Sequence[str], titles: Sequence[Sequence[str]]) -> Html:
    """A K x K table of shares in [0, 1]: darker means more, NaN stays empty.

    titles: what the pointer shows over each cell.
    """
    head = "".join(f'<th scope="col"><div>{text(name)}</div></th>' for name in names)
    rows = []
    for i, name in enumerate(names):
        cells = "".join(_matrix_cell(shares[i][j], titles[i][j], i == j) for j in range(len(names)))
        rows.append(f'<tr><th scope="row" class="name">{text(name)}</th>{cells}</tr>')
    body = "\n".join(rows)
    return Html(
        f'<div class="scroll"><table class="matrix"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _matrix_cell(share: float, title: str, diagonal: bool) -> str:
    if share != share:
        return "<td></td>"
    number = "" if share < 0.005 else f"{share * 100:.0f}"
    css = ' class="diagonal"' if diagonal else ""
    # at most 0.62 opaque, so that the numbers keep their contrast in both colour schemes
    return f'<td{css} title="{text(title)}" style="background:rgb(var(--shade) / {0.62 * share:.3f})">{number}</td>'
