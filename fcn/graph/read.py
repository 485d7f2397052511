"""Reads a network's spatial operations: traces it, then walks the graph once, keeping for each tensor where the image's axes lie in it."""

import operator
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, fx, nn

from fcn.core.errors import Refusal, UserError
from fcn.graph.aten import SHAPE_ONLY, arguments, is_in_place, layer_path, op_name
from fcn.graph.image import input_shape
from fcn.graph.layout import Atom, NoLayoutError, axis_of, dim_size, plain
from fcn.graph.networks import float_type, unwrapped
from fcn.graph.nodes import Edge, Graph, Node
from fcn.graph.ops import facets, missing, read_later
from fcn.graph.ops.maps import Call, Result, Value
from fcn.graph.trace import Trace, trace

SIDE_EFFECTS = ("_assert", "sym_", "profiler")


class UnknownOperationError(Refusal):
    """An operation that the table of operations does not understand: its name, its layer and the reason."""


def read_graph(
    network: nn.Module, input_size: int | Sequence[int] | None = None, *, record: bool = True, in_channels: int | None = None
) -> Graph:
    """The spatial operations of ``network`` at one input size.

    ``input_size``: size of the image, ``(height, width)`` or one number for all axes, or a whole shape ``(1, C, H, W)``. Default: 224 x 224
    (256 for sequences). ``in_channels``: channels of the image; by default the first likely number with which the network runs.
    Sizes are fixed in the graph: read it again for another size; nothing is computed, so large sizes cost nothing. Where ``torch.export``
    fails, as for a network that branches on values, one run is recorded, or, if ``record`` is False, ``NotExportedError`` raised. Wrappers
    (DataParallel, ``torch.compile``) are looked through; the network is left as it was. Raises ``UnknownOperationError`` for an operation
    that is not understood, and ``UserError`` where the network cannot be traced.
    """
    network = unwrapped(network)
    shape = input_shape(network, input_size, in_channels)
    device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    return walk(trace(network, random_image(shape, float_type(network), device), record=record), shape)


def random_image(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An image for one run: above 16 million numbers zeros, which take no memory. Torch's own random numbers are not touched."""
    if prod(shape) >= 2**24:
        return torch.zeros(1, device=device, dtype=dtype).expand(shape)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype).to(device)


def walk(traced: Trace, shape: tuple[int, ...]) -> Graph:
    """The graph of a trace for an image of that ``shape``. Raises as ``read_graph``."""
    rank = len(shape) - 2
    values: dict[fx.Node, Value] = {}
    shapes: dict[fx.Node, tuple[int, ...]] = {}
    owners: dict[fx.Node, set[str]] = {}  # of a weight: the parameters that it comes from
    counted: set[str] = set()
    nodes: list[Node] = []
    for node in traced.graph.nodes:
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
        op = op_name(node)
        reads = [source for source in node.all_input_nodes if source in values]
        if not reads or op in SHAPE_ONLY or op.startswith(SIDE_EFFECTS):
            owners[node] = set().union(*(owners.get(source, set()) for source in node.all_input_nodes))
            continue
        call = Call(node, op, rank, arguments(node), values, shapes)
        if isinstance(found, Tensor):
            call.shape = shapes[node]
        elif isinstance(found, (list, tuple)):
            call.part_shapes = [tuple(int(size) for size in item.shape) for item in found if isinstance(item, Tensor)]
        else:
            continue
        result, macs = _understood(call)
        sizes = tuple(axis.n_out for axis in result.edges[0][1])
        values[node] = Value(node.name, call.first_shape, result.layout, sizes, result.parts)
        weights = set().union(*(owners.get(source, set()) for source in node.all_input_nodes if source not in values)) - counted
        counted |= weights
        nodes.append(_node(node, op, result, values[node], sum(traced.tensors[name].numel() for name in weights), macs))
    outputs = {name: node.name for name, node in traced.outputs.items() if node in values}
    if not outputs:
        raise UserError("no output of the network depends on its input")
    return Graph(shape, tuple(nodes), outputs, traced.graph, traced.tensors)


def _understood(call: Call) -> tuple[Result, int]:
    """What the operation does to cells, and its multiply-adds."""
    layer = layer_path(call.node)
    where = f"'{call.op}'" + (f" in layer '{layer}'" if layer else "")
    if 0 in call.first_shape:
        raise UserError(f"operation {where} gives no cells: its output is {call.first_shape}; give a larger input_size")
    entry = facets(call.node)
    try:
        if entry.maps is None:
            raise NoLayoutError(f"{missing('maps')}; replace it, or leave its layer out")
        written = call.node.all_input_nodes[1:] if is_in_place(call.node) else []
        if any(source in call.values for source in written) and read_later(call.node):  # it would hide a dependence
            raise NoLayoutError("it writes into a part of a tensor that is read later")
        result = entry.maps(call)
    except NoLayoutError as error:
        raise UnknownOperationError(
            f"operation {where} is not understood: {error}", layer=layer, operation=call.op, reason=str(error)
        ) from error
    for value, maps in result.edges:
        assert tuple(axis.n_in for axis in maps) == value.sizes, (call.op, maps, value)
    if not call.part_shapes:
        assert tuple(map(dim_size, result.layout)) == call.shape, (call.op, result.layout, call.shape)
    return result, entry.macs(call) if entry.macs is not None else 0


def _node(node: fx.Node, op: str, result: Result, value: Value, parameters: int = 0, macs: int = 0) -> Node:
    places: dict[int, int] = {axis: place for place, dim in enumerate(value.layout) if (axis := axis_of(dim)) is not None}
    return Node(
        name=node.name,
        op=op,
        kind=result.kind,
        layer=layer_path(node),
        shape=value.shape,
        sizes=value.sizes,
        dims=tuple(places.get(axis) for axis in range(len(value.sizes))),
        edges=tuple(Edge(source.name, maps) for source, maps in result.edges),
        fx=node,
        is_global=result.is_global,
        parameters=parameters,
        macs=macs,
        space=next((place for place, dim in enumerate(value.layout) if [atom.axis for atom in dim] == [0, 1]), None),
    )
