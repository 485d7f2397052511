"""The block of an operation that computes each cell from the cells in the same place: the operation itself, on blocks."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx

from fcn.core.errors import NotStreamable
from fcn.graph.aten import functional
from fcn.graph.ops.blocks import BlockCall, Blocks, Cuts, Rule
from fcn.graph.ops.table import TABLE, may_alias


class Slot:
    """In a template of arguments, the place of a block."""

    def __init__(self, index: int) -> None:
        self.index = index


def bound(call: BlockCall, index: int = 0, grids: dict[int, int] | None = None) -> Rule:
    """The operation itself, its constants cut to the block where they lie on the grid; of several results the one at ``index``.

    grids: the dimensions of its operands that are axes of the image, and which; by default those of its result, if it works number by
    number.
    """
    target = functional(call.node.fx.target)
    places = {source.name: index for index, source in reversed(list(enumerate(call.sources)))}
    rank = len(call.node.shape)
    if grids is None:
        grids = grid_dims(call) if call.node.kind in ("pointwise", "merge", "concat") else {}

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


def grid_dims(call: BlockCall) -> dict[int, int]:
    """The dimensions of the result that are axes of the image, of more than one cell, and which."""
    return {dim: axis for axis, dim in enumerate(call.node.dims) if dim is not None and call.node.sizes[axis] > 1}


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
    entry = TABLE.get(target._schema.name.partition("::")[2])
    if entry is None or not entry.into or target._overloadname not in ("default", "Tensor"):
        return None
    if callable(entry.into):
        return entry.into
    wanted = [(argument.name, str(argument.type)) for argument in target._schema.arguments]
    for overload in (getattr(target.overloadpacket, name) for name in target.overloadpacket.overloads()):
        *taken, out = overload._schema.arguments
        if out.is_out and [(argument.name, str(argument.type)) for argument in taken] == wanted:
            return overload
    return None
