"""Rules for operations on the grid: convolutions, pools, shuffles, padding, unfolding; resizes are in ``resizes.py``."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import cast

from torch import fx

from fcn.graph.axis import AxisMap, Bins, Border, Resize, Transposed, Whole, Window, identity
from fcn.graph.layout import Atom, Dim, NoLayoutError, axes_of, axis_of, carried, plain, reshape
from fcn.graph.nodes import AnyKind, Global
from fcn.graph.rules.call import Call, Result, Value, listed, rule, why, with_parts


def on_grid(
    call: Call, value: Value, count: int, make: Callable[[int, int, int], AxisMap], kind: AnyKind, shape: tuple[int, ...]
) -> Result:
    """An operation on the last ``count`` dimensions: ``make(place, n_in, n_out)`` gives the map of each that is an axis of the image."""
    first = len(value.shape) - count
    layout, maps, reason = list(value.layout[:first]), list(value.maps), None
    present = {axis for axis, size in enumerate(value.sizes) if size > 1} | carried(value.layout)
    for place in range(count):
        dim, n_in, n_out = value.layout[first + place], value.shape[first + place], shape[first + place]
        axis = axis_of(dim)
        if axis is None and not dim and count == call.rank and place not in present:
            axis = place  # one cell that a reshape has left without a name
        made = make(place, n_in, n_out)
        if axis is not None:
            maps[axis] = made
            layout.append((Atom(n_out, axis),))
        elif made.is_identity or not axes_of(dim):
            layout.append(dim if made.is_identity else plain(n_out))
        else:
            for lost in axes_of(dim):
                maps[lost] = Whole(value.sizes[lost], 1)
            layout.append(plain(n_out))
            reason = Global("flatten", f"{call.op} runs along space that was flattened")
    found = tuple(axis for axis in maps if not axis.is_local and axis.n_in > 1)
    if found and reason is None:
        reason = why(call, value, found)
    return Result(tuple(layout), [(value, tuple(maps))], kind, reason)


@rule("conv1d", "conv2d", "conv3d", "convolution", "_convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def convolution(call: Call) -> Result:
    value = call.value("input")
    weight = call.shape_of("weight")
    count = len(weight) - 2
    transposed = "transpose" in call.op or bool(call.get("transposed", default=False))
    if value is None:
        raise NoLayoutError("the image is convolved over weights, not with them")
    stride, dilation = listed(call.get("stride"), count, 1), listed(call.get("dilation"), count, 1)
    padding, extra = call.get("padding"), listed(call.get("output_padding"), count, 0)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(weight[2:], dilation, strict=True)]
        pads = [(t // 2, t - t // 2) for t in total]
    else:
        pads = [(p, p) for p in listed(None if padding == "valid" else padding, count, 0)]

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        kernel, (before, after) = weight[2 + place], pads[place]
        if transposed:
            return Transposed(n_in, n_out, kernel, stride[place], dilation[place], (before, after - extra[place]))
        return Window(n_in, n_out, kernel, stride[place], dilation[place], (before, after))

    result = on_grid(call, value, count, make, "transposed" if transposed else "conv", call.shape)
    channels = value.layout[-count - 1]
    if axes_of(channels):
        result = _contracted(result, value, set(axes_of(channels)))
    layout = list(result.layout)
    layout[-count - 1] = plain(call.shape[-count - 1])
    macs = (prod(value.shape) if transposed else prod(call.shape)) * prod(weight[1:])
    result = replace(result, layout=tuple(layout), macs=macs)
    dynamic = call.value("weight")
    if dynamic is not None:
        reading = tuple(Whole(n_in, axis.n_out) for n_in, axis in zip(dynamic.sizes, result.edges[0][1], strict=True))
        cause = Global("weights", f"the weights of {call.op} depend on the image")
        result = replace(result, edges=[*result.edges, (dynamic, reading)], is_global=cause)
    return result


def _contracted(result: Result, value: Value, axes: set[int]) -> Result:
    """Fixed weights over whole axes: a window as large as the axis, of which there is one."""
    maps = list(result.edges[0][1])
    for axis in axes:
        maps[axis] = Window(value.sizes[axis], 1, kernel=value.sizes[axis])
    return replace(result, edges=[(value, tuple(maps))])


@rule(*(f"{kind}_pool{n}d{tail}" for kind in ("max", "avg") for n in (1, 2, 3) for tail in ("", "_with_indices")))
def pool(call: Call) -> Result:
    value = call.need("self", "input")
    count = int(call.op.partition("_pool")[2][0])
    kernel = listed(call.get("kernel_size"), count)
    stride = listed(call.get("stride"), count, kernel)
    padding, dilation = listed(call.get("padding"), count, 0), listed(call.get("dilation"), count, 1)
    shape = call.first_shape

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        k, s, p, d = kernel[place], stride[place], padding[place], dilation[place]
        overhang = (n_out - 1) * s - p + d * (k - 1) + 1 - n_in
        return Window(n_in, n_out, k, s, d, (p, max(p, overhang)))

    return with_parts(call, on_grid(call, value, count, make, "pool", shape))


@rule(*(f"adaptive_{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 2, 3)), "_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
def adaptive_pool(call: Call) -> Result:
    value = call.need("self")
    shape = call.first_shape

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        if n_in == n_out:
            return identity(n_in)
        return Whole(n_in, 1) if n_out == 1 else Bins(n_in, n_out)

    return with_parts(call, on_grid(call, value, len(call.get("output_size")), make, "pool", shape))


@rule(*(f"max_unpool{n}d" for n in (2, 3)))
def unpool(call: Call) -> Result:
    """Un-pooling puts a cell somewhere into the window that it came from: a transposed window."""
    value, indices = call.need("self"), call.get("indices")
    origin = indices.args[0] if isinstance(indices, fx.Node) and indices.args else None
    if not isinstance(origin, fx.Node) or "max_pool" not in str(origin.target):
        raise NoLayoutError("its indices do not come straight from a max pool")
    count = int(call.op[-2])
    kernel = listed(origin.args[1], count)
    stride = listed(origin.args[2] if len(origin.args) > 2 else None, count, kernel)
    padding = listed(origin.args[3] if len(origin.args) > 3 else None, count, 0)

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        return Transposed(n_in, n_out, kernel[place], stride[place], 1, (padding[place], padding[place]))

    result = on_grid(call, value, count, make, "unpool", call.shape)
    return replace(result, edges=[*result.edges, (call.values[indices], result.edges[0][1])])


@rule("pixel_shuffle", "pixel_unshuffle")
def shuffle(call: Call) -> Result:
    value, factor = call.need("self"), call.get("upscale_factor", "downscale_factor")

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        if n_out >= n_in:
            return Resize(n_in, n_out, Fraction(1, factor), fixed=True)
        return Window(n_in, n_out, kernel=factor, stride=factor)

    result = on_grid(call, value, 2, make, "shuffle", call.shape)
    return replace(result, layout=(*result.layout[:-3], plain(call.shape[-3]), *result.layout[-2:]))


@rule("pad", "constant_pad_nd", *(f"{border}_pad{n}d" for border in ("reflection", "replication") for n in (1, 2, 3)))
def pad(call: Call) -> Result:
    value, amounts = call.need("self", "input"), call.get("pad", "padding")
    borders = {"constant": "zero", "constant_pad_nd": "zero", "refle": "reflect", "repli": "replicate", "circular": "circular"}
    mode = call.get("mode", default="constant") if call.op == "pad" else call.op
    border = cast(Border, next(borders[word] for word in borders if str(mode).startswith(word)))

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        before, after = amounts[2 * (count - 1 - place) : 2 * (count - place)]
        return Window(n_in, n_out, padding=(before, after), border=border)

    count = len(amounts) // 2
    return on_grid(call, value, count, make, "pad", call.shape)


def along(value: Value, position: int, window: Window, kind: AnyKind, tail: Dim | None = None, keep: bool = True) -> Result:
    """A window along one dimension; ``keep=False`` drops the dimension, ``tail`` adds one at the end."""
    dim, axis, maps = value.layout[position], axis_of(value.layout[position]), list(value.maps)
    if axis is not None:
        maps[axis] = window
        dim = (Atom(window.n_out, axis),) if keep else ()
    elif axes_of(dim) and not window.is_identity:
        raise NoLayoutError("it takes a part of space that was flattened")
    elif not window.is_identity:
        dim = plain(window.n_out)
    layout = (*value.layout[:position], *((dim,) if keep else ()), *value.layout[position + 1 :], *(() if tail is None else (tail,)))
    return Result(layout, [(value, tuple(maps))], kind)


@rule("unfold")
def unfold(call: Call) -> Result:
    value = call.need("self")
    position, size, step = value.dim(call.get("dimension")), call.get("size"), call.get("step")
    return along(value, position, Window(value.shape[position], call.shape[position], size, step), "window", tail=plain(size))


@rule("im2col")
def im2col(call: Call) -> Result:
    value = call.need("self")
    settings = zip(*(call.get(name) for name in ("kernel_size", "dilation", "padding", "stride")), strict=True)
    windows = []
    for n, (kernel, dilation, padding, stride) in zip(value.shape[-2:], settings, strict=True):
        count = (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        windows.append(Window(n, count, kernel, stride, dilation, (padding, padding)))
    shape = (*value.shape[:-2], *(window.n_out for window in windows))
    result = on_grid(call, value, 2, lambda place, n_in, n_out: windows[place], "window", shape)
    space = tuple(atom for dim in result.layout[-2:] for atom in dim)
    return replace(result, layout=(*result.layout[:-3], plain(call.shape[-2]), space))


@rule("col2im")
def col2im(call: Call) -> Result:
    value, size = call.need("self"), call.get("output_size")
    settings = list(zip(size, *(call.get(name) for name in ("kernel_size", "dilation", "padding", "stride")), strict=True))
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in settings]
    layout, _ = reshape(value.layout, (*value.shape[:-1], *counts), value.sizes)
    maps = [Transposed(count, n, k, s, d, (p, p)) for count, (n, k, d, p, s) in zip(counts, settings, strict=True)]
    folded = replace(value, layout=layout, shape=(*value.shape[:-1], *counts))
    result = on_grid(call, folded, 2, lambda place, n_in, n_out: maps[place], "transposed", (*value.shape[:-1], *size))
    return Result(
        (*result.layout[:-3], plain(call.shape[-3]), *result.layout[-2:]), [(value, result.edges[0][1])], "transposed", result.is_global
    )
