"""The strategy ``stream``: the band and the strips that fit a budget of memory, and what to do where it was estimated too low."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, TypeVar

import torch
from torch import Tensor, nn

from fcn.core.errors import NotStreamable, UserError
from fcn.core.names import said
from fcn.core.registry import register
from fcn.core.settings import at_least
from fcn.inference.grid import Axis
from fcn.inference.memory import budget_bytes, ran_out
from fcn.inference.scores import Image, Scores, Strips
from fcn.inference.settings import PASSES, Memory, Passes
from fcn.inference.stream.plan import Interval
from fcn.inference.stream.prepare import prepare
from fcn.inference.stream.run import Source
from fcn.inference.stream.scores import Known, Prepared, gather, score_bands, share
from fcn.models.segmenter import Cell, Segmenter

log = logging.getLogger(__name__)

BAND = {"cpu": 2**18}  # pixels of a band: more fit no cache, fewer are not worth the calls
BAND_ELSEWHERE = 2**22
SHORTEST = 32  # rows of a band, unless memory is short: most networks have a row of their deepest layer in so many
LOWEST = 4  # rows of a band, before it is rather the strips that become narrower
NARROWEST = 256  # columns of a strip

T = TypeVar("T")


@register("inference", "stream")
def stream(
    model: Segmenter,
    image: Image,
    views: int = 1,
    *,
    band: Annotated[int, at_least(1)] | None = None,
    strip: Annotated[int, at_least(1)] | None = None,
    passes: Passes = PASSES,
    memory: Memory = None,
) -> Scores | Strips:
    """Bands of rows through the network's graph; the scores are those of one pass, up to rounding.

    band: rows of the image per band (pixels); null: as many as fit into memory.
    strip: columns of the image per strip (pixels); null: all, or as many as fit into memory.

    What the cells of a strip see beside it is computed twice. Where both ``band`` and ``strip`` are given, they are taken as they are,
    unless they need more than a ``memory`` that is given too. views: number of images that are computed side by side, as for test-time
    augmentation. Each takes its share of the memory; none is cut into strips. Raises UserError where the network cannot be computed so.
    Raises NotStreamable where another strategy would do: too many passes, too little memory, a layer that bands cannot have.
    """
    height, width = image.shape[-2:]
    if views > 1:
        if strip is not None and strip < width:
            raise UserError(
                f"{said('inference.strip', strip)} does not go with flip and scales, whose views are averaged row by row; leave it out"
            )
        strip = width
    prepared = prepare(model, height, width)
    if prepared.passes > passes:
        raise NotStreamable(
            f"{said('inference', 'stream')} takes {prepared.passes} passes over the image for this network, {prepared.price:.1f} times the "
            f"multiply-adds of one, and {said('inference.passes', passes)} are allowed; allow more, or use {said('inference', 'windows')}"
        )
    if prepared.passes > 1:
        log.info("%d passes over the image, %.1f times the multiply-adds of one", prepared.passes, prepared.price)
    cell = prepared.cell or model.cell(height, width)
    axis = Axis.over(prepared.program.instructions[prepared.program.output].sizes[1], cell.across, corners=cell.corners)
    rows, count = fitting(prepared, axis, width, model.mean.device, band, strip, memory, views)

    order = layout_of(model)

    def read(first: int, end: int) -> Tensor:
        return model.normalize(image[:, first:end][None]).contiguous(memory_format=order)

    if count == 1:
        return Scores(cell, map(model.finished, bands(prepared, read, rows)), model.probabilities)
    return Strips(strips(model, prepared, read, axis, cell, width, rows, count))


def layout_of(network: nn.Module) -> torch.memory_format:
    """Channels last where a kernel lies so in memory, as after ``network.to(memory_format=torch.channels_last)``."""
    kernels = (parameter for parameter in network.parameters() if parameter.dim() == 4 and not parameter.is_contiguous())
    last = any(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    return torch.channels_last if last else torch.contiguous_format


def fitting(
    prepared: Prepared,
    axis: Axis,
    width: int,
    device: torch.device,
    band: int | None,
    strip: int | None,
    memory: float | None,
    views: int,
) -> tuple[int, int]:
    """Rows of a band and number of strips, as given or such that the memory is enough for all ``views``.

    Raises UserError where no band and no strip is small enough.
    """
    if strip is not None and strip < width and not prepared.in_strips:
        raise UserError(
            f"{said('inference.strip', strip)} is not possible for this network: it has a layer that looks at whole rows; leave it out"
        )
    rows = band or max(SHORTEST, BAND.get(device.type, BAND_ELSEWHERE) // width)
    count = 1 if strip is None else -(-width // strip)
    if memory is None and band is not None and (strip is not None or not prepared.in_strips):
        return rows, count
    budget = budget_bytes(device, memory) // views
    if prepared.at_most <= budget:
        return rows, count
    lowest = LOWEST if strip is None and prepared.in_strips else 1
    while (needed := prepared.bytes(rows, [cells_of(axis, *share(width, index, count)) for index in range(count)])) > budget:
        if band is None and rows > lowest:
            rows = max(lowest, rows // 2)
        elif strip is None and prepared.in_strips and width // (2 * count) >= NARROWEST:
            count *= 2
        else:
            raise NotStreamable(
                f"{said('inference', 'stream')} needs {needed / 2**30:.2f} GiB for an image {width} pixels wide "
                f"and may take {budget / 2**30:.2f} GiB"
                f"{f', a part of the memory for each of {views} views' if views > 1 else ''}; give a larger {said('inference.memory')}"
                f"{', leave out flip or scales' if views > 1 else ''}, or use {said('inference', 'windows')}"
            )
    return rows, count


def cells_of(axis: Axis, first: int, end: int) -> Interval:
    """The cells of the scores that the pixels ``[first, end)`` lie at."""
    low, high = axis.reach(first, end, torch.empty(0))
    return low, high + 1


def bands(prepared: Prepared, read: Source, rows: int) -> Iterator[Tensor]:
    """Bands (C, rows, columns) of scores."""
    known, rows = shrinking(partial(gather, prepared, read), rows)
    yield from going_on(prepared, read, known, rows)


def strips(
    model: Segmenter, prepared: Prepared, read: Source, axis: Axis, cell: Cell, width: int, rows: int, count: int
) -> Iterator[tuple[int, int, Scores]]:
    """The first column and the end of each strip of pixels, and its scores."""
    known, rows = shrinking(partial(gather, prepared, read, strips=count), rows)
    for index in range(count):
        first, end = share(width, index, count)
        cells = cells_of(axis, first, end)
        bands = map(model.finished, going_on(prepared, read, known, rows, cells))
        yield first, end, Scores(cell, bands, model.probabilities, left=(first, cells[0]))


def shrinking(call: Callable[..., T], rows: int) -> tuple[T, int]:
    """What ``call(band=rows)`` gives, and the rows with which it did: half as many each time that memory runs out."""
    while True:
        try:
            return call(band=rows), rows
        except (RuntimeError, MemoryError) as error:
            rows = halved(rows, error)


@torch.inference_mode()
def going_on(prepared: Prepared, read: Source, known: Known, rows: int, columns: Interval | None = None) -> Iterator[Tensor]:
    """Bands (C, rows, columns) of scores; where memory runs out, from the same row on with half the band."""
    done = 0
    while True:
        try:
            for first, scores in score_bands(prepared, read, known, band=rows, columns=columns):
                fresh = scores[0, :, max(done - first, 0) :]
                if fresh.shape[1]:
                    done += fresh.shape[1]
                    yield fresh
            return
        except (RuntimeError, MemoryError) as error:
            rows = halved(rows, error)


def halved(rows: int, error: Exception) -> int:
    """Half the band, if it was memory that ran out; else the error is raised again."""
    if rows == 1 or not ran_out(error):
        raise error
    log.warning("memory ran out with bands of %d rows; going on with %d", rows, rows // 2)
    return rows // 2
