"""The interpolation that a network ends in, found in its graph: whoever makes a label map needs the scores before it only.

In one pass, where there is no graph, it is taken off while the network runs (``fcn/models/last_resize.py``).
"""

import math
from dataclasses import replace

from fcn.graph import Graph, Node
from fcn.graph.aten import may_write
from fcn.graph.axis import AxisMap, Resize, Window
from fcn.graph.ops import facets
from fcn.graph.ops.pads import pads_others
from fcn.models.segmenter import Cell


def before_last_resize(graph: Graph) -> tuple[Graph, Cell | None]:
    """The graph with the scores before a last bilinear interpolation as its output, and their cells: their side in pixels of the image.

    Between the interpolation and the end, nothing but crops from the top left are passed over. Another graph is given back as it is, with
    None. An interpolation to fewer cells stays.
    """
    node = graph.output
    while is_passing(graph, node):
        node = graph.node(node.edges[0].source)
    if node.op != "upsample_bilinear2d" or len(node.fx.users) != 1 or writes_later(graph, node):
        return graph, None
    maps = node.edges[0].maps
    if not all(isinstance(axis, Resize) and axis.mode == "linear" and axis.n_out >= axis.n_in for axis in maps):
        return graph, None
    down, across = (side_of(axis) for axis in maps)
    cell = Cell(down, across, corners=any(isinstance(axis, Resize) and axis.align_corners for axis in maps))
    return replace(graph, outputs={"out": node.edges[0].source}), cell


def is_passing(graph: Graph, node: Node) -> bool:
    """Whether a node, which nobody but the next one reads, hands on its source or the top left of it."""
    if len(node.edges) != 1 or len(node.fx.users) != 1 or not facets(node.fx).moves or pads_others(node):
        return False
    source = graph.node(node.edges[0].source)
    if source.shape[:2] != node.shape[:2] or source.dims != node.dims or source.fx.meta["val"].dtype != node.fx.meta["val"].dtype:
        return False
    return all(starts_with(axis) for axis in node.edges[0].maps)


def starts_with(axis: AxisMap) -> bool:
    """Whether cells are those in the same place, the last ones maybe left out."""
    return isinstance(axis, Window) and (axis.kernel, axis.stride, axis.padding[0]) == (1, 1, 0) and axis.padding[1] <= 0


def writes_later(graph: Graph, node: Node) -> bool:
    """Whether an operation after ``node`` writes into a tensor: it might be what the interpolation reads."""
    order = list(node.fx.graph.nodes)
    later = order[order.index(node.fx) + 1 :]
    return any(map(may_write, later))


def side_of(axis: AxisMap) -> float:
    """Pixels from one cell to the next."""
    scale = axis.ratio
    return float(1 / scale) if scale else math.inf
