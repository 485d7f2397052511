"""Rules for what moves cells: resizes with coordinates of the whole image, pixel shuffles, padding, crops, reshapes."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fcn.core.errors import NotStreamable
from fcn.graph.axis import Resize, Window
from fcn.inference.stream.rules.call import Blocks, Call, Cut, Cuts, Rule, layout, part, rule
from fcn.inference.stream.rules.pointwise import bound

MODES = {"linear": "bilinear", "nearest": "nearest", "nearest-exact": "nearest-exact"}


@rule(
    *(f"upsample_{mode}2d" for mode in ("nearest", "bilinear", "bicubic")),
    "_upsample_nearest_exact2d",
)
def resize(call: Call) -> Rule:
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


@rule("pixel_shuffle")
def pixel_shuffle(call: Call) -> Rule:
    factor = call.get("upscale_factor")

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        return _corner(F.pixel_shuffle(blocks[0], factor), cuts[0], factor)

    return Rule(run)


@rule("pixel_unshuffle")
def pixel_unshuffle(call: Call) -> Rule:
    factor = call.get("downscale_factor")
    return Rule(lambda blocks, cuts: F.pixel_unshuffle(blocks[0], factor))


@rule("pad", "constant_pad_nd", "reflection_pad2d", "replication_pad2d")
def pad(call: Call) -> Rule:
    amounts = list(call.get("pad", "padding"))
    constant = call.node.op == "constant_pad_nd" or (call.node.op == "pad" and call.get("mode", default="constant") == "constant")
    value = call.get("value", default=0.0)
    dims = call.source.dims
    if not constant and len(amounts) > 4:
        raise NotStreamable("its channels are padded by something else than a constant")

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        if not constant:
            return bordered(blocks[0], dims, cuts[0])
        x, wanted = blocks[0], list(amounts)
        for dim, cut in zip(dims, cuts[0], strict=True):
            place = 2 * (x.dim() - 1 - dim) if dim is not None else len(wanted)
            if place < len(wanted):
                wanted[place : place + 2] = cut.beyond
        return F.pad(x, wanted, value=value) if any(wanted) else x

    return Rule(run, fresh=False)


def bordered(x: Tensor, dims: tuple[int | None, ...], cuts: Cuts) -> Tensor:
    """``x`` with cells of its own standing beyond the image's borders: repeated or reflected ones."""
    for dim, cut in zip(dims, cuts, strict=True):
        axis = cut.map
        assert isinstance(axis, Window)
        first, end = max(cut.first, axis.padding[0]), min(cut.end, axis.padding[0] + axis.n_in)  # those that stand in their own place
        if dim is None or end - first == cut.cells:
            continue
        cells = torch.from_numpy(standing(cut) - cut.low).to(x.device)
        shape = list(x.shape)
        shape[dim] = cut.cells
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout(x))
        for begin, stop, inside in ((cut.first, first, False), (first, end, True), (end, cut.end, False)):
            begin, stop = max(begin, cut.first), min(stop, cut.end)
            if begin >= stop:
                continue
            index = cells[begin - cut.first : stop - cut.first]
            moved = part(x, dim, int(index[0]), len(index)) if inside else x.index_select(dim, index)
            y.narrow(dim, begin - cut.first, stop - begin).copy_(moved)
        x = y
    return x


def standing(cut: Cut) -> NDArray[np.int64]:
    """The cell of the source that stands in each place asked for."""
    return cut.map.clip(cut.map.taps(np.arange(cut.first, cut.end)))[:, 0]


@rule("slice", "narrow")
def crop(call: Call) -> Rule:
    dim = call.get("dim", default=0) % len(call.source.shape)
    axis = call.axis_at(dim)
    if axis is None:
        return bound(call)

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        window = cuts[0][axis].map
        assert isinstance(window, Window)
        return blocks[0] if window.stride == 1 else blocks[0][(slice(None),) * dim + (slice(None, None, window.stride),)]

    return Rule(run, fresh=False)


VIEWS = ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view", "reshape_as", "view_as", "_reshape_alias")


@rule(*VIEWS)
def reshape(call: Call) -> Rule:
    """The axes keep dimensions of their own; one may have been joined with channels (depth to space) or split (space to depth)."""
    node, source = call.node, call.source
    for axis in (0, 1):
        if (node.dims[axis] is None and node.sizes[axis] > 1) or (source.dims[axis] is None and source.sizes[axis] > 1):
            raise NotStreamable("it flattens space")

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        shape = list(node.shape)
        starts = []
        for dim, cut in zip(node.dims, cuts[0], strict=True):
            up, down = cut.map.ratio.denominator, cut.map.ratio.numerator
            starts.append(cut.first - cut.low * up // down)
            if dim is not None:
                shape[dim] = (cut.high - cut.low) * up // down
        y = blocks[0].reshape(shape)
        for dim, start, cut in zip(node.dims, starts, cuts[0], strict=True):
            y = part(y, dim, start, cut.cells)
        return y

    return Rule(run, fresh=False)


@rule("expand", "expand_as")
def expand(call: Call) -> Rule:
    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        shape = list(call.node.shape)
        for dim, cut in zip(call.node.dims, cuts[0], strict=True):
            if dim is not None:
                shape[dim] = cut.cells
        return blocks[0].expand(shape)

    return Rule(run, fresh=False)
