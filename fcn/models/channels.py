"""A backbone for images of another number of channels than three: its first convolutions, those that read the image, are made anew.

Pretrained weights are spread as timm does it (``timm.models.adapt_input_conv``). For one channel those of red, green and blue are summed:
a gray image gives what the RGB image with equal channels gave. For N channels they are repeated, channel i taking those of i mod 3, and
scaled by 3 / N: an image with equal channels gives what it gave. Random weights are drawn anew, with the deviation that keeps the variance
of what they give.
"""

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fcn.core.errors import UserError
from fcn.core.images import RGB, ImageKind
from fcn.graph.networks import evaluating
from fcn.models.backbones.contract import Backbone


def with_channels(backbone: Backbone, name: str, channels: int, *, pretrained: bool) -> None:
    """Let ``backbone`` take images of ``channels`` channels. name: its name, for messages. pretrained: whether its weights are learnt.

    Raises UserError where the image is read by anything but a convolution.
    """
    if channels == RGB.channels:
        return
    found = readers(backbone)
    if not found:
        raise UserError(
            f"backbone={name} reads RGB images only, since no convolution is the first to see the image; "
            f"for {ImageKind(channels)} choose another one, as resnet34"
        )
    for path in found:
        conv = backbone.get_submodule(path)
        assert isinstance(conv, nn.Conv2d)
        weight = conv.weight.detach()
        weight = spread(weight, channels) if pretrained else drawn(weight, channels)
        conv.weight = nn.Parameter(weight, requires_grad=conv.weight.requires_grad)
        conv.in_channels = channels
    backbone.mean, backbone.std = (0.5,) * channels, (0.25,) * channels
    with evaluating(backbone):
        backbone.channels = tuple(feature.shape[1] for feature in backbone(torch.zeros(1, channels, *probe(backbone))))


def probe(backbone: Backbone) -> tuple[int, int]:
    """The size of an image, in pixels, that a backbone takes for certain."""
    side = max(backbone.divisor, 2 * max(backbone.strides), 64)
    side += -side % backbone.divisor
    return side, side


def readers(backbone: Backbone) -> list[str]:
    """The paths of the convolutions that read the image, with or without a margin; none where another layer with weights reads it."""
    found: list[str] = []
    handles: list[RemovableHandle] = []
    other: list[str] = []

    def look(path: str, module: nn.Module) -> None:
        def hook(_: nn.Module, inputs: tuple[object, ...]) -> None:
            if inputs and isinstance(inputs[0], Tensor) and inputs[0].dim() == 4 and inputs[0].shape[1] == RGB.channels:
                if isinstance(module, nn.Conv2d) and module.groups == 1:
                    found.append(path)
                elif not any(True for _ in module.children()) and any(True for _ in module.parameters()):
                    other.append(path)

        handles.append(module.register_forward_pre_hook(hook))

    for path, module in backbone.named_modules():
        look(path, module)
    try:
        with evaluating(backbone):
            backbone(torch.zeros(1, RGB.channels, *probe(backbone)))
    finally:
        for handle in handles:
            handle.remove()
    return [] if other else list(dict.fromkeys(found))


def spread(weight: Tensor, channels: int) -> Tensor:
    """The weight (out, 3, h, w) of a convolution that reads RGB images as one (out, channels, h, w)."""
    if channels == 1:
        return weight.sum(1, keepdim=True)
    repeats = -(-channels // RGB.channels)
    return weight.repeat(1, repeats, 1, 1)[:, :channels] * (RGB.channels / channels)


def drawn(weight: Tensor, channels: int) -> Tensor:
    """A random weight (out, channels, h, w) in the place of one that was drawn for RGB images."""
    deviation = float(weight.std()) * (RGB.channels / channels) ** 0.5
    return torch.randn(len(weight), channels, *weight.shape[2:]) * deviation
