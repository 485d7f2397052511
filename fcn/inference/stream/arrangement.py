"""Maps whose rows and columns are not the last two dimensions, in this order: flattened to one dimension, or transposed.

A block of some rows and columns is no piece of the dimension that ``x.flatten(2)`` makes of them. So such a value is kept with that one
split in two. What works cell by cell is given the block flattened, and its result is split again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from fcn.core.errors import NotStreamable
from fcn.graph import Node
from fcn.graph.ops.blocks import BlockCall, Cuts, Rule
from fcn.graph.ops.itself import bound
from fcn.graph.ops.layouts import cat_block, stack_block
from fcn.graph.ops.sums import matmul_block
from fcn.graph.ops.table import Operation

ON_GRID = ("conv", "transposed", "pool", "unpool", "resize", "shuffle", "pad", "window")  # kinds that work on the last two dimensions


def kept(node: Node) -> Node:
    """The node as the stream keeps its value: rows and columns are dimensions of their own."""
    place = node.space
    if place is None:
        return node
    return replace(node, shape=(*node.shape[:place], *node.sizes, *node.shape[place + 1 :]), dims=(place, place + 1))


def cellwise(call: BlockCall, entry: Operation) -> Rule:
    """The rule of an operation on flattened space that computes each cell from the cells in the same place. Others are refused."""
    node = call.node
    place = node.space
    assert place is not None
    whole = entry.block in (bound, cat_block, stack_block, matmul_block)  # which run the operation itself, on all dimensions
    alone = entry.scope != "grid" or (node.kind == "product" and len(call.sources) == 1)
    local = all(axis.is_identity for edge in node.edges for axis in edge.maps)
    if entry.block is None or not whole or not alone or not (local or node.kind in ("merge", "concat")):
        raise NotStreamable("it flattens space")
    if node.kind in ("pointwise", "merge", "concat"):
        for constant in (call.constants.get(given.name) for given in node.fx.all_input_nodes):
            back = place - len(node.shape)
            if constant is not None and constant.dim() >= -back and constant.shape[back] > 1:
                raise NotStreamable("it flattens space, and a constant lies on it")
    made = entry.block(call)

    def run(blocks: Sequence[Tensor], cuts: Sequence[Cuts]) -> Tensor:
        flat = [
            block if source.space is None else block.flatten(source.space, source.space + 1)
            for block, source in zip(blocks, call.sources, strict=True)
        ]
        return made.run(flat, []).unflatten(place, tuple(cut.cells for cut in cuts[0]))

    return replace(made, run=run, into=None)


def is_turned(node: Node) -> bool:
    """Whether columns come before rows among the dimensions of an operation that works on the last two."""
    rows, columns = node.dims
    return node.kind in ON_GRID and rows is not None and columns is not None and columns < rows


def turned(block: Callable[[BlockCall], Rule], call: BlockCall) -> Rule:
    """The rule of an operation that takes columns for rows, and rows for columns, since the map was transposed before it."""

    def swapped(node: Node) -> Node:
        edges = tuple(replace(edge, maps=edge.maps[::-1]) for edge in node.edges)
        return replace(node, sizes=node.sizes[::-1], dims=node.dims[::-1], edges=edges)

    made = block(replace(call, node=swapped(call.node), sources=tuple(map(swapped, call.sources))))

    def run(blocks: Sequence[Tensor], cuts: Sequence[Cuts]) -> Tensor:
        return made.run(blocks, [(columns, rows) for rows, columns in cuts])

    return replace(made, run=run, into=None)
