"""Whether a network's result depends on its earlier runs: on a buffer that its ``forward`` reads and changes, such as a running mean.

A graph holds the buffer's values at the time of the export. So its result is that of one run, and no later one.
"""

from typing import NamedTuple

from torch import fx

from fcn.graph.aten import layer_path, may_write, op_name
from fcn.graph.nodes import Graph

WHOLLY = ("copy", "fill", "zero")  # what they write over is gone, all of it


class Remembered(NamedTuple):
    """A buffer that every run changes and reads: its name, and the layer and the operation that read it first."""

    name: str
    layer: str
    operation: str


def remembered(graph: Graph) -> Remembered | None:
    """The first buffer whose old values the result depends on, although the network writes over them; None where there is none."""
    results = {node for node in graph.traced.nodes if node.name in graph.outputs.values()}
    for node in graph.traced.nodes:
        readers = old_readers(node) if node.name in graph.tensors and is_changed(node) else []
        if reached(readers) & results:
            first = next((reader for reader in readers if layer_path(reader)), readers[0])
            return Remembered(str(node.meta.get("path", node.name)), layer_path(first), op_name(first))
    return None


def is_changed(node: fx.Node) -> bool:
    """Whether something writes into the tensor, or the module has another one in its place after the run."""
    return bool(node.meta.get("replaced")) or any(may_write(user) and user.args[0] is node for user in node.users)


def old_readers(node: fx.Node) -> list[fx.Node]:
    """Who reads the tensor before all of it is written over."""
    readers = []
    for user in sorted(node.users):
        if may_write(user) and op_name(user) in WHOLLY and user.args[0] is node and node not in user.args[1:]:
            break
        readers.append(user)
    return readers


def reached(nodes: list[fx.Node]) -> set[fx.Node]:
    """What is computed from ``nodes``, they among it. What they write into counts as well."""
    found: set[fx.Node] = set()
    queue = list(nodes)
    while queue:
        node = queue.pop()
        if node in found:
            continue
        found.add(node)
        queue += node.users
        if may_write(node) and isinstance(node.args[0], fx.Node):
            queue += [user for user in node.args[0].users if user > node]
    return found
