"""Strategies: ways to take an image of any size through a network. All have the form ``strategy(model, image) -> scores``.

image: (C, H, W), usually uint8 RGB, H and W of 1 or more, a tensor or rows that are read when asked for. scores: bands of rows from the
top to the bottom (``scores.py``). Where the strategy can, they are on the network's own grid: label maps do not need them larger
(``labelmap.py``). The model normalises; it must be in evaluation mode.

``whole`` runs the network over the image in one pass. ``stream`` gives the same scores, band by band, in a fraction of the memory
(``stream/``). ``windows`` runs it over overlapping windows and blends their scores (``windows.py``), which is approximate. ``auto`` takes
the faster of the first two, as far as there is memory for it. Test-time augmentation (``flip``, ``scales``; ``augment.py``) goes with each
of them.
"""

import inspect
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from fcn.core.errors import NotStreamable, UserError
from fcn.core.names import said
from fcn.core.registry import bound, find, function_of, register
from fcn.core.settings import check_options
from fcn.inference.augment import augmented, is_augmented
from fcn.inference.kept import period_of, unchanged
from fcn.inference.memory import Pass, available_bytes, budget_bytes, pass_bytes, pass_of, ran_out
from fcn.inference.scores import Image, Scores, Strips, label
from fcn.inference.settings import PASSES, Memory, Passes
from fcn.inference.stream import stream
from fcn.inference.windows import Network, windows
from fcn.models.onnx_model import OnnxModel
from fcn.models.segmenter import Segmenter

log = logging.getLogger(__name__)


SMALL = 2**20  # pixels; a smaller image is not worth an estimate of its memory
SMALL_OF_MANY = 2**18  # pixels, where the network is looked at once for many images
LARGE = 2**22  # pixels, from which on a stream of several passes can be faster than one pass over the image
LIGHT = 15  # multiply-adds for each byte, below which streams pay sooner: the time of one pass is then the memory's
SIDES = range(512, 127, -32)  # pixels, of the windows that are taken where nothing else fits
BATCH = 8  # of these, at most


@register("inference", "whole")
def whole(model: Segmenter, image: Image) -> Scores:
    """One pass over the whole image.

    Raises UserError, before it starts, where the pass would need more memory than there is, as far as the network's graph tells.
    """
    height, width = image.shape[-2:]
    if height * width > SMALL and not isinstance(model, OnnxModel):  # of whose memory nothing is known
        needed, there = pass_bytes(model, height, width), available_bytes(model.mean.device)
        if needed is not None and needed > there:
            raise UserError(
                f"one pass over an image of {width}x{height} pixels needs about {needed / 2**30:.1f} GiB "
                f"and {there / 2**30:.1f} GiB are free; use {said('inference', 'stream')}"
            )
    return one_pass(model, image)


@torch.inference_mode()
def one_pass(model: Segmenter, image: Image) -> Scores:
    scores, cell = model.coarse(model.normalize(image[:, :][None]))
    return Scores(cell, iter([scores[0]]), model.probabilities)


@register("inference", "auto")
def auto(
    model: Segmenter | Network,
    image: Image,
    views: int = 1,
    *,
    passes: Passes = PASSES,
    memory: Memory = None,
) -> Scores | Strips:
    """The fastest exact way that fits into memory, ``whole`` or ``stream``; where there is none, ``windows`` with a warning.

    An exported ONNX file is run by ``whole``.

    views: number of images that are computed side by side, see ``stream``.
    """
    if not isinstance(model, Segmenter):
        raise UserError(
            f"{said('inference', 'auto')} takes a network of this toolkit, and {type(model).__name__} is none; "
            f"use {said('inference', 'windows')}"
        )
    if isinstance(model, OnnxModel):
        return one_pass(model, image)
    height, width = image.shape[-2:]
    budget = budget_bytes(model.mean.device, memory) // views
    period = period_of(model)
    large = height * width >= (SMALL_OF_MANY if period is not None and period.many else SMALL)
    small = not large and memory is None
    needed = 0 if small else pass_bytes(model, height, width)
    fits = needed is not None and needed <= budget
    faster = large and model.mean.device.type == "cpu" and streams_faster(pass_of(model), height * width)
    if fits and not faster and (scores := one_pass_if_room(model, image)) is not None:
        return scores
    try:
        return stream(model, image, views, passes=passes, memory=memory)
    except NotStreamable as error:
        if fits and faster and (scores := one_pass_if_room(model, image)) is not None:
            return scores
        size, batch_size = largest_windows(model, budget)
        log.warning("labels are approximate, by windows of %d pixels a side that overlap (%s)", size, error)
        return windows(model, image, size=size, batch_size=batch_size)


def streams_faster(found: Pass | None, pixels: int) -> bool:
    """Whether a stream over an image is faster on a CPU than one pass: its bands stay in the cache.

    That pays for smaller images where the network computes little for each byte. A network with global pooling is computed twice in a
    stream.
    """
    if found is None:
        return False
    light = found.intensity < LIGHT
    return pixels >= (SMALL_OF_MANY if light else SMALL) if found.at_once else light and pixels >= LARGE


def one_pass_if_room(model: Segmenter, image: Image) -> Scores | None:
    """The scores by one pass; None, with a warning, where memory runs out in spite of the estimate."""
    try:
        return one_pass(model, image)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    # The caller goes on when the error, which holds what the pass had in memory, is gone.
    log.warning("memory ran out in one pass over %dx%d pixels; going on with %s", *image.shape[:-3:-1], said("inference", "stream"))
    return None


def largest_windows(model: Segmenter, budget: int) -> tuple[int, int]:
    """The side and the number of windows that a pass within ``budget`` bytes takes: the largest of ``SIDES``, and up to ``BATCH`` of them.

    One of the smallest where not even that fits, one of the largest where the network's graph does not say what a pass takes.
    """
    for side in SIDES:
        needed = pass_bytes(model, side, side)
        if needed is None:
            return side, 1
        if needed <= budget:
            return side, min(BATCH, budget // needed)
    return side, 1


def check_exported(
    model: object, name: str, *, flip: bool = False, scales: Sequence[float] = (1.0,), confidence: bool = False, **options: Any
) -> None:
    """Raises UserError where ``model`` is an exported file and the strategy of that name cannot run it so; for a caller with many images,
    before the first."""
    if isinstance(model, OnnxModel):
        model.check_use(name, augmented=flip or list(scales) != [1.0], confidence=confidence, memory=options.get("memory"))


class Scoring(Protocol):
    """What computes the scores of an image. confidence: whether the largest probability of a pixel will be asked for."""

    def __call__(self, model: Segmenter | Network, image: Image, *, confidence: bool = False) -> Scores | Strips: ...


@dataclass(frozen=True)
class Strategy:
    """A way through the network, its options filled in: a function from an image to its labels.

    scoring: computes the scores. augmented: whether they are a mean over several views of the image. alone: whether it may be asked for one
    image at a time only: its memory is limited, or it is not this toolkit's.
    """

    scoring: Scoring
    augmented: bool = False
    alone: bool = False

    @torch.inference_mode()
    def __call__(self, model: Segmenter | Network, image: Image, *, confidence: Tensor | None = None, progress: bool = False) -> Tensor:
        """The labels, (H, W) of class indices, on the CPU. confidence, progress: see ``scores.label``."""
        with unchanged(model):
            scores = self.scoring(model, image, confidence=confidence is not None)
            return label(scores, *image.shape[-2:], image=image, confidence=confidence, progress=progress)


def create_strategy(name: str, *, flip: bool = False, scales: Sequence[float] = (1.0,), **options: Any) -> Strategy:
    """The strategy of that name. Raises UserError for unknown names and options."""
    scoring = create_scoring(name, flip=flip, scales=scales, **options)
    ours = find("inference", name).module.startswith("fcn.")
    return Strategy(scoring, is_augmented(flip, scales), alone=not ours or options.get("memory") is not None)


def create_scoring(name: str, *, flip: bool = False, scales: Sequence[float] = (1.0,), **options: Any) -> Scoring:
    """What computes the scores of an image by the strategy of that name. Raises UserError for unknown names and options."""
    part = find("inference", name)
    scales = list(scales) if isinstance(scales, Iterable) and not isinstance(scales, str | bytes | dict) else scales
    check_options(part.settings, {"flip": flip, "scales": scales} | options, ("inference", name))
    views = (
        {"views": len(scales) * (1 + flip)} if "views" in inspect.signature(function_of(part)).parameters else {}
    )  # they share the memory
    compute = partial(bound(part), **views, **options)

    def scores(model: Segmenter | Network, image: Image, *, confidence: bool = False) -> Scores | Strips:
        check_exported(model, name, flip=flip, scales=scales, confidence=confidence, **options)
        return augmented(lambda view: compute(model, view), image, flip=flip, scales=scales)

    return scores
