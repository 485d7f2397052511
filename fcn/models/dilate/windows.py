"""Windows that slide over a map: read from a node of the graph, whatever way it is written, and written back with another stride.

Convolutions and pools as modules and as functions, with zero, reflecting or size-dependent padding, are all one ``Window``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from fcn.models.dilate.grid import CONV_FUNCTIONS
from fcn.models.dilate.layers import AveragePool, PowerPool, SamePad, flat_padding

MAX_FUNCTIONS = {"max_pool1d": 1, "max_pool2d": 2, "max_pool3d": 3}
AVG_FUNCTIONS = {"avg_pool1d": 1, "avg_pool2d": 2, "avg_pool3d": 3}
POWER_FUNCTIONS = {"lp_pool1d": 1, "lp_pool2d": 2, "lp_pool3d": 3}
CONV_MODULES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MAX_MODULES = {nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3}
AVG_MODULES = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}
POWER_MODULES = {nn.LPPool1d: 1, nn.LPPool2d: 2, nn.LPPool3d: 3}


@dataclass(frozen=True)
class Window:
    """What slides. All numbers per axis; ``after`` is cells of padding, ``beyond`` cells that rounding the size up adds to them.

    ``same``: the padding depends on the size, TensorFlow's way; ``before``, ``after`` are then what makes sizes round up, in sum.
    """

    kind: str  # conv, max, avg, power
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    beyond: tuple[int, ...]
    same: bool = False
    mode: str = "zeros"
    count_padding: bool = True
    divisor: int | None = None
    norm_type: float = 2


def per_axis(value: Any, rank: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,) * rank
    if len(values) == 1:
        values = values * rank
    if len(values) != rank or not all(isinstance(item, int) for item in values):
        raise ValueError("its settings depend on the input")
    return values


def rounding_up(window: Window, ceil_mode: bool) -> Window:
    """``window`` with the cells that ``ceil_mode`` lets it reach beyond the padding."""
    if not ceil_mode:
        return window
    beyond = []
    for k, s, d, a, b in zip(window.kernel, window.stride, window.dilation, window.before, window.after, strict=True):
        beyond.append(max(min(s - 1, d * (k - 1) - b), 0))  # the last window starts within the input or the padding before it
    return replace_window(window, beyond=tuple(beyond))


def replace_window(window: Window, **changes: Any) -> Window:
    return Window(**{**window.__dict__, **changes})


def read_window(network: fx.GraphModule, node: fx.Node) -> Window | None:
    """The window that ``node`` slides over its input, None for other operations. ValueError for what no rule here covers."""
    if node.op == "call_module":
        return _of_module(network.get_submodule(str(node.target)))
    if node.op == "call_function":
        return _of_function(network, node)
    return None


def _of_module(module: nn.Module) -> Window | None:
    same = type(module).__name__ in ("Conv2dSame", "MaxPool2dSame", "AvgPool2dSame")
    if isinstance(module, CONV_MODULES):
        rank = len(module.kernel_size)
        window = _conv(module.kernel_size, module.stride, 0 if same else module.padding, module.dilation, rank)
        return _same(window) if same else replace_window(window, mode=module.padding_mode)
    for kinds, kind in ((MAX_MODULES, "max"), (AVG_MODULES, "avg"), (POWER_MODULES, "power")):
        for cls, rank in kinds.items():
            if isinstance(module, cls):
                if getattr(module, "return_indices", False):
                    raise ValueError("it returns the places of its maxima")
                window = _pool(
                    kind,
                    rank,
                    module.kernel_size,
                    module.stride,
                    getattr(module, "padding", 0),
                    getattr(module, "dilation", 1),
                    module.ceil_mode,
                    count_padding=getattr(module, "count_include_pad", True),
                    divisor=getattr(module, "divisor_override", None),
                    norm_type=getattr(module, "norm_type", 2),
                )
                return _same(window) if same else window
    return None


def _of_function(network: fx.GraphModule, node: fx.Node) -> Window | None:
    name = getattr(node.target, "__name__", "")
    if node.target in CONV_FUNCTIONS:
        given = _arguments(node, ("input", "weight", "bias", "stride", "padding", "dilation", "groups"))
        rank = CONV_FUNCTIONS[node.target]
        kernel = tuple(node.meta["fcn_kernel"])
        return _conv(kernel, given.get("stride", 1), given.get("padding", 0), given.get("dilation", 1), rank)
    for kinds, kind, order in (
        (MAX_FUNCTIONS, "max", ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")),
        (AVG_FUNCTIONS, "avg", ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")),
        (POWER_FUNCTIONS, "power", ("input", "norm_type", "kernel_size", "stride", "ceil_mode")),
    ):
        if name in kinds:
            given = _arguments(node, order)
            if given.get("return_indices"):
                raise ValueError("it returns the places of its maxima")
            return _pool(
                kind,
                kinds[name],
                given["kernel_size"],
                given.get("stride"),
                given.get("padding", 0),
                given.get("dilation", 1),
                given.get("ceil_mode", False),
                count_padding=given.get("count_include_pad", True),
                divisor=given.get("divisor_override"),
                norm_type=given.get("norm_type", 2),
            )
    return None


def _same(window: Window) -> Window:
    """``window`` with padding that depends on the size; it pads by itself, so that sizes just round up."""
    reach = tuple(d * (k - 1) for k, d in zip(window.kernel, window.dilation, strict=True))
    return replace_window(window, same=True, before=(0,) * len(reach), after=reach, beyond=(0,) * len(reach), count_padding=True)


def _arguments(node: fx.Node, names: Sequence[str]) -> dict[str, Any]:
    return {**dict(zip(names, node.args, strict=False)), **node.kwargs}


def _conv(kernel: Sequence[int], stride: Any, padding: Any, dilation: Any, rank: int) -> Window:
    dilations = per_axis(dilation, rank)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
        before, after = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    else:
        before = after = per_axis(0 if padding == "valid" else padding, rank)
    return Window("conv", tuple(kernel), per_axis(stride, rank), dilations, before, after, (0,) * rank)


def _pool(
    kind: str,
    rank: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    *,
    count_padding: bool = True,
    divisor: int | None = None,
    norm_type: float = 2,
) -> Window:
    kernels = per_axis(kernel, rank)
    strides = kernels if stride is None or stride == [] else per_axis(stride, rank)
    sides = per_axis(padding, rank)
    window = Window(
        kind,
        kernels,
        strides,
        per_axis(dilation, rank),
        sides,
        sides,
        (0,) * rank,
        count_padding=count_padding,
        divisor=divisor,
        norm_type=norm_type,
    )
    return rounding_up(window, ceil_mode)


def write_window(network: fx.GraphModule, node: fx.Node, old: Window, new: Window, spread: Sequence[int]) -> fx.Node:
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
        before, after, new = none, none, replace_window(new, before=none, after=none, beyond=none)
    if new.kind == "max":
        if before != after or any(2 * cells > k for cells, k in zip(before, new.kernel, strict=True)):  # torch refuses wider ones
            x = _insert_pad(network, node, x, tuple(zip(before, after, strict=True)), value=float("-inf"))
            before = none
        layer = list(MAX_MODULES)[rank - 1](new.kernel, new.stride, before, new.dilation)
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


def _average(rank: int, window: Window) -> nn.Module:
    layer = list(AVG_MODULES)[rank - 1](window.kernel, window.stride, window.before, count_include_pad=window.count_padding)
    if window.divisor is not None:
        layer.divisor_override = window.divisor
    return layer


def _write_conv(network: fx.GraphModule, node: fx.Node, old: Window, new: Window, spread: Sequence[int]) -> fx.Node:
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
        module = network.get_submodule(name)
        calls = [other for other in network.graph.nodes if other.op == "call_module" and other.target == name]
        if len(calls) > 1:
            return _as_function(network, node, x, settings)
        if old.same:  # its class pads by itself
            module = _plain(module)
            network.add_submodule(name, module)
        for key, value in settings.items():
            setattr(module, key, value)
        module.padding_mode = "zeros"
        module._reversed_padding_repeated_twice = [cells for cells in reversed(padding) for _ in range(2)]
        _set_input(node, x)
        return node
    given = _arguments(node, ("input", "weight", "bias", "stride", "padding", "dilation", "groups"))
    node.args = (x, given["weight"])
    node.kwargs = {"bias": given.get("bias"), **settings, "groups": given.get("groups", 1)}
    return node


def _plain(module: nn.Module) -> nn.Module:
    """A convolution of torch's own class with the parameters of ``module``."""
    rank = len(module.kernel_size)  # type: ignore[arg-type]
    with torch.device("meta"):
        plain = CONV_MODULES[rank - 1](
            module.in_channels,  # type: ignore[arg-type]
            module.out_channels,  # type: ignore[arg-type]
            module.kernel_size,  # type: ignore[arg-type]
            groups=module.groups,  # type: ignore[arg-type]
            bias=module.bias is not None,
        )
    plain.weight, plain.bias = module.weight, module.bias  # type: ignore[assignment]
    plain.train(module.training)
    return plain


def _as_function(network: fx.GraphModule, node: fx.Node, x: Any, settings: dict[str, Any]) -> fx.Node:
    """A convolution that is called in several places, here with settings of this place."""
    module = network.get_submodule(str(node.target))
    with network.graph.inserting_before(node):
        weight = network.graph.get_attr(f"{node.target}.weight")
        bias = None if module.bias is None else network.graph.get_attr(f"{node.target}.bias")
        function = list(CONV_FUNCTIONS)[len(settings["stride"]) - 1]
        call = network.graph.call_function(function, (x, weight), {"bias": bias, **settings, "groups": module.groups})
    return _take_place(network, node, call)


def _insert(network: fx.GraphModule, node: fx.Node, layer: nn.Module, x: Any) -> fx.Node:
    """A new layer before ``node``, reading ``x``."""
    name = fresh_name(network, node)
    network.add_submodule(name, layer.train(network.training))
    with network.graph.inserting_before(node):
        return network.graph.call_module(name, (x,))


def _insert_pad(
    network: fx.GraphModule, node: fx.Node, x: Any, sides: Sequence[tuple[int, int]], *, mode: str = "constant", value: float = 0.0
) -> Any:
    if not any(cells for side in sides for cells in side):
        return x
    with network.graph.inserting_before(node):
        extra: dict[str, Any] = {"value": value} if mode == "constant" else {}
        return network.graph.call_function(F.pad, (x, flat_padding(sides)), {"mode": mode, **extra})


def put_layer(network: fx.GraphModule, node: fx.Node, layer: nn.Module, x: Any = None) -> fx.Node:
    """A call of ``layer`` in the place of ``node``, on ``x`` (by default what ``node`` reads first)."""
    calls = [other for other in network.graph.nodes if other.op == node.op == "call_module" and other.target == node.target]
    name = str(node.target) if calls == [node] else fresh_name(network, node)
    network.add_submodule(name, layer.train(network.training))
    with network.graph.inserting_before(node):
        call = network.graph.call_module(name, (node.all_input_nodes[0] if x is None else x,))
    return _take_place(network, node, call)


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


def fresh_name(network: fx.GraphModule, node: fx.Node) -> str:
    """A name for a layer that belongs to ``node``, beside the layers that there are."""
    number = 0
    while hasattr(network, f"{node.name}_dilated_{number}"):
        number += 1
    return f"{node.name}_dilated_{number}"
