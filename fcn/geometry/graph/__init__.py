"""A network's spatial operations, read from its exported graph: see ``read_graph``, ``Graph`` and ``Node``."""

from fcn.geometry.graph.nodes import Edge, Global, Graph, Node
from fcn.geometry.graph.read import UnknownOperationError, may_alias, read_graph

__all__ = ["Edge", "Global", "Graph", "Node", "UnknownOperationError", "may_alias", "read_graph"]
