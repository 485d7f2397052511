"""Statistics over all of the image, gathered block by block: what pools and norms over space need before a row can be computed.

Sums are kept in float64, over disjoint blocks. Variances are merged with the term between the parts (Chan, Golub, LeVeque,
"Algorithms for Computing the Sample Variance", 1983): ``M2 = M2_a + M2_b + (mean_b - mean_a)^2 n_a n_b / (n_a + n_b)``.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from fcn.core.errors import NotStreamable
from fcn.graph.axis import AxisMap, Bins, Whole
from fcn.graph.ops.blocks import BlockCall

Interval = tuple[int, int]


class Gather(Protocol):
    def add(self, block: Tensor, rows: Interval, columns: Interval) -> None:
        """Take in the cells of one block; ``rows`` and ``columns`` are its place. Blocks are disjoint and cover the grid."""

    def result(self) -> Tensor:
        """What the blocks say together."""


def exact(x: Tensor) -> torch.dtype:
    """The type to add up in: float64 where the device has it."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def type_of_result(call: BlockCall, block: Tensor) -> torch.dtype:
    """The type that an operation gives for a block of this type: that of the block, which autocast may have changed, unless the operation
    itself changes it, as a sum of truth values does."""
    made = call.node.fx.meta["val"]
    found: torch.dtype = (made[0] if isinstance(made, (list, tuple)) else made).dtype
    asked = call.get("dtype") is not None
    return block.dtype if block.is_floating_point() and found.is_floating_point and not asked else found


STARTS = {"max": float("-inf"), "min": float("inf"), "logsumexp": float("-inf")}  # of how a pool adds up; 0 for the others


class Pool:
    """Over bins: sum, mean, largest or least value, Euclidean norm, or logarithm of the sum of exponentials.

    ``bins[axis]``: cells that each cell of the result reads; None where an axis is kept as it is.
    """

    def __init__(self, call: BlockCall, how: str) -> None:
        self.call, self.how, self.shape, self.dims = call, how, call.node.shape, call.source.dims
        self.source_shape = list(call.source.shape)
        self.bins = [bins(axis) for axis in call.node.maps]
        for dim, found in zip(self.dims, self.bins, strict=True):
            if dim is not None and found is not None:
                self.source_shape[dim] = len(found)
        self.others = [] if "adaptive" in call.node.op else [dim for dim in reduced(call) if dim not in self.dims]
        if how == "norm" and call.get("ord", default=2) != 2:
            raise NotStreamable("only the Euclidean norm can be gathered")
        self.total: Tensor | None = None
        self.dtype = torch.float32

    def add(self, block: Tensor, rows: Interval, columns: Interval) -> None:
        if self.total is None:
            self.total = torch.full(self.source_shape, STARTS.get(self.how, 0.0), dtype=exact(block), device=block.device)
            self.dtype = type_of_result(self.call, block)
        for row in overlapping(self.bins[0], rows):
            for column in overlapping(self.bins[1], columns):
                x, goal = block, self.total
                gone = []
                for dim, found, place, origin in zip(self.dims, (row, column), self.bins, (rows, columns), strict=True):
                    if dim is None:
                        continue
                    index, low, high = found
                    x = x.narrow(dim, low - origin[0], high - low)
                    goal = goal.narrow(dim, low if place is None else index, high - low if place is None else 1)
                    if place is not None:
                        gone.append(dim)
                if self.how == "max":
                    torch.maximum(goal, x.amax(gone, keepdim=True).to(goal.dtype), out=goal)
                elif self.how == "min":
                    torch.minimum(goal, x.amin(gone, keepdim=True).to(goal.dtype), out=goal)
                elif self.how == "logsumexp":
                    goal.copy_(torch.logaddexp(goal, x.to(goal.dtype).logsumexp(gone, keepdim=True)))
                elif self.how == "norm":
                    goal += (x.to(goal.dtype) ** 2).sum(gone, keepdim=True)
                else:
                    goal += x.sum(gone, keepdim=True, dtype=goal.dtype)

    def result(self) -> Tensor:
        assert self.total is not None
        total = self.total
        if self.how == "mean":
            for dim, found in zip(self.dims, self.bins, strict=True):
                if dim is not None and found is not None:
                    sizes = torch.tensor([high - low for low, high in found], dtype=total.dtype, device=total.device)
                    total = total / sizes.view([-1 if place == dim else 1 for place in range(total.dim())])
        if self.others:
            over: Any = {"mean": torch.mean, "max": torch.amax, "min": torch.amin, "logsumexp": torch.logsumexp}.get(self.how, torch.sum)
            total = over(total, self.others, keepdim=True)
        if self.how == "norm":
            total = total.sqrt()
        return total.reshape(self.shape).to(self.dtype)


class Spread:
    """Variance, or standard deviation, over dimensions among which rows or columns are."""

    def __init__(self, call: BlockCall, root: bool) -> None:
        self.root, self.shape, self.dims = root, call.node.shape, call.source.dims
        self.gone = reduced(call)
        given = call.get("correction")
        self.correction = float(call.get("unbiased", default=True) if given is None else given)
        self.result_shape = [1 if dim in self.gone else size for dim, size in enumerate(call.source.shape)]
        self.count: Tensor | None = None
        self.mean = self.spread = torch.zeros(())
        self.dtype = torch.float32

    def add(self, block: Tensor, rows: Interval, columns: Interval) -> None:
        if self.count is None:
            self.mean = torch.zeros(self.result_shape, dtype=exact(block), device=block.device)
            self.spread, self.count, self.dtype = torch.zeros_like(self.mean), torch.zeros_like(self.mean), block.dtype
        x = block.to(self.mean.dtype)
        mean = x.mean(self.gone, keepdim=True)
        spread, count = ((x - mean) ** 2).sum(self.gone, keepdim=True), x.numel() / mean.numel()
        goal = [self.count, self.mean, self.spread]
        for dim, (low, high) in zip(self.dims, (rows, columns), strict=True):
            if dim is not None and dim not in self.gone:
                goal = [tensor.narrow(dim, low, high - low) for tensor in goal]
        counts, means, spreads = goal
        total, step = counts + count, mean - means
        spreads += spread + step**2 * (counts * count / total)
        means += step * (count / total)
        counts.copy_(total)

    def result(self) -> Tensor:
        assert self.count is not None
        variance = self.spread / (self.count - self.correction).clamp_min(0)
        return (variance.sqrt() if self.root else variance).reshape(self.shape).to(self.dtype)


def reduced(call: BlockCall) -> list[int]:
    """The dimensions of the source, as the stream keeps it, that a reduction is over."""
    space, rank, given = call.source.space, len(call.source.shape), call.get("dim", default=[])
    wanted = [given] if isinstance(given, int) else list(given)
    if not wanted:
        return list(range(rank))
    if space is None:
        return sorted({dim % rank for dim in wanted})
    places = {dim % (rank - 1) for dim in wanted}  # rows and columns were one dimension
    return sorted({dim + (dim > space) for dim in places} | ({space + 1} if space in places else set()))


def bins(axis: AxisMap) -> list[Interval] | None:
    """The cells that each cell of the output reads; None where it is the cell in the same place."""
    if axis.is_identity and not isinstance(axis, Whole):
        return None
    if not isinstance(axis, Whole | Bins):
        raise NotStreamable("it pools along one axis and moves the other")
    low, high = axis.bounds
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]


def overlapping(found: list[Interval] | None, cells: Interval) -> list[tuple[int, int, int]]:
    """Index, first cell and end of each bin's part in ``cells``; all cells as one where there are no bins."""
    if found is None:
        return [(0, *cells)]
    parts = [(index, max(low, cells[0]), min(high, cells[1])) for index, (low, high) in enumerate(found)]
    return [entry for entry in parts if entry[1] < entry[2]]


class LogSum:
    """Logarithm of the sum of exponentials over all rows, for a softmax: (..., 1, W), in the type of the exact sums."""

    def __init__(self, call: BlockCall) -> None:
        rows, self.columns = call.source.dims
        assert rows is not None
        self.rows, self.shape = rows, [1 if dim == rows else size for dim, size in enumerate(call.source.shape)]
        self.total: Tensor | None = None

    def add(self, block: Tensor, rows: Interval, columns: Interval) -> None:
        if self.total is None:
            self.total = torch.full(self.shape, float("-inf"), dtype=exact(block), device=block.device)
        goal = self.total if self.columns is None else self.total.narrow(self.columns, columns[0], columns[1] - columns[0])
        goal.copy_(torch.logaddexp(goal, block.to(goal.dtype).logsumexp(self.rows, keepdim=True)))

    def result(self) -> Tensor:
        assert self.total is not None
        return self.total


class Moments:
    """Mean and variance per group of channels. Returns (2, N, C): the scale and shift per channel that the norm amounts to. They are
    float32, or float64 if the map is, as in torch's norms. N: what the batch has become, where channels were folded into it; else 1."""

    def __init__(self, call: BlockCall) -> None:
        self.batch, channels = call.source.shape[:2]
        op = call.node.op
        if "batch_norm" in op and self.batch > 1:
            raise NotStreamable("channels were folded into the batch, of which it takes the statistics together")
        self.groups = int(call.get("num_groups", "group")) if "group_norm" in op else channels
        self.weight, self.bias = call.tensor("weight"), call.tensor("bias")
        self.epsilon, self.channels = float(call.get("eps")), channels
        self.count = 0
        self.mean = self.spread = torch.zeros(())
        self.dtype = torch.float32

    def add(self, block: Tensor, rows: Interval, columns: Interval) -> None:
        x = block.reshape(self.batch * self.groups, self.channels // self.groups, *block.shape[2:])
        mean = x.mean((1, 2, 3), keepdim=True, dtype=exact(x))
        spread = ((x.to(mean.dtype) - mean) ** 2).sum((1, 2, 3))
        mean, count = mean.flatten(), x[0].numel()
        if not self.count:
            self.count, self.mean, self.spread = count, mean, spread
            self.dtype = torch.promote_types(block.dtype, torch.float32)
            return
        total = self.count + count
        step = mean - self.mean
        self.spread = self.spread + spread + step**2 * (self.count * count / total)
        self.mean = self.mean + step * (count / total)
        self.count = total

    def result(self) -> Tensor:
        each, shape = self.channels // self.groups, (self.batch, self.channels)
        scale = torch.rsqrt(self.spread / self.count + self.epsilon).repeat_interleave(each).view(shape)
        if self.weight is not None:
            scale = scale * self.weight
        shift = -self.mean.repeat_interleave(each).view(shape) * scale
        return torch.stack([scale, shift if self.bias is None else shift + self.bias]).to(self.dtype)
