"""What several parts do: crop a map like another, pad it to a multiple, evaluate a network and leave it as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def crop_like(x: Tensor, reference: Tensor) -> Tensor:
    """The top left part of ``x`` (N, C, h, w) that has the height and width of ``reference`` (N, C', h' <= h, w' <= w)."""
    return x[..., : reference.shape[-2], : reference.shape[-1]]


def pad_to_multiple(images: Tensor, divisor: int) -> Tensor:
    """``images`` (N, C, H, W) with zeros added at the bottom and the right until ``divisor`` divides both sides."""
    if divisor == 1:
        return images
    return F.pad(images, (0, -images.shape[-1] % divisor, 0, -images.shape[-2] % divisor))


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Within it, ``module`` is in evaluation mode and no gradients are kept; afterwards every part is in the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes.items():
            part.training = training
