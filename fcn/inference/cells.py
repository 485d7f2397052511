"""The scores of a network's cells over an image of any size: of any number of classes, and with cells that need not cover the image.

A segmenter's scores become labels band by band (``strategies.py``). Here all cells are kept, for a classifier that was made fully
convolutional. Its grid is coarse, so that they take less memory than the network's features.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fcn.core.errors import NotStreamable, UserError
from fcn.core.progress import Progress
from fcn.inference.memory import Pass, available_bytes, budget_bytes
from fcn.inference.scores import LARGE, Image
from fcn.inference.strategies import SMALL, streams_faster
from fcn.inference.stream.bands import Wanted
from fcn.inference.stream.prepare import prepare
from fcn.inference.stream.strategy import fitting, layout_of
from fcn.models.segmenter import Cell


@torch.inference_mode()
def scores_of_cells(
    network: nn.Module, image: Image, normalize: Callable[[Tensor], Tensor], found: Pass, *, progress: bool = False
) -> Tensor:
    """Scores float32 (K, h, w), on the CPU, of the cells of ``network`` over an image.

    One pass, or the stream where the image is large: its bands give the same scores, up to rounding.

    network: module from normalised images (1, C, H, W) to scores (1, K, h, w), in evaluation mode.
    normalize: images (1, C, rows, W) as they are stored to what the network takes, on its device.
    found: what the network's graph says of a pass (``memory.pass_through``).
    progress: show progress on stderr, for an image of 4 million pixels or more.

    Raises UserError for an image that is too large for one pass where the network cannot be computed in bands.
    """
    height, width = image.shape[-2:]
    order, device = layout_of(network), next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    fits = found.bytes_per_pixel * height * width <= budget_bytes(device, None)
    faster = height * width > SMALL and device.type == "cpu" and streams_faster(found, height * width)

    def ordered(images: Tensor) -> Tensor:
        return normalize(images).contiguous(memory_format=order)

    if fits and not faster:
        return whole(network, ordered(image[:, :][None]))
    try:
        return streamed(network, image, ordered, device, shown=progress)
    except NotStreamable as error:
        if fits:
            return whole(network, ordered(image[:, :][None]))
        needed, there = found.bytes_per_pixel * height * width / 2**30, available_bytes(device) / 2**30
        raise UserError(
            f"one pass over {width}x{height} pixels needs about {needed:.1f} GiB, {there:.1f} GiB are free, and in bands it is not "
            f"possible ({error}); make the image smaller, as with scales=[0.5]"
        ) from error


def whole(network: nn.Module, normalized: Tensor) -> Tensor:
    scores: Tensor = network(normalized)[0]
    return scores.float().cpu()


def streamed(network: nn.Module, image: Image, normalize: Callable[[Tensor], Tensor], device: torch.device, *, shown: bool) -> Tensor:
    """The same in bands of rows. Raises NotStreamable where that cannot be."""
    height, width = image.shape[-2:]
    prepared = prepare(network, height, width)
    rows, columns = prepared.program.instructions[prepared.program.output].sizes
    wanted = Wanted(prepared, image, Cell(height / rows, width / columns), normalize)
    band, _ = fitting(wanted, device, None, width, None, 1)
    found = []
    with Progress("image", rows, "rows of cells", shown=shown and height * width >= LARGE) as bar:
        for scores in wanted.bands(band):
            found.append(scores.float().cpu())
            bar.update(scores.shape[1])
    return torch.cat(found, 1)
