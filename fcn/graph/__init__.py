"""A network's spatial operations, read from its exported graph: see ``read_graph``, ``Graph`` and ``Node``."""

from fcn.graph.nodes import Edge, Global, Graph, Node
from fcn.graph.read import UnknownOperationError, read_graph
from fcn.graph.trace import NotExportedError

__all__ = ["Edge", "Global", "Graph", "Node", "NotExportedError", "UnknownOperationError", "read_graph"]
