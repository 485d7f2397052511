"""Reads a network's spatial operations: traces it, then walks the graph once, keeping for each tensor where the image's axes lie in it."""

import operator
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from fcn.core.errors import UserError
from fcn.graph.image import input_shape
from fcn.graph.layout import Atom, NoLayoutError, axis_of, dim_size, plain
from fcn.graph.networks import float_type, unwrapped
from fcn.graph.nodes import Edge, Graph, Node
from fcn.graph.rules import RULES, Call, Result, Value
from fcn.graph.rules.layouts import part
from fcn.graph.rules.pointwise import pointwise
from fcn.graph.trace import Trace, trace

SIDE_EFFECTS = ("_assert", "sym_", "profiler")
SHAPES_ONLY = tuple(f"new_{word}" for word in ("zeros", "ones", "full", "empty")) + tuple(
    f"{word}_like" for word in ("zeros", "ones", "full", "rand", "empty")
)

MAY_ALIAS = (  # what gives a view, or its input itself, without saying so in its schema
    *("reshape", "reshape_as", "view_as", "flatten", "unflatten", "contiguous", "to", "type_as", "expand_as", "chunk", "tensor_split"),
    *("dropout", "feature_dropout", "alpha_dropout", "movedim", "moveaxis", "swapaxes", "swapdims", "narrow", "einsum"),
)


class UnknownOperationError(UserError):
    """An operation that no rule understands; the message names it, its layer and the reason."""


def read_graph(
    network: nn.Module, input_size: int | Sequence[int] | None = None, *, record: bool = True, in_channels: int | None = None
) -> Graph:
    """The spatial operations of ``network`` at one input size.

    ``input_size`` is the size of the image, ``(height, width)`` or one number for all axes, or a whole shape ``(1, C, H, W)``; by default
    224 x 224 (256 for sequences). ``in_channels``: channels of the image; by default the first likely number with which the network runs.
    Sizes are fixed in the graph: read it again for another size; nothing is computed, so large sizes cost nothing. Where ``torch.export``
    fails, as for a network that branches on values, one run is recorded, or, if ``record`` is False, ``NotExportedError`` raised. Wrappers
    (DataParallel, ``torch.compile``) are looked through; the network is left as it was. Raises ``UnknownOperationError`` for an operation
    without a rule and ``UserError`` where the network cannot be traced.
    """
    network = unwrapped(network)
    shape = input_shape(network, input_size, in_channels)
    device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    return _walk(trace(network, random_image(shape, float_type(network), device), record=record), shape)


def random_image(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An image for one run: above 16 million numbers zeros, which take no memory. Torch's own random numbers are not touched."""
    if prod(shape) >= 2**24:
        return torch.zeros(1, device=device, dtype=dtype).expand(shape)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype).to(device)


def _walk(traced: Trace, shape: tuple[int, ...]) -> Graph:
    rank = len(shape) - 2
    values: dict[fx.Node, Value] = {}
    shapes: dict[fx.Node, tuple[int, ...]] = {}
    owners: dict[fx.Node, set[str]] = {}  # of a weight: the parameters that it comes from
    counted: set[str] = set()
    nodes: list[Node] = []
    order = {node: place for place, node in enumerate(traced.module.graph.nodes)}
    for node in traced.module.graph.nodes:
        found = node.meta.get("val")
        if isinstance(found, Tensor):
            shapes[node] = tuple(int(size) for size in found.shape)
        if node is traced.image:
            layout = (plain(shape[0]), plain(shape[1]), *((Atom(size, axis),) for axis, size in enumerate(shape[2:])))
            values[node] = Value(node.name, shape, layout, shape[2:])
            nodes.append(_node(node, "input", Result(layout, [], "input"), values[node]))
            continue
        if node.op == "placeholder":
            owners[node] = {node.name} & traced.parameters
        if node.op != "call_function" or (node.target is operator.getitem and not node.users):
            continue
        op = _op_name(node)
        reads = [source for source in node.all_input_nodes if source in values]
        if not reads or op in SHAPES_ONLY or op.startswith(SIDE_EFFECTS):
            owners[node] = set().union(*(owners.get(source, set()) for source in node.all_input_nodes))
            continue
        call = Call(node, op, rank, _arguments(node), values, shapes)
        if isinstance(found, Tensor):
            call.shape = shapes[node]
        elif isinstance(found, (list, tuple)):
            call.part_shapes = [tuple(int(size) for size in item.shape) for item in found if isinstance(item, Tensor)]
        else:
            continue
        result = _understood(call, order)
        sizes = tuple(axis.n_out for axis in result.edges[0][1])
        values[node] = Value(node.name, call.first_shape, result.layout, sizes, result.parts)
        weights = set().union(*(owners.get(source, set()) for source in node.all_input_nodes if source not in values)) - counted
        counted |= weights
        nodes.append(_node(node, op, result, values[node], sum(traced.tensors[name].numel() for name in weights)))
    outputs = {name: node.name for name, node in traced.outputs.items() if node in values}
    if not outputs:
        raise UserError("no output of the network depends on its input")
    return Graph(shape, tuple(nodes), outputs, traced.module, traced.tensors)


def _understood(call: Call, order: dict[fx.Node, int]) -> Result:
    layer = _layer(call.node)
    where = f"'{call.op}'" + (f" in layer '{layer}'" if layer else "")
    if 0 in call.first_shape:
        raise UserError(f"operation {where} gives no cells: its output is {call.first_shape}; give a larger input_size")
    rule = part if call.node.target is operator.getitem else RULES.get(call.op)
    if rule is None and _is_pointwise(call.node):
        rule = pointwise
    if rule is None:
        raise UnknownOperationError(
            f"operation {where} is not understood: no rule says which cells it reads; replace it, or leave its layer out"
        )
    try:
        _check_aliases(call, order)
        result = rule(call)
    except NoLayoutError as error:
        raise UnknownOperationError(f"operation {where} is not understood: {error}") from error
    for value, maps in result.edges:
        assert tuple(axis.n_in for axis in maps) == value.sizes, (call.op, maps, value)
    if not call.part_shapes:
        assert tuple(map(dim_size, result.layout)) == call.shape, (call.op, result.layout, call.shape)
    return result


def _check_aliases(call: Call, order: dict[fx.Node, int]) -> None:
    """Refuses a write of one tensor's data into another that shares memory with a third which is read later: it would hide a dependence."""
    name = getattr(getattr(call.node.target, "_schema", None), "name", "")
    target = call.node.args[0] if call.node.args else None
    if not name.endswith("_") or name.endswith("__") or not isinstance(target, fx.Node):
        return
    if all(source is target or source not in call.values for source in call.node.all_input_nodes):
        return
    root = target
    while may_alias(root) and root.args and isinstance(root.args[0], fx.Node):
        root = root.args[0]
    family, queue = {root}, [root]
    while queue:
        found = [user for user in queue.pop().users if user is not call.node and may_alias(user) and user not in family]
        family.update(found)
        queue += found
    for member in family:
        if any(order[user] > order[call.node] and user not in family for user in member.users):
            raise NoLayoutError("it writes into a part of a tensor that is read later")


def may_alias(node: fx.Node) -> bool:
    """Whether the result may share memory with the first argument."""
    if node.target is operator.getitem:
        return True
    schema = getattr(node.target, "_schema", None)
    return _op_name(node) in MAY_ALIAS or (schema is not None and any(value.alias_info is not None for value in schema.returns))


def _is_pointwise(node: fx.Node) -> bool:
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    plain_name = target._schema.name.split("::")[1].rstrip("_")
    packets = [target.overloadpacket, getattr(torch.ops.aten, plain_name, None)]
    overloads = [getattr(packet, name) for packet in packets if packet is not None for name in packet.overloads()]
    return any(torch.Tag.pointwise in overload.tags for overload in overloads)


def _op_name(node: fx.Node) -> str:
    if isinstance(node.target, torch._ops.OpOverload):
        name = node.target._schema.name
        return name.removeprefix("aten::").rstrip("_") if name.startswith("aten::") else name
    return getattr(node.target, "__name__", str(node.target))


def _arguments(node: fx.Node) -> dict[str, Any]:
    if not isinstance(node.target, torch._ops.OpOverload):
        return dict(enumerate(node.args))  # type: ignore[arg-type]
    names = [argument.name for argument in node.target._schema.arguments]
    defaults = {argument.name: argument.default_value for argument in node.target._schema.arguments if argument.has_default_value()}
    return {**dict.fromkeys(names), **defaults, **dict(zip(names, node.args, strict=False)), **node.kwargs}


def _layer(node: fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0] if stack else ""


def _node(node: fx.Node, op: str, result: Result, value: Value, parameters: int = 0) -> Node:
    places: dict[int, int] = {axis: place for place, dim in enumerate(value.layout) if (axis := axis_of(dim)) is not None}
    return Node(
        name=node.name,
        op=op,
        kind=result.kind,
        layer=_layer(node),
        shape=value.shape,
        sizes=value.sizes,
        dims=tuple(places.get(axis) for axis in range(len(value.sizes))),
        edges=tuple(Edge(source.name, maps) for source, maps in result.edges),
        fx=node,
        is_global=result.is_global,
        parameters=parameters,
        macs=result.macs,
    )
