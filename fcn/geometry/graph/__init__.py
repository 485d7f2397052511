"""A network's spatial operations, read from its exported graph: see ``read_graph``, ``Graph`` and ``Node``."""

from fcn.geometry.graph.nodes import Edge, Global, Graph, Node
from fcn.geometry.graph.read import UnknownOperationError, may_alias, read_graph
from fcn.geometry.graph.trace import NotExportedError

__all__ = ["Edge", "Global", "Graph", "Node", "NotExportedError", "UnknownOperationError", "may_alias", "read_graph"]
