"""Fully connected layers as convolutions, with their weights kept (Long et al. 2015, section 3.1, arXiv:1411.4038).

A linear layer over a flattened ``(C, k, k)`` map is a convolution of kernel ``k`` that is applied in one place. As a convolution it can be
applied in every place, and neighbouring windows share their arithmetic.
"""

from typing import Any

import torch
from torch import nn

from fcn.core.errors import UserError
from fcn.graph.networks import HOOKS, at_rest


def as_kernel(weight: Any, order: str, sizes: dict[str, int]) -> Any:
    """The weight (out, in) of a linear layer as the kernel (out, C, kh, kw) of a convolution.

    ``order`` tells how its inputs were flattened: "chw" for channel, row, column, "c" for channels alone; ``sizes`` has the size of each.
    ``weight`` may also stand for a tensor in a graph that is being written (``fx.Proxy``).
    """
    weight = weight.reshape(-1, *(sizes[axis] for axis in order))
    weight = weight.permute(0, *(1 + order.index(axis) for axis in "chw" if axis in order))
    return weight.reshape(-1, *(sizes[axis] if axis in order else 1 for axis in "chw"))


def linear_to_conv(
    linear: nn.Linear,
    kernel_size: int | tuple[int, int] = 1,
    *,
    order: str = "chw",
    padding: int = 0,
    dilation: int | tuple[int, int] = 1,
) -> nn.Conv2d:
    """The convolution that equals ``linear`` applied to every flattened window of ``kernel_size`` (height, width, or one number).

    ``linear.in_features`` must be ``C`` times the window's cells, UserError otherwise. ``order``: how the window was flattened, "chw" as
    ``torch.flatten`` does it, or "hwc" where channels come last. The weights are copies: the layer passed in is left as it was. UserError
    for a layer with hooks or a ``forward`` of its own, which a convolution would not have.
    """
    if "forward" in vars(linear) or any(vars(linear)[hooks] for hooks in HOOKS):
        raise UserError(f"{linear} has hooks or a forward of its own, which a convolution would not have; remove them first")
    height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    channels, rest = divmod(linear.in_features, height * width)
    if rest:
        raise UserError(
            f"a linear layer of {linear.in_features} inputs does not see whole {height}x{width} windows: "
            f"{linear.in_features} is no multiple of {height * width}"
        )
    with torch.device("meta"):  # no time for a random start that is thrown away
        conv = nn.Conv2d(channels, linear.out_features, (height, width), padding=padding, dilation=dilation, bias=linear.bias is not None)
    with at_rest(linear):  # reading a weight that a parametrization computes may change its buffers
        weight = linear.weight
    kernel = as_kernel(weight.detach(), order, {"c": channels, "h": height, "w": width}).clone(memory_format=torch.contiguous_format)
    conv.weight = nn.Parameter(kernel, requires_grad=weight.requires_grad)
    if linear.bias is not None:
        conv.bias = nn.Parameter(linear.bias.detach().clone(), requires_grad=linear.bias.requires_grad)
    return conv.train(linear.training)
