"""What becomes of each operation of a classifier's head. ``RULES`` maps the names of modules' classes, functions and methods to rules.

A rule ``rule(head, node) -> HeadTensor`` writes the operation's counterpart into the graph, if there is any, and tells what its result is.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from fcn.core.errors import NotConvertible
from fcn.graph.axis import Bins
from fcn.graph.shapes import Shape
from fcn.rewrite.convolutionalize.head import Head, HeadTensor, Rule
from fcn.rewrite.convolutionalize.linear import as_kernel, linear_to_conv
from fcn.rewrite.convolutionalize.shapes import Facts, pair
from fcn.rewrite.editable import arguments
from fcn.rewrite.names import known, names_of, where

RULES: dict[str, Rule] = {}
POOLS = ("avg_pool2d", "AvgPool2d", "max_pool2d", "MaxPool2d")
OUT_OF_PLACE = {operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul, operator.itruediv: operator.truediv}


def rule(*names: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def rule_of(names: list[str]) -> Rule | None:
    """The rule of what has these names: one of its own, or that of everything that works number by number."""
    own = next((RULES[name] for name in names if name in RULES), None)
    return own or (pointwise if any(known(name).scope == "number" for name in names) else None)


# what moves dimensions about: nothing is left of it


@rule("flatten", "view", "reshape", "squeeze", "unsqueeze", "Flatten", "Unflatten")
def reshape(head: Head, node: fx.Node) -> HeadTensor:
    head.drop(node)
    return head.input(node).reshaped(head.facts[node].shape)


@rule("getitem")
def index(head: Head, node: fx.Node) -> HeadTensor:
    x, shape = head.input(node), head.facts[node].shape
    if prod(shape) != prod(x.shape):
        raise NotConvertible("it takes one part of the features")
    return x.reshaped(shape)


@rule("permute", "transpose", "swapaxes")
def permute(head: Head, node: fx.Node) -> HeadTensor:
    x = head.input(node)
    order = list(range(len(x.layout)))
    if names_of(head.network, node) == ["permute"]:
        dims: Any = node.args[1:] or (node.kwargs["dims"],)
        order = list(dims if isinstance(dims[0], int) else dims[0])
    else:
        first, second = head.option(node, 1, "dim0"), head.option(node, 2, "dim1")
        order[first], order[second] = order[second], order[first]
    return replace(x, layout=tuple(x.layout[dim] for dim in order))


# what takes the cells of a window together


@rule("mean", "amax")
def reduce(head: Head, node: fx.Node) -> HeadTensor:
    x, dims = head.input(node), head.option(node, 1, "dim")
    rank = len(x.layout)
    gone = {dim % rank for dim in ((dims,) if isinstance(dims, int) else dims or range(rank))}
    letters = {letter for dim in gone for letter in x.layout[dim]}
    if not letters <= {"h", "w"}:
        raise NotConvertible("it takes channels together, or images, and not only cells")
    height, width = (1 if axis in letters else x.sizes[axis] for axis in "hw")
    pooled = pool(head, node, x, (height, width), nn.MaxPool2d if names_of(head.network, node) == ["amax"] else nn.AvgPool2d)
    keeps = len(head.facts[node].shape) == rank
    return replace(pooled, layout=tuple("" if dim in gone else word for dim, word in enumerate(x.layout) if keeps or dim not in gone))


@rule("adaptive_avg_pool2d", "AdaptiveAvgPool2d", "adaptive_max_pool2d", "AdaptiveMaxPool2d", *POOLS)
def pool_layer(head: Head, node: fx.Node) -> HeadTensor:
    x, shape, name = head.input(node), head.facts[node].shape, names_of(head.network, node)[0]
    if x.layout[:2] != ("n", "c") or len(x.layout) != 4 or x.layout[2] not in ("h", "") or x.layout[3] not in ("w", ""):
        raise NotConvertible("it pools something else than rows and columns")
    if name in POOLS and not covers(head.network, head.facts, node, x.cells):
        raise NotConvertible("it pools only a part of the window")
    if name in POOLS and divides_otherwise(head.network, node, x.cells):
        raise NotConvertible("its divisor_override is not the number of cells in its window; leave that out")
    goal = (shape[2], shape[3])
    pooled = pool(head, node, x, goal, nn.MaxPool2d if "max" in name.lower() else nn.AvgPool2d)
    return replace(pooled, layout=("n", "c", "h" if goal[0] > 1 else "", "w" if goal[1] > 1 else ""))


def pool(head: Head, node: fx.Node, x: HeadTensor, goal: tuple[int, int], kind: type[nn.AvgPool2d] | type[nn.MaxPool2d]) -> HeadTensor:
    """The window's cells pooled to ``goal`` (height, width), by a pool that slides over the map cell by cell.

    Where several cells stay, they are as far from each other as the windows of the classifier's pool. With ``dense="pixel"`` what would be
    pooled to one cell is left as it is.
    """
    kernel, spacing = [], []
    for size, target, gap in zip(x.cells, goal, x.spacing, strict=True):
        window = Bins(size, target).window
        if window is None:
            nearest = sorted(range(target, size + 2 * target), key=lambda cells: abs(cells - size))
            fitting = sorted([cells for cells in nearest if Bins(cells, target).window][:2])
            raise NotConvertible(
                f"it pools {size} cells to {target}, in windows that differ in size or step; with {' or '.join(map(str, fitting))} cells "
                "they would not: give another input_size"
            )
        if gap > 1 and size > target:
            raise NotConvertible("it pools what was pooled to several cells before")
        kernel.append(1 if target == 1 and head.dense == "pixel" else window.kernel)
        spacing.append(gap * window.stride if target > 1 else 1)
    result = replace(x, cells=goal, spacing=(spacing[0], spacing[1]))
    if kind is nn.MaxPool2d and x.space and not result.space:
        head.not_linear(node, result)
    if kernel == [1, 1]:
        return result
    head.windows = True
    return replace(result, node=head.call(node, kind((kernel[0], kernel[1]), stride=1), x.node))


def covers(network: fx.GraphModule, facts: dict[fx.Node, Facts], node: fx.Node, cells: tuple[int, int]) -> bool:
    """Whether this pool of a fixed kernel takes all of a window of ``cells`` together."""
    given = pool_settings(network, node)
    kernel, padding = (fx.node.map_arg(given.get(name, 0), lambda source: facts[source].value) for name in ("kernel_size", "padding"))
    return pair(kernel) == cells and pair(padding) == (0, 0)


def divides_otherwise(network: fx.GraphModule, node: fx.Node, cells: tuple[int, int]) -> bool:
    """Whether what this average pool gives over ``cells`` is not their mean."""
    return pool_settings(network, node).get("divisor_override") not in (None, cells[0] * cells[1])


def pool_settings(network: fx.GraphModule, node: fx.Node) -> dict[str, Any]:
    if node.op == "call_module":
        return vars(network.get_submodule(str(node.target)))
    names = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    return arguments(node, names[:4] if "max" in names_of(network, node)[0] else names)


# layers


@rule("Linear", "linear")
def linear(head: Head, node: fx.Node) -> HeadTensor:
    """Over channels, in every cell; or over a flattened window, as a convolution of the window's size."""
    x = head.input(node)
    order = "".join(letter for letter in x.layout[-1] if letter == "c" or letter in x.space) or "c"
    over_window = len(order) > 1
    if "c" not in order or (over_window and set(order) != {"c", *x.space}):
        raise NotConvertible(f"it mixes cells of the {x.cells[0]} x {x.cells[1]} map with one another")
    order += "".join(axis for axis in "hw" if axis not in order)  # those of one cell could be anywhere
    kernel, dilation = (x.cells, x.spacing) if over_window else ((1, 1), (1, 1))
    if over_window:
        head.windows = True
        head.flattened.append(where(head.network, node))
    if node.op == "call_module":
        head.drop(node)  # before its weight is read: a hook may compute it
        conv = linear_to_conv(head.module(node), kernel, order=order, dilation=dilation)
        result = head.call(node, _tied(head, head.module(node), conv, order), x.node)
    else:
        weight = fx.Proxy(head.weight(node, 1, "weight"), fx.proxy.GraphAppendingTracer(head.graph))
        kernel_node = as_kernel(weight, order, {"c": x.channels, "h": kernel[0], "w": kernel[1]}).node
        result = head.graph.call_function(
            F.conv2d, (x.node, kernel_node, head.weight(node, 2, "bias")), {"dilation": dilation} if over_window else {}
        )
    value = HeadTensor(result, (*x.layout[:-1], "c"), head.facts[node].shape[-1], x.cells, x.spacing)
    return replace(value, cells=(1, 1), spacing=(1, 1)) if over_window else value


def _tied(head: Head, layer: nn.Linear, conv: nn.Conv2d, order: str) -> nn.Conv2d:
    """``conv``, made of ``layer``, with the parameters that stand for those that it shares with layers before it."""
    for name, parameter in layer.named_parameters():
        form = (order, conv.kernel_size) if name == "weight" else None
        made, as_form = head.made.setdefault(parameter, (getattr(conv, name), form))
        if as_form != form:
            raise NotConvertible("it shares its weight with another layer, which reads windows of another size or order")
        setattr(conv, name, made)
    return conv


@rule("Conv2d")
def convolution(head: Head, node: fx.Node) -> HeadTensor:
    x, conv = head.input(node), head.module(node)
    if x.layout[:2] != ("n", "c"):
        raise NotConvertible("its channels are not where a convolution has them")
    if conv.kernel_size != (1, 1) or conv.stride != (1, 1) or conv.padding not in ((0, 0), "same", "valid"):
        raise NotConvertible("after a pool, convolutions must have kernel 1 and no padding")
    return replace(x, node=head.graph.call_module(str(node.target), (x.node,)), channels=conv.out_channels)


@rule("BatchNorm2d", "BatchNorm1d")
def batch_norm(head: Head, node: fx.Node) -> HeadTensor:
    x, norm = head.input(node), head.module(node)
    if x.layout[1] != "c":
        raise NotConvertible("it has a mean and a variance for each cell of the window")
    if not isinstance(getattr(norm, "act", nn.Identity()), nn.Identity):
        head.not_linear(node, x)
    if not isinstance(norm, nn.BatchNorm1d):
        return replace(x, node=head.graph.call_module(str(node.target), (x.node,)))
    flat = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta")
    return replace(x, node=head.call(node, _with_weights(flat, norm), x.node))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of every cell of a map (N, C, h, w)."""

    def forward(self, input: Tensor) -> Tensor:
        return channel_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


def channel_norm(x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    return F.layer_norm(x.movedim(1, -1), list(shape), weight, bias, eps).movedim(-1, 1)


@rule("LayerNorm", "layer_norm")
def layer_norm(head: Head, node: fx.Node) -> HeadTensor:
    x = head.input(node)
    norm = head.module(node) if node.op == "call_module" else None
    shape = norm.normalized_shape if norm is not None else head.option(node, 1, "normalized_shape")
    if x.layout[-1] != "c" or len(shape) != 1:
        raise NotConvertible("it norms over the cells of the window")
    head.not_linear(node, x)
    if norm is not None:
        over_channels = ChannelNorm(shape, norm.eps, norm.elementwise_affine, norm.bias is not None, device="meta")
        return replace(x, node=head.call(node, _with_weights(over_channels, norm), x.node))
    weights = head.weight(node, 2, "weight"), head.weight(node, 3, "bias")
    return replace(x, node=head.graph.call_function(channel_norm, (x.node, tuple(shape), *weights, head.option(node, 4, "eps", 1e-5))))


def _with_weights(module: nn.Module, other: nn.Module) -> nn.Module:
    """``module`` with the very parameters, buffers and mode of ``other``."""
    module._parameters.update(other._parameters)
    module._buffers.update(other._buffers)
    return module.train(other.training)


@rule("softmax", "log_softmax", "Softmax", "LogSoftmax")
def softmax(head: Head, node: fx.Node) -> HeadTensor:
    x = head.input(node)
    head.drop(node)
    dim = head.module(node).dim if node.op == "call_module" else head.option(node, 1, "dim")
    if dim is None or x.layout[dim] != "c":
        raise NotConvertible("it compares other things than the channels of one cell")
    head.not_linear(node, x)
    function = F.log_softmax if "log" in names_of(head.network, node)[0].lower() else F.softmax
    return replace(x, node=head.graph.call_function(function, (x.node,), {"dim": 1}))


@rule("cat", "concat", "concatenate")
def cat(head: Head, node: fx.Node) -> HeadTensor:
    given: Any = node.args[0] if node.args else node.kwargs["tensors"]
    values = [head.values[source] for source in given if source in head.values]
    if len(values) < len(given) or not all(value.same_kind(values[0]) for value in values):
        raise NotConvertible("it joins the features to something else, as transformers do with a token")
    if values[0].layout[head.option(node, 1, "dim", 0)] != "c":
        raise NotConvertible("it joins tensors along something else than channels")
    joined = head.graph.call_function(torch.cat, ([value.node for value in values], 1))
    return replace(values[0], node=joined, channels=sum(value.channels for value in values))


def pointwise(head: Head, node: fx.Node) -> HeadTensor:
    """Number by number: as it was, but never in place, for a pool between it and what it would overwrite may be gone."""
    moving = [source for source in node.all_input_nodes if source in head.values]
    values = [head.values[source] for source in moving]
    x, linear = values[0], next(known(name) for name in names_of(head.network, node) if known(name).scope == "number").linear
    if not all(value.same_kind(x) and value.channels == x.channels for value in values):
        raise NotConvertible("it combines features of different sizes")
    one = len(values) == 1 and (linear == "each" or (linear == "first" and node.args[:1] == (moving[0],)))
    if linear != "all" and not one:
        head.not_linear(node, x)

    def argument(source: fx.Node) -> fx.Node:
        return head.values[source].node if source in head.values else _constant(head, source, x)

    args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), argument)
    target = node.target
    if node.op == "call_module":
        module = head.module(node)
        if getattr(module, "inplace", False):
            module.inplace = False
    elif isinstance(target, str):
        target = target.rstrip("_")
        if not hasattr(Tensor, target):
            raise NotConvertible("it writes over the features")
    else:
        target = OUT_OF_PLACE.get(target, target)
    if "inplace" in kwargs:
        kwargs = {**kwargs, "inplace": False}
    return replace(x, node=head.graph.create_node(node.op, target, args, kwargs))


def _constant(head: Head, source: fx.Node, x: HeadTensor) -> fx.Node:
    """A weight that meets the features number by number, as it meets a map."""
    facts = head.facts[source]
    if not isinstance(facts.value, Shape):
        raise NotConvertible("it computes with the size of the image")
    wide = [place - len(facts.shape) for place, size in enumerate(facts.shape) if size > 1]
    if not wide:
        return source
    if len(facts.shape) > len(x.layout):
        raise NotConvertible("it meets weights of more dimensions than the features have")
    if len(wide) > 1 or x.layout[wide[0]] != "c":
        raise NotConvertible(f"it has numbers for each cell of the {x.cells[0]} x {x.cells[1]} map")
    return head.graph.call_method("reshape", (source, -1, 1, 1))
