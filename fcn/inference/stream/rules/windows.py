"""Rules for convolutions, transposed convolutions, pools and unfolding: padding at true borders, everywhere else the neighbouring rows."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fcn.core.errors import NotStreamable
from fcn.graph.axis import Transposed, Window
from fcn.inference.stream.rules.call import Blocks, Call, Cut, Cuts, Rule, layout, part, precise, rule
from fcn.inference.stream.rules.pointwise import bound


def padded(x: Tensor, cuts: Cuts, value: float) -> tuple[Tensor, tuple[int, int]]:
    """``x`` with what it needs beyond the image's borders, as far as the operation's own symmetric padding, the second result, cannot
    supply it. Cells that this padding adds on a side without a border come last, and ``trimmed`` drops them."""
    own, added = [], []
    for cut in cuts:
        assert isinstance(cut.map, Window)
        before, after = cut.beyond
        count = (cut.high - cut.low + 2 * before - cut.map.reach) // cut.map.stride + 1
        if count >= cut.cells and 2 * before <= cut.map.reach:
            own.append(before)
            added.append((0, 0))
        else:
            own.append(0)
            added.append((before, after))
    if any(amount for pair in added for amount in pair):
        x = F.pad(x, (*added[1], *added[0]), value=value)
    return x, (own[0], own[1])


def trimmed(y: Tensor, cuts: Cuts) -> Tensor:
    return part(part(y, -2, 0, cuts[0].cells), -1, 0, cuts[1].cells)


@rule("conv2d", "conv_transpose2d", "convolution", "_convolution")
def convolution(call: Call) -> Rule:
    weight, bias = call.tensor("weight"), call.tensor("bias")
    assert weight is not None
    if weight.dim() != 4:
        raise NotStreamable("only two-dimensional ones can")
    transposed = isinstance(call.node.maps[0], Transposed)
    groups = call.get("groups", default=1)
    if call.affine is not None:
        weight, bias = folded(weight, bias, *call.affine, groups=groups if transposed else None)
    dtype = call.dtype or weight.dtype
    weight = weight.to(dtype)
    weight = weight.contiguous(memory_format=layout(weight))  # a view of another tensor may be in neither
    bias = None if bias is None else bias.to(dtype)
    stride, dilation = _pair(call.get("stride", default=1)), _pair(call.get("dilation", default=1))

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
                sides = [background.expand(_like(y, dim, max(0, -amount))) for amount in (first, last)]
                y = torch.cat([sides[0], y, sides[1]], dim)
            y = part(y, dim, max(0, first - done), cut.cells)
        return y

    return Rule(run_transposed if transposed else run, weights=weight.nbytes, pads=not transposed)


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


@rule("max_pool2d", "max_pool2d_with_indices")
def max_pool(call: Call) -> Rule:
    kernel, stride, dilation = ([getattr(axis, name) for axis in call.node.maps] for name in ("kernel", "stride", "dilation"))

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        x, padding = padded(blocks[0], cuts[0], float("-inf"))
        return trimmed(F.max_pool2d(x, kernel, stride, padding, dilation), cuts[0])

    return Rule(run, pads=True)


@rule("avg_pool2d")
def average_pool(call: Call) -> Rule:
    kernel, stride = ([getattr(axis, name) for axis in call.node.maps] for name in ("kernel", "stride"))
    counted, divisor = call.get("count_include_pad", default=True), call.get("divisor_override")

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        sides = [cut.beyond for cut in cuts[0]]
        x = blocks[0]
        if any(sides[0]) or any(sides[1]):
            x = F.pad(x, (*sides[1], *sides[0]))
        if divisor is not None:
            return F.avg_pool2d(x, kernel, stride, divisor_override=divisor)
        rows, columns = (seen(cut, counted) for cut in cuts[0])
        if set(rows) == {kernel[0]} and set(columns) == {kernel[1]}:
            return F.avg_pool2d(x, kernel, stride)
        cells = torch.tensor(rows)[:, None] * torch.tensor(columns)
        return F.avg_pool2d(x, kernel, stride, divisor_override=1) / cells.to(x)

    return Rule(run, pads=True)


def seen(cut: Cut, counted: bool) -> list[int]:
    """How many cells each window counts along one axis: those of the image, and of the padding where that is ``counted``.

    What ceil mode adds beyond the padding never counts.
    """
    axis = cut.map
    assert isinstance(axis, Window)
    pad = axis.padding[0]
    starts = [cell * axis.stride - pad for cell in range(cut.first, cut.end)]
    low, high = (-pad, axis.n_in + pad) if counted else (0, axis.n_in)
    return [min(start + axis.kernel, high) - max(start, low) for start in starts]


@rule("unfold")
def unfold(call: Call) -> Rule:
    dim, size, step = call.get("dimension") % len(call.source.shape), call.get("size"), call.get("step")
    return bound(call) if call.axis_at(dim) is None else Rule(lambda blocks, cuts: blocks[0].unfold(dim, size, step), fresh=False)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def _like(x: Tensor, dim: int, size: int) -> list[int]:
    shape = list(x.shape)
    shape[dim] = size
    return shape
