"""Convolutions and transposed convolutions."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from fcn.core.errors import NotStreamable
from fcn.graph.axis import AxisMap, Transposed, Whole, Window
from fcn.graph.layout import NoLayoutError, axes_of, plain
from fcn.graph.nodes import Global
from fcn.graph.ops.blocks import BlockCall, Blocks, Cut, Cuts, Rule, layout, padded, part, precise, trimmed
from fcn.graph.ops.maps import Call, Result, Value, listed, on_grid
from fcn.graph.ops.table import Operation


def convolution(call: Call) -> Result:
    value = call.value("input")
    weight = call.shape_of("weight")
    count = len(weight) - 2
    transposed = is_transposed(call)
    if value is None:
        raise NoLayoutError("the image is convolved over weights, not with them")
    stride, dilation = listed(call.get("stride"), count, 1), listed(call.get("dilation"), count, 1)
    padding, extra = call.get("padding"), listed(call.get("output_padding"), count, 0)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(weight[2:], dilation, strict=True)]
        pads = [(t // 2, t - t // 2) for t in total]
    else:
        pads = [(p, p) for p in listed(None if padding == "valid" else padding, count, 0)]

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        kernel, (before, after) = weight[2 + place], pads[place]
        if transposed:
            return Transposed(n_in, n_out, kernel, stride[place], dilation[place], (before, after - extra[place]))
        return Window(n_in, n_out, kernel, stride[place], dilation[place], (before, after))

    result = on_grid(call, value, count, make, "transposed" if transposed else "conv", call.shape)
    channels = value.layout[-count - 1]
    if axes_of(channels):
        result = _contracted(result, value, set(axes_of(channels)))
    layout = list(result.layout)
    layout[-count - 1] = plain(call.shape[-count - 1])
    result = replace(result, layout=tuple(layout))
    dynamic = call.value("weight")
    if dynamic is not None:
        reading = tuple(Whole(n_in, axis.n_out) for n_in, axis in zip(dynamic.sizes, result.edges[0][1], strict=True))
        cause = Global("weights", f"the weights of {call.op} depend on the image")
        result = replace(result, edges=[*result.edges, (dynamic, reading)], is_global=cause)
    return result


def _contracted(result: Result, value: Value, axes: set[int]) -> Result:
    """Fixed weights over whole axes: a window as large as the axis, of which there is one."""
    maps = list(result.edges[0][1])
    for axis in axes:
        maps[axis] = Window(value.sizes[axis], 1, kernel=value.sizes[axis])
    return replace(result, edges=[(value, tuple(maps))])


def is_transposed(call: Call) -> bool:
    return "transpose" in call.op or bool(call.get("transposed", default=False))


def multiply_adds(call: Call) -> int:
    return prod(call.need("input").shape if is_transposed(call) else call.shape) * prod(call.shape_of("weight")[1:])


def block(call: BlockCall) -> Rule:
    weight, bias = call.tensor("weight"), call.tensor("bias")
    assert weight is not None
    if weight.dim() != 4:
        raise NotStreamable("only two-dimensional ones can")
    transposed = isinstance(call.node.maps[0], Transposed)
    groups = call.get("groups", default=1)
    given = (weight, bias, *(call.affine or ()))
    weight, bias = call.folded.get(call.node.name, given, lambda: ready(call, *given, groups=groups if transposed else None))
    stride, dilation = (listed(call.get(name), 2, 1) for name in ("stride", "dilation"))

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        x, padding = padded(blocks[0], cuts[0], 0.0)
        return trimmed(F.conv2d(x, weight, bias, stride, padding, dilation, groups), cuts[0])

    background = weight.new_zeros(1, 1, 1, 1) if bias is None else bias.view(1, -1, 1, 1)  # of cells that no input reaches

    def run_transposed(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        if any(cut.low == cut.high for cut in cuts[0]):
            shape = (*call.node.shape[:2], *(cut.cells for cut in cuts[0]))
            return background.expand(shape).contiguous(memory_format=torch.channels_last)
        before, after = zip(*(surplus(cut) for cut in cuts[0]), strict=True)
        own = [max(0, min(pair)) for pair in zip(before, after, strict=True)]
        y = F.conv_transpose2d(blocks[0], weight, bias, stride, tuple(own), 0, groups, dilation)
        for dim, cut, first, last, done in zip((-2, -1), cuts[0], before, after, own, strict=True):
            if min(first, last) < 0:
                shapes = [[max(0, -amount) if place == dim + 4 else size for place, size in enumerate(y.shape)] for amount in (first, last)]
                y = torch.cat([background.expand(shapes[0]), y, background.expand(shapes[1])], dim)
            y = part(y, dim, max(0, first - done), cut.cells)
        return y

    return Rule(run_transposed if transposed else run, weights=weight.nbytes, pads=not transposed)


def ready(call: BlockCall, weight: Tensor, bias: Tensor | None, *affine: Tensor, groups: int | None) -> tuple[Tensor, Tensor | None]:
    """Weights and bias as they are computed with: with what follows folded in, in the type of autocast, in one piece."""
    if affine:
        weight, bias = folded(weight, bias, *affine, groups=groups)
    dtype = call.dtype or weight.dtype
    weight = weight.to(dtype)
    weight = weight.contiguous(memory_format=layout(weight))  # a view of another tensor may be in neither
    return weight, None if bias is None else bias.to(dtype)


def surplus(cut: Cut) -> tuple[int, int]:
    """Of all cells that a transposed window makes of its block, how many come before and after those asked for."""
    axis = cut.map
    assert isinstance(axis, Transposed)
    start = cut.low * axis.stride - axis.padding[0]
    end = (cut.high - 1) * axis.stride - axis.padding[0] + axis.dilation * (axis.kernel - 1) + 1
    return cut.first - start, end - cut.end


def folded(weight: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor, *, groups: int | None) -> tuple[Tensor, Tensor]:
    """Weights and bias of a convolution that is followed by ``y * scale + shift``; ``groups`` is that of a transposed one."""
    if groups is None:
        factors = scale.view(-1, 1, 1, 1)
    else:  # (in, out / groups, k, k)
        factors = scale.view(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1).reshape(*weight.shape[:2], 1, 1)
    moved = shift if bias is None else shift + precise(bias) * scale
    return (precise(weight) * factors).to(weight), moved.to(weight)


CONVOLUTION = Operation(maps=convolution, macs=multiply_adds, linear="each")
CONVOLUTION.named("conv1d", "conv3d", "conv_transpose1d", "conv_transpose3d")
replace(CONVOLUTION, block=block, folds=True).named("conv2d", "conv_transpose2d", "convolution", "_convolution")
