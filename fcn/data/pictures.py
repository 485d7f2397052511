"""Label maps as pictures: palette PNGs that keep the indices, overlays on the image, legends, and sheets of samples side by side.

Arrays and CPU tensors are both accepted: images uint8 (3, H, W) in RGB, label maps of integers (H, W) that hold class indices or void.
Large ones are processed in bands of rows. An image may be read band by band (``Shown``, ``Visible``).
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Union

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from fcn.core.errors import UserError
from fcn.core.files import written
from fcn.core.labels import LabelSet
from fcn.data.images import Shown
from fcn.data.visible import Visible

LARGEST = 4096  # longest side of an overlay, pixels; larger ones are reduced
BAND = 2**20  # pixels that are worked on at once

PAPER = (255, 255, 255)
INK = (31, 35, 40)
FAINT = (110, 118, 129)
WRONG = (225, 29, 72)

Bytes = NDArray[np.uint8]
Labels = NDArray[np.uint8] | NDArray[np.int32]
Rows = Union[Bytes, Shown, Visible, "Reduced"]  # an image (3, H, W), of which ``_rows`` reads some


def save_labels(labels: ArrayLike, label_set: LabelSet, path: str | Path) -> None:
    """Writes a palette PNG whose pixels are the indices, at their own size; whole or not at all. With more than 255 classes it is a gray
    PNG of 16 bits.

    Raises UserError for a value that is neither a class nor void, OSError with one sentence where the file cannot be written.
    """
    picture = label_picture(_label_map(labels, label_set), label_set)
    with written(path) as temporary:
        picture.save(temporary, format="PNG")


def label_picture(label_map: Labels, label_set: LabelSet) -> Image.Image:
    """A label map, as this package keeps it, as a picture: with the palette of its classes, or gray of 16 bits where there are too many."""
    if label_map.dtype != np.uint8:
        return Image.fromarray(label_map.astype(np.uint16))
    picture = Image.fromarray(label_map)
    picture.putpalette(label_set.palette)
    return picture


def save_gray(values: ArrayLike, path: str | Path) -> None:
    """Writes a gray PNG of values uint8 (H, W), at their own size; whole or not at all. Raises OSError as ``save_labels`` does."""
    with written(path) as temporary:
        Image.fromarray(np.asarray(values)).save(temporary, format="PNG")


def colorize(labels: ArrayLike, label_set: LabelSet) -> Bytes:
    """The label map in its colours, uint8 (H, W, 3)."""
    return _palette(label_set)[_label_map(labels, label_set)]


def overlay(
    image: ArrayLike | Shown | Visible, labels: ArrayLike, label_set: LabelSet, *, alpha: float = 0.5, contours: bool = True
) -> Bytes:
    """The image with each class's colour laid over it at the opacity ``alpha``, 0 to 1; uint8 (H, W, 3).

    contours: the outermost pixels of each region take the full colour. A class named "background" leaves the image as it is.
    """
    picture, label_map = _pair(image, labels, label_set)
    page = np.empty((*label_map.shape, 3), np.uint8)
    for first, band in _overlaid(picture, label_map, label_set, alpha, contours):
        page[first : first + len(band)] = band
    return page


def legend(label_set: LabelSet, present: Collection[int], width: int, *, font_size: int = 14) -> Image.Image:
    """A swatch and a name for each class in ``present`` (void among them), in the order of the indices, wrapped at ``width`` pixels.

    It is as wide as ``width``, or as its widest entry where that is wider.
    """
    font = ImageFont.load_default(font_size)
    swatch, pad, line = font_size, font_size // 2, round(font_size * 1.7)
    names = [(_palette(label_set)[index], _name(label_set, index)) for index in sorted(set(present))]
    lengths = [swatch + pad + _length(name, font) for _, name in names]
    width = max([width] + [length + 2 * pad for length in lengths])
    places: list[tuple[int, int]] = []
    x = y = pad
    for length in lengths:
        if x > pad and x + length + pad > width:
            x, y = pad, y + line
        places.append((x, y))
        x += length + 2 * pad
    picture = Image.new("RGB", (width, y + line), PAPER)
    pen = ImageDraw.Draw(picture)
    for (color, name), (x, y) in zip(names, places, strict=True):
        pen.rectangle((x, y, x + swatch - 1, y + swatch - 1), tuple(color.tolist()), FAINT)
        pen.text((x + swatch + pad, y + swatch / 2), name, INK, font, anchor="lm")
    return picture


def save_overlay(
    image: ArrayLike | Shown | Visible, labels: ArrayLike, label_set: LabelSet, path: str | Path, *, alpha: float = 0.5
) -> None:
    """Writes the overlay with the legend of the classes that occur below it; the format is the suffix's (PNG, JPEG, ...).

    Any size from 1x1 up. Where a side is longer than 4096 pixels the overlay is reduced to that; the label map of ``save_labels`` never is.
    Raises UserError for a value that is neither a class nor void, OSError with one sentence where the file cannot be written.
    """
    picture, label_map = _pair(image, labels, label_set)
    present = _present(label_map)
    height, width = label_map.shape
    scale = min(1.0, LARGEST / max(height, width))
    picture, label_map = _resized(picture, label_map, scale)
    height, width = label_map.shape
    key = legend(label_set, present, width, font_size=max(11, min(40, 8 + width // 75)))
    page = Image.new("RGB", (max(width, key.width), height + key.height), PAPER)
    for first, band in _overlaid(picture, label_map, label_set, alpha):
        page.paste(Image.fromarray(band), (0, first))
    page.paste(key, (0, height))
    with written(path) as temporary:
        page.save(temporary, quality=92, compress_level=1)  # of PNG: five times as fast as the default, and hardly larger


def sample_sheet(
    rows: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]],
    label_set: LabelSet,
    *,
    titles: tuple[str, str, str] = ("image", "truth", "prediction"),
    names: Sequence[str] | None = None,
    errors: bool = False,
) -> Image.Image:
    """Rows of (image, truth, prediction), each (3, H, W), (H, W), (H, W), side by side under ``titles``, with a legend below.

    Small pictures are enlarged by a whole factor, pixel by pixel; large ones reduced to 640 pixels a side. ``names`` are written above the
    rows. ``errors`` adds a column in which wrong pixels are red, void ones light. Raises UserError for sizes or labels that do not fit.
    """
    scale = _sheet_scale(rows, names)
    present: set[int] = set()
    drawn: list[list[Bytes]] = []
    for image, truth, prediction in rows:
        picture, true_map = _pair(image, truth, label_set)
        _, predicted_map = _pair(image, prediction, label_set)
        present |= {*_present(true_map), *_present(predicted_map)}
        resized, true_map = _resized(picture, true_map, scale)
        _, predicted_map = _resized(picture, predicted_map, scale)
        small = np.ascontiguousarray(_rows(resized))
        cells = [small, colorize(true_map, label_set), colorize(predicted_map, label_set)]
        if errors:
            cells.append(error_map(small, true_map, predicted_map, label_set.void))
        drawn.append(cells)
    return _sheet(drawn, [*titles, "errors"] if errors else list(titles), names, label_set, present)


def label_sheet(rows: Sequence[tuple[ArrayLike, ArrayLike]], label_set: LabelSet, *, names: Sequence[str] | None = None) -> Image.Image:
    """Rows of (image, label map), each (3, H, W), (H, W): the image, its map, and the map on the image, with a legend below.

    Sizes and names as in :func:`sample_sheet`. Raises UserError for sizes or labels that do not fit.
    """
    scale = _sheet_scale(rows, names)
    present: set[int] = set()
    drawn: list[list[Bytes]] = []
    for image, labels in rows:
        picture, label_map = _pair(image, labels, label_set)
        present |= set(_present(label_map))
        resized, label_map = _resized(picture, label_map, scale)
        small = np.ascontiguousarray(_rows(resized))
        drawn.append([small, colorize(label_map, label_set), overlay(small.transpose(2, 0, 1), label_map, label_set)])
    return _sheet(drawn, ["image", "mask", "mask on image"], names, label_set, present)


def _sheet_scale(rows: Sequence[tuple[ArrayLike, ...]], names: Sequence[str] | None) -> float:
    """The factor that pictures of a sheet are drawn at."""
    if not rows:
        raise UserError("no samples given; a sheet needs one row or more")
    if names is not None and len(names) != len(rows):
        raise UserError(f"{len(names)} names given for {len(rows)} rows; give one each, or none")
    longest = max(max(np.shape(row[1])) for row in rows)
    return min(1.0, 640 / longest) if longest > 360 else float(360 // longest)


def _sheet(
    rows: Sequence[Sequence[Bytes]], headings: Sequence[str], names: Sequence[str] | None, label_set: LabelSet, present: Collection[int]
) -> Image.Image:
    """Rows of pictures under their headings, the legend of the classes that are present below."""
    drawn = [[Image.fromarray(cell) for cell in row] for row in rows]
    font, small_font = ImageFont.load_default(18), ImageFont.load_default(13)
    gap, heading, caption = 12, 34, 22 if names else 0
    column = max(max(row[0].width for row in drawn), *(_length(title, font) for title in headings))
    width = gap + len(headings) * (column + gap)
    key = legend(label_set, present, width - gap)
    width = max(width, key.width + gap)
    height = heading + sum(row[0].height + caption + gap for row in drawn) + key.height
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    for place, title in enumerate(headings):
        pen.text((gap + place * (column + gap) + column / 2, heading / 2 + 1), title, INK, font, anchor="mm")
    y = heading
    for number, row in enumerate(drawn):
        if names:
            pen.text((gap, y + caption / 2 - 1), _shortened(names[number], small_font, width - 2 * gap), FAINT, small_font, anchor="lm")
            y += caption
        for place, cell in enumerate(row):
            page.paste(cell, (gap + place * (column + gap) + (column - cell.width) // 2, y))
        y += row[0].height + gap
    page.paste(key, (gap // 2, y - gap // 2))
    return page


def thumbnail(
    image: ArrayLike | Shown | Visible, maps: Sequence[ArrayLike], label_set: LabelSet, longest: int
) -> tuple[Bytes, list[Labels]]:
    """The image (3, h, w) and label maps of its size, none of their sides longer than ``longest`` pixels: copies that need no more memory.

    Raises UserError for sizes or labels that do not fit.
    """
    pairs = [_pair(image, labels, label_set) for labels in maps]
    scale = min(1.0, longest / max(pairs[0][1].shape))
    small, _ = _resized(*pairs[0], scale)
    return np.asarray(small[:, :]).copy(), [_resized(*pair, scale)[1].copy() for pair in pairs]


def error_map(picture: Bytes, truth: Labels, prediction: Labels, void: int) -> Bytes:
    """The image (H, W, 3) in pale grey, wrong pixels red, void ones light."""
    grey = np.asarray(Image.fromarray(np.ascontiguousarray(picture)).convert("L"), np.uint16)
    page = np.repeat((90 + grey // 3).astype(np.uint8)[..., None], 3, axis=2)
    page[truth != prediction] = WRONG
    page[truth == void] = 232
    return page


# --- the inputs, checked once ---


def _label_map(labels: ArrayLike, label_set: LabelSet) -> Labels:
    given = np.asarray(labels)
    if given.ndim != 2 or 0 in given.shape or given.dtype.kind not in "iu":
        raise UserError(f"a label map of shape {given.shape} and type {given.dtype} given; it is integers of shape (height, width)")
    known = f"values are classes, 0 to {label_set.num_classes - 1}, or {label_set.void}"
    if given.dtype != label_set.dtype and (given.min() < 0 or given.max() > label_set.void):
        raise UserError(f"a label map holds {given.min()} to {given.max()}; {known}")
    label_map: Labels = np.ascontiguousarray(given, dtype=label_set.dtype)
    strange = [index for index in _present(label_map) if index >= label_set.num_classes and index != label_set.void]
    if strange:
        raise UserError(f"a label map holds the value {strange[0]}; {known}")
    return label_map


def _pair(image: ArrayLike | Shown | Visible, labels: ArrayLike, label_set: LabelSet) -> tuple[Rows, Labels]:
    """The image (3, H, W) and its label map (H, W)."""
    label_map = _label_map(labels, label_set)
    picture: Rows = image if isinstance(image, Shown | Visible) else np.asarray(image)
    kind = picture.dtype if isinstance(picture, np.ndarray) else np.dtype(np.uint8)
    if kind != np.uint8 or picture.shape != (3, *label_map.shape):
        raise UserError(
            f"an image has shape {picture.shape} and type {kind}, and its label map shape {label_map.shape}; "
            f"give an image of uint8 (3, height, width) with the height and width of its label map"
        )
    return picture, label_map


def _rows(image: Rows, first: int = 0, last: int | None = None) -> Bytes:
    """Rows of the image, (last - first, W, 3)."""
    return np.asarray(image[:, first:last]).transpose(1, 2, 0)


# --- drawing ---


def _palette(label_set: LabelSet) -> Bytes:
    return np.array(label_set.palette, np.uint8).reshape(-1, 3)


def _present(label_map: Labels) -> list[int]:
    """The values that occur."""
    if label_map.dtype == np.uint8:
        return [index for index, count in enumerate(Image.fromarray(label_map).histogram()) if count]
    return np.flatnonzero(np.bincount(label_map.ravel())).tolist()


def _name(label_set: LabelSet, index: int) -> str:
    return "void" if index == label_set.void else label_set.names[index]


def _overlaid(image: Rows, label_map: Labels, label_set: LabelSet, alpha: float, contours: bool = True) -> Iterator[tuple[int, Bytes]]:
    """The overlay in bands of rows: the number of the first row, and the band (rows, W, 3)."""
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha={alpha} is not allowed; an opacity is 0 to 1")
    palette = _palette(label_set)
    drawn = np.array([name != "background" for name in label_set.names] + [True] * (len(palette) - label_set.num_classes))
    opacity = (round(256 * alpha) * drawn).astype(np.uint16)
    colors = (palette * opacity[:, None] + 128).T.copy()  # below 2^16
    rest = 256 - opacity
    height, width = label_map.shape
    thick = round(max(height, width) / 1000)
    rows = max(1, BAND // width)
    for first in range(0, height, rows):
        last = min(first + rows, height)
        labels, picture = label_map[first:last], np.asarray(image[:, first:last])
        band, shown = np.empty((*labels.shape, 3), np.uint8), rest[labels]
        for channel in range(3):
            band[..., channel] = (picture[channel] * shown + colors[channel][labels]) >> 8
        if contours:
            above, below = max(0, first - thick - 1), min(height, last + thick + 1)  # as far as an edge makes itself felt
            edge = _contours(label_map[above:below], thick)[first - above : last - above]
            edge &= drawn[labels]
            band[edge] = palette[labels[edge]]
        yield first, band


class Reduced:
    """An image averaged to a smaller size, (3, height, width), row by row as they are read."""

    def __init__(self, image: Rows, height: int, width: int) -> None:
        self.image = image
        self.shape = (3, height, width)

    def __getitem__(self, key: tuple[slice, slice], /) -> Bytes:
        _, height, width = self.image.shape
        _, tall, wide = self.shape
        begin, end, _ = key[1].indices(tall)
        small = np.empty((end - begin, wide, 3), np.uint8)
        rows = max(1, BAND * tall // (height * width))
        for first in range(begin, end, rows):
            last = min(first + rows, end)
            top, bottom = first * height / tall, last * height / tall
            above, below = int(top), min(height, int(np.ceil(bottom)))
            band = Image.fromarray(np.ascontiguousarray(_rows(self.image, above, below)))
            box = (0, top - above, width, min(bottom - above, below - above))
            small[first - begin : last - begin] = np.asarray(band.resize((wide, last - first), Image.Resampling.BOX, box=box))
        return small.transpose(2, 0, 1)


def _resized(image: Rows, label_map: Labels, scale: float) -> tuple[Rows, Labels]:
    """Both at ``scale``: enlarged by repeating pixels; reduced by averaging the image's and picking the map's."""
    if scale == 1:
        return image, label_map
    height, width = label_map.shape
    tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
    down, across = (((np.arange(count) + 0.5) * (length / count)).astype(np.intp) for count, length in ((tall, height), (wide, width)))
    labels = label_map[down[:, None], across]
    if scale > 1:
        return _rows(image)[down[:, None], across].transpose(2, 0, 1), labels
    return Reduced(image, tall, wide), labels


def _contours(label_map: Labels, thick: int) -> NDArray[np.bool_]:
    """(H, W): pixels beside another label, and those up to ``thick`` pixels further."""
    edge = np.zeros(label_map.shape, np.bool_)
    for one, other, mark_one, mark_other in (
        (label_map[1:], label_map[:-1], edge[1:], edge[:-1]),
        (label_map[:, 1:], label_map[:, :-1], edge[:, 1:], edge[:, :-1]),
    ):
        differ = one != other
        mark_one |= differ
        mark_other |= differ
    if thick:
        edge = np.asarray(Image.fromarray(edge.astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * thick + 1)), np.bool_)
    return edge


def _length(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return int(np.ceil(font.getlength(text)))


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if _length(text, font) <= width:
        return text
    while text and _length(text + "...", font) > width:
        text = text[:-1]
    return text + "..."
