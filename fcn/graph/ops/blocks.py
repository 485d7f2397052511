"""The facet ``block`` of an operation: how any block of its cells is computed from blocks of its sources.

``block(call) -> Rule``. Here are the words that such functions share.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from fcn.core.errors import NotStreamable
from fcn.graph.aten import Given
from fcn.graph.axis import AxisMap, Window
from fcn.graph.nodes import Node

T = TypeVar("T")


@dataclass(frozen=True)
class Cut:
    """Along one axis, the cells ``[first, end)`` of an operation's output and the cells ``[low, high)`` of its source that they read.

    All are indices on the grids of the whole image.
    """

    map: AxisMap
    first: int
    end: int
    low: int
    high: int

    @classmethod
    def of(cls, axis: AxisMap, first: int, end: int) -> "Cut":
        """The cut that ``[first, end)`` needs."""
        return cls(axis, first, end, *axis.reads(first, end))

    @property
    def cells(self) -> int:
        return self.end - self.first

    @property
    def beyond(self) -> tuple[int, int]:
        """Cells of padding that a window needs before and after the source's block; 0 away from the image's borders."""
        assert isinstance(self.map, Window)
        low = self.first * self.map.stride - self.map.padding[0]
        high = (self.end - 1) * self.map.stride - self.map.padding[0] + self.map.reach
        if self.low == self.high:  # nothing but padding is seen
            return high - low, 0
        return self.low - low, high - self.high


Cuts = tuple[Cut, Cut]  # rows, columns
Blocks = Sequence[Tensor]


@dataclass(frozen=True)
class Rule:
    """How an operation computes a block.

    ``run(blocks, cuts)``: a block of each source, ``cuts[i]`` saying what it covers and what is asked for. ``into(blocks, cuts, out)``,
    where there is one, does the same into memory that is given, which may be that of the first block. ``fresh`` is False where the result
    may share memory with a source. Its own memory while it runs: ``weights``, bytes of weights that are copied into another layout.
    ``pads``: a copy of the block with padding where the image ends. ``steps``: number of blocks of the size of its result.
    """

    run: Callable[[Blocks, Sequence[Cuts]], Tensor]
    into: Callable[[Blocks, Sequence[Cuts], Tensor], Tensor] | None = None
    fresh: bool = True
    weights: int = 0
    pads: bool = False
    steps: int = 0


class Folded:
    """What is made of weights, kept for the next size of image: as long as it would be made of the very same tensors."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[tuple[Tensor | None, ...], Any]] = {}

    def get(self, name: str, tensors: tuple[Tensor | None, ...], make: Callable[[], T]) -> T:
        """What ``make`` gave for these ``tensors`` under this name."""
        before, value = self.found.get(name, ((), None))
        if len(before) != len(tensors) or any(one is not other for one, other in zip(before, tensors, strict=True)):
            value = make()
            self.found[name] = tensors, value
        return cast(T, value)


@dataclass(frozen=True)
class BlockCall(Given):
    """One operation to be made into a rule: its node, its sources in the order of the blocks, its arguments by name, its constants."""

    node: Node
    sources: tuple[Node, ...]
    arguments: dict[str, Any]
    constants: dict[str, Tensor]
    names: dict[str, str]  # of an fx node: the operation that computes its value, where that is another
    dtype: torch.dtype | None = None  # that autocast computes convolutions in
    affine: tuple[Tensor, Tensor] | None = None  # scale and shift per output channel, folded into the weights
    folded: Folded = field(default_factory=Folded)

    @property
    def source(self) -> Node:
        return self.sources[0]

    def tensor(self, name: str) -> Tensor | None:
        """A constant argument; refused where it depends on the image."""
        found = self.arguments.get(name)
        if isinstance(found, fx.Node):
            if found.name not in self.constants:
                raise NotStreamable(f"its {name} depends on the image")
            return self.constants[found.name]
        return found

    def axis_at(self, dim: int) -> int | None:
        """The axis of the image that dimension ``dim`` of the first source is (0: rows, 1: columns)."""
        dim %= len(self.source.shape)
        return self.source.dims.index(dim) if dim in self.source.dims else None


def part(x: Tensor, dim: int | None, start: int, length: int) -> Tensor:
    """``length`` cells of ``x`` along ``dim``; all where it has no such dimension."""
    return x if dim is None or (start == 0 and x.shape[dim] == length) else x.narrow(dim, start, length)


def precise(x: Tensor) -> Tensor:
    """``x`` in float64; on the CPU, where its device has no such type."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def layout(x: Tensor) -> torch.memory_format:
    """The memory format to make more of the same in: rows of a map in one piece where they are that in ``x``."""
    return torch.channels_last if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


def padded(x: Tensor, cuts: Cuts, value: float, most: tuple[float, float] = (math.inf, math.inf)) -> tuple[Tensor, tuple[int, int]]:
    """``x`` with what it needs beyond the image's borders, as far as the operation's own symmetric padding, the second result, cannot
    supply it. Cells that this padding adds on a side without a border come last, and ``trimmed`` drops them. most: the largest padding that
    the operation takes."""
    own, added = [], []
    for cut, largest in zip(cuts, most, strict=True):
        assert isinstance(cut.map, Window)
        before, after = cut.beyond
        count = (cut.high - cut.low + 2 * before - cut.map.reach) // cut.map.stride + 1
        if count >= cut.cells and 2 * before <= cut.map.reach and before <= largest:
            own.append(before)
            added.append((0, 0))
        else:
            own.append(0)
            added.append((before, after))
    if any(amount for pair in added for amount in pair):
        x = F.pad(x, (*added[1], *added[0]), value=value)
    return x, (own[0], own[1])


def trimmed(y: Tensor, cuts: Cuts) -> Tensor:
    return part(part(y, -2, 0, cuts[0].cells), -1, 0, cuts[1].cells)
