"""Pools: over windows, over all cells or bins of them, and un-pooling."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from fcn.graph.aten import op_name
from fcn.graph.axis import AxisMap, Bins, Transposed, Whole, Window, identity
from fcn.graph.layout import NoLayoutError
from fcn.graph.ops.blocks import BlockCall, Blocks, Cut, Cuts, Rule, padded, trimmed
from fcn.graph.ops.itself import bound
from fcn.graph.ops.maps import Call, Result, listed, on_grid, with_parts
from fcn.graph.ops.statistics import Pool
from fcn.graph.ops.table import Operation


def pool(call: Call) -> Result:
    value = call.need("self", "input")
    count = int(call.op.partition("_pool")[2][0])
    kernel = listed(call.get("kernel_size"), count)
    stride = listed(call.get("stride"), count, kernel)
    padding, dilation = listed(call.get("padding"), count, 0), listed(call.get("dilation"), count, 1)
    shape = call.first_shape

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        k, s, p, d = kernel[place], stride[place], padding[place], dilation[place]
        overhang = (n_out - 1) * s - p + d * (k - 1) + 1 - n_in
        return Window(n_in, n_out, k, s, d, (p, max(p, overhang)))

    return with_parts(call, on_grid(call, value, count, make, "pool", shape))


def max_block(call: BlockCall) -> Rule:
    kernel, stride, dilation = ([getattr(axis, name) for axis in call.node.maps] for name in ("kernel", "stride", "dilation"))

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        x, padding = padded(blocks[0], cuts[0], float("-inf"), (kernel[0] // 2, kernel[1] // 2))
        return trimmed(F.max_pool2d(x, kernel, stride, padding, dilation), cuts[0])

    return Rule(run, pads=True)


def average_block(call: BlockCall) -> Rule:
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


def adaptive_pool(call: Call) -> Result:
    value = call.need("self")
    shape = call.first_shape

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        if n_in == n_out:
            return identity(n_in)
        return Whole(n_in, 1) if n_out == 1 else Bins(n_in, n_out)

    return with_parts(call, on_grid(call, value, len(call.get("output_size")), make, "pool", shape))


def unpool(call: Call) -> Result:
    """Un-pooling puts a cell somewhere into the window that it came from: a transposed window."""
    value, indices = call.need("self"), call.get("indices")
    origin = indices.args[0] if isinstance(indices, fx.Node) and indices.args else None
    if not isinstance(origin, fx.Node) or not op_name(origin).startswith("max_pool"):
        raise NoLayoutError("its indices do not come straight from a max pool")
    if call.shape[2:] != call.shapes[cast(fx.Node, origin.args[0])][2:]:
        raise NoLayoutError("its result has another size than the map that was pooled; give that as output_size")
    count = int(call.op[-2])
    kernel = listed(origin.args[1], count)
    stride = listed(origin.args[2] if len(origin.args) > 2 else None, count, kernel)
    padding = listed(origin.args[3] if len(origin.args) > 3 else None, count, 0)

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        return Transposed(n_in, n_out, kernel[place], stride[place], 1, (padding[place], padding[place]))

    result = on_grid(call, value, count, make, "unpool", call.shape)
    return replace(result, edges=[*result.edges, (call.values[indices], result.edges[0][1])])


def indices_block(call: BlockCall) -> Rule:
    """Where the largest values are: their places in the whole map, row by row."""
    kernel, stride, dilation = ([getattr(axis, name) for axis in call.node.maps] for name in ("kernel", "stride", "dilation"))
    width = call.source.sizes[1]

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        rows, columns = (cut.beyond for cut in cuts[0])
        x = F.pad(blocks[0], (*columns, *rows), value=float("-inf"))
        _, found = F.max_pool2d(x, kernel, stride, 0, dilation, return_indices=True)
        down, across = found // x.shape[-1] + cuts[0][0].low - rows[0], found % x.shape[-1] + cuts[0][1].low - columns[0]
        return trimmed(down * width + across, cuts[0])

    return Rule(run, pads=True, steps=4)


def unpool_block(call: BlockCall) -> Rule:
    width = call.node.sizes[1]

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        x, places = blocks[0], blocks[1].long()
        rows, columns = cuts[0]
        down, across = places // width - rows.first, places % width - columns.first
        inside = (down >= 0) & (down < rows.cells) & (across >= 0) & (across < columns.cells)
        cells = rows.cells * columns.cells
        y = x.new_zeros(*x.shape[:2], cells + 1)  # the last takes those of other blocks
        y.scatter_(2, torch.where(inside, down * columns.cells + across, cells).flatten(2), x.flatten(2))
        return y[..., :-1].unflatten(2, (rows.cells, columns.cells))

    return Rule(run, steps=4)


POOL = Operation(maps=pool)
WHOLE = Operation(maps=adaptive_pool, block=bound, moves=True)

POOL.named("max_pool1d", "max_pool3d", "max_pool1d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool3d")
replace(POOL, block=max_block, second=indices_block).named("max_pool2d", "max_pool2d_with_indices")
replace(POOL, block=average_block, linear="all").named("avg_pool2d")
WHOLE.named(*(f"adaptive_{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 3)), "_adaptive_avg_pool3d")
replace(WHOLE, gather=partial(Pool, how="max")).named("adaptive_max_pool2d")
replace(WHOLE, gather=partial(Pool, how="mean"), linear="all").named("adaptive_avg_pool2d", "_adaptive_avg_pool2d")
Operation(maps=unpool).named("max_unpool3d")
Operation(maps=unpool, block=unpool_block).named("max_unpool2d")
