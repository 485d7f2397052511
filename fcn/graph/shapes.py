"""A run of shapes alone, on torch's meta device: it does no arithmetic, takes no memory, and costs milliseconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from fcn.graph.networks import float_type


class Shape(tuple[int, ...]):
    """A tensor's shape, where other values are kept as they are."""


@dataclass(frozen=True)
class Failure:
    """What stands for the value of an operation that cannot be run on these shapes, and of all that reads it."""

    error: Exception


@contextmanager
def without_arithmetic() -> Iterator[None]:
    """Within it, what a network makes on its way, such as coordinates, has no data either."""
    with torch.no_grad(), torch.device("meta"):
        yield


def run_shapes(network: fx.GraphModule, hollow: nn.Module, shape: tuple[int, ...]) -> dict[fx.Node, Any]:
    """What every node of ``network`` gives for an image of ``shape``: tensors as a ``Shape``. hollow: its copy ``without_data``."""
    run = _Run(network, hollow)
    with without_arithmetic():
        run.run(torch.empty(shape, dtype=float_type(network)))
    return run.found


def shapes_in(value: Any) -> list[Shape]:
    """The shapes of the tensors in what a node gives: one, or those of a list or a dict."""
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Shape)]


class _Run(fx.Interpreter):
    def __init__(self, network: fx.GraphModule, hollow: nn.Module) -> None:
        super().__init__(hollow, graph=network.graph)
        self.found: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        failures = [self.env[source] for source in n.all_input_nodes if isinstance(self.env.get(source), Failure)]
        try:
            value = failures[0] if failures else super().run_node(n)
        except Exception as error:  # the operation's own complaint
            value = Failure(error)
        self.found[n] = pytree.tree_map(lambda leaf: Shape(leaf.shape) if isinstance(leaf, Tensor) else leaf, value)
        return value
