"""Rules for what moves data without computing: crops, joins, tuples, reshapes, permutations."""

from dataclasses import replace
from fractions import Fraction
from typing import cast

from fcn.graph.axis import Resize, Whole, Window
from fcn.graph.layout import Atom, NoLayoutError, axes_of, axis_of, plain, reshape
from fcn.graph.nodes import Global
from fcn.graph.rules.call import Call, Result, Value, listed, over_space, rule
from fcn.graph.rules.pointwise import pointwise
from fcn.graph.rules.windows import along


@rule("slice", "narrow")
def crop(call: Call) -> Result:
    value = call.need("self")
    position = value.dim(call.get("dim", default=0))
    n_in, n_out, step = value.shape[position], call.shape[position], call.get("step", default=1)
    start = call.get("start", default=0)
    start = min(max(start + n_in if start < 0 else start, 0), n_in)
    after = 0 if not n_out else start + (n_out - 1) * step + 1 - n_in
    return along(value, position, Window(n_in, n_out, 1, step, 1, (-start, after)), "crop")


@rule("select")
def select(call: Call) -> Result:
    value = call.need("self")
    position, index = value.dim(call.get("dim")), call.get("index")
    n_in = value.shape[position]
    return along(value, position, Window(n_in, 1, padding=(-(index % n_in), 0)), "crop", keep=False)


@rule("chunk", "split", "split_with_sizes", "tensor_split", "unbind", "unsafe_split", "unsafe_chunk")
def split(call: Call) -> Result:
    value = call.need("self")
    position, start, parts = value.dim(call.get("dim", default=0)), 0, []
    for shape in call.part_shapes:
        size = 1 if call.op == "unbind" else shape[position]
        window = Window(value.shape[position], size, padding=(-start, start + size - value.shape[position]))
        result = along(value, position, window, "crop", keep=call.op != "unbind")
        parts.append((result.layout, result.edges[0][1]))
        start += size
    return Result(value.layout, [(value, value.maps)], "layout", parts=tuple(parts))


@rule("cat", "concat", "concatenate")
def cat(call: Call) -> Result:
    items, values = call.get("tensors"), call.inputs()
    position = values[0].dim(call.get("dim", default=0))
    n_out = call.shape[position]
    spatial = [dim for dim in (value.layout[position] for value in values) if axes_of(dim)]
    if not spatial:
        layouts = [(*value.layout[:position], plain(n_out), *value.layout[position + 1 :]) for value in values]
        aligned = [replace(value, layout=layout, shape=call.shape) for value, layout in zip(values, layouts, strict=True)]
        result = pointwise(_merging(call, aligned))
        return replace(result, edges=list(zip(values, (maps for _, maps in result.edges), strict=True)), kind="concat")
    axis, edges, start, reason = axis_of(spatial[0]), [], 0, None
    if len(values) > 1 or axis is None:
        alone = "joins a token to space that was flattened, as transformers do"
        reason = Global("concat", "joins tensors along an axis of the image" if axis is not None else alone)
    for item in items:
        size = call.shapes[item][position]
        if item in call.values:
            value, maps = call.values[item], list(call.values[item].maps)
            if axis is not None and axes_of(value.layout[position]) not in ([], [axis]):
                raise NoLayoutError("it joins rows of the image with columns")
            for lost in axes_of(value.layout[position]) if axis is None else ():
                maps[lost] = Whole(value.sizes[lost], 1)
            if axis is not None:
                maps[axis] = Window(size, n_out, padding=(start, n_out - size - start))
            edges.append((value, tuple(maps)))
        start += size
    dim = plain(n_out) if axis is None else (Atom(n_out, axis),)
    return Result(
        (*values[0].layout[:position], dim, *values[0].layout[position + 1 :]), edges, "pad" if reason is None else "concat", reason
    )


def _merging(call: Call, values: list[Value]) -> Call:
    nodes = [node for node in call.get("tensors") if node in call.values]
    return replace(call, arguments={"tensors": nodes}, values=dict(zip(nodes, values, strict=True)))


@rule("stack")
def stack(call: Call) -> Result:
    values = call.inputs()
    position = call.get("dim", default=0) % len(call.shape)
    one = replace(call, shape=(*call.shape[:position], *call.shape[position + 1 :]))
    result = pointwise(one)
    return replace(
        result,
        layout=(*result.layout[:position], plain(call.shape[position]), *result.layout[position:]),
        kind="concat" if values else "merge",
    )


def part(call: Call) -> Result:
    """One tensor of a tuple (``getitem``)."""
    whole = call.values[call.node.args[0]]  # type: ignore[index]
    layout, maps = whole.parts[cast(int, call.node.args[1])]
    return Result(layout, [(whole, maps)], "layout" if all(axis.is_identity for axis in maps) else "crop")


@rule("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "numpy_T", "mT")
def permute(call: Call) -> Result:
    value = call.need("self")
    order = list(range(len(value.shape)))
    if call.op == "permute":
        order = [value.dim(dim) for dim in call.get("dims")]
    elif call.op in ("movedim", "moveaxis"):
        source, target = ([value.dim(dim) for dim in listed(call.get(name), 1)] for name in ("source", "destination"))
        order = [dim for dim in order if dim not in source]
        for goal, dim in sorted(zip(target, source, strict=True)):
            order.insert(goal, dim)
    elif call.op in ("t", "numpy_T"):
        order.reverse()
    else:
        first, second = (-2, -1) if call.op == "mT" else (call.get("dim0", "axis0"), call.get("dim1", "axis1"))
        first, second = value.dim(first), value.dim(second)
        order[first], order[second] = second, first
    return Result(tuple(value.layout[dim] for dim in order), [(value, value.maps)], "layout")


@rule(
    "view",
    "reshape",
    "flatten",
    "unflatten",
    "squeeze",
    "unsqueeze",
    "_unsafe_view",
    "reshape_as",
    "view_as",
    "_reshape_alias",
    "squeeze_copy",
)
def view(call: Call) -> Result:
    value = call.need("self")
    if value.shape == call.shape:
        return Result(value.layout, [(value, value.maps)], "layout")
    if call.op in ("squeeze", "unsqueeze"):  # dimensions of one cell keep their names
        dims = list(value.layout)
        if call.op == "unsqueeze":
            dims.insert(call.get("dim") % len(call.shape), ())
        else:
            which = call.get("dim", default=list(range(len(dims))))
            gone = {value.dim(dim) for dim in listed(which, 1) if value.shape[dim] == 1}
            dims = [dim for position, dim in enumerate(dims) if position not in gone]
        return Result(tuple(dims), [(value, value.maps)], "layout")
    layout, maps = reshape(value.layout, call.shape, value.sizes)
    return Result(layout, [(value, maps)], "layout" if all(axis.is_identity for axis in maps) else "shuffle")


@rule("expand", "expand_as")
def expand(call: Call) -> Result:
    value = call.need("self")
    return pointwise(replace(call, arguments={"self": call.get("self")}, values={call.get("self"): value}))


@rule("repeat", "tile")
def repeat(call: Call) -> Result:
    value, times = call.need("self"), call.get("repeats", "dims")
    padded = replace(value, layout=((),) * (len(times) - len(value.shape)) + value.layout)
    if any(count > 1 and axes_of(dim) for count, dim in zip(times, padded.layout, strict=True)):
        raise NoLayoutError("it tiles an axis of the image")
    layout = tuple(plain(size) if count > 1 else dim for size, count, dim in zip(call.shape, times, padded.layout, strict=True))
    return Result(layout, [(value, value.maps)], "layout")


@rule("repeat_interleave")
def repeat_interleave(call: Call) -> Result:
    value, times = call.need("self"), call.get("repeats")
    if not isinstance(times, int) or call.get("dim") is None:
        raise NoLayoutError("only one whole number of repeats along one dimension is understood")
    position = value.dim(call.get("dim"))
    axis, maps, layout = axis_of(value.layout[position]), list(value.maps), list(value.layout)
    if axis is not None:
        maps[axis] = Resize(value.shape[position], call.shape[position], Fraction(1, times), fixed=True)
    elif axes_of(layout[position]):
        raise NoLayoutError("it repeats space that was flattened")
    layout[position] = plain(call.shape[position]) if axis is None else (Atom(call.shape[position], axis),)
    return Result(tuple(layout), [(value, tuple(maps))], "shuffle" if axis is not None else "layout")


@rule("roll")
def roll(call: Call) -> Result:
    value = call.need("self")
    axes = {axis for dim in call.get("dims", default=range(len(value.shape))) for axis in axes_of(value.layout[value.dim(dim)])}
    return over_space(call, value, axes, "shifts the image around its borders", "shift")
