"""The project's own small classifier as a backbone: features of 64, 128 and 256 channels at the strides 2, 4 and 8."""

from fcn.models.backbones.contract import IMAGENET_MEAN, IMAGENET_STD, Backbone
from fcn.models.backbones.torchvision import features_of
from fcn.models.compact import compact


def compact_features(name: str, weights: str | None, output_stride: int | None, dilate_first: bool) -> Backbone:
    return features_of(compact(weights=weights), output_stride, dilate_first, mean=IMAGENET_MEAN, std=IMAGENET_STD)
