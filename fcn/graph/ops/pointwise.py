"""What works number by number: arithmetic, activations, copies and casts.

What torch tags as pointwise needs no entry, unless more than ``NUMBER`` is known of it.
"""

from dataclasses import replace

import torch
from torch import Tensor

from fcn.graph.axis import AxisMap, Whole, identity
from fcn.graph.layout import Dim, axes_of, axis_of, carried, dim_size, plain
from fcn.graph.nodes import Global
from fcn.graph.ops.itself import bound
from fcn.graph.ops.maps import Call, Result, Value, sizes_of
from fcn.graph.ops.table import Operation


def pointwise(call: Call) -> Result:
    """Cell by cell, with broadcasting: a value of one cell is read by all."""
    values = call.inputs()
    leader = next((value for value in values if _in_place(value) and _fits(value, call.shape)), None)
    layout: list[Dim] = []
    for position, size in enumerate(call.shape):
        back = len(call.shape) - position
        there = [value.layout[len(value.shape) - back] for value in values if len(value.shape) >= back]
        if leader is not None and len(leader.shape) >= back:
            there.insert(0, leader.layout[len(leader.shape) - back])
        taken = carried(tuple(layout))
        spatial = [dim for dim in there if dim_size(dim) == size and axes_of(dim) and not taken & set(axes_of(dim))]
        layout.append(spatial[0] if spatial else plain(size))
    sizes, edges, reason = sizes_of(tuple(layout), call.rank), [], None
    for value in values:
        maps: list[AxisMap] = [
            identity(n_in) if n_in == n_out else Whole(n_in, n_out) for n_in, n_out in zip(value.sizes, sizes, strict=True)
        ]
        for position, dim in enumerate(value.layout):
            goal = layout[len(layout) - len(value.shape) + position]
            for axis in axes_of(dim):
                if value.sizes[axis] > 1 and axis not in axes_of(goal):
                    maps[axis] = Whole(value.sizes[axis], sizes[axis])
                    reason = Global("flatten", f"{call.op} meets the image in two orders: space was reshaped before")
        edges.append((value, tuple(maps)))
    return Result(tuple(layout), edges, "pointwise" if len(values) == 1 else "merge", reason)


def _in_place(value: Value) -> bool:
    """Whether every axis of the image is a dimension of its own."""
    return len([dim for dim in value.layout if axis_of(dim) is not None]) == len([size for size in value.sizes if size > 1])


def _fits(value: Value, shape: tuple[int, ...]) -> bool:
    return value.shape == shape[len(shape) - len(value.shape) :]


def relu_into(x: Tensor, out: Tensor) -> Tensor:
    """Relu's own form with ``out`` computes elsewhere and copies."""
    return torch.ops.aten.clamp_min.out(x, 0, out=out)


NUMBER = Operation(maps=pointwise, block=bound, scope="number")
COPY = replace(NUMBER, linear="all", moves=True)
WRITER = replace(NUMBER, into=True)

NUMBER.named(
    *("copy", "native_dropout", "masked_fill", "where", "_prelu_kernel"),
    *("abs", "celu", "log_sigmoid", "relu6", "square"),
)
replace(NUMBER, block=lambda call: bound(call, grids={})).named("prelu")  # its weights are one for each channel, in no other place
WRITER.named("clamp", "clamp_min", "elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "sigmoid", "silu", "tanh")
replace(WRITER, into=relu_into).named("relu")
replace(WRITER, linear="all").named("add", "sub")
replace(WRITER, linear="each").named("mul")
replace(WRITER, linear="first").named("div")
replace(NUMBER, linear="all").named("clone", "neg", "rsub")
replace(NUMBER, linear="all", scope="cell").named("channel_shuffle")
COPY.named("_to_copy", "lift_fresh_copy")
replace(COPY, alias=True).named(
    *("alias", "contiguous", "detach", "lift_fresh", "to", "type_as"),
    *("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"),
)
