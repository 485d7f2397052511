"""Where the cells of a tensor stand: its grid along each spatial axis, in the network as it was and in the network as it becomes.

A chain of padded windows maps an image of ``H`` pixels to ``ceil((H + excess) / stride)`` cells: a window of kernel ``k``, stride ``s``,
dilation ``l`` and padding ``p`` makes ``ceil((n + 2p - l(k - 1)) / s)`` cells of ``n``, and such steps compose to one of the same form.
Dilating keeps the excess and lowers the stride, so that original cell ``i`` is dilated cell ``i d``, ``d`` the ratio of the strides, and
the dilated map ends within ``d`` cells after the original's last: what lies outside of the one lies outside of the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from fcn.models.layers import evaluating

CONV_FUNCTIONS = {F.conv1d: 1, F.conv2d: 2, F.conv3d: 3}
SIDES = ((256, 512), (320, 640), (192, 384))  # two sizes of each axis, pixels: what changes from one to the other belongs to the axis


@dataclass(frozen=True)
class Grid:
    """``ceil((H + excess) / stride)`` cells for ``H`` pixels, the field of the first one centred at ``center``; all in pixels."""

    stride: Fraction
    excess: Fraction
    center: Fraction = Fraction(0)

    @property
    def is_whole(self) -> bool:
        """Whether there are ``H / stride`` cells where the stride divides ``H``: nothing is lost or added but by rounding."""
        return -self.stride < self.excess <= 0

    def slide(self, stride: int, before: int, reach: int, after: int) -> "Grid":
        """The grid after a window of that stride, with cells of padding ``before`` and ``after`` and a reach of ``dilation * (kernel - 1)``
        cells of this grid."""
        excess = self.excess + (before + after - reach) * self.stride
        return Grid(self.stride * stride, excess, self.center + (Fraction(reach, 2) - before) * self.stride)

    def extend(self, cells: int, pixels: Fraction) -> "Grid":
        """The grid with windows that may reach ``cells`` of ``pixels`` each further beyond the end."""
        return Grid(self.stride, self.excess + cells * pixels, self.center)


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a tensor: its grid in the network as it was and as it is now."""

    original: Grid
    now: Grid

    @property
    def dilation(self) -> int:
        """How many cells now stand for one of the original."""
        return int(self.original.stride / self.now.stride)


IMAGE = Axis(Grid(Fraction(1), Fraction(0)), Grid(Fraction(1), Fraction(0)))


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

    def measured(self) -> tuple[Grid, ...]:
        """The grids that the sizes speak for; their excess up to rounding."""
        found = []
        for (small, large), (first, second) in zip(SIDES, self.cells, strict=False):
            stride = Fraction(large - small, second - first)
            found.append(Grid(stride, first * stride - small))
        return tuple(found)


class _Shapes(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.found: dict[fx.Node, list[tuple[int, ...]]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.found[n] = [tuple(tensor.shape) for tensor in tensors_in(result)]
        return result


class _Run(nn.Module):
    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> dict[fx.Node, list[tuple[int, ...]]]:
        shapes = _Shapes(self.network)
        shapes.run(x)
        return shapes.found


def tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def expected_input(network: fx.GraphModule) -> tuple[int, int]:
    """The channels and the number of spatial axes that a network's first convolution takes; 3 and 2 where it has none."""
    for node in network.graph.nodes:
        if node.op == "call_module":
            module = network.get_submodule(str(node.target))
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                return module.in_channels, len(module.kernel_size)
        elif node.target in CONV_FUNCTIONS:
            found = []
            sources: list[Any] = [node.args[1] if len(node.args) > 1 else node.kwargs["weight"]]
            while sources:  # it may have been standardised, and so on, on its way from the parameter
                source = sources.pop()
                if source.op == "get_attr":
                    found.append(attrgetter(str(source.target))(network))
                sources += source.all_input_nodes
            weight = max(found, key=lambda tensor: tensor.numel())
            groups = node.kwargs.get("groups", node.args[6] if len(node.args) > 6 else 1)
            return weight.shape[1] * int(groups), CONV_FUNCTIONS[node.target]  # type: ignore[arg-type, index]
    return 3, 2


def measure(network: fx.GraphModule, first: fx.Node | None = None) -> dict[fx.Node, list[Spread]]:
    """How each tensor of each node is laid out, found by running shapes only (no arithmetic, no memory) at several sizes.

    Raises ValueError where the network does not run at them.
    """
    channels, rank = expected_input(network)
    smallest = tuple(side for side, _ in SIDES[:rank])
    sizes = [smallest] + [smallest[:axis] + (SIDES[axis][1],) + smallest[axis + 1 :] for axis in range(rank)]
    run = _Run(network)
    hollow = {name: torch.empty_like(value, device="meta") for name, value in [*run.named_parameters(), *run.named_buffers()]}
    shapes = []
    for size in sizes:
        try:
            with evaluating(run):
                dtype = next((value.dtype for value in hollow.values() if value.is_floating_point()), torch.float32)
                shapes.append(torch.func.functional_call(run, hollow, (torch.empty(1, channels, *size, device="meta", dtype=dtype),)))
        except Exception as error:  # the network's own code runs, and may raise anything
            raise ValueError(
                f"the network does not run on an image of {' x '.join(map(str, size))} pixels ({type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else ''}); only a network that takes any size can be read as grids of cells"
            ) from error
    return {
        node: [_spread([run_shapes[node][index] for run_shapes in shapes]) for index in range(len(shapes[0][node]))]
        for node in network.graph.nodes
        if all(len(run_shapes[node]) == len(shapes[0][node]) for run_shapes in shapes)
    }


def _spread(shapes: list[tuple[int, ...]]) -> Spread:
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
