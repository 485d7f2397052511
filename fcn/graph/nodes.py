"""The records that a network's graph is made of: nodes, the edges they read through, and what makes a node global.

A node stands for one operation on the image's data (operations on weights alone are not listed). Its values lie on a grid: ``sizes``
cells along each axis of the image. Each edge to a source carries one exact ``AxisMap`` per axis, from the node's cells to the source's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, fx

from fcn.core.errors import UserError
from fcn.graph.aten import FILLED, arguments, op_name
from fcn.graph.axis import AxisMap, Window

Kind = Literal["input", "conv", "transposed", "pool", "unpool", "resize", "shuffle", "pad", "crop", "window", "linear", "product", "norm"]
AnyKind = Kind | Literal["pointwise", "merge", "concat", "layout", "reduce", "attention"]
Cause = Literal["pool", "norm", "batch", "scan", "attention", "resize", "concat", "flatten", "weights", "shift"]


@dataclass(frozen=True)
class Global:
    """Why a node's cells depend on more than a window whose geometry is fixed: the cause, and a sentence for people."""

    cause: Cause
    reason: str


@dataclass(frozen=True)
class Edge:
    """One reading: the name of the node that is read, and along each axis which of its cells."""

    source: str
    maps: tuple[AxisMap, ...]


@dataclass(frozen=True)
class Node:
    """One operation.

    ``name`` is unique; ``op`` is aten's name without overload; ``layer`` is the module's path ("layer4.2.conv3"). ``shape`` is the
    output's. ``sizes`` is its grid, one size per axis of the image. ``dims`` says which dimension of the tensor each axis is; None: none,
    or one that it shares with another axis. ``space`` is the dimension that rows and columns share, if one is flattened space and nothing
    else. ``parameters`` are counted once, at their first user; ``macs`` are multiply-adds. ``fx`` is the
    node of the traced graph, with the operator and its arguments, for those who execute it.
    """

    name: str
    op: str
    kind: AnyKind
    layer: str
    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    dims: tuple[int | None, ...]
    edges: tuple[Edge, ...]
    fx: fx.Node
    is_global: Global | None = None
    parameters: int = 0
    macs: int = 0
    space: int | None = None

    @property
    def maps(self) -> tuple[AxisMap, ...]:
        """The maps of the first edge: those of the data in a convolution or a pool."""
        return self.edges[0].maps if self.edges else ()

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple(getattr(axis, "kernel", 1) for axis in self.maps)

    @property
    def stride(self) -> tuple[Any, ...]:
        """Input cells per output cell: ints, or Fractions where the operation up-samples."""
        ratios = [axis.ratio if axis.is_local else 1 for axis in self.maps]
        return tuple(ratio if ratio != int(ratio) else int(ratio) for ratio in ratios)

    @property
    def dilation(self) -> tuple[int, ...]:
        return tuple(getattr(axis, "dilation", 1) for axis in self.maps)

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Before and after, along each axis. What a pool adds in ceil mode is in the second."""
        return tuple(getattr(axis, "padding", (0, 0)) for axis in self.maps)

    @property
    def groups(self) -> int:
        """Into how many groups a convolution splits its channels; 1 for all else."""
        given = arguments(self.fx).get("groups")
        return given if isinstance(given, int) else 1

    @property
    def border(self) -> tuple[str, ...]:
        return tuple(axis.border if isinstance(axis, Window) else "zero" for axis in self.maps)


@dataclass(frozen=True)
class Graph:
    """A network's operations at one input size, in an order in which they can be run.

    ``outputs`` maps the network's outputs to nodes: the keys of a dict, the places of a list ("0", "1", nested "0.1"), or "out" for a
    tensor. ``tensors`` holds parameters, buffers and constants by the name of their placeholder in ``traced``, torch's graph.
    """

    input_shape: tuple[int, ...]
    nodes: tuple[Node, ...]
    outputs: dict[str, str]
    traced: fx.Graph
    tensors: dict[str, Tensor | torch.nn.Parameter]

    @cached_property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """For each node, the nodes that read it."""
        readers: dict[str, dict[str, None]] = {node.name: {} for node in self.nodes}
        for node in self.nodes:
            for edge in node.edges:
                readers[edge.source][node.name] = None
        return {name: tuple(users) for name, users in readers.items()}

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def node(self, name: str) -> Node:
        """The node of this unique name."""
        return self._by_name[name]

    def __getitem__(self, name: str) -> Node:
        """The last node of a layer, by the layer's path ("layer4" gives that of "layer4.2.relu"), or else the node of that name."""
        inside = [node for node in self.nodes if node.layer == name or node.layer.startswith(name + ".")]
        if inside:
            return inside[-1]
        if name in self._by_name:
            return self._by_name[name]
        layers = sorted({node.layer.split(".")[0] for node in self.nodes if node.layer})
        raise UserError(f"no layer or operation '{name}' in this network; its first-level layers are {', '.join(layers) or '(none)'}")

    @property
    def input(self) -> Node:
        return self.nodes[0]

    def constants(self) -> dict[str, Tensor]:
        """What nodes read besides the image: weights, buffers, and what is computed from them alone, by the name of their fx node.

        For those who execute nodes: ``node.fx.args`` refers to these and to other nodes. Computed ones (standardized weights, position
        grids) are evaluated here, once, without gradients.
        """
        known: dict[fx.Node, Any] = {}
        moving = set(self._by_name)
        device = next((tensor.device for tensor in self.tensors.values()), torch.device("cpu"))
        with torch.no_grad():
            for node in self.traced.nodes:
                if node.op == "placeholder" and node.name in self.tensors:
                    known[node] = self.tensors[node.name]
                elif node.op == "call_function" and node.name not in moving:
                    given = {source: known[source] for source in node.all_input_nodes if source in known}
                    name = op_name(node)
                    if name.startswith("new_") or name in FILLED:  # takes type and device from its source, and at most its shape
                        given = {source: torch.empty((), dtype=source.meta["val"].dtype, device=device) for source in node.all_input_nodes}
                    if len(given) == len(node.all_input_nodes):
                        args, kwargs = fx.node.map_arg((node.args, node.kwargs), given.__getitem__)
                        known[node] = node.target(*args, **kwargs)
                        if name in FILLED:  # one number, however large the image, unless some of it is written over
                            filled = known[node].expand(node.meta["val"].shape)
                            known[node] = filled if all(user.name in moving for user in node.users) else filled.clone()
        return {node.name: value for node, value in known.items() if isinstance(value, Tensor)}

    @property
    def rank(self) -> int:
        """Axes of space: 1 for sequences, 2 for images, 3 for volumes."""
        return len(self.input.sizes)

    @property
    def output(self) -> Node:
        """The output called "out", or the first."""
        return self.node(self.outputs["out"] if "out" in self.outputs else next(iter(self.outputs.values())))

    @property
    def globals(self) -> tuple[Node, ...]:
        """The nodes whose cells depend on more than a fixed window."""
        return tuple(node for node in self.nodes if node.is_global)
