"""Sums over dimensions: reductions, linear layers, products of tensors, attention."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod

import torch
from torch import Tensor, fx

from fcn.graph.axis import AxisMap, Whole, Window, identity
from fcn.graph.layout import Dim, NoLayoutError, axes_of, carried, plain
from fcn.graph.nodes import AnyKind, Global
from fcn.graph.ops.blocks import BlockCall, Blocks, Cuts, Rule, part
from fcn.graph.ops.itself import bound, grid_dims
from fcn.graph.ops.maps import Call, Result, Value, listed, sizes_of, why, with_parts
from fcn.graph.ops.pointwise import pointwise
from fcn.graph.ops.statistics import Pool, Spread
from fcn.graph.ops.table import Operation

FACTORS = {"baddbmm": ("batch1", "batch2"), "addmm": ("mat1", "mat2")}  # names of the two that are multiplied, beside what is added


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
    return Result(tuple(layout), edges, kind, reason)


def linear(call: Call) -> Result:
    value, weight = call.value("input"), call.value("weight")
    if value is None:
        raise NoLayoutError("the image is in the weights of a linear layer")
    letters = "abcdefgh"[: len(value.shape) - 1]
    operands = [(value, value.shape, letters + "y"), (weight, call.shape_of("weight"), "zy"[-len(call.shape_of("weight")) :])]
    return contract(call, operands, letters + ("z" if len(call.shape_of("weight")) > 1 else ""), "linear")


def matmul(call: Call) -> Result:
    names = FACTORS.get(call.op, ("self", "other"))
    first = names[0]
    second = next(name for name in (names[1], "mat2", "vec", "other", "tensor2") if call.get(name) is not None)
    shapes = [call.shape_of(first), call.shape_of(second)]
    batch = "abcdefgh"[: max(map(len, shapes)) - 2] if max(map(len, shapes)) > 2 else ""
    left = (batch[len(batch) - len(shapes[0]) + 2 :] + "mk") if len(shapes[0]) > 1 else "k"
    right = (batch[len(batch) - len(shapes[1]) + 2 :] + "kn") if len(shapes[1]) > 1 else "k"
    output = batch + ("m" if len(shapes[0]) > 1 else "") + ("n" if len(shapes[1]) > 1 else "")
    operands = [(call.value(first), shapes[0], left), (call.value(second), shapes[1], right)]
    result = contract(call, operands, output, "product")
    if call.op in FACTORS and call.value("self", "input") is not None:
        raise NoLayoutError("it adds to what depends on the image")
    return result


def einsum(call: Call) -> Result:
    equation, tensors = call.get("equation").replace(" ", ""), call.get("tensors")
    if "." in equation or "->" not in equation:
        raise NoLayoutError(f"the equation '{equation}' has dots or no arrow")
    inputs, output = equation.split("->")
    operands = [(call.values.get(node), call.shapes[node], letters) for node, letters in zip(tensors, inputs.split(","), strict=True)]
    return contract(call, operands, output, "product")


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
    return Result(second.layout, edges, "attention", reason)


def einsum_block(call: BlockCall) -> Rule:
    """A sum of products, its constants cut along the letters of rows and columns."""
    equation = call.get("equation").replace(" ", "")
    terms, output = equation.split("->")
    letters = [output[dim] if dim is not None else "" for dim in call.node.dims]
    places = {source.name: index for index, source in enumerate(call.sources)}
    names = [call.names.get(node.name, node.name) for node in call.get("tensors")]
    operands = [places[name] if name in places else call.constants[name] for name in names]

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        tensors = []
        for operand, term in zip(operands, terms.split(","), strict=True):
            if isinstance(operand, int):
                tensors.append(blocks[operand])
                continue
            for letter, cut in zip(letters, cuts[0], strict=True):
                place = term.find(letter) if letter else -1
                if place >= 0 and operand.shape[place] > 1:
                    operand = part(operand, place, cut.first, cut.cells)
            tensors.append(operand)
        return torch.einsum(equation, tensors)

    return Rule(run, fresh=False)


def matmul_block(call: BlockCall) -> Rule:
    """A product of tensors, its constants cut along the dimensions of the batch."""
    last = len(call.node.shape) - 2
    return bound(call, grids={dim: axis for dim, axis in grid_dims(call).items() if dim < last})


def linear_macs(call: Call) -> int:
    return prod(call.shape) * call.shape_of("weight")[-1]


def matmul_macs(call: Call) -> int:
    return prod(call.shape) * call.shape_of(FACTORS.get(call.op, ("self",))[0])[-1]


def einsum_macs(call: Call) -> int:
    terms = call.get("equation").replace(" ", "").split("->")[0].split(",")
    return prod(
        {
            letter: n
            for term, node in zip(terms, call.get("tensors"), strict=True)
            for letter, n in zip(term, call.shapes[node], strict=True)
            if n > 1
        }.values()
    )


def attention_macs(call: Call) -> int:
    return (prod(call.shape_of("query")) + prod(call.shape)) * call.shape_of("key")[-2]


REDUCE = Operation(maps=reduce, block=bound, scope="cell")
MATMUL = Operation(maps=matmul, block=matmul_block, macs=matmul_macs, linear="each")

REDUCE.named(
    *("max", "min", "var_mean", "std_mean", "prod", "norm", "frobenius_norm"),
    *("argmax", "argmin", "any", "all"),
)
replace(REDUCE, gather=partial(Pool, how="mean"), linear="all").named("mean")
replace(REDUCE, gather=partial(Pool, how="sum"), linear="all").named("sum")
replace(REDUCE, gather=partial(Pool, how="max")).named("amax")
replace(REDUCE, gather=partial(Pool, how="min")).named("amin")
replace(REDUCE, gather=partial(Pool, how="logsumexp")).named("logsumexp")
replace(REDUCE, gather=partial(Spread, root=False)).named("var")
replace(REDUCE, gather=partial(Spread, root=True)).named("std")
replace(REDUCE, gather=partial(Pool, how="norm")).named("linalg_vector_norm")
Operation(maps=linear, block=bound, macs=linear_macs, scope="cell", linear="each").named("linear")
MATMUL.named("matmul", "bmm", "mm", "mv", *FACTORS)
Operation(maps=einsum, block=einsum_block, macs=einsum_macs, linear="each", alias=True).named("einsum")
Operation(maps=attention, macs=attention_macs).named("scaled_dot_product_attention")
