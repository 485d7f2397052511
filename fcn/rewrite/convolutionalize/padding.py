"""Padding whose amount depends on the size of the image ("SAME", as TensorFlow pads), and what it is at the trained size.

A window of kernel ``k``, stride ``s`` gets ``max((ceil(n / s) - 1) s + k - n, 0)`` cells of padding for ``n`` cells, half of them before.
With another ``n`` the first window starts elsewhere, and with it every cell of the map.
"""

from math import ceil
from typing import Any

from timm.layers import pad_same
from torch import fx, nn
from torch.nn import functional as F

from fcn.core.errors import UserError
from fcn.rewrite.convolutionalize.shapes import Facts, pair
from fcn.rewrite.editable import arguments
from fcn.rewrite.names import names_of, where

SAME = {"Conv2dSame": nn.Conv2d, "AvgPool2dSame": nn.AvgPool2d, "MaxPool2dSame": nn.MaxPool2d}  # timm's, which add the padding to these


def moving_pads(network: fx.GraphModule, facts: dict[fx.Node, Facts]) -> list[fx.Node]:
    """The nodes that pad by the size of what they are given, where another size makes another amount."""
    found = [node for node in network.graph.nodes if _is_same(network, node) and max(_settings(network, node)[1]) > 1]
    return found + [node for node in network.graph.nodes if _is_computed(network, facts, node)]


def fix_pads(network: fx.GraphModule, facts: dict[fx.Node, Facts], nodes: list[fx.Node]) -> None:
    """Lets ``nodes`` pad by what they pad at the trained size, whatever the size of the image. ``facts`` are out of date thereafter.

    Raises UserError, naming the layer, for a class that was made from one of timm's: by a parametrization, or by the user.
    """
    for node in nodes:
        if node.op == "call_module" and names_of(network, node)[0] not in SAME:
            raise UserError(
                f"{where(network, node)} pads by the size of the image, and is not timm's own layer, which alone can be replaced; "
                "remove its parametrization, or take padding='image'"
            )
    for node in nodes:
        if _is_same(network, node):
            _fix_same(network, node, facts)
        else:
            node.args, node.kwargs = fx.node.map_arg(
                (node.args, dict(node.kwargs)), lambda source: source if facts[source].is_tensor else facts[source].value
            )
    for node in nodes:
        if node.op == "call_module":
            layer = network.get_submodule(str(node.target))
            layer.__class__ = SAME.get(type(layer).__name__, type(layer))  # of a layer that is called twice only once
    network.recompile()


def _fix_same(network: fx.GraphModule, node: fx.Node, facts: dict[fx.Node, Facts]) -> None:
    source = node.all_input_nodes[0]
    kernel, stride, dilation, value = _settings(network, node)
    amounts: list[int] = []
    for n, k, s, d in reversed(list(zip(facts[source].shape[-2:], kernel, stride, dilation, strict=True))):
        total = max((ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
        amounts += [total // 2, total - total // 2]
    with network.graph.inserting_before(node):
        padded = network.graph.call_function(F.pad, (source, amounts), {"value": value})
    padded.meta = dict(node.meta)
    if node.op == "call_module":
        node.replace_input_with(source, padded)
    else:
        node.replace_all_uses_with(padded)
        network.graph.erase_node(node)


def _is_same(network: fx.GraphModule, node: fx.Node) -> bool:
    """Also for a layer of a class that was made from timm's, as a parametrization makes one."""
    return node.target is pad_same or (node.op == "call_module" and not SAME.keys().isdisjoint(names_of(network, node)))


def _is_computed(network: fx.GraphModule, facts: dict[fx.Node, Facts], node: fx.Node) -> bool:
    """Whether a plain pad is given amounts that change with the image's size."""
    if node.op != "call_function" or names_of(network, node) != ["pad"]:
        return False
    numbers = [facts[source] for source in node.all_input_nodes if not facts[source].is_tensor]
    return any(found.value != larger for found in numbers for larger in (found.taller, found.wider))


def _settings(network: fx.GraphModule, node: fx.Node) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], float]:
    """Kernel, stride, dilation and the value that is padded."""
    if node.op == "call_module":
        layer: Any = network.get_submodule(str(node.target))
        value = float("-inf") if isinstance(layer, nn.MaxPool2d) else 0.0
        return pair(layer.kernel_size), pair(layer.stride), pair(getattr(layer, "dilation", 1)), value
    given = arguments(node, ("x", "kernel_size", "stride", "dilation", "value"))
    return pair(given["kernel_size"]), pair(given["stride"]), pair(given.get("dilation", 1)), given.get("value", 0.0)
