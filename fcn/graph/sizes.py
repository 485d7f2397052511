"""A network exported once for all sizes of image.

``torch.export`` is given the height and the width as symbols. What it finds at one size it writes down as formulas of the two: the sizes of
all tensors, and the numbers that operations are called with. It also writes down each decision that was taken by a size, by the network's
own code or within torch (*guards*). At another size at which all of them hold, the network does the same, with the numbers that the
formulas give. At a size at which one of them does not hold, nothing is said. A size that was made a number of Python (as by NumPy, or
``range``) is a guard, too: the axis has the size of the export and no other.

The formulas are made into one function of Python, so that another size costs about as much as copying the graph.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental import _config as symbols_config
from torch.utils._sympy.printers import PythonPrinter

from fcn.graph.image import input_shape
from fcn.graph.networks import at_rest, float_type, unwrapped
from fcn.graph.nodes import Graph
from fcn.graph.read import random_image, walk
from fcn.graph.trace import Trace, exported, quiet

Sizes = tuple[int, ...]
Numbers = tuple[Any, ...]
Recipe = Callable[[Numbers], Any]
KERNEL = 16  # cells; a bound of a size up to this is that of a kernel
LONGEST = 24  # operations in the formula of a size; longer ones, as nested "same" padding makes them, take torch minutes
WORDS = {"math": math, "torch": torch, "max": max, "min": min, "abs": abs, "round": round}  # that formulas are written in


@dataclass(frozen=True)
class OpenGraph:
    """What a network does at any size of image.

    trace: the graph, sizes in it being symbols. shape: of the image of the export. ranges: the least and the largest size for each axis.
    holds: whether all guards hold at these sizes. numbers: the values of all formulas at these sizes. recipes: what makes of them the
    values of nodes. plain: whether all guards are those that torch asks of any size, so that none can be a decision of the network's own.
    """

    trace: Trace
    shape: Sizes
    ranges: tuple[tuple[float, float], ...]
    holds: Callable[..., bool]
    numbers: Callable[..., Numbers]
    recipes: dict[fx.Node, Recipe]
    plain: bool

    def covers(self, *sizes: int) -> bool:
        """Whether the network is known to do the same at these sizes."""
        inside = all(low <= size <= high for size, (low, high) in zip(sizes, self.ranges, strict=True))
        return inside and self.holds(*sizes)

    def at(self, *sizes: int) -> Graph | None:
        """The graph for an image of these sizes; None where it is not known to be the same."""
        if not self.covers(*sizes):
            return None
        return walk(_bound(self.trace, self.recipes, self.numbers(*sizes)), (*self.shape[:2], *sizes))


class ClosedError(Exception):
    """A network whose sizes cannot be left open. layer: path of the layer with too long a formula for a size; "" for other reasons."""

    def __init__(self, layer: str = "") -> None:
        super().__init__(layer)
        self.layer = layer


def open_graph(network: nn.Module, input_size: Sizes) -> OpenGraph | None:
    """What ``network`` does at any size, found out at ``input_size``, (height, width). None where an axis has to have one size, and where
    the export fails: ``read_graph`` says why."""
    network = unwrapped(network)
    shape = input_shape(network, input_size, None)
    device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    image = random_image(shape, float_type(network), device)
    axes = dict.fromkeys(range(2, len(shape)), torch.export.Dim.AUTO)
    try:  # without duck shapes the two sides of a square are two symbols
        with at_rest(network), short_formulas(network), torch.no_grad(), quiet(), symbols_config.patch(use_duck_shape=False):  # type: ignore[attr-defined]
            return _open(exported(network, image, axes))
    except Exception:  # whatever export raises; of a network that cannot be exported at all, ``read_graph`` says more
        return None


@contextmanager
def short_formulas(network: nn.Module, longest: int = LONGEST) -> Iterator[None]:
    """Within it, a layer that is given sizes with formulas of more than ``longest`` operations raises ClosedError."""
    names = {id(module): name for name, module in network.named_modules()}

    def check(module: nn.Module, given: tuple[Any, ...]) -> None:
        if any(number.node.expr.count_ops() > longest for tensor in given if isinstance(tensor, Tensor) for number in _open_sizes(tensor)):
            raise ClosedError(names.get(id(module), ""))

    handles = [module.register_forward_pre_hook(check) for module in network.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _open(trace: Trace) -> OpenGraph:
    image = trace.image.meta["val"]
    if not all(isinstance(size, torch.SymInt) for size in image.shape[2:]):
        raise ClosedError
    symbols = [size.node.expr for size in image.shape[2:]]
    known = image.fake_mode.shape_env
    if (
        not all(isinstance(symbol, sympy.Symbol) for symbol in symbols)
        or len(set(symbols)) < len(symbols)
        or known.deferred_runtime_asserts
    ):
        raise ClosedError
    formulas: dict[sympy.Expr, int] = {}
    for node in trace.graph.nodes:
        for number in _open_numbers(node.meta.get("val")):
            formulas.setdefault(number.node.expr, len(formulas))
    guards = [guard.expr for guard in known.guards]
    if any(not expression.free_symbols <= set(symbols) for expression in (*formulas, *guards)):
        raise ClosedError
    ranges = tuple((int(known.var_to_range[symbol].lower), float(known.var_to_range[symbol].upper)) for symbol in symbols)
    holds, numbers = _function(symbols, guards, "all((", "))"), _function(symbols, list(formulas), "(", ")")
    recipes = {node: recipe for node in trace.graph.nodes if (recipe := _recipe(node.meta.get("val"), formulas)) is not None}
    opened = OpenGraph(trace, tuple(image.shape[:2]), ranges, holds, numbers, recipes, all(map(_is_plain, guards)))
    hints = [int(size.node.hint) for size in image.shape[2:]]
    if opened.at(*hints) is None:
        raise ClosedError
    return opened


def _open_numbers(value: Any) -> list[Any]:
    """The symbolic numbers in what a node gives: a number, a tensor, or a list of these."""
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in _open_numbers(item)]
    found = (*_open_sizes(value), *value.stride(), value.storage_offset()) if isinstance(value, Tensor) else (value,)
    return [number for number in found if isinstance(number, (torch.SymInt, torch.SymFloat, torch.SymBool))]


def _open_sizes(tensor: Tensor) -> list[Any]:
    return [size for size in tensor.shape if isinstance(size, torch.SymInt)]


def _function(symbols: list[sympy.Symbol], expressions: list[sympy.Expr], before: str, after: str) -> Callable[..., Any]:
    """The function of ``symbols`` that gives the values of all ``expressions``."""
    printed = "".join(f"{PythonPrinter().doprint(expression)}, " for expression in expressions)
    return eval(f"lambda {', '.join(map(str, symbols))}: {before}{printed}{after}", dict(WORDS))


def _is_plain(guard: sympy.Expr) -> bool:
    """Whether it says that a number is not 1, or that a kernel fits: torch asks that of all sizes."""
    if isinstance(guard, sympy.Ne):
        return bool(guard.rhs == 1)
    return isinstance(guard, sympy.Ge | sympy.Gt) and guard.rhs.is_Integer and bool(guard.rhs <= KERNEL)


def _recipe(value: Any, formulas: dict[sympy.Expr, int]) -> Recipe | None:
    """What makes the value of a node from the numbers that formulas give; None where nothing in it is open."""
    if not _open_numbers(value):
        return None
    if isinstance(value, (list, tuple)):
        items = [(item, _recipe(item, formulas)) for item in value]
        return lambda numbers: [item if recipe is None else recipe(numbers) for item, recipe in items]
    if not isinstance(value, FakeTensor):
        place = formulas[value.node.expr]
        return lambda numbers: numbers[place]
    mode, dtype, device, rank = value.fake_mode, value.dtype, value.device, value.dim()
    sizes = [_recipe(size, formulas) or (lambda numbers, size=size: size) for size in (*value.shape, *value.stride())]

    def made(numbers: Numbers) -> Tensor:
        found = [size(numbers) for size in sizes]
        return FakeTensor(mode, torch.empty_strided(found[:rank], found[rank:], dtype=dtype, device="meta"), device)

    return made


def _bound(trace: Trace, recipes: dict[fx.Node, Recipe], numbers: Numbers) -> Trace:
    """A copy of the graph with numbers in the place of symbols, without what nobody reads of the network's tensors."""
    graph, new = fx.Graph(), dict[fx.Node, Any]()
    shown = {trace.image, *trace.outputs.values()}
    for node in trace.graph.nodes:
        if node.op == "placeholder" and not node.users and node not in shown:
            continue
        recipe = recipes.get(node)
        if recipe is not None and not isinstance(node.meta["val"], (Tensor, list, tuple)):
            new[node] = recipe(numbers)
            continue
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), new.__getitem__) if node.args or node.kwargs else ((), {})
        new[node] = graph.create_node(node.op, node.target, args, kwargs, node.name)
        new[node].meta = node.meta if recipe is None else {**node.meta, "val": recipe(numbers)}
    return replace(trace, graph=graph, image=new[trace.image], outputs={name: new[node] for name, node in trace.outputs.items()})
