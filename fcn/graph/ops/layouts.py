"""What moves data without computing: crops, joins, tuples, reshapes, permutations."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import cast

from torch import Tensor

from fcn.core.errors import NotStreamable
from fcn.graph.axis import Resize, Whole, Window
from fcn.graph.layout import Atom, NoLayoutError, axes_of, axis_of, carried, dim_size, plain, reshape
from fcn.graph.nodes import Global, Node
from fcn.graph.ops.blocks import BlockCall, Blocks, Cuts, Rule, part
from fcn.graph.ops.itself import bound, grid_dims
from fcn.graph.ops.maps import Call, Result, Value, along, listed, over_space
from fcn.graph.ops.pointwise import pointwise
from fcn.graph.ops.table import Operation


def crop(call: Call) -> Result:
    value = call.need("self")
    position = value.dim(call.get("dim", default=0))
    n_in, n_out, step = value.shape[position], call.shape[position], call.get("step", default=1)
    start = call.get("start", default=0)
    start = min(max(start + n_in if start < 0 else start, 0), n_in)
    after = 0 if not n_out else start + (n_out - 1) * step + 1 - n_in
    return along(value, position, Window(n_in, n_out, 1, step, 1, (-start, after)), "crop")


def crop_block(call: BlockCall) -> Rule:
    dim = call.get("dim", default=0) % len(call.source.shape)
    axis = call.axis_at(dim)
    if axis is None:
        return bound(call)

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        window = cuts[0][axis].map
        assert isinstance(window, Window)
        return blocks[0] if window.stride == 1 else blocks[0][(slice(None),) * dim + (slice(None, None, window.stride),)]

    return Rule(run, fresh=False)


def select(call: Call) -> Result:
    value = call.need("self")
    position, index = value.dim(call.get("dim")), call.get("index")
    n_in = value.shape[position]
    return along(value, position, Window(n_in, 1, padding=(-(index % n_in), 0)), "crop", keep=False)


def select_block(call: BlockCall) -> Rule:
    dim = call.get("dim") % len(call.source.shape)
    return bound(call) if call.axis_at(dim) is None else Rule(lambda blocks, cuts: blocks[0].squeeze(dim), fresh=False)


def chosen(call: Call) -> Result:
    """Cells picked by their numbers, along one dimension that is no axis of the image, as channels in another order."""
    value = call.need("self")
    given = call.get("indices") if call.op == "index" else [*[None] * value.dim(call.get("dim")), call.get("index")]
    places = [place for place, index in enumerate(given) if index is not None]
    if len(places) != 1 or axes_of(value.layout[places[0]]):
        raise NoLayoutError("it picks rows or columns by their numbers")
    if given[places[0]] in call.values:
        raise NoLayoutError("the numbers by which it picks depend on the image")
    if len(call.shape) != len(value.layout):
        raise NoLayoutError("it picks by a table of numbers of several dimensions")
    layout = (*value.layout[: places[0]], plain(call.shape[places[0]]), *value.layout[places[0] + 1 :])
    return Result(layout, [(value, value.maps)], "layout")


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


def part_block(call: BlockCall, index: int, split: Node) -> Rule:
    """The block of one part, of a place in the tuple: a crop of what ``split`` cuts up."""
    dim = call.get("dim", default=0) % len(call.source.shape)
    one = split.op == "unbind"
    start = sum(1 if one else tensor.shape[dim] for tensor in split.fx.meta["val"][:index])
    size = 1 if one else call.node.shape[dim]

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        x = blocks[0] if call.axis_at(dim) is not None else part(blocks[0], dim, start, size)
        return x.squeeze(dim) if one else x

    return Rule(run, fresh=False)


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


def cat_block(call: BlockCall) -> Rule:
    if call.node.kind == "pad":
        raise NotStreamable("it adds rows or columns that do not depend on the image")
    return bound(call)


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


def stack_block(call: BlockCall) -> Rule:
    new = call.get("dim", default=0) % len(call.node.shape)  # what it is made of has a dimension less
    return bound(call, grids={dim + (dim < new): axis for dim, axis in grid_dims(call).items()})


def item(call: Call) -> Result:
    """One tensor of a tuple (``getitem``)."""
    whole = call.values[call.node.args[0]]  # type: ignore[index]
    layout, maps = whole.parts[cast(int, call.node.args[1])]
    return Result(layout, [(whole, maps)], "layout" if all(axis.is_identity for axis in maps) else "crop")


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


def view_block(call: BlockCall) -> Rule:
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


def expand(call: Call) -> Result:
    value = call.need("self")
    return with_copies(call, value, pointwise(replace(call, arguments={"self": call.get("self")}, values={call.get("self"): value})))


def with_copies(call: Call, value: Value, result: Result) -> Result:
    """Where one cell is copied along a dimension in which an axis of the image usually lies, that dimension is the axis."""
    layout, maps = list(result.layout), list(result.edges[0][1])
    if len(call.shape) != call.rank + 2:
        return result
    for axis in sorted({*range(call.rank)} - carried(result.layout)):
        dim = axis + 2
        if value.sizes[axis] == 1 and call.shape[dim] > 1 and dim_size(value.layout[dim - len(call.shape)]) == 1:
            layout[dim], maps[axis] = (Atom(call.shape[dim], axis),), Whole(1, call.shape[dim])
    return replace(result, layout=tuple(layout), edges=[(value, tuple(maps))])


def expand_block(call: BlockCall) -> Rule:
    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        shape = list(call.node.shape)
        for dim, cut in zip(call.node.dims, cuts[0], strict=True):
            if dim is not None:
                shape[dim] = cut.cells
        return blocks[0].expand(shape)

    return Rule(run, fresh=False)


def repeat(call: Call) -> Result:
    value, times = call.need("self"), call.get("repeats", "dims")
    padded = replace(value, layout=((),) * (len(times) - len(value.shape)) + value.layout)
    if any(count > 1 and axes_of(dim) for count, dim in zip(times, padded.layout, strict=True)):
        raise NoLayoutError("it tiles an axis of the image")
    layout = tuple(plain(size) if count > 1 else dim for size, count, dim in zip(call.shape, times, padded.layout, strict=True))
    return with_copies(call, padded, Result(layout, [(value, value.maps)], "layout"))


def repeat_block(call: BlockCall) -> Rule:
    times = list(call.get("repeats", "dims"))

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        wanted = list(times)
        for dim, cut in zip(call.node.dims, cuts[0], strict=True):
            if dim is not None and wanted[dim] > 1:
                wanted[dim] = cut.cells
        return blocks[0].repeat(wanted)

    return Rule(run)


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


def repeat_interleave_block(call: BlockCall) -> Rule:
    if call.node.kind == "shuffle":
        raise NotStreamable("it repeats rows or columns")
    return bound(call)


def roll(call: Call) -> Result:
    value = call.need("self")
    axes = {axis for dim in call.get("dims") or range(len(value.shape)) for axis in axes_of(value.layout[value.dim(dim)])}
    return over_space(call, value, axes, "shifts the image around its borders", "shift")


def flip(call: Call) -> Result:
    value = call.need("self")
    dims = {"fliplr": [1], "flipud": [0]}.get(call.op) or call.get("dims")
    axes = {axis for dim in dims for axis in axes_of(value.layout[value.dim(dim)])}
    return over_space(call, value, axes, "flips the image: its first cell reads the last", "shift")


MOVED = Operation(maps=permute, block=bound, scope="cell", linear="all")
CROP = Operation(maps=crop, block=crop_block, linear="all", moves=True, alias=True)

replace(MOVED, alias=True).named(
    *("permute", "transpose", "t", "numpy_T", "mT", "swapaxes", "swapdims", "movedim", "moveaxis"),
)
replace(MOVED, maps=view, block=view_block, moves=True, alias=True).named(
    *("view", "squeeze", "unsqueeze", "_unsafe_view", "_reshape_alias"),
    *("reshape", "flatten", "unflatten", "reshape_as", "view_as"),
)
replace(MOVED, maps=view, block=view_block, moves=True).named("squeeze_copy")
replace(MOVED, maps=expand, block=expand_block, moves=True, alias=True).named("expand", "expand_as")
replace(MOVED, maps=repeat, block=repeat_block, scope="grid").named("repeat", "tile")
replace(MOVED, maps=repeat_interleave, block=repeat_interleave_block, scope="grid").named("repeat_interleave")
CROP.named("slice", "narrow")
replace(MOVED, maps=chosen).named("index", "index_select")
replace(CROP, maps=select, block=select_block, moves=False).named("select")
replace(MOVED, maps=split, block=None, cuts=True, alias=True).named(
    *("chunk", "split", "split_with_sizes", "tensor_split", "unbind", "unsafe_split", "unsafe_chunk")
)
replace(MOVED, maps=item, block=None, alias=True).named("getitem")
replace(MOVED, maps=cat, block=cat_block, into=True).named("cat")
replace(MOVED, maps=cat, block=cat_block).named("concat", "concatenate")
replace(MOVED, maps=stack, block=stack_block).named("stack")
Operation(maps=roll, block=bound, linear="all").named("roll")
Operation(maps=flip, block=bound, linear="all").named("flip", "fliplr", "flipud")
