"""The classical sliding window: overlapping windows, each passed through the network by itself, their scores blended.

It is approximate: a pixel near a window's edge is scored without what lies beyond the edge. With ``overlap="exact"`` it is not: each window
is cropped by what the network sees, as measured (``halo.py``). The memory does not depend on the height of the
image. Scores are accumulated only for the rows that windows still reach, and yielded as soon as no further window does.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.images import Range
from fcn.core.names import a_type
from fcn.core.registry import register
from fcn.core.settings import at_least, share
from fcn.inference.halo import Pictures, cropped, measure
from fcn.inference.scores import Image, Scores
from fcn.models.any import Wrapped
from fcn.models.segmenter import Segmenter

log = logging.getLogger(__name__)

PIECE = 2**22  # scores that are handed over at once

Network = Callable[[Tensor], Tensor | Mapping[str, Tensor]]  # (N, 3, h, w) -> scores (N, C, h, w), or a dict of which "out" are these


@register("inference", "windows")
def windows(
    network: Segmenter | Network,
    image: Image,
    *,
    size: Annotated[int, at_least(1)] = 512,
    overlap: Annotated[float, share()] | Literal["exact"] = 0.5,
    batch_size: Annotated[int, at_least(1)] = 1,
    weights: Literal["gaussian", "constant"] = "gaussian",
) -> Scores:
    """Overlapping windows, each passed through the network, their scores blended: approximate.

    size: side of a window (pixels); a smaller image is one window.
    overlap: overlap of two neighbouring windows, as a share of the side; exact: as much as the network sees, measured, and nothing blended.
    batch_size: number of windows per pass.
    weights: weights of a window's pixels in the blend; gaussian: the middle counts most (deviation: a quarter of the side).

    network: segmenter, whose normalisation is applied, or any callable from windows to scores of their size, or to a dict with these as
    "out". A callable takes windows of the image as they are, of its type and on its device. A pixel's score is the weighted mean over its
    windows. Raises UserError for scores of another form, and where ``overlap="exact"`` cannot be had.
    """
    compute = segmenting(network) if isinstance(network, Segmenter) else network
    if isinstance(overlap, str):
        divisor = network.backbone.divisor if isinstance(network, Segmenter) else 1
        ranges = network.images.ranges if isinstance(network, Segmenter) and not network.images.is_rgb else None
        return Scores((1, 1), measured(compute, image, size, divisor, ranges))
    return Scores((1, 1), blended(compute, image, size, overlap, batch_size, weights))


def segmenting(model: Segmenter) -> Network:
    """From windows of an image to scores of their size."""

    def compute(cut: Tensor) -> Tensor:
        given = model.normalize(cut)
        try:
            return model(given)
        except Exception as error:
            if isinstance(model, Wrapped):
                raise model.explained(error, given) from error
            raise

    return compute


@torch.inference_mode()
def measured(network: Network, image: Image, size: int, divisor: int, ranges: Sequence[Range] | None) -> Iterator[Tensor]:
    """Bands (C, rows, W) of scores, by windows without what sees their edges. ranges: of the image's channels; None: 0 to 255."""

    def compute(cut: Tensor) -> Tensor:
        return checked(network(cut), len(cut), *cut.shape[-2:])

    _, height, width = image.shape
    if max(height, width) <= size:
        yield compute(image[:, :][None])[0]
        return
    halo = measure(compute, Pictures(image, ranges), divisor, size)
    log.info("windows need %d pixels on each side and begin on multiples of %d (measured)", halo.pixels, halo.step)
    yield from cropped(compute, image, size, halo)


@torch.inference_mode()
def blended(network: Network, image: Image, size: int, overlap: float, batch_size: int, weights: str) -> Iterator[Tensor]:
    """Bands (C, rows, W) of blended scores, each as soon as no further window reaches it."""
    height, width = image.shape[-2:]
    rows, tall = positions(height, size, overlap)
    columns, wide = positions(width, size, overlap)
    down, across = shares(rows, tall, height, weights), shares(columns, wide, width, weights)
    total: Tensor | None = None  # (C, tall, W): image row `r` is its row `r % tall`
    for place, row in enumerate(rows):
        strip = image[:, row : row + tall]
        for start in range(0, len(columns), batch_size):
            group = range(start, min(start + batch_size, len(columns)))
            cuts = torch.stack([strip[:, :, columns[index] : columns[index] + wide] for index in group])
            scores = checked(network(cuts), len(group), tall, wide)
            if total is None:
                total = torch.zeros(
                    scores.shape[1], tall, width, dtype=torch.promote_types(scores.dtype, torch.float32), device=scores.device
                )
                down, across = down.to(total), across.to(total)
            turn = row % tall
            for index, score in zip(group, scores.to(total.dtype), strict=True):
                share = down[place][:, None] * across[index]
                part = total[:, :, columns[index] : columns[index] + wide]
                part[:, turn:].addcmul_(score[:, : tall - turn], share[: tall - turn])
                part[:, :turn].addcmul_(score[:, tall - turn :], share[tall - turn :])
        assert total is not None
        end = rows[place + 1] if place + 1 < len(rows) else height
        piece = max(1, PIECE // (total.shape[0] * width))
        while row < end:
            part = total[:, row % tall : min(row % tall + min(piece, end - row), tall)]
            yield part.clone()
            row += part.shape[1]
            part.zero_()


def checked(given: object, count: int, tall: int, wide: int) -> Tensor:
    """The scores (count, C, tall, wide) that a network gave of so many windows. Raises UserError for anything else."""
    scores = given.get("out") if isinstance(given, Mapping) else given
    if not isinstance(scores, Tensor):
        found = f"a dict of {', '.join(map(str, given))}" if isinstance(given, Mapping) else a_type(given)
        raise UserError(f"the network gave {found}; windows take a tensor of scores, or a dict with them as 'out'")
    if scores.ndim != 4 or len(scores) != count:
        raise UserError(f"the network gave scores of shape {tuple(scores.shape)} for {count} windows; give (N, C, h, w), N of the windows")
    if scores.shape[1] == 0:
        raise UserError(f"the network gave scores of no class: their shape is {tuple(scores.shape)}; give (N, C, h, w), C of the classes")
    if scores.shape[-2:] != (tall, wide):
        raise UserError(
            f"the network gave scores of {scores.shape[-2]}x{scores.shape[-1]} for windows of {tall}x{wide} pixels; "
            f"blending needs scores of the window's own size"
        )
    return scores


def positions(length: int, size: int, overlap: float) -> tuple[list[int], int]:
    """Where windows start along an axis of ``length`` pixels, and their side. They are evenly spread, the first and the last at the ends.
    Each covers at least ``overlap`` of its predecessor."""
    side = min(size, length)
    step = max(1, int(side * (1 - overlap)))
    count = -(-(length - side) // step) + 1
    return [round(index * (length - side) / max(1, count - 1)) for index in range(count)], side


def shares(starts: list[int], side: int, length: int, weights: str) -> Tensor:
    """(windows, side): what each window's pixels count along an axis of ``length`` pixels, its weights divided by the sum of all windows'
    at that pixel. The weights are products of two axes, and so are their sums."""
    profile = window_profile(side, weights)
    total = torch.zeros(length)
    for start in starts:
        total[start : start + side] += profile
    return torch.stack([profile / total[start : start + side] for start in starts])


def window_profile(side: int, weights: str) -> Tensor:
    """(side,) weights of a window's pixels along one axis, all above 0."""
    if weights == "constant":
        return torch.ones(side)
    distance = (torch.arange(side) - (side - 1) / 2) / (side / 4)
    return torch.exp(-0.5 * distance**2)
