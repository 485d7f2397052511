"""Rules for operations on single cells: arithmetic, activations, norms, and norms that look at all of space."""

from fcn.graph.axis import AxisMap, Whole, identity
from fcn.graph.layout import Dim, axes_of, axis_of, carried, dim_size, plain
from fcn.graph.nodes import Global
from fcn.graph.rules.call import RULES, Call, Result, Value, over_space, rule, sizes_of, with_parts


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


# what torch's pointwise tag does not cover: copies and casts, and activations with weights or without a tag
# fmt: off
POINTWISE = [
    "alias", "clone", "contiguous", "copy", "detach", "lift_fresh", "lift_fresh_copy", "to", "type_as", "_to_copy",
    "dropout", "native_dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "channel_shuffle",
    "abs", "celu", "hardswish", "log_sigmoid", "masked_fill", "prelu", "_prelu_kernel", "relu6", "rsub", "square", "where",
]
# fmt: on
RULES.update(dict.fromkeys(POINTWISE, pointwise))


@rule(
    "batch_norm",
    "_native_batch_norm_legit_no_training",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "cudnn_batch_norm",
    "_batch_norm_impl_index",
)
def batch_norm(call: Call) -> Result:
    training = call.op != "_native_batch_norm_legit_no_training" and (call.get("training", "train") or call.get("running_mean") is None)
    value = call.need("input", "self")
    if training:
        return over_space(call, value, carried(value.layout), "statistics of the batch, over all of the image")
    return with_parts(call, Result(value.layout, [(value, value.maps)], "norm"))


@rule("group_norm", "native_group_norm", "instance_norm")
def group_norm(call: Call) -> Result:
    value = call.need("input", "self")
    if call.get("use_input_stats") is False:
        return Result(value.layout, [(value, value.maps)], "norm")
    return over_space(call, value, {axis for dim in value.layout[1:] for axis in axes_of(dim)}, "mean and variance over all of the image")


@rule("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm")
def layer_norm(call: Call) -> Result:
    value = call.need("input", "self")
    count = len(call.get("normalized_shape"))
    return over_space(
        call, value, {axis for dim in value.layout[-count:] for axis in axes_of(dim)}, "mean and variance over all of the image"
    )


@rule("softmax", "_softmax", "log_softmax", "_log_softmax", "cumsum", "cumprod", "sort", "argsort", "logcumsumexp", "glu")
def along_one_dim(call: Call) -> Result:
    value = call.need("self")
    dim = value.layout[value.dim(call.get("dim", default=-1))]
    if call.op == "glu" and not axes_of(dim):
        position = value.dim(call.get("dim", default=-1))
        return Result(
            (*value.layout[:position], plain(call.shape[position]), *value.layout[position + 1 :]), [(value, value.maps)], "pointwise"
        )
    return over_space(call, value, set(axes_of(dim)), f"{call.op} over all of the image", "attention" if "softmax" in call.op else "norm")
