"""Rules for operations that compute each cell from the cells in the same place: the operation itself, on blocks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from fcn.inference.stream.rules.call import Blocks, Call, Cuts, Rule

aten = torch.ops.aten

# functions whose `out=` variant computes straight into the memory it is given
WRITERS = (
    *("add", "sub", "mul", "div", "cat", "clamp", "clamp_min"),
    *("elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "sigmoid", "silu", "tanh"),
)
RESHAPING = ("expand", "transpose", "permute", "select", "slice", "narrow", "split", "unbind", "alias", "t", "detach", "to", "contiguous")


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


def bound(call: Call) -> Rule:
    """The operation itself, its constants cut to the block where they lie on the grid."""
    target = functional(call.node.fx.target)
    places = {source.name: index for index, source in reversed(list(enumerate(call.sources)))}
    grids = {dim: axis for axis, dim in enumerate(call.node.dims) if dim is not None and call.node.sizes[axis] > 1}
    if call.node.kind not in ("pointwise", "merge"):
        grids = {}
    rank = len(call.node.shape)

    def template(item: Any) -> Any:
        if not isinstance(item, fx.Node):
            return item
        name = call.names.get(item.name, item.name)
        return Slot(places[name]) if name in places else call.constants[item.name]

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
        return target(*filled, **named)

    writer = _writer(target)
    if writer is None:
        return Rule(run, fresh=target._schema.name.partition("::")[2] not in RESHAPING)

    def into(blocks: Blocks, cuts: Sequence[Cuts], out: Tensor) -> Tensor:
        filled, named = fill(blocks, cuts)
        return writer(*filled, **named, out=out)

    return Rule(run, into)


def _mapped(item: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(item, list):
        return [_mapped(entry, function) for entry in item]
    if isinstance(item, tuple):
        return tuple(_mapped(entry, function) for entry in item)
    if isinstance(item, dict):
        return {key: _mapped(entry, function) for key, entry in item.items()}
    return function(item)


def _writer(target: Any) -> Callable[..., Tensor] | None:
    name = target._schema.name.partition("::")[2]
    if name == "relu":
        return lambda x, out: aten.clamp_min.out(x, 0, out=out)
    if name not in WRITERS or target._overloadname not in ("default", "Tensor"):
        return None
    return target.overloadpacket.out
