"""The segmenter: a backbone and a decoder, from images to class scores at the images' own size.

Images of any height and width from 1 up go in. Where the backbone asks for multiples of a size, zeros (the mean colour) are added at the
bottom and the right. The decoder's scores stand on a grid of ``stride`` pixels a cell whose first cell is at the top left; the last step
interpolates them by that whole factor and crops the image's size from the top left, so that a cell lies over the same pixels whatever the
size of the image (one convention for the whole toolkit: bilinear, ``align_corners=False``).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn.data.labels import LabelSet
from fcn.models.backbones import Backbone, create_backbone
from fcn.models.decoders import DECODERS
from fcn.models.layers import pad_to_multiple
from fcn.models.upsample import create_upsampler
from fcn.names import check_options, lookup


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a model again, in plain values: the arguments of ``create_model`` less the weights."""

    model: str
    backbone: str
    upsample: str
    num_classes: int
    model_options: dict[str, Any]
    backbone_options: dict[str, Any]
    upsample_options: dict[str, Any]


class Segmenter(nn.Module):
    """``forward(images)``: normalised images (N, 3, H, W) to logits (N, num_classes, H, W)."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, decoder: nn.Module, *, spec: ModelSpec | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.stride = int(decoder.stride)  # type: ignore[arg-type]
        self.spec = spec
        self.labels: LabelSet | None = None  # the classes that it was trained for
        self.register_buffer("mean", torch.tensor(backbone.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).view(-1, 1, 1))

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 images (N, 3, H, W) in 0..255 to the floats that the backbone expects, on the model's device."""
        images = images.to(self.mean.device)
        return torch.addcmul(-self.mean / self.std, images, 1 / (255 * self.std))

    def scores(self, images: Tensor) -> Tensor:
        """Class scores (N, num_classes, h, w) at ``stride``, with h >= H / stride and w >= W / stride."""
        return self.decoder(self.backbone(pad_to_multiple(images, self.backbone.divisor)))

    def forward(self, images: Tensor) -> Tensor:
        return to_image_size(self.scores(images), self.stride, images.shape[-2], images.shape[-1])


def to_image_size(scores: Tensor, stride: int, height: int, width: int) -> Tensor:
    """The last step: scores (N, C, h, w) interpolated by the whole factor ``stride``, then the top left (height, width)."""
    if stride > 1:
        scores = F.interpolate(scores, scale_factor=float(stride), mode="bilinear", align_corners=False)
    return scores[..., :height, :width]


def create_model(
    model: str = "fcn8s",
    *,
    backbone: str = "resnet18",
    upsample: str = "transposed",
    num_classes: int,
    weights: str | None = None,
    model_options: dict[str, Any] | None = None,
    backbone_options: dict[str, Any] | None = None,
    upsample_options: dict[str, Any] | None = None,
) -> Segmenter:
    """A segmentation network from three words.

    weights: of the backbone: None (random), "imagenet" or the path of the classifier's state dict. The options are the keyword
    parameters of the part's function. Raises ValueError, naming what there is, for unknown words and for parts that do not fit together.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes}; a segmentation network tells at least 2 classes apart (background is one)")
    spec = ModelSpec(
        model, backbone, upsample, num_classes, dict(model_options or {}), dict(backbone_options or {}), dict(upsample_options or {})
    )
    decoder = lookup(DECODERS, model, "model")
    check_options(decoder, spec.model_options, f"model={model}")
    upsampler = create_upsampler(upsample, **spec.upsample_options)
    features = create_backbone(backbone, weights=weights, **spec.backbone_options)
    head = decoder(features.channels, features.strides, num_classes, upsampler, **spec.model_options)
    return Segmenter(features, head, spec=spec)
