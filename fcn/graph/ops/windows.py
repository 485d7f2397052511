"""Windows laid out as channels, and folded back: unfold, im2col, col2im."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from fcn.graph.axis import Transposed, Window
from fcn.graph.layout import plain, reshape
from fcn.graph.ops.blocks import BlockCall, Blocks, Cuts, Rule
from fcn.graph.ops.itself import bound
from fcn.graph.ops.maps import Call, Result, along, on_grid
from fcn.graph.ops.table import Operation


def unfold(call: Call) -> Result:
    value = call.need("self")
    position, size, step = value.dim(call.get("dimension")), call.get("size"), call.get("step")
    return along(value, position, Window(value.shape[position], call.shape[position], size, step), "window", tail=plain(size))


def unfold_block(call: BlockCall) -> Rule:
    dim, size, step = call.get("dimension") % len(call.source.shape), call.get("size"), call.get("step")
    return bound(call) if call.axis_at(dim) is None else Rule(lambda blocks, cuts: blocks[0].unfold(dim, size, step), fresh=False)


def im2col(call: Call) -> Result:
    value = call.need("self")
    settings = zip(*(call.get(name) for name in ("kernel_size", "dilation", "padding", "stride")), strict=True)
    windows = []
    for n, (kernel, dilation, padding, stride) in zip(value.shape[-2:], settings, strict=True):
        count = (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        windows.append(Window(n, count, kernel, stride, dilation, (padding, padding)))
    shape = (*value.shape[:-2], *(window.n_out for window in windows))
    result = on_grid(call, value, 2, lambda place, n_in, n_out: windows[place], "window", shape)
    space = tuple(atom for dim in result.layout[-2:] for atom in dim)
    return replace(result, layout=(*result.layout[:-3], plain(call.shape[-2]), space))


def im2col_block(call: BlockCall) -> Rule:
    kernel, dilation, stride = (call.get(name) for name in ("kernel_size", "dilation", "stride"))

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        sides = [cut.beyond for cut in cuts[0]]
        x = F.pad(blocks[0], (*sides[1], *sides[0]))
        return F.unfold(x, kernel, dilation, 0, stride).unflatten(2, tuple(cut.cells for cut in cuts[0]))

    return Rule(run, pads=True)


def col2im_block(call: BlockCall) -> Rule:
    names = ("kernel_size", "dilation", "padding", "stride")
    settings = list(zip(*(call.get(name) for name in names), strict=True))
    kernel, dilation, _, stride = (call.get(name) for name in names)

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        if any(cut.low == cut.high for cut in cuts[0]):
            return blocks[0].new_zeros(*call.node.shape[:-2], *(cut.cells for cut in cuts[0]))
        spans = [(cut.high - cut.low - 1) * s + d * (k - 1) + 1 for cut, (k, d, _, s) in zip(cuts[0], settings, strict=True)]
        y = F.fold(blocks[0].flatten(2), tuple(spans), kernel, dilation, 0, stride)
        starts = [cut.low * s - p for cut, (_, _, p, s) in zip(cuts[0], settings, strict=True)]
        rows, columns = ((start - cut.first, cut.end - start - span) for cut, start, span in zip(cuts[0], starts, spans, strict=True))
        return F.pad(y, (*columns, *rows))  # less than none is cut off

    return Rule(run, steps=1)


def col2im(call: Call) -> Result:
    value, size = call.need("self"), call.get("output_size")
    settings = list(zip(size, *(call.get(name) for name in ("kernel_size", "dilation", "padding", "stride")), strict=True))
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in settings]
    layout, _ = reshape(value.layout, (*value.shape[:-1], *counts), value.sizes)
    maps = [Transposed(count, n, k, s, d, (p, p)) for count, (n, k, d, p, s) in zip(counts, settings, strict=True)]
    folded = replace(value, layout=layout, shape=(*value.shape[:-1], *counts))
    result = on_grid(call, folded, 2, lambda place, n_in, n_out: maps[place], "transposed", (*value.shape[:-1], *size))
    return Result(
        (*result.layout[:-3], plain(call.shape[-3]), *result.layout[-2:]), [(value, result.edges[0][1])], "transposed", result.is_global
    )


Operation(maps=unfold, block=unfold_block, linear="all", alias=True).named("unfold")
Operation(maps=im2col, block=im2col_block, linear="all").named("im2col")
Operation(maps=col2im, block=col2im_block, linear="all").named("col2im")
