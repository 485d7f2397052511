"""Images of one size that go through the network together, which keeps a GPU busy; a CPU is as fast with one after the other.

It is for ``whole``, and for ``auto`` where it would take one pass. The labels are those of one image at a time, up to rounding.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fcn.inference.kept import unchanged
from fcn.inference.scores import label
from fcn.inference.strategies import SMALL, passes_of
from fcn.models.segmenter import Segmenter


class Batches:
    """Groups of images for one pass.

    most: number of images in the largest group.
    pixels: sum of pixels of a group; so small a pass is not worth an estimate of its memory.
    """

    def __init__(self, most: int = 16, pixels: int = SMALL) -> None:
        self.most, self.pixels = most, pixels

    def fits(self, group: Sequence[Any], other: Any) -> bool:
        """Whether ``other`` can be computed together with a group."""
        first = group[0]
        if len(group) >= self.most or not isinstance(first, Tensor) or not isinstance(other, Tensor):
            return False
        return first.shape == other.shape and (len(group) + 1) * first.shape[-2] * first.shape[-1] <= self.pixels

    @torch.inference_mode()
    def __call__(self, model: Segmenter, images: Sequence[Tensor], confidence: Sequence[Tensor | None]) -> list[Tensor]:
        """The labels uint8 (H, W), on the CPU, of images uint8 (3, H, W) of one size; confidence: as of ``scores.label``."""
        height, width = images[0].shape[-2:]
        with unchanged(model):
            found = passes_of(model, torch.stack(list(images)))
            return [label(scores, height, width, confidence=sure) for scores, sure in zip(found, confidence, strict=True)]


def batches_for(name: str, options: dict[str, Any], device: torch.device) -> Batches | None:
    """How images are grouped for the strategy of that name; None: not at all."""
    plain = not options.get("flip") and list(options.get("scales", [1.0])) == [1.0] and options.get("memory") is None
    return Batches() if device.type != "cpu" and name in ("whole", "auto") and plain else None
