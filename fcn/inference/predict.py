"""One image in, its label map out: ``fcn.predict``."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from fcn.data.images import Shown
from fcn.inference import scores
from fcn.inference.strategies import create_strategy
from fcn.inference.windows import Network
from fcn.models.layers import evaluating
from fcn.models.segmenter import Segmenter


def predict(
    model: Segmenter | Network, image: Image.Image | NDArray[np.uint8], *, strategy: str = "auto", **options: Any
) -> NDArray[np.uint8]:
    """The label map, uint8 (H, W) of class indices, of one image at its own size.

    image: a PIL image of any mode, or an (H, W, 3) uint8 array in RGB order. strategy and options: as ``inference=NAME`` and its settings.
    The model is used in evaluation mode and left as it was. With ``strategy="windows"`` it may be any callable that makes scores
    (N, C, h, w) of uint8 windows (N, 3, h, w). Raises ValueError for arrays of another shape or type.
    """
    run = create_strategy(strategy, **options)
    if not isinstance(model, Segmenter) and strategy != "windows":
        raise ValueError(f"a {type(model).__name__} is no model of this toolkit, and can be run by strategy='windows' only")
    with evaluating(model) if isinstance(model, nn.Module) else nullcontext():
        return run(model, rows_of(image)).numpy()


def rows_of(image: Image.Image | NDArray[np.uint8]) -> scores.Image:
    """A PIL image, where it is, or an (H, W, 3) uint8 array as uint8 (3, H, W)."""
    if isinstance(image, Image.Image):
        return Shown(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(
            f"the image is an array of shape {image.shape} and type {image.dtype}; give (height, width, 3) of uint8, in RGB order"
        )
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
