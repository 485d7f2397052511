"""Strategies: ways to take an image of any size through a network. All have the form ``strategy(model, image) -> scores``.

image: uint8 (3, H, W), RGB, any H and W from 1, a tensor or rows that are read when asked for; scores: bands of rows from the top to the
bottom (``scores.py``), on the network's own grid where the strategy can, since label maps do not need them larger (``labelmap.py``). The
model normalises; it must be in evaluation mode.

``whole`` runs the network over the image in one pass; ``stream`` gives the same scores, band by band, in a fraction of the memory
(``stream/``); ``windows`` runs it over overlapping windows whose scores are blended (``windows.py``), which is approximate. ``auto`` takes
the first of these that there is memory for. Test-time augmentation (``flip``, ``scales``; ``augment.py``) goes with each of them.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from fcn.inference.augment import AUGMENTATIONS, augmented
from fcn.inference.memory import available_bytes, budget_bytes, pass_bytes, ran_out
from fcn.inference.scores import Image, Scores, Strips, label
from fcn.inference.stream import stream
from fcn.inference.stream.strategy import PASSES
from fcn.inference.windows import Network, windows
from fcn.models.segmenter import Segmenter
from fcn.names import check_options, lookup

log = logging.getLogger(__name__)


class Strategy(Protocol):
    """What labels an image: uint8 (H, W) on the CPU, class indices. confidence, progress: see ``scores.label``."""

    def __call__(self, model: Segmenter | Network, image: Image, *, confidence: Tensor | None = None, progress: bool = False) -> Tensor: ...


SMALL = 2**20  # pixels; an image up to this size is not worth an estimate of its memory


def whole(model: Segmenter, image: Image) -> Scores:
    """One pass over the whole image.

    Raises ValueError, before it starts, where the pass would need more memory than there is.
    """
    height, width = image.shape[-2:]
    if height * width > SMALL:
        needed, there = pass_bytes(model, height, width), available_bytes(model.mean.device)
        if needed > there:
            raise ValueError(
                f"one pass over an image of {width}x{height} pixels needs about {needed / 2**30:.1f} GiB "
                f"and {there / 2**30:.1f} GiB are free; use inference=stream"
            )
    return Scores(model.cell(height, width), one_pass(model, image))


@torch.inference_mode()
def one_pass(model: Segmenter, image: Image) -> Iterator[Tensor]:
    yield model.scores(model.normalize(image[:, :][None]))[0]


def auto(model: Segmenter | Network, image: Image, *, passes: int = PASSES, memory: float | None = None) -> Scores | Strips:
    """``whole`` where it fits into the memory, else ``stream``, else, with a warning, ``windows``.

    memory: GiB, or half of what is free; passes: that ``stream`` may take.
    """
    if not isinstance(model, Segmenter):
        raise ValueError(f"inference=auto takes a network of this toolkit, and {type(model).__name__} is none; use inference=windows")
    height, width = image.shape[-2:]
    budget = budget_bytes(model.mean.device, memory)
    if height * width <= SMALL and memory is None:
        return whole(model, image)
    try:
        if pass_bytes(model, height, width) <= budget:
            return Scores(model.cell(height, width), one_pass_or_bands(model, image, passes, memory))
        return stream(model, image, passes=passes, memory=memory)
    except ValueError as error:
        log.warning("labels are approximate, by windows that overlap (%s)", error)
        return windows(model, image)


def one_pass_or_bands(model: Segmenter, image: Image, passes: int, memory: float | None) -> Iterator[Tensor]:
    """One pass; where memory runs out in spite of the estimate, bands."""
    try:
        yield from one_pass(model, image)
        return
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    # Not within `except`, whose error holds what the pass had in memory.
    log.warning("memory ran out in one pass over %dx%d pixels; going on with inference=stream", image.shape[-1], image.shape[-2])
    scores = stream(model, image, passes=passes, memory=memory, strip=image.shape[-1])
    assert isinstance(scores, Scores)
    yield from scores.bands


STRATEGIES: dict[str, Callable[..., Scores | Strips]] = {"auto": auto, "whole": whole, "stream": stream, "windows": windows}


def create_strategy(name: str, *, flip: bool = False, scales: Sequence[float] = (1.0,), **options: Any) -> Strategy:
    """The strategy of that name, its options filled in, as a function from an image to its labels. Raises ValueError for unknown names and
    options."""
    compute = lookup(STRATEGIES, name, "inference")
    check_options(compute, options, f"inference={name}", also=AUGMENTATIONS)

    @torch.inference_mode()
    def strategy(model: Segmenter | Network, image: Image, *, confidence: Tensor | None = None, progress: bool = False) -> Tensor:
        scores = augmented(lambda view: compute(model, view, **options), image, flip=flip, scales=scales)
        return label(scores, *image.shape[-2:], confidence=confidence, progress=progress)

    return strategy
