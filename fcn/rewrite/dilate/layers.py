"""The layers that dilation needs and torch lacks: average pooling with dilation, size-dependent padding on a dilated grid, crops, repeats.

None has parameters or entries in the state dict.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn.rewrite.dilate.lattice import Lattice

CONV = (F.conv1d, F.conv2d, F.conv3d)


class AveragePool(nn.Module):
    """An average pool with dilation, as a depthwise convolution of constant weights: (N, C, *sizes) to (N, C, *smaller sizes).

    All numbers are per axis. ``before`` and ``after`` are cells of zeros, counted in the average if ``count_padding``; ``beyond`` are
    cells after them that are never counted (what rounding sizes up adds). ``divisor``: in place of the number of cells.
    """

    def __init__(
        self,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        *,
        before: Sequence[int],
        after: Sequence[int],
        beyond: Sequence[int],
        count_padding: bool = True,
        divisor: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.dilation = tuple(kernel_size), tuple(stride), tuple(dilation)
        self.before, self.after, self.beyond = tuple(before), tuple(after), tuple(beyond)
        self.count_padding, self.divisor = count_padding, divisor
        self.is_partial = divisor is None and (any(beyond) or (not count_padding and any((*before, *after))))

    def forward(self, x: Tensor) -> Tensor:
        channels, rank = x.shape[1], len(self.kernel_size)
        sides = [(a, b + c) for a, b, c in zip(self.before, self.after, self.beyond, strict=True)]
        divisor = 1 if self.is_partial else self.divisor or prod(self.kernel_size)
        weight = x.new_full((channels, 1, *self.kernel_size), 1 / divisor)
        total = CONV[rank - 1](pad(x, sides), weight, None, self.stride, 0, self.dilation, channels)
        if not self.is_partial:
            return total
        for axis in range(rank):
            total = total / self.count(x, axis).view(-1, *[1] * (rank - 1 - axis))
        return total

    def count(self, x: Tensor, axis: int) -> Tensor:
        """The number of counted cells in each window along one axis."""
        cells = x.new_ones(1, 1, x.shape[2 + axis])
        cells = F.pad(cells, (self.before[axis], self.after[axis]), value=float(self.count_padding))
        kernel = x.new_ones(1, 1, self.kernel_size[axis])
        return F.conv1d(F.pad(cells, (0, self.beyond[axis])), kernel, None, self.stride[axis], 0, self.dilation[axis]).flatten()

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation}"


class PowerPool(nn.Module):
    """An L-p pool with dilation: the ``norm_type``-th root of the sum of powers. Windows cut at the border are scaled to whole ones."""

    def __init__(self, norm_type: float, average: AveragePool) -> None:
        super().__init__()
        self.norm_type, self.average = norm_type, average

    def forward(self, x: Tensor) -> Tensor:
        mean = self.average(x.pow(self.norm_type))
        return (torch.sign(mean) * F.relu(mean.abs()) * prod(self.average.kernel_size)).pow(1 / self.norm_type)


class SamePad(nn.Module):
    """Padding to "same" size as TensorFlow chooses it, which depends on the input's size, on a grid that is ``spread`` times denser.

    The part before is the original's for the original's size; the part after makes ``ceil(n / new_stride)`` windows of ``n`` cells.
    """

    def __init__(
        self,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        *,
        spread: Sequence[int],
        new_stride: Sequence[int],
        value: float = 0.0,
    ) -> None:
        super().__init__()
        self.axes = list(zip(kernel_size, stride, dilation, spread, new_stride, strict=True))
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        sides = []
        for n, (kernel, stride, dilation, spread, new_stride) in zip(x.shape[2:], self.axes, strict=True):
            original = -(-n // spread)
            reach = dilation * (kernel - 1)
            before = max((-(-original // stride) - 1) * stride + reach + 1 - original, 0) // 2 * spread
            sides.append((before, max((-(-n // new_stride) - 1) * new_stride + reach * spread + 1 - n - before, 0)))
        return pad(x, sides, value=self.value)


class CropToCommon(nn.Module):
    """Several tensors cut to the smallest of each spatial size, from the top left. ``dims``: the spatial dimensions of each."""

    def __init__(self, dims: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.dims = tuple(dims)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        cut = list(tensors)
        for axis in range(len(self.dims[0])):
            size: Any = tensors[0].shape[self.dims[0][axis]]
            for tensor, dims in zip(tensors[1:], self.dims[1:], strict=True):
                size = torch.sym_min(size, tensor.shape[dims[axis]])  # of a symbolic size as well, when exported
            cut = [tensor.narrow(dims[axis], 0, size) for tensor, dims in zip(cut, self.dims, strict=True)]
        return tuple(cut)


class OriginalCells(nn.Module):
    """A map cut to the cells that the original network has for an image: ``grids`` along its dimensions ``dims``."""

    def __init__(self, grids: Sequence[Lattice], dims: Sequence[int]) -> None:
        super().__init__()
        self.grids, self.dims = tuple(grids), tuple(dims)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        for axis, (grid, dim) in enumerate(zip(self.grids, self.dims, strict=True)):
            x = x.narrow(dim, 0, grid.cells(image.shape[2 + axis]))
        return x


class Repeat(nn.Module):
    """Every cell of (N, C, *sizes) repeated ``dilation`` times, and as many of them as another map has along its dimensions ``dims``.

    Without another map all of them; those that are missing at the end are the last one.
    """

    def __init__(self, dilation: Sequence[int], dims: Sequence[int]) -> None:
        super().__init__()
        self.dilation, self.dims = tuple(dilation), tuple(dims)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        for axis, (step, dim) in enumerate(zip(self.dilation, self.dims, strict=True), start=2):
            count = x.shape[axis] * step if other is None else other.shape[dim]
            cells = torch.arange(count, device=x.device) // step
            x = x.index_select(axis, cells.clamp(max=x.shape[axis] - 1))
        return x


def pad(x: Tensor, sides: Sequence[tuple[int, int]], *, mode: str = "constant", value: float | None = None) -> Tensor:
    """``x`` with cells added before and after along each of its last axes; ``sides`` from the first of them to the last."""
    flat = flat_padding(sides)
    return F.pad(x, flat, mode=mode, value=value) if any(flat) else x


def flat_padding(sides: Sequence[tuple[int, int]]) -> list[int]:
    """As ``torch.nn.functional.pad`` takes it: the last axis first."""
    return [cells for side in reversed(sides) for cells in side]
