"""What adds cells beyond the borders."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fcn.core.errors import NotStreamable
from fcn.graph.aten import arguments
from fcn.graph.axis import AxisMap, Border, Window
from fcn.graph.nodes import Node
from fcn.graph.ops.blocks import BlockCall, Blocks, Cut, Cuts, Rule, layout, part
from fcn.graph.ops.maps import Call, Result, on_grid
from fcn.graph.ops.table import Operation


def pad(call: Call) -> Result:
    value, amounts = call.need("self", "input"), call.get("pad", "padding")
    borders = {"constant": "zero", "constant_pad_nd": "zero", "refle": "reflect", "repli": "replicate", "circular": "circular"}
    mode = call.get("mode", default="constant") if call.op == "pad" else call.op
    border = cast(Border, next(borders[word] for word in borders if str(mode).startswith(word)))

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        before, after = amounts[2 * (count - 1 - place) : 2 * (count - place)]
        return Window(n_in, n_out, padding=(before, after), border=border)

    count = len(amounts) // 2
    return on_grid(call, value, count, make, "pad", call.shape)


def block(call: BlockCall) -> Rule:
    amounts = list(call.get("pad", "padding"))
    constant = call.node.op == "constant_pad_nd" or (call.node.op == "pad" and call.get("mode", default="constant") == "constant")
    value = call.get("value", default=0.0)
    dims = call.source.dims
    if not constant and len(amounts) > 4:
        raise NotStreamable("its channels are padded by something else than a constant")

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        if not constant:
            return bordered(blocks[0], dims, cuts[0])
        x, wanted = blocks[0], list(amounts)
        for dim, cut in zip(dims, cuts[0], strict=True):
            place = 2 * (x.dim() - 1 - dim) if dim is not None else len(wanted)
            if place < len(wanted):
                wanted[place : place + 2] = cut.beyond
        return F.pad(x, wanted, value=value) if any(wanted) else x

    return Rule(run, fresh=False)


def bordered(x: Tensor, dims: tuple[int | None, ...], cuts: Cuts) -> Tensor:
    """``x`` with cells of its own standing beyond the image's borders: repeated or reflected ones."""
    for dim, cut in zip(dims, cuts, strict=True):
        axis = cut.map
        assert isinstance(axis, Window)
        first, end = max(cut.first, axis.padding[0]), min(cut.end, axis.padding[0] + axis.n_in)  # those that stand in their own place
        if dim is None or end - first == cut.cells:
            continue
        cells = torch.from_numpy(standing(cut) - cut.low).to(x.device)
        shape = list(x.shape)
        shape[dim] = cut.cells
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout(x))
        for begin, stop, inside in ((cut.first, first, False), (first, end, True), (end, cut.end, False)):
            begin, stop = max(begin, cut.first), min(stop, cut.end)
            if begin >= stop:
                continue
            index = cells[begin - cut.first : stop - cut.first]
            moved = part(x, dim, int(index[0]), len(index)) if inside else x.index_select(dim, index)
            y.narrow(dim, begin - cut.first, stop - begin).copy_(moved)
        x = y
    return x


def standing(cut: Cut) -> NDArray[np.int64]:
    """The cell of the source that stands in each place asked for."""
    return cut.map.clip(cut.map.taps(np.arange(cut.first, cut.end)))[:, 0]


def pads_others(node: Node) -> bool:
    """Whether a padding has amounts for dimensions that are no axes of the image."""
    amounts = arguments(node.fx).get("pad") or ()
    return any(amount and len(node.shape) - 1 - place // 2 not in node.dims for place, amount in enumerate(amounts))


PAD = Operation(maps=pad, linear="all")
PAD.named(*(f"{border}_pad{n}d" for border in ("reflection", "replication") for n in (1, 3)))
replace(PAD, block=block).named("reflection_pad2d", "replication_pad2d")
replace(PAD, block=block, moves=True).named("pad", "constant_pad_nd")
