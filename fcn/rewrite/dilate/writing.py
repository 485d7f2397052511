"""Writing a window back into the graph with another stride, dilation and padding, over a map that has become denser."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from fcn.rewrite.dilate.layers import CONV, AveragePool, PowerPool, SamePad, flat_padding
from fcn.rewrite.dilate.windows import LAYERS, LayerWindow
from fcn.rewrite.editable import arguments, replaceable


def write_window(network: fx.GraphModule, node: fx.Node, old: LayerWindow, new: LayerWindow, spread: Sequence[int]) -> fx.Node:
    """Let ``new`` slide in place of ``old`` over an input that is ``spread`` times denser; returns the node that does it, for ``node``."""
    if new.kind == "conv":
        return _write_conv(network, node, old, new, spread)
    x = node.args[0] if node.args else node.kwargs["input"]
    rank = len(new.kernel)
    none = (0,) * rank
    before, after = new.before, tuple(a + b for a, b in zip(new.after, new.beyond, strict=True))
    layer: nn.Module
    if old.same:
        value = float("-inf") if new.kind == "max" else 0.0
        x = _insert(network, node, SamePad(old.kernel, old.stride, old.dilation, spread=spread, new_stride=new.stride, value=value), x)
        before, after, new = none, none, replace(new, before=none, after=none, beyond=none)
    if new.kind == "max":
        if before != after or any(2 * cells > k for cells, k in zip(before, new.kernel, strict=True)):  # torch refuses wider ones
            x = _insert_pad(network, node, x, tuple(zip(before, after, strict=True)), value=float("-inf"))
            before = none
        layer = LAYERS["max"][rank - 1](new.kernel, new.stride, before, new.dilation)
    elif new.kind == "avg" and set(new.dilation) == {1} and before == after == new.after and not any(new.beyond):
        layer = _average(rank, new)
    else:
        average = AveragePool(
            new.kernel,
            new.stride,
            new.dilation,
            before=new.before,
            after=new.after,
            beyond=new.beyond,
            count_padding=new.count_padding,
            divisor=new.divisor,
        )
        layer = PowerPool(new.norm_type, average) if new.kind == "power" else average
    return put_layer(network, node, layer, x)


def _average(rank: int, window: LayerWindow) -> nn.Module:
    layer = LAYERS["avg"][rank - 1](window.kernel, window.stride, window.before, count_include_pad=window.count_padding)
    if window.divisor is not None:
        layer.divisor_override = window.divisor
    return layer


def _write_conv(network: fx.GraphModule, node: fx.Node, old: LayerWindow, new: LayerWindow, spread: Sequence[int]) -> fx.Node:
    x = node.args[0] if node.args else node.kwargs["input"]
    none = (0,) * len(new.kernel)
    padding = new.before
    if old.same:
        x = _insert(network, node, SamePad(old.kernel, old.stride, old.dilation, spread=spread, new_stride=new.stride), x)
        padding = none
    elif new.mode != "zeros" or new.before != new.after or any(new.beyond):
        sides = tuple(zip(new.before, new.after, strict=True))
        x = _insert_pad(network, node, x, sides, mode="constant" if new.mode == "zeros" else new.mode)
        x = _insert_pad(network, node, x, tuple((0, cells) for cells in new.beyond))
        padding = none
    settings: dict[str, Any] = {"stride": new.stride, "padding": padding, "dilation": new.dilation}
    if node.op == "call_module":
        name = str(node.target)
        module: Any = network.get_submodule(name)
        calls = [other for other in network.graph.nodes if other.op == "call_module" and other.target == name]
        if len(calls) > 1:
            return _as_function(network, node, x, settings)
        if old.same:  # its class pads by itself
            replaceable(module)
            module = _plain(module)
            network.add_submodule(name, module)
        for key, value in settings.items():
            setattr(module, key, value)
        module.padding_mode = "zeros"
        module._reversed_padding_repeated_twice = [cells for cells in reversed(padding) for _ in range(2)]
        _set_input(node, x)
        return node
    given = arguments(node, ("input", "weight", "bias", "stride", "padding", "dilation", "groups"))
    node.args = (x, given["weight"])
    node.kwargs = {"bias": given.get("bias"), **settings, "groups": given.get("groups", 1)}
    return node


def _plain(module: Any) -> nn.Module:
    """A convolution of torch's own class with the parameters of ``module``."""
    rank = len(module.kernel_size)
    with torch.device("meta"):
        plain = LAYERS["conv"][rank - 1](
            module.in_channels,
            module.out_channels,
            module.kernel_size,
            groups=module.groups,
            bias=module.bias is not None,
        )
    plain.weight, plain.bias = module.weight, module.bias
    plain.train(module.training)
    return plain


def _as_function(network: fx.GraphModule, node: fx.Node, x: Any, settings: dict[str, Any]) -> fx.Node:
    """A convolution that is called in several places, here with settings of this place."""
    module: Any = network.get_submodule(str(node.target))
    replaceable(module)
    with network.graph.inserting_before(node):
        weight = network.graph.get_attr(f"{node.target}.weight")
        bias = None if module.bias is None else network.graph.get_attr(f"{node.target}.bias")
    function = CONV[len(settings["stride"]) - 1]
    return put_call(network, node, function, (x, weight), {"bias": bias, **settings, "groups": module.groups})


def _insert_pad(
    network: fx.GraphModule, node: fx.Node, x: Any, sides: Sequence[tuple[int, int]], *, mode: str = "constant", value: float = 0.0
) -> Any:
    if not any(cells for side in sides for cells in side):
        return x
    with network.graph.inserting_before(node):
        extra: dict[str, Any] = {"value": value} if mode == "constant" else {}
        return network.graph.call_function(F.pad, (x, flat_padding(sides)), {"mode": mode, **extra})


def _insert(network: fx.GraphModule, node: fx.Node, layer: nn.Module, x: Any) -> fx.Node:
    """A new layer before ``node``, reading ``x``."""
    name = add_layer(network, node, layer)
    with network.graph.inserting_before(node):
        return network.graph.call_module(name, (x,))


def put_layer(network: fx.GraphModule, node: fx.Node, layer: nn.Module, x: Any = None) -> fx.Node:
    """A call of ``layer`` in the place of ``node``, on ``x`` (by default what ``node`` reads first)."""
    _check_replaceable(network, node)
    calls = [other for other in network.graph.nodes if other.op == node.op == "call_module" and other.target == node.target]
    if calls == [node]:
        name = str(node.target)
        network.add_submodule(name, layer.train(network.training))
    else:
        name = add_layer(network, node, layer)
    with network.graph.inserting_before(node):
        call = network.graph.call_module(name, (node.all_input_nodes[0] if x is None else x,))
    return _take_place(network, node, call)


def put_call(
    network: fx.GraphModule, node: fx.Node, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> fx.Node:
    """A call of ``function`` in the place of ``node``."""
    _check_replaceable(network, node)
    with network.graph.inserting_before(node):
        call = network.graph.call_function(function, args, kwargs)
    return _take_place(network, node, call)


def add_layer(network: fx.GraphModule, node: fx.Node, layer: nn.Module) -> str:
    """``layer`` put into the network under a new name, which is returned: it belongs to ``node``."""
    number = 0
    while hasattr(network, f"{node.name}_dilated_{number}"):
        number += 1
    network.add_submodule(f"{node.name}_dilated_{number}", layer.train(network.training))
    return f"{node.name}_dilated_{number}"


def _check_replaceable(network: fx.GraphModule, node: fx.Node) -> None:
    if node.op == "call_module":
        replaceable(network.get_submodule(str(node.target)))


def _take_place(network: fx.GraphModule, node: fx.Node, call: fx.Node) -> fx.Node:
    call.meta = dict(node.meta)
    node.replace_all_uses_with(call)
    network.graph.erase_node(node)
    return call


def _set_input(node: fx.Node, x: Any) -> None:
    if node.args:
        node.args = (x, *node.args[1:])
    else:
        node.kwargs = {**node.kwargs, "input": x}
