"""Values of an image after a calculation, as its type holds them."""

import torch
from torch import Tensor


def rounded(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Floating-point ``values`` as ``dtype``: as uint8 rounded and cut to 0..255, as another type as they are. May write to ``values``."""
    return values.round_().clamp_(0, 255).to(dtype) if dtype == torch.uint8 else values.to(dtype)
