"""Windows that slide over a map, read from a node of the graph, whatever way it is written there.

Convolutions and pools as modules and as functions, with zero, reflecting or size-dependent padding, are all one ``Window``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import fx, nn

from fcn.core.errors import NotDilatable
from fcn.rewrite.dilate.layers import CONV
from fcn.rewrite.trace import arguments

MAX_FUNCTIONS = {"max_pool1d": 1, "max_pool2d": 2, "max_pool3d": 3}
AVG_FUNCTIONS = {"avg_pool1d": 1, "avg_pool2d": 2, "avg_pool3d": 3}
POWER_FUNCTIONS = {"lp_pool1d": 1, "lp_pool2d": 2, "lp_pool3d": 3}
CONV_MODULES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MAX_MODULES: dict[type[Any], int] = {nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3}
AVG_MODULES: dict[type[Any], int] = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}
POWER_MODULES: dict[type[Any], int] = {nn.LPPool1d: 1, nn.LPPool2d: 2, nn.LPPool3d: 3}


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
        raise NotDilatable("its settings depend on the input")
    return values


def rounding_up(window: Window, ceil_mode: bool) -> Window:
    """``window`` with the cells that ``ceil_mode`` lets it reach beyond the padding."""
    if not ceil_mode:
        return window
    beyond = []
    for k, s, d, b in zip(window.kernel, window.stride, window.dilation, window.after, strict=True):
        beyond.append(max(min(s - 1, d * (k - 1) - b), 0))  # the last window starts within the input or the padding before it
    return replace(window, beyond=tuple(beyond))


def read_window(network: fx.GraphModule, node: fx.Node, kernel: tuple[int, ...]) -> Window | None:
    """The window that ``node`` slides over its input, None for other operations. NotDilatable for what no rule here covers.

    kernel: of the weight, where ``node`` is a function that convolves.
    """
    if node.op == "call_module":
        return _of_module(network.get_submodule(str(node.target)))
    if node.op == "call_function":
        return _of_function(node, kernel)
    return None


def _of_module(module: Any) -> Window | None:
    names = {base.__name__ for base in type(module).__mro__}  # a parametrization gives a layer a class of its own, made from its class
    same = not names.isdisjoint(("Conv2dSame", "MaxPool2dSame", "AvgPool2dSame"))
    if isinstance(module, CONV_MODULES):
        rank = len(module.kernel_size)
        window = _conv(module.kernel_size, module.stride, 0 if same else module.padding, module.dilation, rank)
        return _same(window) if same else replace(window, mode=module.padding_mode)
    for kinds, kind in ((MAX_MODULES, "max"), (AVG_MODULES, "avg"), (POWER_MODULES, "power")):
        for cls, rank in kinds.items():
            if isinstance(module, cls):
                if getattr(module, "return_indices", False):
                    raise NotDilatable("it returns the places of its maxima")
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


def _of_function(node: fx.Node, kernel: tuple[int, ...]) -> Window | None:
    name = getattr(node.target, "__name__", "")
    if node.target in CONV:
        given = arguments(node, ("input", "weight", "bias", "stride", "padding", "dilation", "groups"))
        return _conv(kernel, given.get("stride", 1), given.get("padding", 0), given.get("dilation", 1), len(kernel))
    for kinds, kind, order in (
        (MAX_FUNCTIONS, "max", ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")),
        (AVG_FUNCTIONS, "avg", ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")),
        (POWER_FUNCTIONS, "power", ("input", "norm_type", "kernel_size", "stride", "ceil_mode")),
    ):
        if name in kinds:
            given = arguments(node, order)
            if given.get("return_indices"):
                raise NotDilatable("it returns the places of its maxima")
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
    return replace(window, same=True, before=(0,) * len(reach), after=reach, beyond=(0,) * len(reach), count_padding=True)


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
