"""Fully connected layers as convolutions, with their weights kept (Long et al. 2015, section 3.1, arXiv:1411.4038).

A linear layer over a flattened ``(C, k, k)`` map is a convolution of kernel ``k`` that happens to be applied in one place; as a
convolution it can be applied in every place, and the arithmetic of neighbouring windows is shared.
"""

import torch
from torch import nn


def linear_to_conv(linear: nn.Linear, kernel_size: int = 1, *, padding: int = 0) -> nn.Conv2d:
    """The convolution that equals ``linear`` applied to every flattened ``(C, kernel_size, kernel_size)`` window.

    ``linear.in_features`` must be ``C * kernel_size**2`` in the order of ``torch.flatten`` (channel, row, column); ValueError otherwise.
    The weights are copies: the layer passed in is left as it was.
    """
    channels, rest = divmod(linear.in_features, kernel_size**2)
    if rest:
        raise ValueError(
            f"a linear layer of {linear.in_features} inputs does not see whole {kernel_size}x{kernel_size} windows: "
            f"{linear.in_features} is no multiple of {kernel_size**2}"
        )
    conv = nn.Conv2d(channels, linear.out_features, kernel_size, padding=padding, bias=linear.bias is not None)
    conv.to(linear.weight.device, linear.weight.dtype)
    with torch.no_grad():
        conv.weight.copy_(linear.weight.reshape(conv.weight.shape))
        if conv.bias is not None:
            conv.bias.copy_(linear.bias)
    return conv
