"""Rules for sums over dimensions: reductions, linear layers, products of tensors, attention."""

from dataclasses import replace
from math import prod

from torch import fx

from fcn.graph.axis import AxisMap, Whole, Window, identity
from fcn.graph.layout import Dim, NoLayoutError, axes_of, carried, plain
from fcn.graph.nodes import AnyKind, Global
from fcn.graph.rules.call import RULES, Call, Result, Value, listed, rule, sizes_of, why, with_parts
from fcn.graph.rules.pointwise import pointwise


@rule(
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "std",
    "var",
    "var_mean",
    "std_mean",
    "argmax",
    "argmin",
    "prod",
    "any",
    "all",
    "logsumexp",
    "norm",
)
def reduce(call: Call) -> Result:
    value = call.need("self")
    if isinstance(call.get("other"), fx.Node):  # max and min of two tensors
        return pointwise(call)
    dims = call.get("dim")
    gone = {value.dim(dim) for dim in (range(len(value.shape)) if dims is None or dims == [] else listed(dims, 1))}
    axes = {axis for dim in gone for axis in axes_of(value.layout[dim])}
    maps = tuple(Whole(size, 1) if axis in axes and size > 1 else identity(size) for axis, size in enumerate(value.sizes))
    keep = len(call.first_shape) == len(value.shape)
    layout = tuple(() if position in gone else dim for position, dim in enumerate(value.layout) if keep or position not in gone)
    lost = tuple(axis for axis in maps if not axis.is_local)
    return with_parts(call, Result(layout, [(value, maps)], "reduce", why(call, value, lost) if lost else None))


RULES["linalg_vector_norm"] = RULES["frobenius_norm"] = reduce


def contract(call: Call, operands: list[tuple[Value | None, tuple[int, ...], str]], output: str, kind: AnyKind) -> Result:
    """A sum of products, in Einstein's notation: each operand (None: a constant) with its shape and a letter for each dimension."""
    values = [(value, letters) for value, _, letters in operands if value is not None]
    sizes = {letter: size for _, shape, letters in operands for letter, size in zip(letters, shape, strict=True) if size != 1}
    layout: list[Dim] = []
    for letter in output:
        options = [value.layout[letters.index(letter)] for value, letters in values if letter in letters]
        taken = carried(tuple(layout))
        spatial = [dim for dim in options if axes_of(dim) and not taken & set(axes_of(dim))]
        layout.append(spatial[0] if spatial else plain(sizes.get(letter, 1)))
    grid, edges, reason = sizes_of(tuple(layout), call.rank), [], None
    for index, (value, letters) in enumerate(values):
        maps: list[AxisMap] = [
            identity(size) if size == n_out else Whole(size, n_out) for size, n_out in zip(value.sizes, grid, strict=True)
        ]
        for letter, dim in zip(letters, value.layout, strict=True):
            for axis in axes_of(dim):
                if value.sizes[axis] == 1 or (letter in output and layout[output.index(letter)] == dim):
                    continue
                alone = all(letter not in names for place, (_, names) in enumerate(values) if place != index)
                if letter not in output and alone and grid[axis] == 1:
                    maps[axis] = Window(value.sizes[axis], 1, kernel=value.sizes[axis])
                else:
                    maps[axis] = Whole(value.sizes[axis], grid[axis])
                    reason = Global("attention", f"{call.op} compares cells with all cells of the image")
        edges.append((value, tuple(maps)))
    contracted = {letter for _, _, letters in operands for letter in letters} - set(output)
    macs = prod(sizes.get(letter, 1) for letter in contracted | set(output))
    return Result(tuple(layout), edges, kind, reason, macs=macs)


@rule("linear")
def linear(call: Call) -> Result:
    value, weight = call.value("input"), call.value("weight")
    if value is None:
        raise NoLayoutError("the image is in the weights of a linear layer")
    letters = "abcdefgh"[: len(value.shape) - 1]
    operands = [(value, value.shape, letters + "y"), (weight, call.shape_of("weight"), "zy"[-len(call.shape_of("weight")) :])]
    return contract(call, operands, letters + ("z" if len(call.shape_of("weight")) > 1 else ""), "linear")


@rule("matmul", "bmm", "mm", "mv", "baddbmm", "addmm")
def matmul(call: Call) -> Result:
    names = ("batch1", "batch2") if call.op == "baddbmm" else ("mat1", "mat2") if call.op == "addmm" else ("self", "other")
    first = names[0]
    second = next(name for name in (names[1], "mat2", "vec", "other", "tensor2") if call.get(name) is not None)
    shapes = [call.shape_of(first), call.shape_of(second)]
    batch = "abcdefgh"[: max(map(len, shapes)) - 2] if max(map(len, shapes)) > 2 else ""
    left = (batch[len(batch) - len(shapes[0]) + 2 :] + "mk") if len(shapes[0]) > 1 else "k"
    right = (batch[len(batch) - len(shapes[1]) + 2 :] + "kn") if len(shapes[1]) > 1 else "k"
    output = batch + ("m" if len(shapes[0]) > 1 else "") + ("n" if len(shapes[1]) > 1 else "")
    operands = [(call.value(first), shapes[0], left), (call.value(second), shapes[1], right)]
    result = contract(call, operands, output, "product")
    if call.op in ("baddbmm", "addmm") and call.value("self", "input") is not None:
        raise NoLayoutError("it adds to what depends on the image")
    return result


@rule("einsum")
def einsum(call: Call) -> Result:
    equation, tensors = call.get("equation").replace(" ", ""), call.get("tensors")
    if "." in equation or "->" not in equation:
        raise NoLayoutError(f"the equation '{equation}' has dots or no arrow")
    inputs, output = equation.split("->")
    operands = [(call.values.get(node), call.shapes[node], letters) for node, letters in zip(tensors, inputs.split(","), strict=True)]
    return contract(call, operands, output, "product")


@rule("scaled_dot_product_attention")
def attention(call: Call) -> Result:
    query, key, value = (call.value(name) for name in ("query", "key", "value"))
    if query is None or value is None:
        raise NoLayoutError("only self-attention between parts of the image is understood")
    batch = "abcdef"[: len(query.shape) - 2]
    names = (batch + "qd", batch + "kd", batch + "ke")
    shapes = [call.shape_of(name) for name in ("query", "key", "value")]
    first = contract(call, [(query, shapes[0], names[0]), (key, shapes[1], names[1])], batch + "qk", "attention")
    scores = replace(query, layout=first.layout, shape=(*call.shape[:-1], shapes[1][-2]))
    second = contract(call, [(scores, scores.shape, batch + "qk"), (value, shapes[2], names[2])], batch + "qe", "attention")
    reads_key = [(key, first.edges[1][1])] if key is not None else []
    whole = first.is_global or second.is_global
    reason = Global("attention", "attention compares cells with all cells of the image") if whole else None
    maps = second.edges[1][1]
    edges = [(query, query.maps), *((each, maps) for each, _ in reads_key), (value, maps)]
    return Result(second.layout, edges, "attention", reason, macs=first.macs + second.macs)
