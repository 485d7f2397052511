"""What comes before a classifier's head must slide: every cell a function of a window of fixed geometry.

The geometry of the traced graph tells what does not. Most of it is refused. Norms with statistics over space and gates pass with a warning.
A gate is a global pool whose result multiplies the features (squeeze-and-excitation: Hu et al. 2018, arXiv:1709.01507).
"""

import warnings

from torch import fx

from fcn.core.errors import NotConvertible, UserError
from fcn.graph import Graph, Node, read_graph
from fcn.graph.networks import without_data
from fcn.graph.receptive_field import LayerField, ReceptiveField
from fcn.rewrite.convolutionalize.shapes import erase_unused

GATES = ("mul", "div")
COPIES = ("expand", "expand_as", "repeat")


def check_body(network: fx.GraphModule, unused: list[fx.Node], sources: dict[fx.Node, tuple[int, ...]], shape: tuple[int, ...]) -> None:
    """Refuses (NotConvertible) what does more than slide before the head, and warns of gates and norms that see the whole image.

    ``sources``: maps that the head reads, with the dimensions of their rows and columns. ``unused``: nodes that may only be there for the
    head. ``shape``: (1, C, H, W), larger than the trained size, so that nothing is one cell by chance.
    """
    name = network.__class__.__name__
    copies: dict[fx.Node, fx.Node] = {}
    body = fx.Graph()
    body.graph_copy(network.graph, copies)
    body.output(tuple(copies[source] for source in sources))
    erase_unused(copies[node] for node in unused if node in copies)
    if all(node.op in ("placeholder", "output") for node in body.nodes):
        return
    try:
        graph = read_graph(without_data(fx.GraphModule(network, body, name)), shape)
    except UserError as error:
        raise NotConvertible(f"{name} cannot be converted: {error}") from error
    everywhere = [_excused(graph, node, name) for node in graph.globals]
    fields = ReceptiveField(graph, ignore_global=True).layers
    for found, axes in zip(graph.outputs.values(), sources.values(), strict=True):
        layer = next(field for field in fields if field.node.name == found)
        if layer.node.dims != axes:
            raise NotConvertible(f"{name} cannot be converted: rows and columns change places before {_layer(graph, layer.node)}")
        if _period(layer) > 1:
            first = next(field for field in fields if _period(field) > 1)
            raise NotConvertible(
                f"{name} cannot be converted: {_layer(graph, first.node)} does not do the same in all cells, which are alike only every "
                f"{_period(layer)} cells before the head"
            )
    if everywhere:
        warnings.warn(
            f"{name} has gates or norms that see the whole image and not only a window ({len(everywhere)}; the first: "
            f"{', '.join(dict.fromkeys(everywhere[:3]))}); on a larger image, a cell differs from what the classifier gives for its "
            "window",
            stacklevel=3,
        )


def _excused(graph: Graph, node: Node, name: str) -> str:
    """The layer of a global node that is a gate or a norm; NotConvertible for others."""
    assert node.is_global is not None
    layer = _layer(graph, node)
    if node.is_global.cause == "norm":
        return layer
    spread = _spread(graph, node) if node.is_global.cause == "pool" else None
    if spread is not None and spread.op in GATES:
        return layer
    then = f", and '{spread.op}' gives the result to every cell" if spread else ""
    raise NotConvertible(f"{name} cannot be converted: {layer} {node.is_global.reason}{then}")


def _period(layer: LayerField) -> int:
    """After how many cells the same is done again: more than 1 where cells are up-sampled, or attend to each other in blocks."""
    return max((len(phases) for phases in layer.phases if phases), default=1)


def _spread(graph: Graph, pool: Node) -> Node | None:
    """The operation in which the result of a global pool meets the map again: one that is no gate, if there is any."""
    meeting, queue, seen = [], [pool.name], {pool.name}
    while queue:
        for name in graph.readers[queue.pop()]:
            node = graph.node(name)
            if max(node.sizes) > 1 and node.op not in COPIES:
                meeting.append(node)
            elif name not in seen:
                seen.add(name)
                queue.append(name)
    return min(meeting, key=lambda node: node.op in GATES, default=None)


def _layer(graph: Graph, node: Node) -> str:
    """The layer's path, or where it has none the operation and the next layer with one."""
    if node.layer:
        return f"layer '{node.layer}'"
    later, seen = node.name, set()
    queue = [node.name]
    while queue:
        later = queue.pop(0)
        if graph.node(later).layer:
            return f"'{node.op}' before layer '{graph.node(later).layer}'"
        queue += [name for name in graph.readers[later] if name not in seen]
        seen.update(queue)
    return f"'{node.op}'"
