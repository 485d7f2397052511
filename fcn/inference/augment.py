"""Test-time augmentation: mirrored and resized views of the image pass through the network, and their softmax probabilities are averaged.

It works with every strategy. A view is an image whose rows are made on demand (``Mirrored``, ``Resized``). Its scores are put back on the
image's own grid band by band, in one bilinear interpolation from the network's grid. All views go down the image side by side, so that no
full-size scores are stored. A strategy with a budget of memory divides it among the views, and does not cut them into strips.

Probabilities are averaged, not logits, as usual (Chen et al. 2018, section 4.1, arXiv:1802.02611). A confident view counts more than one
that is not, but never for more than 1.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.settings import interval, items
from fcn.inference.labelmap import work_at_once
from fcn.inference.scores import Image, Reader, Scores, Strips


class Mirrored:
    """An image with left and right exchanged."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.shape = image.shape

    def __getitem__(self, key: tuple[slice, slice], /) -> Tensor:
        return self.image[key].flip(-1)


class Resized:
    """An image at another size, (C, height, width), a band of rows at a time. Where it grows it is interpolated. Where it shrinks, the
    pixels that become one are averaged with triangular weights. It equals ``F.interpolate(mode="bilinear", antialias=True)``. The values
    of uint8 are rounded; other types become float32."""

    def __init__(self, image: Image, height: int, width: int) -> None:
        self.image = image
        self.shape = (image.shape[0], height, width)
        self.columns = taps(image.shape[-1], width, 0, width)

    def __getitem__(self, key: tuple[slice, slice], /) -> Tensor:
        first, last, _ = key[1].indices(self.shape[1])
        index, weight = taps(self.image.shape[-2], self.shape[1], first, last)
        low, high = int(index.min()), int(index.max())
        rows = self.image[:, low : high + 1]
        source = rows.float()
        lines = sum(weight[tap][:, None] * source.index_select(1, index[tap] - low) for tap in range(len(index)))
        assert isinstance(lines, Tensor)
        index, weight = self.columns
        pixels = sum(weight[tap] * lines.index_select(2, index[tap]) for tap in range(len(index)))
        assert isinstance(pixels, Tensor)
        return pixels.round_().clamp_(0, 255).to(torch.uint8) if rows.dtype == torch.uint8 else pixels


def taps(source: int, target: int, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Indices (taps, pixels) of the pixels of an axis of ``source`` that make up pixels ``first`` to ``last - 1`` of one of ``target``.
    Also their weights, which sum to 1 over the taps."""
    scale = source / target
    reach = max(scale, 1.0)
    center = (torch.arange(first, last, dtype=torch.float64) + 0.5) * scale
    begin = (center - reach).floor().long()
    index = begin + torch.arange(int(2 * reach) + 2)[:, None]
    weight = (1 - (index + 0.5 - center).abs() / reach).clamp_(min=0)
    weight[(index < 0) | (index >= source)] = 0
    return index.clamp_(0, source - 1), (weight / weight.sum(0)).float()


def augmented(
    compute: Callable[[Image], Scores | Strips],
    image: Image,
    *,
    flip: bool = False,
    scales: Annotated[Sequence[float], items(interval(0, 16), example="[0.75,1,1.25]")] = (1.0,),
) -> Scores | Strips:
    """Mean softmax probabilities, pixel by pixel, over the image at each of the ``scales`` and, with ``flip``, each of these mirrored.

    flip: average over the image and its mirror image.
    scales: factors of the image's size to average over.

    compute: a strategy with its model and settings. With one scale of 1 and no flip: what the strategy gives, as it is.
    """
    if not is_augmented(flip, scales):
        return compute(image)
    return Scores(
        (1, 1), averaged(compute, image, [(scale, turn) for scale in scales for turn in ((False, True) if flip else (False,))]), True
    )


def is_augmented(flip: bool, scales: Sequence[float]) -> bool:
    """Whether scores are averaged over views at all."""
    return flip or list(scales) != [1]


@torch.inference_mode()
def averaged(compute: Callable[[Image], Scores | Strips], image: Image, views: Sequence[tuple[float, bool]]) -> Iterator[Tensor]:
    """Bands (C, rows, W) of mean probabilities over the views (scale, mirrored)."""
    height, width = image.shape[-2:]
    readers = []
    for scale, mirrored in views:
        size = max(1, round(height * scale)), max(1, round(width * scale))
        view = image if size == (height, width) else Resized(image, *size)
        scores = compute(Mirrored(view) if mirrored else view)
        if isinstance(scores, Strips):
            raise UserError("views are averaged row by row, and the scores of one came in strips; let the strategy know of the views")
        readers.append(Reader(scores, height, width, view=size))
    band = readers[0].values(0, 1)
    step = max(1, 4 * work_at_once(band) // band.numel())
    for first in range(0, height, step):
        last = min(first + step, height)
        total = torch.zeros(band.shape[0], last - first, width, dtype=band.dtype, device=band.device)
        for reader, (_, mirrored) in zip(readers, views, strict=True):
            values = reader.values(first, last)
            values = values if reader.scores.probabilities else values.softmax(0)
            total += values.flip(-1) if mirrored else values
        yield total.div_(len(views))
