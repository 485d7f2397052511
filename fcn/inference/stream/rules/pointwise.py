"""Rules for operations that compute each cell from the cells in the same place: the operation itself, on blocks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from fcn.core.errors import NotStreamable
from fcn.graph import may_alias
from fcn.inference.stream.rules.call import Blocks, Call, Cuts, Rule, part, rule

aten = torch.ops.aten

# Functions that write right into memory of any strides, as the tests show for each. GELU does not: its kernel on a CPU (oneDNN's, in
# float32 and bf16) leaves strided memory as it is, without a word. What is not here is computed into memory of its own and copied.
WRITERS = (
    *("add", "sub", "mul", "div", "cat", "clamp", "clamp_min"),
    *("elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "sigmoid", "silu", "tanh"),
)


class Slot:
    """In a template of arguments, the place of a block."""

    def __init__(self, index: int) -> None:
        self.index = index


def functional(target: Any) -> Any:
    """The overload that computes the same without changing its arguments."""
    assert isinstance(target, torch._ops.OpOverload)
    name = target._schema.name.partition("::")[2]
    if not name.endswith("_") or name.endswith("__"):
        return target
    namespace = getattr(torch.ops, target._schema.name.partition("::")[0])
    return getattr(getattr(namespace, name.rstrip("_")), target._overloadname)


def bound(call: Call, index: int = 0) -> Rule:
    """The operation itself, its constants cut to the block where they lie on the grid; of several results the one at ``index``."""
    target = functional(call.node.fx.target)
    places = {source.name: index for index, source in reversed(list(enumerate(call.sources)))}
    grids = {dim: axis for axis, dim in enumerate(call.node.dims) if dim is not None and call.node.sizes[axis] > 1}
    rank = len(call.node.shape)
    if call.node.op == "stack":  # what it is made of has a dimension less
        new = call.get("dim", default=0) % rank
        grids = {dim + (dim < new): axis for dim, axis in grids.items()}
    elif call.node.op == "matmul":
        grids = {dim: axis for dim, axis in grids.items() if dim < rank - 2}
    elif call.node.kind not in ("pointwise", "merge", "concat"):
        grids = {}

    def template(item: Any) -> Any:
        if not isinstance(item, fx.Node):
            return item
        name = call.names.get(item.name, item.name)
        if name in places:
            return Slot(places[name])
        if item.name not in call.constants:
            raise NotStreamable(f"its argument '{item.name}' is not known before it runs")
        return call.constants[item.name]

    args, kwargs = fx.node.map_arg((call.node.fx.args, call.node.fx.kwargs), template)

    def fill(blocks: Blocks, cuts: Sequence[Cuts]) -> tuple[Any, Any]:
        def cut_out(item: Any) -> Any:
            source = None
            if isinstance(item, Slot):
                source, item = call.sources[item.index], blocks[item.index]
            if isinstance(item, Tensor) and cuts:
                for dim, axis in grids.items():
                    if source is not None and source.dims[axis] is not None:
                        continue  # a block is cut already
                    place = dim - rank + item.dim()
                    cut = cuts[0][axis]
                    if place >= 0 and item.shape[place] == call.node.sizes[axis] != cut.cells:
                        item = item.narrow(place, cut.first, cut.cells)
            return item

        return _mapped(args, cut_out), _mapped(kwargs, cut_out)

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        filled, named = fill(blocks, cuts)
        result = target(*filled, **named)
        return result[index] if len(target._schema.returns) > 1 else result

    writer = _writer(target)
    if writer is None:
        return Rule(run, fresh=target is not call.node.fx.target or not may_alias(call.node.fx))

    def into(blocks: Blocks, cuts: Sequence[Cuts], out: Tensor) -> Tensor:
        filled, named = fill(blocks, cuts)
        return writer(*filled, **named, out=out)

    return Rule(run, into)


@rule("einsum")
def einsum(call: Call) -> Rule:
    """A sum of products, its constants cut along the letters of rows and columns."""
    equation = call.get("equation").replace(" ", "")
    terms, output = equation.split("->")
    letters = [output[dim] if dim is not None else "" for dim in call.node.dims]
    places = {source.name: index for index, source in enumerate(call.sources)}
    names = [call.names.get(node.name, node.name) for node in call.get("tensors")]
    operands = [places[name] if name in places else call.constants[name] for name in names]

    def run(blocks: Blocks, cuts: Sequence[Cuts]) -> Tensor:
        tensors = []
        for operand, term in zip(operands, terms.split(","), strict=True):
            if isinstance(operand, int):
                tensors.append(blocks[operand])
                continue
            for letter, cut in zip(letters, cuts[0], strict=True):
                place = term.find(letter) if letter else -1
                if place >= 0 and operand.shape[place] > 1:
                    operand = part(operand, place, cut.first, cut.cells)
            tensors.append(operand)
        return torch.einsum(equation, tensors)

    return Rule(run, fresh=False)


def _mapped(item: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(item, list):
        return [_mapped(entry, function) for entry in item]
    if isinstance(item, tuple):
        return tuple(_mapped(entry, function) for entry in item)
    if isinstance(item, dict):
        return {key: _mapped(entry, function) for key, entry in item.items()}
    return function(item)


def _writer(target: Any) -> Callable[..., Tensor] | None:
    """The variant that computes into memory that it is given, where it is known to do so."""
    name = target._schema.name.partition("::")[2]
    if name == "relu":
        return lambda x, out: aten.clamp_min.out(x, 0, out=out)
    if name not in WRITERS or target._overloadname not in ("default", "Tensor"):
        return None
    wanted = [(argument.name, str(argument.type)) for argument in target._schema.arguments]
    for overload in (getattr(target.overloadpacket, name) for name in target.overloadpacket.overloads()):
        *taken, out = overload._schema.arguments
        if out.is_out and [(argument.name, str(argument.type)) for argument in taken] == wanted:
            return overload
    return None
