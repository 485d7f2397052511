"""Any module that gives a list of features as a backbone: what is not declared is measured."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.names import a_type
from fcn.graph.networks import evaluating
from fcn.models.backbones.contract import IMAGENET_MEAN, IMAGENET_STD, Backbone, from_graph
from fcn.models.pretrained import load_weights
from fcn.rewrite.dilate import rewrite
from fcn.rewrite.editable import editable

SIDES = (128, 256)  # of the images that the strides are measured with, pixels


def measured(
    network: nn.Module, name: str, *, weights: str | None = None, output_stride: int | None = None, dilate_first: bool | None = None
) -> Backbone:
    """``network`` as a backbone: forward(images (N, 3, H, W)) -> list of features (N, C, h, w), shallow to deep.

    Channels and strides are measured. Its attributes ``mean``, ``std`` and ``divisor`` are used. ``mean`` and ``std`` are of images in
    0..1; default: ImageNet's. The sides of an image become multiples of ``divisor``; default: 1 where every stride copes with any size,
    else the largest stride. weights: the file of its state dict. output_stride, dilate_first: see ``fcn.dilate``.
    """
    if weights == "imagenet":
        raise UserError(f"backbone={name} has no published weights; give a file (weights=PATH), or leave weights out")
    if weights is not None:
        load_weights(network, weights)
    mean, std = (tuple(getattr(network, key, default)) for key, default in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)))
    if output_stride is not None:
        traced = editable(network)
        return from_graph(traced, rewrite(traced, output_stride, dilate_first=bool(dilate_first)), mean=mean, std=std)
    small, large = (features_of(network, name, side) for side in SIDES)
    strides = [(SIDES[1] - SIDES[0]) // max(b.shape[-1] - a.shape[-1], 1) for a, b in zip(small, large, strict=True)]
    if strides != sorted(strides):
        raise UserError(f"backbone={name} gives features at the strides {', '.join(map(str, strides))}; give them shallow to deep")
    divisor = getattr(network, "divisor", None) or (1 if covers(network, name, strides) else strides[-1])
    return Backbone(network, [feature.shape[1] for feature in large], strides, divisor=divisor, mean=mean, std=std)


def features_of(network: nn.Module, name: str, side: int) -> Sequence[Tensor]:
    """The features of a black image of ``side`` pixels a side. UserError where they are no list of maps."""
    like = next(network.parameters(), torch.zeros(()))
    with evaluating(network):
        features: Any = network(torch.zeros(1, 3, side, side, dtype=like.dtype, device=like.device))
    if not isinstance(features, list | tuple) or not features or not all(isinstance(each, Tensor) and each.ndim == 4 for each in features):
        raise UserError(f"backbone={name} gave {described(features)}; a backbone gives a list of features (N, C, h, w), shallow to deep")
    return features


def covers(network: nn.Module, name: str, strides: Sequence[int]) -> bool:
    """Whether features cover an image whose sides no stride divides: ceil(side / stride) cells."""
    side = SIDES[0] + 1
    try:
        features = features_of(network, name, side)
    except RuntimeError:
        return False
    return all(feature.shape[-1] == -(-side // stride) for feature, stride in zip(features, strides, strict=True))


def described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"one tensor of shape {tuple(value.shape)}"
    return a_type(value)
