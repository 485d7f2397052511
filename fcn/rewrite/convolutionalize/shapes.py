"""Where space is in a traced network: which tensors have rows and columns, and which are vectors.

The graph is run on shapes alone, for images of the trained size, for taller and for wider ones. The dimension that grows with the height is
the rows, the one that grows with the width the columns. What fails was made for one size.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import fx

from fcn.core.errors import UserError
from fcn.core.names import first_line
from fcn.graph.networks import without_data
from fcn.graph.shapes import Failure, Shape, run_shapes, shapes_in

BATCH = 2  # not 1: the batch must not look like a dimension of one cell


@dataclass(frozen=True)
class Facts:
    """What a node of the graph gives at the trained size, and for images of twice the height or width.

    Tensors are there as a ``Shape``; ``error`` tells why it cannot be run on larger images.
    """

    value: Any
    taller: Any = None
    wider: Any = None
    error: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value) if self.is_tensor else ()

    @property
    def is_tensor(self) -> bool:
        return isinstance(self.value, Shape)

    @property
    def has_tensors(self) -> bool:
        return bool(shapes_in(self.value))

    @property
    def axes(self) -> tuple[int, ...]:
        """The dimensions of rows and columns, if it is a map: (2, 3) for (N, C, h, w), (1, 2) for (N, h, w, C); else none."""
        grown = tuple(
            tuple(dim for dim, size in enumerate(self.shape) if len(larger) == len(self.shape) and larger[dim] != size)
            for larger in (self.taller, self.wider)
            if isinstance(larger, Shape)
        )
        return next((axes for axes in ((2, 3), (1, 2)) if len(self.shape) == 4 and grown == ((axes[0],), (axes[1],))), ())

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width of a map."""
        height, width = (self.shape[axis] for axis in self.axes)
        return height, width


def measure(network: fx.GraphModule, shape: tuple[int, ...]) -> dict[fx.Node, Facts]:
    """``Facts`` of every node for images of ``shape`` (1, C, H, W). Raises UserError where the network cannot be run on them."""
    _, channels, height, width = shape
    hollow = without_data(network)
    here = run_shapes(network, hollow, (BATCH, channels, height, width))
    failed = next((value for value in here.values() if isinstance(value, Failure)), None)
    if failed:
        raise UserError(
            f"the classifier cannot be run on images of {height} x {width} pixels and {channels} channels ({first_line(failed.error)}); "
            "give input_size, the size with which it was trained, or in_channels"
        )
    larger = [run_shapes(network, hollow, (BATCH, channels, *size)) for size in ((2 * height, width), (height, 2 * width))]
    facts = {}
    for node, value in here.items():
        errors = [first_line(run[node].error) for run in larger if isinstance(run[node], Failure)]
        facts[node] = Facts(value, error=errors[0]) if errors else Facts(value, larger[0][node], larger[1][node])
    return facts


def pair(size: Any) -> tuple[int, int]:
    """A kernel or a step as torch takes it, one number for both axes or two, as two."""
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


def only_for(head: list[fx.Node], facts: dict[fx.Node, Facts]) -> list[fx.Node]:
    """The nodes that may be of no use without those of ``head``: these, what is computed from them, weights, and sizes of tensors."""
    members = set(head)
    for node in facts:
        if members & set(node.all_input_nodes):
            members.add(node)
    return [node for node in facts if node in members or node.op == "get_attr" or not facts[node].has_tensors]


def erase_unused(nodes: Iterable[fx.Node]) -> None:
    """Takes those of ``nodes``, given in the order of their graph, that nobody reads out of it."""
    for node in reversed(list(nodes)):
        if not node.users and node.op not in ("placeholder", "output"):
            node.graph.erase_node(node)
