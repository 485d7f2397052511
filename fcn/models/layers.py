"""What several parts do to the sides of a map: crop it like another, pad it to a multiple."""

from torch import Tensor
from torch.nn import functional as F


def crop_like(x: Tensor, reference: Tensor) -> Tensor:
    """The top left part of ``x`` (N, C, h, w) that has the height and width of ``reference`` (N, C', h' <= h, w' <= w)."""
    return x[..., : reference.shape[-2], : reference.shape[-1]]


def pad_to_multiple(images: Tensor, divisor: int) -> Tensor:
    """``images`` (N, C, H, W) with zeros added at the bottom and the right until ``divisor`` divides both sides."""
    if divisor == 1:
        return images
    return F.pad(images, (0, -images.shape[-1] % divisor, 0, -images.shape[-2] % divisor))
