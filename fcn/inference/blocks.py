"""Rasters in, blocks of labels out: neither the image nor its label map is ever whole in memory."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.graph.networks import evaluating
from fcn.inference.kept import unchanged
from fcn.inference.precision import number_format
from fcn.inference.scores import Block, blocks, in_this_state
from fcn.inference.strategies import Strategy, create_strategy
from fcn.inference.windows import Network
from fcn.models.segmenter import Segmenter
from fcn.rasters.raster import Raster
from fcn.rasters.rows import Rows


def label_blocks(
    model: Segmenter | Network,
    raster: Raster,
    *,
    strategy: str = "auto",
    first_row: int = 0,
    end_row: int | None = None,
    precision: str = "fp32",
    confidence: bool = False,
    progress: bool = False,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    **options: Any,
) -> Iterator[Block]:
    """The labels of a raster as blocks, each computed when it is asked for.

    Blocks are as wide as the raster, and follow each other from the top to the bottom. A raster that is too wide for ``memory`` is cut into
    strips of columns: then all blocks of one strip come before those of the next. Pixels that are no data are void.

    first_row, end_row: the rows that are labelled, up to the one before ``end_row``; default: all. Their labels are those of the whole run.
        With the strategy "stream", which "auto" takes for whatever is large, only what they see is computed.
    The other arguments are those of ``fcn.predict``.

    Raises UserError where the model takes images of another kind, and as ``fcn.predict`` does.
    """
    run = create_strategy(strategy, flip=flip, scales=scales, **options)
    device = next((tensor.device.type for tensor in model.parameters()), "cpu") if isinstance(model, nn.Module) else "cpu"
    dtype = number_format(precision, device)
    last = raster.height if end_row is None else end_row
    with nullcontext() if dtype == torch.float32 else torch.autocast(device, dtype):
        found = strategy_blocks(run, model, raster, first_row=first_row, end_row=last, confidence=confidence, progress=progress)
    yield from found


def strategy_blocks(
    strategy: Strategy,
    model: Segmenter | Network,
    raster: Raster,
    *,
    first_row: int,
    end_row: int,
    confidence: bool = False,
    progress: bool = False,
) -> Iterator[Block]:
    """As ``label_blocks``, by a strategy that is made already, in the autocast state of this call."""
    rows = raster_rows(raster, model)
    if not 0 <= first_row < end_row <= raster.height:
        raise UserError(f"rows {first_row} to {end_row} are asked for, and {raster.name} has {raster.height}")
    if not strategy.augmented:
        rows.wanted = (first_row, end_row)

    @torch.inference_mode()
    def found() -> Iterator[Block]:
        with evaluating(model) if isinstance(model, nn.Module) else nullcontext(), unchanged(model):
            scores = strategy.scoring(model, rows, confidence=confidence)
            yield from blocks(
                scores,
                raster.height,
                raster.width,
                image=rows,
                wanted=(first_row, end_row),
                confidence=confidence,
                progress=progress,
            )

    return in_this_state(found())


def raster_rows(raster: Raster, model: Segmenter | Network) -> Rows:
    """A raster as an image for a network: pixels that are no data become the mean of the network's images. Raises UserError where it takes
    images of another kind."""
    if not isinstance(model, Segmenter):
        return Rows(raster)
    if not raster.images.same_as(model.images):
        mend = "save it as that type"
        if raster.channels != model.images.channels:
            choice = list(range(1, model.images.channels + 1)) if raster.channels > model.images.channels else [1] * model.images.channels
            mend = f"choose bands, as {said('bands', choice)}"
        raise UserError(f"{raster.name} has {raster.images}, and the model takes images of {model.images}; {mend}")
    return Rows(raster, (255 * model.mean).flatten().tolist())
