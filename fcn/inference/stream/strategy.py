"""The strategy ``stream``: the band and the strips that fit a budget of memory, and what to do where it was estimated too low."""

import logging
from collections.abc import Iterator
from typing import Annotated

import torch
from torch import Tensor, nn

from fcn.core.errors import NotStreamable, UserError
from fcn.core.names import said
from fcn.core.registry import register
from fcn.core.settings import at_least
from fcn.inference.memory import budget_bytes
from fcn.inference.scores import Image, Scores, Strips
from fcn.inference.settings import PASSES, Memory, Passes
from fcn.inference.stream.bands import Wanted
from fcn.inference.stream.plan import Interval
from fcn.inference.stream.prepare import prepare
from fcn.models.segmenter import Segmenter
from fcn.rasters.rows import Rows

log = logging.getLogger(__name__)

BAND = {"cpu": 2**18}  # pixels of a band: more fit no cache, fewer are not worth the calls
BAND_ELSEWHERE = 2**22
SHORTEST = 32  # rows of a band, unless memory is short: most networks have a row of their deepest layer in so many
LOWEST = 4  # rows of a band, before it is rather the strips that become narrower
NARROWEST = 256  # columns of a strip


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
    order = layout_of(model)
    cell = prepared.cell or model.cell(height, width)
    wanted = Wanted(prepared, image, cell, lambda pixels: model.normalize(pixels).contiguous(memory_format=order))
    rows, count = fitting(wanted, model.mean.device, band, strip, memory, views)

    def scores(bands: Iterator[Tensor], strip: Interval = (0, width)) -> Scores:
        left, top = (strip[0], wanted.columns(strip)[0]), (wanted.pixels[0], wanted.rows[0])
        return Scores(cell, map(model.finished, bands), model.probabilities, left=left, top=top)

    if count == 1:
        return scores(wanted.bands(rows))
    price = prepared.price_of(list(map(wanted.columns, wanted.edges(count))))
    log.info("the image is cut into %d strips of columns, which costs %.1f %% more multiply-adds", count, 100 * (price - 1))
    return Strips((*strip, scores(bands, strip)) for strip, bands in wanted.strips(rows, count))


def layout_of(network: nn.Module) -> torch.memory_format:
    """Channels last where a kernel lies so in memory, as after ``network.to(memory_format=torch.channels_last)``."""
    kernels = (parameter for parameter in network.parameters() if parameter.dim() == 4 and not parameter.is_contiguous())
    last = any(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    return torch.channels_last if last else torch.contiguous_format


def fitting(
    wanted: Wanted,
    device: torch.device,
    band: int | None,
    strip: int | None,
    memory: float | None,
    views: int,
) -> tuple[int, int]:
    """Rows of a band and number of strips, as given or such that the memory is enough for all ``views``.

    The rows of a raster that are kept count too. Raises UserError where no band and no strip is small enough.
    """
    prepared, width = wanted.prepared, wanted.width
    if strip is not None and strip < width and not prepared.in_strips:
        raise UserError(
            f"{said('inference.strip', strip)} is not possible for this network: it has a layer that looks at whole rows; leave it out"
        )
    rows = band or max(SHORTEST, BAND.get(device.type, BAND_ELSEWHERE) // width)
    count = 1 if strip is None else -(-width // strip)
    if memory is None and band is not None and (strip is not None or not prepared.in_strips):
        return rows, count
    budget = budget_bytes(device, memory) // views

    def needed_bytes() -> int:
        strips = wanted.edges(count)
        held = wanted.image.held_bytes(max(end - first for first, end in strips)) if isinstance(wanted.image, Rows) else 0
        return held + (prepared.at_most if held + prepared.at_most <= budget else prepared.bytes(rows, list(map(wanted.columns, strips))))

    lowest = LOWEST if strip is None and prepared.in_strips else 1
    while (needed := needed_bytes()) > budget:
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
