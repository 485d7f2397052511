"""Strategies: ways to take an image of any size through a network. All have the form ``strategy(model, image) -> labels``.

image: uint8 (3, H, W), RGB, any H and W from 1; labels: uint8 (H, W) on the CPU, class indices. The model normalises; it must be in
evaluation mode.

``whole`` runs the network over the image in one pass, ``windows`` over overlapping windows whose scores are blended (``windows.py``).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fcn.inference.memory import available_bytes, pass_bytes
from fcn.inference.windows import windows
from fcn.models.segmenter import Segmenter
from fcn.names import check_options, lookup

Strategy = Callable[[Segmenter, Tensor], Tensor]

SMALL = 2**20  # pixels; an image up to this size is not worth an estimate of its memory


@torch.inference_mode()
def whole(model: Segmenter, image: Tensor) -> Tensor:
    """One pass over the whole image.

    Raises ValueError, before it starts, where the pass would need more memory than there is.
    """
    height, width = image.shape[-2:]
    if height * width > SMALL:
        needed, there = pass_bytes(model, height, width), available_bytes(model.mean.device)
        if needed > there:
            raise ValueError(
                f"one pass over an image of {width}x{height} pixels needs about {needed / 2**30:.1f} GiB "
                f"and {there / 2**30:.1f} GiB are free; use inference=windows"
            )
    logits = model(model.normalize(image[None]))
    return logits.argmax(1)[0].to("cpu", torch.uint8)


STRATEGIES: dict[str, Callable[..., Tensor]] = {"whole": whole, "windows": windows}


def create_strategy(name: str, **options: Any) -> Strategy:
    """The strategy of that name, its options filled in. Raises ValueError for unknown names and options."""
    strategy = lookup(STRATEGIES, name, "inference")
    check_options(strategy, options, f"inference={name}")
    return partial(strategy, **options)
