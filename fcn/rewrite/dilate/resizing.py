"""Resizes in a network that is dilated: the original's own resize, of the original's cells.

Which cell a resize reads depends on the sizes of both maps. So it is done at the original's sizes, on every ``d``-th cell of a dilated map.
Where the result must be dense, each cell of it is repeated. What is pooled only to be resized again is not dilated at all, and reads the
original's cells as well (the gates of GhostNetV2, Tang et al. 2022, arXiv:2211.12905).
"""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil
from operator import getitem
from typing import TYPE_CHECKING, Any

from torch import fx, nn

from fcn.core.errors import NotDilatable
from fcn.rewrite.dilate.lattice import DilatedAxis, Lattice
from fcn.rewrite.dilate.layers import OriginalCells, Repeat
from fcn.rewrite.dilate.measure import Spread
from fcn.rewrite.dilate.writing import add_layer
from fcn.rewrite.editable import arguments
from fcn.rewrite.names import operation

if TYPE_CHECKING:
    from fcn.rewrite.dilate.reading import Reading

ARGUMENTS = ("input", "size", "scale_factor", "mode")
NEAREST = ("nearest", "nearest-exact")
Spreads = Mapping[fx.Node, list[Spread]]


def is_resize(network: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(network.get_submodule(str(node.target)), nn.Upsample)
    return node.op == "call_function" and operation(node) == "interpolate"


def only_resized(network: fx.GraphModule, spreads: Spreads) -> set[fx.Node]:
    """The nodes whose results end in resizes of maps and nowhere else. What reads sizes, or several tensors at once, is left out."""
    found: set[fx.Node] = set()
    for node in reversed(network.graph.nodes):
        tensors = [spreads.get(source, []) for source in node.all_input_nodes if source.op != "get_attr"]
        if node.op in ("placeholder", "get_attr") or len(spreads.get(node, [])) != 1 or any(len(given) != 1 for given in tensors):
            continue
        is_map = spreads[node][0].dims is not None
        if node.users and all(user in found or (is_map and is_resize(network, user) and read_by(user) is node) for user in node.users):
            found.add(node)
    return found


def read_by(node: fx.Node) -> Any:
    """What ``node`` reads first."""
    return node.args[0] if node.args else node.kwargs["input"]


def original_cells(reading: "Reading", source: fx.Node, before: fx.Node) -> fx.Node:
    """The cells of the original in a dilated map: a node that samples ``source``, put in front of ``before`` if it is new."""
    axes, spread = reading.axes(source) or (), reading.spreads[source][0]
    if all(axis.dilation == 1 for axis in axes):
        return source
    if source in reading.sampled:
        return reading.sampled[source]
    every: list[Any] = [slice(None)] * len(spread.shape)
    for dim, axis in zip(spread.dims or (), axes, strict=True):
        every[dim] = slice(None, None, axis.dilation)
    graph = reading.network.graph
    with graph.inserting_before(before):
        sampled = graph.call_function(getitem, (source, tuple(every)))
    if any(axis.now.excess != axis.original.excess for axis in axes):  # it reaches over the border, where the original has no cells
        if any(axis.original.center is None for axis in axes):
            raise NotDilatable("the number of cells that the map has without dilation is not known; give a larger output_stride")
        name = add_layer(reading.network, before, OriginalCells([axis.original for axis in axes], spread.dims or ()))
        with graph.inserting_before(before):
            sampled = graph.call_module(name, (sampled, next(iter(graph.nodes))))
    reading.sampled[source] = sampled
    reading.spreads[sampled] = [spread]
    reading.placements[sampled] = tuple(DilatedAxis(axis.original, axis.original) for axis in axes)
    return sampled


def resize(reading: "Reading", node: fx.Node, spread: Spread, output_stride: int) -> tuple[fx.Node, tuple[DilatedAxis, ...]]:
    """``node``, made to resize the original's cells to the original's size, and to repeat cells where its map must be denser.

    Raises NotDilatable where that would be a map with steps instead of an interpolated one, or the size is not understood.
    """
    graph = reading.network.graph
    sizing = _sized_by(node, reading.spreads)
    node.replace_input_with(read_by(node), original_cells(reading, read_by(node), node))
    like = next((source for source in sizing if reading.axes(source) and reading.spreads[source][0].cells == spread.cells), None)
    if like is None and reading.is_dilated(sizing):
        raise NotDilatable("its size is computed from that of a map whose stride has become dilation; give a larger output_stride")
    others: tuple[fx.Node, ...] = ()
    if like is None:
        sources = reading.axes(read_by(node)) or ()
        axes = tuple(_dense(grid, axis.original.stride, output_stride) for grid, axis in zip(spread.measured(), sources, strict=True))
        dims: tuple[int, ...] = (0,) * len(axes)
    else:
        axes, others, dims = reading.axes(like) or (), (like,), reading.spreads[like][0].dims or ()
    if all(axis.dilation == 1 for axis in axes):
        return node, axes
    given = reading.module(node).__dict__ if node.op == "call_module" else arguments(node, ARGUMENTS)
    if given.get("mode", "nearest") not in NEAREST:
        raise NotDilatable("it interpolates a map whose stride has become dilation; give a larger output_stride")
    if like is not None:
        sample = original_cells(reading, like, node)
        with graph.inserting_before(node):
            size = tuple(graph.call_method("size", (sample, dim)) for dim in dims)
        node.args, node.kwargs = (), {**given, "size": size}
    name = add_layer(reading.network, node, Repeat([axis.dilation for axis in axes], dims))
    with graph.inserting_after(node):
        repeated = graph.call_module(name, (node, *others))
    repeated.meta = dict(node.meta)
    node.replace_all_uses_with(repeated, delete_user_cb=lambda user: user is not repeated)
    return repeated, axes


def _dense(grid: Lattice, source: Fraction, output_stride: int) -> DilatedAxis:
    """The grid of what was resized from a stride of ``source``, and the one that is denser by the smallest whole factor that fits.

    Where it is, its map is a multiple of another's size: it may end after the maps of its stride, to whose size ``join`` then cuts it.
    """
    if grid.stride <= output_stride:
        return DilatedAxis(grid, grid)
    stride, largest = grid.stride / ceil(grid.stride / output_stride), max(source, grid.stride)
    longer = replace(grid, excess=grid.excess + largest - grid.stride)
    return DilatedAxis(longer, Lattice(stride, grid.excess + largest - stride))


def _sized_by(node: fx.Node, spreads: Spreads) -> list[fx.Node]:
    """The maps whose sizes the arguments of a resize are computed from."""
    found, queue = [], [source for source in node.all_input_nodes if source is not read_by(node)]
    while queue:
        source = queue.pop()
        if spreads.get(source):
            found.append(source)
        else:
            queue += source.all_input_nodes
    return found


def counts_cells(reading: "Reading", number: fx.Node) -> bool:
    """Whether a number is computed from how many rows or columns a dilated map has."""
    sources = [source for source in number.all_input_nodes if reading.is_dilated([source])]
    shape = next(iter(number.all_input_nodes), number)
    index = number.args[1] if len(number.args) > 1 else None
    if operation(number) == "getitem" and isinstance(index, int) and not reading.spreads.get(shape):
        sources = [source for source in shape.all_input_nodes if reading.is_dilated([source])]
    elif operation(number) != "size" or not isinstance(index, int):
        return bool(sources) or any(counts_cells(reading, source) for source in number.all_input_nodes if not reading.spreads.get(source))
    spreads = [reading.spreads[source][0] for source in sources]
    return any(index % len(spread.shape) in (spread.dims or range(len(spread.shape))) for spread in spreads)
