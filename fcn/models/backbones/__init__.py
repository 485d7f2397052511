"""Backbones: classifiers as lists of feature maps, shallow to deep.

A backbone is a module with

- ``forward(images) -> list[Tensor]``: images (N, 3, H, W), normalised, H and W multiples of ``divisor``; feature ``i`` is
  (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])),
- ``channels`` and ``strides``: tuples of one number per feature. Strides never fall; with an ``output_stride``, the features of the stages
  that lost theirs stand beside each other at the same one (ResNet-50 at 8: strides 2, 4, 8, 8, 8),
- ``divisor``: 1 where the layers cope with any size, else what the sides must be multiples of,
- ``mean`` and ``std``: what images in 0..1 are normalised with, per channel,
- ``offsets``: for each feature the pixel on which the field of its first cell is centred.

Torchvision's classifiers and the project's own ``compact`` are read as graphs and cut where they down-sample; every other name is looked
for among the encoders of segmentation-models-pytorch and timm.
"""

from collections.abc import Callable
from typing import Any

from fcn.models.backbones.compact import compact_features
from fcn.models.backbones.contract import Backbone
from fcn.models.backbones.encoders import encoder
from fcn.models.backbones.torchvision import classifier, vgg
from fcn.names import check_options, suggest

FAMILIES = """
    alexnet
    convnext_tiny convnext_small convnext_base convnext_large
    densenet121 densenet161 densenet169 densenet201
    efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7
    efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l
    googlenet inception_v3
    mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3
    mobilenet_v2 mobilenet_v3_small mobilenet_v3_large
    regnet_x_400mf regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf regnet_x_8gf regnet_x_16gf regnet_x_32gf
    regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf regnet_y_16gf regnet_y_32gf regnet_y_128gf
    resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2
    shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0
    squeezenet1_0 squeezenet1_1
"""
BACKBONES: dict[str, Callable[..., Backbone]] = {
    "compact": compact_features,
    **dict.fromkeys(FAMILIES.split(), classifier),
    **dict.fromkeys(("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"), vgg),
}

__all__ = ["BACKBONES", "Backbone", "create_backbone"]


def create_backbone(
    name: str, *, weights: str | None = None, output_stride: int | None = None, dilate_first: bool = False, **options: Any
) -> Backbone:
    """The backbone of that name: torchvision's where it is in ``BACKBONES``, else an encoder of smp or timm. ``torchvision/NAME`` and
    ``timm/NAME`` are of that library.

    weights: None (a random start), "imagenet" (downloaded by torchvision, smp or timm into their cache, verified there), or the path of a
    state dict of the classifier. output_stride, dilate_first: see ``fcn.dilate``; None is the network's own stride. Raises ValueError for
    unknown names and options, and for what cannot be dilated.
    """
    if dilate_first and output_stride is None:
        raise ValueError("dilate_first=true says how strides are lost, but none is; give an output_stride (8 or 16) with it")
    here = name.removeprefix("torchvision/")
    if here != name and here not in BACKBONES:
        raise ValueError(f"backbone={name} is not known; {suggest(here, BACKBONES)}")
    build = BACKBONES.get(here, encoder)
    check_options(build, options, f"backbone={name}")
    try:
        return build(here, weights, output_stride, dilate_first, **options)
    except ValueError as error:
        if output_stride is None or str(error).startswith(("backbone=", "the weights", "the imagenet weights")):
            raise
        raise ValueError(f"backbone={name} with output_stride={output_stride}: {error}") from error
