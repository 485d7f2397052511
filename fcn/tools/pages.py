"""Pages of one file, which open anywhere without a network or scripts."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from fcn.core.labels import LabelSet
from fcn.data.pictures import colorize
from fcn.tools.crops import enlarged
from fcn.tools.tables import Table

STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1f2328; --faint: #6b7280; --line: #e2e2df; --card: #ffffff; --bad: #b42318; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14161a; --ink: #e6e6e3; --faint: #9aa0a8; --line: #2c3036; --card: #1b1e23; --bad: #ff8a7a; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: clamp(1.4rem, 1.1rem + 1.6vw, 2.1rem); line-height: 1.2; margin: 0 0 1rem; letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; }
p { max-width: 46rem; margin: .5rem 0; }
.note { color: var(--faint); font-size: .875rem; }
.failed { color: var(--bad); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .45rem .8rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 500; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--card); font-weight: 600; }
tr:last-child td { border-bottom: 0; }
td small { color: var(--faint); display: block; font-size: .78rem; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .8rem 0; padding: 0; list-style: none; font-size: .9rem; }
.dot { display: inline-block; width: .75rem; height: .75rem; border-radius: 50%; margin-right: .45rem; vertical-align: -.05rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
.charts figure { border: 1px solid var(--line); border-radius: .5rem; background: var(--card); padding: .6rem; max-width: 36rem; }
figure { margin: 0; }
figcaption { font-size: .8rem; color: var(--faint); margin-top: .25rem; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--faint); font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); }
svg .zero { stroke: var(--ink); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .6rem; margin: .4rem 0 1.4rem; }
.tiles img { width: 100%; image-rendering: pixelated; border-radius: .25rem; display: block; }
.wide { grid-template-columns: repeat(4, 1fr); }
@media (max-width: 40rem) { .wide { grid-template-columns: repeat(2, 1fr); } th, td { padding: .45rem .5rem; }
  th, td:first-child { white-space: normal; } td:first-child { min-width: 6rem; max-width: 10rem; overflow-wrap: anywhere; } }
h3 { font-size: .95rem; margin: 1rem 0 .2rem; }
details { margin-top: 1rem; }
summary { cursor: pointer; }
pre { overflow-x: auto; padding: 1rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--card); font-size: .8rem; }
"""


def document(title: str, sections: Sequence[str]) -> str:
    """The page around its sections, which are HTML."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{escape(title)}</title><style>{STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def inline_picture(png: bytes, text: str) -> str:
    """A picture inside the page, as wide as it is or as the page. text: what it shows, for those who cannot see it. Empty for no bytes."""
    if not png:
        return ""
    data = base64.b64encode(png).decode()
    return f'<figure><img style="max-width: 100%; height: auto" alt="{escape(text)}" src="data:image/png;base64,{data}"></figure>'


def breakable(text: str) -> str:
    """A name of several settings, which may go on in the next line after a comma."""
    return text.replace(",", ",<wbr>")


def html_table(table: Table) -> str:
    head = "".join(f"<th>{breakable(escape(name))}</th>" for name in table.columns)
    rows = "".join(
        f"<tr><td>{breakable(small(first))}</td>{''.join(f'<td>{small(cell)}</td>' for cell in rest)}</tr>" for first, *rest in table.rows
    )
    return (
        f"<h2>{escape(table.title)}</h2>\n<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>\n"
        f'<p class="note">{escape(table.note)}</p>'
    )


def small(cell: str) -> str:
    """What follows a number (its spread, interval or verdict) in smaller type below it."""
    number, blank, rest = cell.partition(" ")
    is_number = blank and number.lstrip("+-").replace(".", "", 1).isdigit()
    return f"{escape(number)}<small>{escape(rest)}</small>" if is_number else escape(cell)


def swatches(colors: Mapping[str, str]) -> str:
    """A key: a dot of each colour, and its name."""
    entries = [f'<li><span class="dot" style="background:{color}"></span>{escape(name)}</li>' for name, color in colors.items()]
    return f'<ul class="key">{"".join(entries)}</ul>'


def label_colors(labels: LabelSet) -> dict[str, str]:
    """The colours of the classes, and of void, in label maps."""
    indices = np.array([[*range(labels.num_classes), labels.void]])
    names = (*labels.names, "void, not scored")
    return {name: f"rgb{tuple(color)}" for name, color in zip(names, colorize(indices, labels)[0].tolist(), strict=True)}


def tile(picture: Any, name: str, *, photograph: bool = False) -> str:
    """A picture (H, W, 3) or (H, W), enlarged to about the size of a tile, with its name below. photograph: stored as JPEG, a tenth as
    large."""
    image = Image.fromarray(enlarged(np.ascontiguousarray(picture)))
    source = data_uri(image, photograph=photograph)
    return f'<figure><img alt="{escape(name)}" src="{source}"><figcaption>{escape(name)}</figcaption></figure>'


def data_uri(image: Image.Image, *, photograph: bool = False) -> str:
    buffer = io.BytesIO()
    if photograph:
        image.save(buffer, format="JPEG", quality=88)
    else:
        image.save(buffer, format="PNG", optimize=True)
    return f"data:image/{'jpeg' if photograph else 'png'};base64,{base64.b64encode(buffer.getvalue()).decode()}"
