"""From a network's graph to the instructions that a stream runs: rules in place of nodes.

Batch norm is folded into the convolution before it, and what changes nothing is left out. What needs all of the image (pools and norms over
space) is split off as statistics, which are gathered first.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fcn.core.errors import NotStreamable
from fcn.core.names import said
from fcn.graph import Graph, Node
from fcn.graph.aten import arguments, is_in_place
from fcn.graph.axis import AxisMap, Bins, Whole, identity
from fcn.graph.history import remembered
from fcn.graph.ops import facets, missing, read_later
from fcn.graph.ops.blocks import BlockCall, Cuts, Folded, Rule, part
from fcn.graph.ops.itself import bound
from fcn.graph.ops.layouts import part_block, view_block
from fcn.graph.ops.pads import pads_others
from fcn.graph.ops.statistics import Gather
from fcn.inference.stream.arrangement import cellwise, is_turned, kept, turned

DIRECT = ("cpu", "cuda")  # devices on which functions are known to write right into strided memory; on others results are copied there


@dataclass(frozen=True)
class Read:
    """One source of an instruction and how its rows and columns are read; ``maps`` is None for a statistic, which is read whole."""

    source: str
    maps: tuple[AxisMap, AxisMap] | None


@dataclass(frozen=True)
class Instruction:
    """One operation of the graph as the stream runs it.

    ``sizes`` and ``dims`` are rows and columns: how many, and which dimension of the tensor.
    """

    name: str
    layer: str
    op: str
    shape: tuple[int, ...]
    sizes: tuple[int, int]
    dims: tuple[int | None, int | None]
    reads: tuple[Read, ...]
    rule: Rule
    macs: int = 0
    whole_rows: bool = False  # reads all columns at once, so that the image cannot be cut into strips


@dataclass(frozen=True)
class Statistic:
    """One thing to be gathered: the instruction whose result is read, and how to begin."""

    name: str
    layer: str
    op: str
    source: str
    dims: tuple[int | None, int | None]  # of its result: which are rows and columns, where it has any
    begin: Callable[[], Gather]


@dataclass
class Program:
    """What there is to run: instructions in order, the input first; statistics; the name of the instruction that gives the output.

    ``level`` says how many passes over the image come before a value can be computed: 0, or one more than that of what a statistic
    reads. ``small`` are the instructions that read nothing but statistics and each other: they are computed once.
    """

    instructions: dict[str, Instruction] = field(default_factory=dict)
    statistics: dict[str, Statistic] = field(default_factory=dict)
    level: dict[str, int] = field(default_factory=dict)
    small: set[str] = field(default_factory=set)
    output: str = ""
    like: Tensor = field(default_factory=lambda: torch.empty(0))  # of the image's type, on its device

    @property
    def input(self) -> Instruction:
        return next(iter(self.instructions.values()))


def compile_graph(graph: Graph, *, dtype: torch.dtype | None = None, folded: Folded | None = None) -> Program:
    """The program of a graph. ``dtype``: the one that autocast computes convolutions in. ``folded``: the weights of the network's program
    for another size.

    Raises NotStreamable, naming the layer and the operation, where an operation cannot be computed in bands of rows.
    """
    return _Compiler(graph, dtype, folded or Folded()).run()


class _Compiler:
    def __init__(self, graph: Graph, dtype: torch.dtype | None, weights: Folded) -> None:
        self.graph, self.dtype, self.weights = graph, dtype, weights
        self.constants = graph.constants()
        self.program = Program()
        self.names: dict[str, str] = {}  # fx node -> the instruction that has its value
        self.nodes: dict[str, Node] = {}  # instruction -> a node with its shape and dims
        self.affine: dict[str, tuple[Tensor, Tensor]] = {}
        self.folded: set[str] = set()
        self.maps: dict[AxisMap, AxisMap] = {}

    def run(self) -> Program:
        if found := remembered(self.graph):
            where = f"layer '{found.layer}'" if found.layer else "the network"
            reason = f"every run changes its buffer '{found.name}', and the result depends on it"
            raise NotStreamable(
                f"{said('inference', 'stream')} cannot compute {where}: {reason}; change the buffer in training only",
                layer=found.layer,
                operation=found.operation,
                reason=reason,
            )
        for node in self.graph.globals:
            if node.is_global and node.is_global.cause == "attention":
                raise self._refusal(node, node.is_global.reason)
        for step in (self._fold, self._add):
            for node in self.graph:
                try:
                    step(node)
                except NotStreamable as error:
                    raise self._refusal(node, str(error)) from error
        self.program.output = self._shown(self._resolve(self.graph.output.name))
        return self.program

    def _shown(self, name: str) -> str:
        """The instruction whose result is the output: where that is a statistic, one that hands it on."""
        if name not in self.program.statistics:
            return name
        node = self.nodes[name]
        maps = identity(node.sizes[0]), identity(node.sizes[1])
        self._keep(replace(node, name=f"{name}.shown", macs=0), (Read(name, maps),), Rule(lambda blocks, cuts: blocks[0], fresh=False))
        return f"{name}.shown"

    def _refusal(self, node: Node, reason: str) -> NotStreamable:
        layer = node.layer or node.name
        return NotStreamable(
            f"{said('inference', 'stream')} cannot compute '{node.op}' in layer '{layer}' in bands of rows: {reason}; "
            f"use {said('inference', 'windows')}",
            layer=layer,
            operation=node.op,
            reason=reason,
        )

    def _resolve(self, name: str) -> str:
        while name in self.names:
            name = self.names[name]
        return name

    def _fold(self, node: Node) -> None:
        """Note a batch norm in evaluation mode whose source is a convolution that nobody else reads."""
        norm = facets(node.fx)
        if norm.affine is None or node.is_global:
            return
        source = self.graph.node(node.edges[0].source)
        if not facets(source.fx).folds or len(self.graph.readers[source.name]) > 1 or source.is_global:
            return
        if source.name in self.graph.outputs.values() or _has_no_grid(source):
            return
        self.affine[source.name] = norm.affine(self._call(node))
        self.folded.add(node.name)

    def _call(self, node: Node) -> BlockCall:
        sources = tuple(self.nodes.get(self._resolve(edge.source), self.graph.node(edge.source)) for edge in node.edges)
        names = {source.name: self._resolve(source.name) for source in node.fx.all_input_nodes}
        return BlockCall(node, sources, arguments(node.fx), self.constants, names, self.dtype, self.affine.get(node.name), self.weights)

    def _add(self, node: Node) -> None:
        if node.kind == "input":
            image = node.fx.meta["val"]
            self.program.like = torch.empty(0, dtype=image.dtype, device=image.device)
            self._keep(node, (), Rule(lambda blocks, cuts: blocks[0]))
            return
        if _is_random(node):
            raise NotStreamable("it is random")
        source = self._resolve(node.edges[0].source)
        if node.name in self.folded or facets(node.fx).cuts or self._is_nothing(node):
            self.names[node.name] = source
        elif node.fx.target is operator.getitem:
            self._part(node)
        else:
            self._operation(node)
        if not is_in_place(node.fx):
            return
        target: Any = node.fx.args[0]
        if any(self._resolve(other.name) != self._resolve(target.name) for other in read_later(node.fx)):
            raise NotStreamable("it writes over a tensor of which a view is read later")
        if node.name in self.program.instructions:
            self.names[source] = node.name  # whoever reads the overwritten tensor later means the new value

    def _is_nothing(self, node: Node) -> bool:
        """Whether the operation hands its source on: a crop, a reshape or a cast to the shape and the type that it has already."""
        source = self.graph.node(node.edges[0].source)
        same = node.shape == source.shape and all(axis.is_identity for axis in node.maps)
        if not facets(node.fx).moves or not same or pads_others(node):
            return False
        before, after = (found[0] if isinstance(found, (list, tuple)) else found for found in (source.fx.meta["val"], node.fx.meta["val"]))
        return bool(before.dtype == after.dtype and before.device == after.device)

    def _operation(self, node: Node) -> None:
        rows, columns = ([edge.maps[axis] for edge in node.edges] for axis in (0, 1))
        call = self._call(node)
        pooled = node.kind == "pool" and any(map(_is_pooled, (*rows, *columns)))
        if pooled or any(map(_is_global, rows)):
            self._global(node, call)
            return
        if node.is_global and node.is_global.cause in ("attention", "weights", "flatten", "concat"):
            raise NotStreamable(node.is_global.reason)
        whole_rows = any(map(_is_global, columns))
        if node.kind in ("conv", "transposed", "pool") and None in node.dims and not _has_no_grid(node):
            raise NotStreamable("an axis of one cell has been lost in a reshape before it")
        entry = facets(node.fx)
        if _has_no_grid(node) and all(map(_has_no_grid, call.sources)) and not entry.moves:
            made = bound(call)  # all of it is one cell
        elif node.space is not None and entry.block is not view_block and node.kind != "window":
            made = cellwise(call, entry)
        elif entry.block is not None:
            call = replace(call, node=kept(node))
            made = turned(entry.block, call) if is_turned(node) else entry.block(call)
        else:
            raise NotStreamable(missing("block"))
        if whole_rows and node.dims[1] is not None and node.sizes[1] > 1:
            made = _cut_out(made, node.dims[1])
        self._keep(node, self._reads(node), made, whole_rows)

    def _global(self, node: Node, call: BlockCall) -> None:
        """A pool becomes a statistic; a norm one and a multiplication that uses it. Over what is small they are run as they are."""
        source, entry = self._resolve(node.edges[0].source), facets(node.fx)
        if all(self._is_small(self._resolve(edge.source)) for edge in node.edges):
            self._keep(node, self._reads(node), bound(call))
        elif entry.gather is not None and len(node.edges) == 1:
            begin = partial(entry.gather, call)
            begin()  # refuses what it cannot gather
            name, dims = (node.name, node.dims) if entry.rest is None else (f"{node.name}.statistic", (None, None))
            self.program.level[name] = self.program.level[source] + 1
            self.program.statistics[name] = Statistic(name, node.layer, node.op, source, (dims[0], dims[1]), begin)
            if entry.rest is None:
                self.nodes[node.name] = node
            else:
                self._keep(node, (Read(source, _locals(node.maps)), Read(name, None)), entry.rest(call))
        else:
            assert node.is_global is not None
            gathered = node.is_global.cause in ("pool", "norm", "batch", "scan")
            raise NotStreamable(node.is_global.reason + (f", and {missing('gather')}" if gathered else ""))

    def _part(self, node: Node) -> None:
        """One tensor of a tuple: a crop of what was cut up, or one of several results."""
        origin, index = self.graph.node(node.edges[0].source), node.fx.args[1]
        assert isinstance(index, int)
        if facets(origin.fx).cuts:
            source = self._resolve(origin.name)
            if self.nodes[source].space is not None:
                raise NotStreamable("it flattens space")
            call = BlockCall(node, (self.nodes[source],), arguments(origin.fx), self.constants, {})
            self._keep(node, (Read(source, (node.maps[0], node.maps[1])),), part_block(call, index, origin))
        elif index == 0:
            self.names[node.name] = self._resolve(origin.name)
        elif index == 1 and (second := facets(origin.fx).second) is not None and node.shape == origin.shape and not is_turned(origin):
            self._keep(node, self._reads(origin), second(self._call(origin)))
        elif (
            facets(origin.fx).block is not bound
            or origin.is_global
            or origin.name not in self.program.instructions
            or node.shape != origin.shape
        ):
            raise NotStreamable("only the first of its results can be computed so")
        else:
            self._keep(node, self._reads(origin), bound(self._call(origin), index))

    def _reads(self, node: Node) -> tuple[Read, ...]:
        return tuple(Read(self._resolve(edge.source), self._shared(edge.maps)) for edge in node.edges)

    def _shared(self, maps: Sequence[AxisMap]) -> tuple[AxisMap, AxisMap]:
        """The maps of rows and columns, equal ones being one object: each makes a table of its own when it is asked."""
        return self.maps.setdefault(maps[0], maps[0]), self.maps.setdefault(maps[1], maps[1])

    def _is_small(self, name: str) -> bool:
        return name in self.program.small or name in self.program.statistics

    def _keep(self, node: Node, reads: tuple[Read, ...], made: Rule, whole_rows: bool = False) -> None:
        node = kept(node)
        for axis in (0, 1):
            if node.sizes[axis] > 1 and node.dims[axis] is None:
                raise NotStreamable("it flattens space")
        sizes, dims = (node.sizes[0], node.sizes[1]), (node.dims[0], node.dims[1])
        program = self.program
        program.level[node.name] = max((program.level[read.source] for read in reads), default=0)
        read_cells = max((read.maps[0].n_in * read.maps[1].n_in for read in reads if read.maps), default=0)
        if all(self._is_small(read.source) for read in reads) and sizes[0] * sizes[1] <= read_cells:
            program.small.add(node.name)
        if program.like.device.type not in DIRECT:
            made = replace(made, into=None)
        self.nodes[node.name] = node
        program.instructions[node.name] = Instruction(
            node.name, node.layer, node.op, node.shape, sizes, dims, reads, made, node.macs, whole_rows
        )


def _is_global(axis: AxisMap) -> bool:
    return _is_pooled(axis) and axis.n_in > 1


def _is_pooled(axis: AxisMap) -> bool:
    return isinstance(axis, Whole | Bins) and not axis.is_identity


def _has_no_grid(node: Node) -> bool:
    return node.dims == (None, None) and node.sizes == (1, 1)


def _locals(maps: Sequence[AxisMap]) -> tuple[AxisMap, AxisMap]:
    """What is left of a norm's maps when its statistics are known."""
    rows, columns = (axis.local or axis if isinstance(axis, Whole) else axis for axis in maps)
    return rows, columns


def _cut_out(made: Rule, dim: int) -> Rule:
    """The rule of what computes all columns at once, for the columns that are asked for."""

    def run(blocks: Sequence[Tensor], cuts: Sequence[Cuts]) -> Tensor:
        return part(made.run(blocks, cuts), dim, cuts[0][1].first, cuts[0][1].cells)

    return replace(made, run=run, into=None)


def _is_random(node: Node) -> bool:
    """Whether the operation draws numbers: not a dropout that is told that nothing is trained."""
    given = arguments(node.fx)
    on = given.get("train", given.get("training", given.get("dropout_p", True)))
    return bool(on) and torch.Tag.nondeterministic_seeded in getattr(node.fx.target, "tags", ())
