"""How the tensors of a graph are laid out: which of their dimensions are spatial, found by running its shapes at several sizes.

A dimension that changes with the image's height, and with nothing else, is the height. It may stand anywhere: (N, C, H, W), (N, H, W, C), a
view that splits the channels. No arithmetic is done (torch's meta device), so that it costs milliseconds.
"""

from dataclasses import dataclass
from fractions import Fraction

from torch import fx

from fcn.core.errors import UserError
from fcn.core.names import first_line
from fcn.graph.image import image_shape
from fcn.graph.networks import without_data
from fcn.graph.shapes import Failure, run_shapes, shapes_in
from fcn.rewrite.dilate.lattice import Lattice

STEP = 64 * 9 * 5 * 7  # pixels: what strides by 2, 3, 5, 7 and their products makes of it is whole, so that strides are found exactly
SIDES = tuple((side, side + STEP) for side in (256, 320, 192))  # two sizes of each axis: what changes between them belongs to the axis


@dataclass(frozen=True)
class Spread:
    """How a tensor is laid out: which of its dimensions are spatial, and how many cells they have at each of the two sizes.

    ``dims`` is None where space is gone (a vector) or folded (tokens, patches); ``folded`` tells which.
    """

    shape: tuple[int, ...]
    dims: tuple[int, ...] | None
    cells: tuple[tuple[int, int], ...]
    folded: bool

    @property
    def is_map(self) -> bool:
        """Whether the spatial dimensions are the last ones, as convolutions and pools expect them."""
        return self.dims is not None and self.dims == tuple(range(len(self.shape)))[-len(self.dims) :]

    def measured(self) -> tuple[Lattice, ...]:
        """The grids that the sizes speak for; their excess up to rounding, zero where that is possible."""
        found = []
        for (small, large), (first, second) in zip(SIDES, self.cells, strict=False):
            stride = Fraction(large - small, second - first)
            excess = first * stride - small
            found.append(Lattice(stride, Fraction(0) if 0 <= excess < stride else excess))
        return tuple(found)


def measure(network: fx.GraphModule, in_channels: int | None = None) -> dict[fx.Node, list[Spread]]:
    """How each tensor of each node is laid out, found by running shapes only (no arithmetic, no memory) at several sizes.

    in_channels: of the image; None: the first likely number with which the network runs. Raises UserError where it runs with none.
    """
    _, channels, *smallest = image_shape(network, {rank: [side for side, _ in SIDES[:rank]] for rank in (1, 2, 3)}, in_channels)
    sizes = [smallest, *([*smallest[:axis], SIDES[axis][1], *smallest[axis + 1 :]] for axis in range(len(smallest)))]
    hollow = without_data(network).eval()
    runs = [run_shapes(network, hollow, (1, channels, *size)) for size in sizes]
    failure = next((value for run in runs for value in run.values() if isinstance(value, Failure)), None)
    if failure is not None:
        raise UserError(
            f"the network does not run on images of {' x '.join(map(str, smallest))} pixels and more, of {channels} channels "
            f"({type(failure.error).__name__}: {first_line(failure.error)}); give a network that takes any size, or in_channels if the "
            "channels are wrong"
        ) from failure.error
    shapes = [{node: shapes_in(value) for node, value in run.items()} for run in runs]
    return {
        node: [spread_of([run_shapes[node][index] for run_shapes in shapes]) for index in range(len(shapes[0][node]))]
        for node in network.graph.nodes
        if all(len(run_shapes[node]) == len(shapes[0][node]) for run_shapes in shapes)
    }


def spread_of(shapes: list[tuple[int, ...]]) -> Spread:
    """``shapes``: at the smallest size, then with each axis enlarged."""
    base = shapes[0]
    if any(len(shape) != len(base) for shape in shapes):
        return Spread(base, None, (), True)
    moving = [[dim for dim, size in enumerate(base) if shape[dim] != size] for shape in shapes[1:]]
    if not any(moving):
        return Spread(base, None, (), False)
    flat = [dim for dims in moving for dim in dims]
    if any(len(dims) != 1 for dims in moving) or len(set(flat)) < len(flat):
        return Spread(base, None, (), True)
    return Spread(base, tuple(flat), tuple((base[dim], shape[dim]) for dim, shape in zip(flat, shapes[1:], strict=True)), False)
