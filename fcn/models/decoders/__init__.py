"""Decoders: from a backbone's features to class scores.

A decoder is a module ``forward(features) -> scores``: (N, num_classes, h, w) at ``decoder.stride`` image pixels per cell. It is built with
an up-sampler factory, so that every decoder runs with every up-sampler. Inside, maps grow by whole factors and are cropped from the top
left where the skip that they meet is smaller; with ``align`` they are also moved onto its grid, since backbones know where their cells
lie. The way from ``decoder.stride`` to the size of the image is the segmenter's.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from fcn.models.decoders.deeplab import DeepLabV3, DeepLabV3Plus
from fcn.models.decoders.fcn import FCN, PlainFCN
from fcn.models.decoders.lraspp import LRASPP
from fcn.models.decoders.unet import UNet

DECODERS: dict[str, Callable[..., nn.Module]] = {
    "fcn32s": partial(FCN, skip_stride=32),
    "fcn16s": partial(FCN, skip_stride=16),
    "fcn8s": partial(FCN, skip_stride=8),
    "fcn4s": partial(FCN, skip_stride=4),
    "fcn2s": partial(FCN, skip_stride=2),
    "fcn": PlainFCN,
    "deeplabv3": DeepLabV3,
    "deeplabv3plus": DeepLabV3Plus,
    "unet": UNet,
    "lraspp": LRASPP,
}

# The output stride that a decoder asks its backbone for, where it asks for one: that of its paper or of its published weights.
OUTPUT_STRIDES = {"fcn": 8, "deeplabv3": 16, "deeplabv3plus": 16, "lraspp": 16}
