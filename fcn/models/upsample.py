"""Up-samplers: five ways to give a feature map ``factor`` times as many cells per axis.

Each is a module ``(N, in_channels, h, w) -> (N, out_channels, factor * h, factor * w)`` in which output cell ``o`` lies over input cell
``o // factor`` (the convention of ``align_corners=False``). Each starts out as an interpolation. Where ``in_channels == out_channels`` the
channels are passed through. A constant map gives the same constant, borders included. No checkerboard is there before training puts one
there.

==============  =========================================  ============================================  =========================
name            what it is                                 parameters (k the kernel's side)              multiply-adds per input cell
==============  =========================================  ============================================  =========================
transposed      ConvTranspose2d with a bilinear start      in * out * k^2,  k = 2 * factor - factor % 2  in * out * k^2
bilinear        fixed interpolation                        0  (in * out where in != out)                 4 * out * factor^2 (+ in * out)
pixelshuffle    convolution to factor^2 * out, reshuffled  (in * k^2 + 1) * out * factor^2,  k = 3       in * out * k^2 * factor^2
nearest         repetition, then a convolution             (in * k^2 + 1) * out,  k = 3                  in * out * k^2 * factor^2
carafe          each cell a mean of its k^2 = 25           (in + 1) * m + (9 * m + 1) * k^2 * factor^2   in * m + (9 * m + out)
                neighbours, with predicted weights,        (+ in * out where in != out)                  * k^2 * factor^2
                m = min(64, in)                                                                          (+ in * out)
==============  =========================================  ============================================  =========================

Sources: transposed: Long et al. 2015, section 3.3, arXiv:1411.4038. pixelshuffle: Shi et al. 2016, arXiv:1609.05158, with the start of
Aitken et al. 2017 (ICNR), arXiv:1707.02937. nearest: Odena et al. 2016, "Deconvolution and Checkerboard Artifacts", Distill.
carafe: Wang et al. 2019, arXiv:1905.02188.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from fcn.core.errors import UserError
from fcn.core.names import a_type
from fcn.core.registry import Part, bound, find, register
from fcn.core.settings import at_least, check_options, odd
from fcn.graph.networks import evaluating

Upsampler = Callable[[int, int, int], nn.Module]  # (in_channels, out_channels, factor) -> module


def bilinear_kernel(factor: int) -> Tensor:
    """The (k, k) kernel with which a transposed convolution of stride ``factor`` interpolates bilinearly, k = 2 * factor - factor % 2."""
    size = 2 * factor - factor % 2
    distance = (torch.arange(size) - (size - 1) / 2).abs() / factor
    profile = 1 - distance
    return profile[:, None] * profile[None, :]


def mixing_matrix(in_channels: int, out_channels: int) -> Tensor:
    """The (out, in) matrix with which an up-sampler mixes channels at the start: the identity if it can be, else Kaiming-uniform."""
    if in_channels == out_channels:
        return torch.eye(in_channels)
    bound = (3 / in_channels) ** 0.5
    return torch.empty(out_channels, in_channels).uniform_(-bound, bound)


@register("upsample", "transposed")
class TransposedConv(nn.Module):
    """Transposed convolution that starts as bilinear interpolation.

    One cell is repeated round the map first and its image cropped afterwards, without which the kernel's tails would fade to zero at the
    borders: so the start equals ``F.interpolate(mode="bilinear", align_corners=False)`` in every cell.
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int) -> None:
        super().__init__()
        kernel = bilinear_kernel(factor)
        size = kernel.shape[0]
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, size, stride=factor, padding=(size + factor) // 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(mixing_matrix(in_channels, out_channels).t()[:, :, None, None] * kernel)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (1, 1, 1, 1), mode="replicate"))


@register("upsample", "bilinear")
class Bilinear(nn.Module):
    """Bilinear interpolation, after a 1x1 convolution if the number of channels changes.

    conv: add a 3x3 convolution after the interpolation.
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int, *, conv: bool = False) -> None:
        super().__init__()
        self.factor = factor
        self.project = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.smooth = same_conv(out_channels, out_channels, 3) if conv else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(self.project(x), scale_factor=float(self.factor), mode="bilinear", align_corners=False)
        return self.smooth(x)


@register("upsample", "pixelshuffle")
class PixelShuffle(nn.Module):
    """Sub-pixel convolution: ``factor^2`` maps per channel, interleaved into one; all start equal (ICNR).

    kernel_size: side of the convolution's kernel (cells).
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int, *, kernel_size: Annotated[int, odd()] = 3) -> None:
        super().__init__()
        self.conv = same_conv(in_channels, out_channels * factor**2, kernel_size, repeat=factor**2)
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(self.conv(x))


@register("upsample", "nearest")
class ResizeConv(nn.Module):
    """Nearest neighbour: every cell repeated ``factor`` times per axis, then a convolution.

    kernel_size: side of the convolution's kernel (cells).
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int, *, kernel_size: Annotated[int, odd()] = 3) -> None:
        super().__init__()
        self.factor = factor
        self.conv = same_conv(in_channels, out_channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=float(self.factor), mode="nearest"))


@register("upsample", "carafe")
class Carafe(nn.Module):
    """Content-aware reassembly: each output cell is a weighted mean of 5x5 input cells; the weights are predicted from the input.

    channels: number of channels that the weights are predicted from; null: 64, or the input's if fewer.

    ``channels`` maps are made of the input. From them, a 3x3 convolution makes 25 scores for each output cell, and their softmax weighs the
    neighbours. So the weights add up to 1, and a constant stays constant through all of the training; the border cells are repeated
    outwards. Training starts at bilinear weights, mixed with a tenth of equal ones so that every neighbour has a gradient. The first
    predictions hardly move them (deviation 0.001, as in the paper).

    The means are matrix products, one for each input cell (see ``Reassembly``).
    """

    SIDE = 5  # neighbours along each axis

    def __init__(self, in_channels: int, out_channels: int, factor: int, *, channels: Annotated[int, at_least(1)] | None = None) -> None:
        super().__init__()
        inner = min(64, in_channels) if channels is None else channels
        self.factor = factor
        self.project = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.compress = nn.Conv2d(in_channels, inner, 1)
        self.predict = nn.Conv2d(inner, self.SIDE**2 * factor**2, 3, padding=1)
        start = 0.9 * bilinear_weights(factor, self.SIDE) + 0.1 / self.SIDE**2
        nn.init.normal_(self.predict.weight, std=0.001)
        assert self.predict.bias is not None
        with torch.no_grad():
            self.predict.bias.copy_(start.log().flatten())

    def forward(self, x: Tensor) -> Tensor:
        scores = self.predict(self.compress(x)).permute(0, 2, 3, 1)
        weights = scores.unflatten(-1, (self.SIDE**2, self.factor**2)).softmax(-2)  # (N, h, w, 25, factor^2)
        reach = self.SIDE // 2
        around = F.pad(self.project(x), (reach, reach, reach, reach), mode="replicate").permute(0, 2, 3, 1)
        cells = Reassembly.apply(around, weights.to(around.dtype))  # (N, h, w, out, factor^2)
        return F.pixel_shuffle(cells.flatten(-2).permute(0, 3, 1, 2), self.factor)


class Reassembly(torch.autograd.Function):
    """Weighed sums of neighbours: ``around`` (N, h + 4, w + 4, C), ``weights`` (N, h, w, 25, f) -> (N, h, w, C, f).

    For each cell a product of two matrices: its neighbours (C, 25) and their weights (25, f). Adding the neighbours up one after another
    would go 25 times through memory. The neighbours take 25 times the room of the map: they are made for some rows at a time, and again on
    the way back. A graph that is being exported gets the one statement.
    """

    ROOM = 2**22  # numbers in the neighbours of the rows that are worked on at a time

    @staticmethod
    def forward(ctx: Any, around: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(around, weights)
        if torch.compiler.is_exporting():
            return neighbours(around) @ weights
        result = weights.new_empty(*weights.shape[:3], around.shape[-1], weights.shape[-1])
        for image, rows, seen in Reassembly.pieces(around, weights):
            result[image, rows] = neighbours(around[image, seen]) @ weights[image, rows]
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        around, weights = ctx.saved_tensors
        of_around = torch.zeros_like(around, dtype=torch.promote_types(around.dtype, torch.float32))  # sums of 25
        of_weights = torch.empty_like(weights)
        for image, rows, seen in Reassembly.pieces(around, weights):
            upward = grad[image, rows]
            of_weights[image, rows] = neighbours(around[image, seen]).mT @ upward
            of_neighbours = upward @ weights[image, rows].mT  # (rows, w, C, 25)
            height, width = of_neighbours.shape[:2]
            for place in range(Carafe.SIDE**2):
                row, column = divmod(place, Carafe.SIDE)
                of_around[image, seen][row : row + height, column : column + width] += of_neighbours[..., place]
        return of_around.to(around.dtype), of_weights

    @staticmethod
    def pieces(around: Tensor, weights: Tensor) -> Iterator[tuple[int, slice, slice]]:
        """An image, some rows of its weights, and the rows of ``around`` that they weigh."""
        height, width, places = weights.shape[1:4]
        step = max(1, Reassembly.ROOM // (width * places * around.shape[-1]))
        for image in range(len(weights)):
            for start in range(0, height, step):
                end = min(start + step, height)
                yield image, slice(start, end), slice(start, end + Carafe.SIDE - 1)


def neighbours(around: Tensor) -> Tensor:
    """(..., h + 4, w + 4, C) -> (..., h, w, C, 25): of each cell those round it, row by row."""
    return around.unfold(-3, Carafe.SIDE, 1).unfold(-3, Carafe.SIDE, 1).flatten(-2)


def bilinear_weights(factor: int, side: int) -> Tensor:
    """(side^2, factor^2): bilinear weights of ``side`` x ``side`` input cells, row by row, in each output cell over the middle one, row by
    row."""
    places = (torch.arange(factor) + 0.5) / factor - 0.5  # of the output cells, in input cells from the middle
    neighbours = torch.arange(side) - side // 2
    along = (1 - (places[None, :] - neighbours[:, None]).abs()).clamp(min=0)  # (side, factor)
    return torch.einsum("ra,cb->rcab", along, along).reshape(side**2, factor**2)


def same_conv(in_channels: int, out_channels: int, kernel_size: int, *, repeat: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size and starts by passing each cell's channels on, each ``repeat`` times.

    The border cells are repeated outwards, so that a constant map stays constant. ``kernel_size`` is odd.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise UserError(f"kernel_size is {kernel_size}; an up-sampler's convolution takes an odd size (1, 3, 5, ...)")
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, padding_mode="replicate")
    with torch.no_grad():
        conv.weight.zero_()
        mixing = mixing_matrix(in_channels, out_channels // repeat)
        conv.weight[:, :, kernel_size // 2, kernel_size // 2] = mixing.repeat_interleave(repeat, 0)
        if conv.bias is not None:
            conv.bias.zero_()
    return conv


def create_upsampler(name: str, **options: Any) -> Upsampler:
    """The factory ``(in_channels, out_channels, factor) -> module`` of an up-sampler, its options filled in.

    Raises UserError, with the names or options that there are, where one is unknown.
    """
    part = find("upsample", name)
    check_options(part.settings, options, ("upsample", name))
    return apart(part, partial(bound(part), **options))


def apart(part: Part, make: Upsampler) -> Upsampler:
    """``make`` with random numbers of its own. It takes one from the global stream, however many it draws. So whatever is built after it
    starts the same with every up-sampler."""

    def built(in_channels: int, out_channels: int, factor: int) -> nn.Module:
        seed = int(torch.randint(2**62, ()))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = make(in_channels, out_channels, factor)
        if part.plugin:
            check_upsampler(module, part.name, in_channels, out_channels, factor)
        module.upsampler = part.name  # type: ignore[assignment]  # what a comparison tells the networks apart by
        return module

    return built


def check_upsampler(module: Any, name: str, in_channels: int, out_channels: int, factor: int) -> None:
    """Raises UserError where an up-sampler of a user's does not give ``factor`` times as many cells."""
    if not isinstance(module, nn.Module):
        raise UserError(f"upsample={name} gave {a_type(module)}; an up-sampler is a module")
    with evaluating(module):
        found = module(torch.zeros(1, in_channels, 3, 2))
    wanted = (1, out_channels, 3 * factor, 2 * factor)
    if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UserError(f"upsample={name} made {shape} of (1, {in_channels}, 3, 2) with factor {factor}; it must give {wanted}")
