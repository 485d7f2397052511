"""Resizes and pixel shuffles.

The maps of resizes know the short cuts that torch takes: where it takes one, a factor that was given has no effect.

On a CPU, per axis:

- linear modes, and both antialiased ones, copy an axis whose size stays, so that a factor of 1.3 leaves 3 cells as they are;
- "nearest" copies such an axis, and repeats each cell where the size doubles, in one of its two kernels only. That one takes maps of two
  axes whose result has up to 128 rows and columns together, and channels-last maps of more than 3 channels. The other one computes
  positions in float64 where the map is float64, and rounds "nearest-exact" at another place;
- "nearest-exact" and "bicubic" take none.

On a GPU, linear modes and "bicubic" copy where all axes keep their sizes; "nearest" takes none.

Source: ``aten/src/ATen/native/cpu/UpSampleKernel.cpp``, ``aten/src/ATen/native/UpSample.h`` and the ``cuda/UpSample*.cu`` beside them.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx
from torch.nn import functional as F

from fcn.graph.axis import AxisMap, Resize, Window
from fcn.graph.layout import plain
from fcn.graph.ops.blocks import BlockCall, Blocks, Cut, Cuts, Rule, part
from fcn.graph.ops.maps import Call, Result, on_grid
from fcn.graph.ops.table import Operation

Mode = Literal["nearest", "nearest-exact", "linear", "cubic"]
MODES = {"linear": "bilinear", "nearest": "nearest", "nearest-exact": "nearest-exact"}
SMALL = 128  # rows and columns of a result together, up to which torch's kernel for channels-last maps takes every map


def resize(call: Call) -> Result:
    value = call.need("input", "self")
    count = len(value.shape) - 2
    tails = ["_d", "_h", "_w"][-count:] if count > 1 else [""]
    factors = call.get("scale_factors") or [call.get(f"scales{tail}") for tail in tails]
    kinds: dict[str, Mode] = {"nearest_exact": "nearest-exact", "nearest": "nearest", "cubic": "cubic", "linear": "linear"}
    mode = next(kinds[word] for word in kinds if word in call.op)
    align, smooth = bool(call.get("align_corners", default=False)), "_aa" in call.op
    source = call.get("input", "self")
    before = cast(Tensor, source.meta["val"]) if isinstance(source, fx.Node) else None
    routine = routine_of(before, call.shape) if before is not None and mode in ("nearest", "nearest-exact") else "plain"

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        scale, fixed, shortened = Fraction(n_in, n_out), False, False
        if align and n_in != n_out:
            scale = Fraction(n_in - 1, n_out - 1) if n_out > 1 else Fraction(0)
        elif factors[place] is not None and not align:
            given = 1 / Fraction(factors[place]).limit_denominator(10_000)
            shortened = given != scale and takes_short_cut(place)
            scale, fixed = (scale, False) if shortened else (given, True)
        return Resize(n_in, n_out, scale, mode, align, smooth, fixed, shortened, routine)

    def takes_short_cut(place: int) -> bool:
        n_in, n_out = value.shape[2 + place], call.shape[2 + place]
        if before is not None and before.device.type != "cpu":
            return mode in ("linear", "cubic") and not smooth and value.shape[2:] == call.shape[2:]
        if mode == "nearest":
            return routine == "plain" and n_out in (n_in, 2 * n_in)
        return n_in == n_out and (mode == "linear" or smooth)

    return on_grid(call, value, count, make, "resize", call.shape)


def routine_of(x: Tensor, shape: tuple[int, ...]) -> Literal["plain", "single", "double"]:
    """Which of torch's routines resizes ``x`` to ``shape`` by "nearest" or "nearest-exact": see ``Resize``."""
    if x.device.type != "cpu":
        return "plain"
    channels_last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim())
    if channels_last is not None and x.shape[1] > 3 and x.is_contiguous(memory_format=channels_last):
        return "plain"
    if x.dim() == 4 and sum(shape[2:]) <= SMALL:
        return "plain"
    return "double" if x.dtype == torch.float64 else "single"


def block(call: BlockCall) -> Rule:
    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        return resized(blocks[0], cuts[0])

    return Rule(run, fresh=False, steps=2)  # of two axes, and of the two taps of one


def resized(x: Tensor, cuts: Cuts) -> Tensor:
    """The cells asked for of ``x`` (N, C, h, w) resized; where both axes grow by one small whole factor, by torch's own kernel."""
    factors = {whole_factor(cut) for cut in cuts}
    factor = factors.pop()
    if factors or factor is None:
        return interpolated(interpolated(x, -2, cuts[0]), -1, cuts[1])
    axis = cuts[0].map
    assert isinstance(axis, Resize)
    y = F.interpolate(x, scale_factor=float(factor), mode=MODES[axis.mode], align_corners=False if axis.mode == "linear" else None)
    return _corner(y, cuts, factor)


def _corner(y: Tensor, cuts: Cuts, factor: int) -> Tensor:
    """Of a block in which each cell of the source has become ``factor``, the cells asked for."""
    for dim, cut in zip((-2, -1), cuts, strict=True):
        y = part(y, dim, cut.first - cut.low * factor, cut.cells)
    return y


def whole_factor(cut: Cut) -> int | None:
    """The whole factor by which an axis grows, where the block's own borders give the same result and little is thrown away."""
    axis = cut.map
    if not isinstance(axis, Resize) or axis.align_corners or axis.antialias or axis.mode not in MODES or axis.is_moved:
        return None
    factor = axis.scale.denominator
    if axis.scale.numerator != 1 or factor == 1 or factor * (cut.high - cut.low) > 2 * (cut.cells + factor):
        return None
    return factor


def interpolated(x: Tensor, dim: int, cut: Cut) -> Tensor:
    """``x`` resized along one dimension."""
    axis = cut.map
    if axis.is_identity:
        return part(x, dim, cut.first - cut.low, cut.cells)
    assert isinstance(axis, Resize)
    if axis.n_in == 1:
        return x.expand([cut.cells if place == dim % x.dim() else size for place, size in enumerate(x.shape)])
    taps, weights = source_taps(axis, cut, np.float64 if x.dtype == torch.float64 else np.float32)
    indices = torch.from_numpy(np.clip(taps, cut.low, cut.high - 1) - cut.low).to(x.device)
    shape = [-1 if place == dim % x.dim() else 1 for place in range(x.dim())]
    if taps.shape[1] == 1:
        return x.index_select(dim, indices[:, 0])
    factors = torch.from_numpy(weights).to(x.device)
    y = x.index_select(dim, indices[:, 0]) * factors[:, 0].view(shape)
    for tap in range(1, taps.shape[1]):
        y = y.addcmul(x.index_select(dim, indices[:, tap]).to(y.dtype), factors[:, tap].view(shape))
    return y.to(x.dtype)


def source_taps(axis: Resize, cut: Cut, real: type[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Cells of the source and their weights, (cells, taps), for each cell asked for.

    As torch computes them, in the type of the scores: where the scale is no whole number, its rounding is part of the network.
    """
    cells = np.arange(cut.first, cut.end)
    if axis.mode in ("nearest", "nearest-exact"):
        return axis.clip(axis.taps(cells)), np.ones((len(cells), 1), real)
    scale, half = real(axis.scale.numerator / axis.scale.denominator), real(0.5)
    position = cells.astype(real)
    position = scale * position if axis.align_corners else scale * (position + half) - half
    if axis.mode == "linear":
        position = np.maximum(position, real(0))
        base = np.minimum(np.floor(position).astype(np.int64), axis.n_in - 1)
        share = position - base.astype(real)
        return np.stack([base, np.minimum(base + 1, axis.n_in - 1)], 1), np.stack([1 - share, share], 1)
    base = np.floor(position).astype(np.int64)
    share = position - base.astype(real)
    taps = np.clip(base[:, None] + np.arange(-1, 3), 0, axis.n_in - 1)
    distance = np.abs(share[:, None] - np.arange(-1, 3).astype(real))
    a = real(-0.75)  # torch's cubic convolution
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return taps, np.where(distance <= 1, near, far).astype(real)


def shuffle(call: Call) -> Result:
    value, factor = call.need("self"), call.get("upscale_factor", "downscale_factor")

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        if n_out >= n_in:
            return Resize(n_in, n_out, Fraction(1, factor), fixed=True)
        return Window(n_in, n_out, kernel=factor, stride=factor)

    result = on_grid(call, value, 2, make, "shuffle", call.shape)
    return replace(result, layout=(*result.layout[:-3], plain(call.shape[-3]), *result.layout[-2:]))


def shuffle_block(call: BlockCall) -> Rule:
    factor = call.get("upscale_factor")

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        return _corner(F.pixel_shuffle(blocks[0], factor), cuts[0], factor)

    return Rule(run)


def unshuffle_block(call: BlockCall) -> Rule:
    factor = call.get("downscale_factor")
    return Rule(lambda blocks, cuts: F.pixel_unshuffle(blocks[0], factor))


RESIZE = Operation(maps=resize, linear="all")
RESIZE.named(
    *("upsample_nearest1d", "upsample_nearest3d", "upsample_linear1d", "upsample_trilinear3d"),
    *("_upsample_nearest_exact1d", "_upsample_nearest_exact3d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
)
replace(RESIZE, block=block).named("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "_upsample_nearest_exact2d")
Operation(maps=shuffle, block=shuffle_block, linear="all").named("pixel_shuffle")
Operation(maps=shuffle, block=unshuffle_block, linear="all").named("pixel_unshuffle")
