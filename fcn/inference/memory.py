"""How much memory a pass over an image takes, and how much there is."""

from typing import Any

import psutil
import torch
from torch import Tensor, nn

from fcn.models.segmenter import Segmenter

PROBE = 256  # side, pixels, of the image whose pass is measured


def available_bytes(device: torch.device) -> int:
    """The memory that can still be taken on ``device``."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return psutil.virtual_memory().available


@torch.inference_mode()
def pass_bytes(model: Segmenter, height: int, width: int) -> int:
    """An estimate of the memory that ``model(image)`` takes at its peak for one (height, width) image, beside its weights.

    Measured on a small image (the largest input and output that a layer holds at once, and the features that wait for the decoder), then
    scaled by the area.
    """
    largest = 0

    def watch(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal largest
        tensors = [item for item in (*inputs, output) if isinstance(item, Tensor)]
        largest = max(largest, sum(tensor.nbytes for tensor in tensors))

    leaves = [module for module in model.modules() if not any(module.children())]
    handles = [leaf.register_forward_hook(watch) for leaf in leaves]
    try:
        image = torch.zeros(1, 3, PROBE, PROBE, device=model.mean.device)
        features = model.backbone(image)
        scores = model.decoder(features)
    finally:
        for handle in handles:
            handle.remove()
    waiting = image.nbytes + sum(feature.nbytes for feature in features)
    return int(
        (waiting + max(largest, 2 * scores.nbytes)) * (height * width) / PROBE**2
    )  # the label map is made of the scores band by band
