"""A convolution is a product with a matrix, three times over.

1. **Sparse matrix.** The image, flattened, is a vector; a convolution is linear in it; so there is a matrix ``A``: ``y = A x``. Each row
   holds the kernel where the window lies: the matrix is doubly blocked Toeplitz. 4x4 input, 3x3 kernel, no padding: 4 x 16.
2. **im2col + GEMM.** Copy each window into a column; then one dense product with the kernel as a row. More memory, but the fast one.
3. **Transposed.** ``A^T`` goes from output to input. It is the transposed convolution, and the gradient to the input: if ``y = A x`` then
   ``dL/dx = A^T dL/dy``. The same comes from putting zeros between the cells and convolving with the flipped kernel.

Everything here is for teaching and for tests: plain loops in the open, and equal to ``torch.nn.functional`` in float64.
Shapes: images ``(C, H, W)``, weights ``(C_out, C_in / groups, kh, kw)`` as torch has them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fcn.core.errors import UserError
from fcn.lessons.arithmetic import conv_size

Pair = tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """The settings of a 2-D convolution, without its weights. Pairs are (height, width)."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def output_size(self, size: Pair, kernel: Pair) -> Pair:
        height, width = (conv_size(*each) for each in zip(size, kernel, self.stride, self.padding, self.dilation, strict=True))
        return height, width

    def taps(self, size: Pair, kernel: Pair) -> tuple[Tensor, Tensor]:
        """Index of the input cell in the flattened image, for each output cell (rows) and place in the kernel (columns). Also whether it
        lies inside the image or in its padding. Two tensors ``(h w, kh kw)``."""
        indices = []
        for axis, cells in enumerate(self.output_size(size, kernel)):
            first = torch.arange(cells)[:, None] * self.stride[axis] - self.padding[axis]
            indices.append(first + torch.arange(kernel[axis]) * self.dilation[axis])  # (cells, k): o s - p + d j
        rows, columns = indices[0][:, None, :, None], indices[1][None, :, None, :]
        inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
        shape = (inside.shape[0] * inside.shape[1], kernel[0] * kernel[1])
        return (rows * size[1] + columns).reshape(shape), inside.reshape(shape)


PLAIN = Convolution()


def convolution_matrix(weight: Tensor, size: Pair, settings: Convolution = Convolution()) -> Tensor:
    """The sparse matrix ``(C_out h w, C_in H W)`` with ``conv2d(x).flatten() = A @ x.flatten()`` for images of ``size``."""
    out_channels, group_channels, kh, kw = weight.shape
    taps, inside = settings.taps(size, (kh, kw))
    cells, pixels, per_group = len(taps), size[0] * size[1], out_channels // settings.groups
    rows, columns, values = [], [], []
    cell, place = inside.nonzero(as_tuple=True)
    for out in range(out_channels):
        for channel in range(group_channels):
            source = out // per_group * group_channels + channel
            rows.append(out * cells + cell)
            columns.append(source * pixels + taps[cell, place])
            values.append(weight[out, channel].flatten()[place])
    indices = torch.stack([torch.cat(rows), torch.cat(columns)])
    shape = (out_channels * cells, group_channels * settings.groups * pixels)
    return torch.sparse_coo_tensor(indices, torch.cat(values), shape, check_invariants=True).coalesce()


def convolve(x: Tensor, weight: Tensor, settings: Convolution = Convolution()) -> Tensor:
    """First form: ``(C_in, H, W) -> (C_out, h, w)`` by the sparse matrix."""
    size = (x.shape[1], x.shape[2])
    matrix = convolution_matrix(weight, size, settings)
    return (matrix @ x.flatten()).view(weight.shape[0], *settings.output_size(size, (weight.shape[2], weight.shape[3])))


def im2col(x: Tensor, kernel: Pair, settings: Convolution = Convolution()) -> Tensor:
    """Each window as a column: ``(C, H, W) -> (C kh kw, h w)``; padding gives zeros."""
    taps, inside = settings.taps((x.shape[1], x.shape[2]), kernel)
    windows = torch.where(inside, x.flatten(1)[:, taps.clamp(0, x[0].numel() - 1)], 0.0)  # (C, h w, kh kw)
    return windows.transpose(1, 2).flatten(0, 1)


def col2im(columns: Tensor, size: Pair, kernel: Pair, settings: Convolution = Convolution()) -> Tensor:
    """Adds columns back to where their cells came from, the transpose of ``im2col``: ``(C kh kw, h w) -> (C, H, W)``."""
    taps, inside = settings.taps(size, kernel)
    windows = columns.view(-1, kernel[0] * kernel[1], len(taps)).transpose(1, 2)[:, inside]  # (C, pairs inside)
    image = torch.zeros(len(windows), size[0] * size[1], dtype=columns.dtype)
    return image.index_add(1, taps[inside], windows).view(-1, *size)


def convolve_gemm(x: Tensor, weight: Tensor, settings: Convolution = Convolution()) -> Tensor:
    """Second form: im2col, then one product per group."""
    kernel, size = (weight.shape[2], weight.shape[3]), (x.shape[1], x.shape[2])
    columns = [im2col(part, kernel, settings) for part in x.chunk(settings.groups)]
    rows = [part.flatten(1) for part in weight.chunk(settings.groups)]
    product = torch.cat([row @ column for row, column in zip(rows, columns, strict=True)])
    return product.view(-1, *settings.output_size(size, kernel))


def transposed_convolve(y: Tensor, weight: Tensor, size: Pair, settings: Convolution = Convolution()) -> Tensor:
    """Third form: ``(C_out, h, w) -> (C_in, H, W)`` by the transposed matrix.

    ``weight`` is that of the convolution that it transposes, ``size`` the size of that one's input: several sizes give one ``(h, w)``
    (that is what ``output_padding`` chooses). Equals ``conv_transpose2d(y, weight)``. Raises UserError where ``size`` does not fit ``y``.
    """
    kernel = (weight.shape[2], weight.shape[3])
    if settings.output_size(size, kernel) != (y.shape[1], y.shape[2]):
        fits = settings.output_size(size, kernel)
        raise UserError(f"an input of {size} is convolved to {fits}, not {(y.shape[1], y.shape[2])}; give a size that fits")
    return (convolution_matrix(weight, size, settings).t() @ y.flatten()).view(-1, *size)


def insert_zeros(y: Tensor, stride: Pair) -> Tensor:
    """``stride - 1`` zeros between neighbours: ``(C, h, w) -> (C, (h - 1) s + 1, (w - 1) s + 1)``."""
    spread = y.new_zeros(y.shape[0], (y.shape[1] - 1) * stride[0] + 1, (y.shape[2] - 1) * stride[1] + 1)
    spread[:, :: stride[0], :: stride[1]] = y
    return spread


def flip(weight: Tensor, groups: int = 1) -> Tensor:
    """The kernel turned by half a turn, input and output channels exchanged within each group."""
    parts = [part.transpose(0, 1).flip(2, 3) for part in weight.chunk(groups)]
    return torch.cat(parts)


def transposed_by_zeros(y: Tensor, weight: Tensor, size: Pair, settings: Convolution = Convolution()) -> Tensor:
    """The same as ``transposed_convolve``, "fractionally strided": insert zeros, pad, convolve with the flipped kernel, stride 1."""
    spread, pads = insert_zeros(y, settings.stride), []
    for axis in (1, 0):  # F.pad starts from the last
        reach = settings.dilation[axis] * (weight.shape[2 + axis] - 1)
        before = reach - settings.padding[axis]
        pads += [before, size[axis] + reach - spread.shape[1 + axis] - before]
    spread = F.pad(spread, pads)  # a negative amount crops
    return convolve(spread, flip(weight, settings.groups), Convolution(dilation=settings.dilation, groups=settings.groups))


def gradient_to_input(gradient: Tensor, weight: Tensor, size: Pair, settings: Convolution = Convolution()) -> Tensor:
    """``dL/dx = A^T dL/dy``: the full correlation of ``dL/dy`` ``(C_out, h, w)`` with the flipped kernel. ``(C_in, H, W)``."""
    return transposed_convolve(gradient, weight, size, settings)


def gradient_to_weight(gradient: Tensor, x: Tensor, kernel: Pair, settings: Convolution = Convolution()) -> Tensor:
    """``dL/dw``: the correlation of the input with ``dL/dy``; with im2col, ``dL/dy @ columns^T``. ``(C_out, C_in / groups, kh, kw)``."""
    pairs = zip(gradient.chunk(settings.groups), x.chunk(settings.groups), strict=True)
    parts = [part.flatten(1) @ im2col(channels, kernel, settings).t() for part, channels in pairs]
    return torch.cat(parts).view(gradient.shape[0], -1, *kernel)
