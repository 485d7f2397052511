"""Windows that slide over a map, read from a node of the graph, whatever way it is written there.

Convolutions and pools as modules and as functions, with zero, reflecting or size-dependent padding, are all one ``LayerWindow``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import fx, nn

from fcn.core.errors import NotDilatable
from fcn.rewrite.dilate.layers import CONV
from fcn.rewrite.editable import arguments
from fcn.rewrite.names import operation

LAYERS: dict[str, tuple[Any, ...]] = {  # of each kind: for sequences, images, volumes
    "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "max": (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    "avg": (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    "power": (nn.LPPool1d, nn.LPPool2d, nn.LPPool3d),
}
ARGUMENTS = {  # of the functions; layers keep them as attributes
    "conv": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "max": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg": ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    "power": ("input", "norm_type", "kernel_size", "stride", "ceil_mode"),
}
POOLS = {"max": "max_pool", "avg": "avg_pool", "power": "lp_pool"}  # names of the functions


@dataclass(frozen=True)
class LayerWindow:
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
        raise NotDilatable("its settings depend on the input")
    return values


def rounding_up(window: LayerWindow, ceil_mode: bool) -> LayerWindow:
    """``window`` with the cells that ``ceil_mode`` lets it reach beyond the padding."""
    if not ceil_mode:
        return window
    beyond = []
    for k, s, d, b in zip(window.kernel, window.stride, window.dilation, window.after, strict=True):
        beyond.append(max(min(s - 1, d * (k - 1) - b), 0))  # the last window starts within the input or the padding before it
    return replace(window, beyond=tuple(beyond))


def read_window(network: fx.GraphModule, node: fx.Node, kernel: tuple[int, ...]) -> LayerWindow | None:
    """The window that ``node`` slides over its input, None for other operations. NotDilatable for one that is not understood.

    kernel: of the weight, where ``node`` is a function that convolves.
    """
    module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
    kind, rank = _kind(node, module, len(kernel))
    if not kind:
        return None
    given = arguments(node, ARGUMENTS[kind]) if module is None else vars(module)
    if given.get("return_indices"):
        raise NotDilatable("it returns the places of its maxima")
    # a parametrization gives a layer a class of its own, made from its class
    same = any(base.__name__ in ("Conv2dSame", "MaxPool2dSame", "AvgPool2dSame") for base in type(module).__mro__)
    kernels = per_axis(given.get("kernel_size", kernel), rank)
    stride, padding = given.get("stride"), 0 if same else given.get("padding", 0)
    dilations = per_axis(given.get("dilation", 1), rank)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernels, dilations, strict=True)]
        before, after = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    else:
        before = after = per_axis(0 if padding == "valid" else padding, rank)
    window = LayerWindow(
        kind,
        kernels,
        per_axis(stride, rank) if stride not in (None, []) else kernels if kind != "conv" else (1,) * rank,
        dilations,
        before,
        after,
        (0,) * rank,
        mode=given.get("padding_mode", "zeros"),
        count_padding=given.get("count_include_pad", True),
        divisor=given.get("divisor_override"),
        norm_type=given.get("norm_type", 2),
    )
    if same:  # it pads by itself, so that sizes just round up
        reach = tuple(d * (k - 1) for k, d in zip(kernels, dilations, strict=True))
        return replace(window, same=True, before=(0,) * rank, after=reach, count_padding=True)
    return rounding_up(window, given.get("ceil_mode", False))


def _kind(node: fx.Node, module: nn.Module | None, rank: int) -> tuple[str, int]:
    """What slides, and over how many axes; "" for other operations."""
    if module is not None:
        return next(
            ((kind, layers.index(cls) + 1) for kind, layers in LAYERS.items() for cls in layers if isinstance(module, cls)), ("", 0)
        )
    if node.op != "call_function":
        return "", 0
    if node.target in CONV:
        return "conv", rank
    name = operation(node)
    return next(((kind, rank) for kind, word in POOLS.items() for rank in (1, 2, 3) if name == f"{word}{rank}d"), ("", 0))
