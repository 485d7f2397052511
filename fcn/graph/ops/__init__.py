"""What an operation does to cells, taught in one place: an entry for each of aten's operations, with all that is known of it.

``facets`` gives the entry of a node. ``docs/operations.md`` shows the whole table.
"""

from torch import fx

from fcn.graph.aten import is_pointwise, op_name
from fcn.graph.ops import convolutions, layouts, norms, pads, pointwise, pools, resizes, sums, windows
from fcn.graph.ops.table import FACETS, TABLE, Operation, may_alias, missing, read_later

__all__ = [
    "FACETS",
    "NOTHING",
    "TABLE",
    "Operation",
    "convolutions",
    "facets",
    "layouts",
    "may_alias",
    "missing",
    "norms",
    "pads",
    "pointwise",
    "pools",
    "read_later",
    "resizes",
    "sums",
    "windows",
]

NOTHING = Operation()  # of which nothing is known


def facets(node: fx.Node) -> Operation:
    """What is known of a node's operation: nothing, where it has no entry. What torch tags as pointwise needs none of its own."""
    if node.op != "call_function":
        return NOTHING
    name = op_name(node)
    return TABLE.get(name) or (pointwise.NUMBER if is_pointwise(name, node.target) else NOTHING)
