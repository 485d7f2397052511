"""Norms, and what else compares the cells of a dimension: softmax, cumulative sums, sorting."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fcn.graph.layout import axes_of, carried, plain
from fcn.graph.nodes import Cause
from fcn.graph.ops.blocks import BlockCall, Blocks, Cuts, Rule, part, precise
from fcn.graph.ops.itself import bound
from fcn.graph.ops.maps import Call, Result, over_space, with_parts
from fcn.graph.ops.statistics import LogSum, Moments
from fcn.graph.ops.table import Operation


def batch_norm(call: Call) -> Result:
    training = call.op != "_native_batch_norm_legit_no_training" and (call.get("training", "train") or call.get("running_mean") is None)
    value = call.need("input", "self")
    if training:
        return over_space(call, value, carried(value.layout), "statistics of the batch, over all of the image", "batch")
    return with_parts(call, Result(value.layout, [(value, value.maps)], "norm"))


def group_norm(call: Call) -> Result:
    value = call.need("input", "self")
    if call.get("use_input_stats") is False:
        return Result(value.layout, [(value, value.maps)], "norm")
    return over_space(call, value, {axis for dim in value.layout[1:] for axis in axes_of(dim)}, "mean and variance over all of the image")


def layer_norm(call: Call) -> Result:
    value = call.need("input", "self")
    count = len(call.get("normalized_shape"))
    return over_space(
        call, value, {axis for dim in value.layout[-count:] for axis in axes_of(dim)}, "mean and variance over all of the image"
    )


def along_one_dim(call: Call) -> Result:
    value = call.need("self")
    dim = value.layout[value.dim(call.get("dim", default=-1))]
    if call.op == "glu" and not axes_of(dim):
        position = value.dim(call.get("dim", default=-1))
        return Result(
            (*value.layout[:position], plain(call.shape[position]), *value.layout[position + 1 :]), [(value, value.maps)], "pointwise"
        )
    axes = axes_of(dim)
    cause: Cause = "scan" if "softmax" not in call.op else "attention" if len(axes) > 1 else "norm"
    return over_space(call, value, set(axes), f"{call.op} over all of the image", cause)


def rescaling(call: BlockCall) -> Rule:
    """What is left of a norm when its scale and shift are known. They are not rounded to the map's type, only the result is."""

    def run(blocks: Blocks, cuts: Sequence[Cuts], out: Tensor | None = None) -> Tensor:
        x, factors = blocks
        scale, shift = factors[..., None, None]
        y = torch.addcmul(shift, x, scale, out=out)
        # On a GPU autocast leaves group norm, and it alone, in float32.
        return y.to(torch.group_norm(x.new_zeros(1, 1, 1, 1), 1).dtype if "group_norm" in call.node.op else x.dtype)

    return Rule(run, run)


def normalizer(call: BlockCall) -> tuple[Tensor, Tensor]:
    """Scale and shift per channel, float64, of a batch norm in evaluation mode."""
    mean, variance = call.tensor("running_mean"), call.tensor("running_var")
    weight, bias = call.tensor("weight"), call.tensor("bias")
    assert mean is not None
    assert variance is not None

    def make() -> tuple[Tensor, Tensor]:
        scale = torch.rsqrt(precise(variance) + call.get("eps"))
        if weight is not None:
            scale = scale * precise(weight)
        shift = -precise(mean) * scale
        return scale, shift if bias is None else shift + precise(bias)

    return call.folded.get(call.node.name, (mean, variance, weight, bias), make)


def share(call: BlockCall) -> Rule:
    """What is left of a softmax over rows when the logarithm of the sum of exponentials is known."""
    columns, logarithm = call.source.dims[1], "log" in call.node.op

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        x, total = blocks
        dtype = call.get("dtype", default=torch.softmax(x.new_zeros(1), 0).dtype)  # to which autocast may change it
        rest = x - part(total, columns, cuts[0][1].first, cuts[0][1].cells)
        return (rest if logarithm else rest.exp()).to(dtype)

    return Rule(run)


BATCH = Operation(maps=batch_norm, block=bound, scope="cell", linear="all")
GROUP = Operation(maps=group_norm, block=bound, gather=Moments, rest=rescaling, scope="cell")
ALONG = Operation(maps=along_one_dim, block=bound)

BATCH.named("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm", "_batch_norm_impl_index")
replace(BATCH, affine=normalizer).named("_native_batch_norm_legit_no_training")
replace(BATCH, affine=normalizer, gather=Moments, rest=rescaling).named("batch_norm")
GROUP.named("group_norm", "native_group_norm", "instance_norm")
Operation(maps=layer_norm, block=bound, scope="cell").named("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm")
replace(ALONG, scope="cell").named("glu")
replace(ALONG, scope="cell", gather=LogSum, rest=share).named("softmax", "_softmax", "log_softmax", "_log_softmax")
ALONG.named("cumsum", "cumprod", "logcumsumexp", "sort", "argsort")
