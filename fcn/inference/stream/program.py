"""From a network's graph to the operations that a stream runs: rules in place of nodes, batch norm folded into the convolution before it,
what changes nothing left out, and what needs all of the image (pools and norms over space) split off as statistics to be gathered first.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx

from fcn.core.errors import UserError
from fcn.graph import Graph, Node, may_alias
from fcn.graph.axis import AxisMap, Bins, Whole, identity
from fcn.inference.stream.rules import RULES, Call, Cuts, NoRuleError, Rule, bound, part, precise
from fcn.inference.stream.rules.grids import VIEWS
from fcn.inference.stream.statistics import NORMS, POOLS, Moments, Pool, Statistic

SAME = ("alias", "contiguous", "detach", "dropout", "feature_dropout", "alpha_dropout", "lift_fresh", "lift_fresh_copy")
DIRECT = ("cpu", "cuda")  # devices on which functions are known to write right into strided memory; on others results are copied there
PARTS = ("chunk", "split", "split_with_sizes", "tensor_split", "unsafe_split", "unsafe_chunk", "unbind")


@dataclass(frozen=True)
class Read:
    """One source of an operation and how its rows and columns are read; ``maps`` is None for a statistic, which is read whole."""

    source: str
    maps: tuple[AxisMap, AxisMap] | None


@dataclass(frozen=True)
class Operation:
    """One operation as the stream runs it. ``sizes`` and ``dims`` are rows and columns: how many, and which dimension of the tensor."""

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


@dataclass
class Program:
    """What there is to run: operations in order, the input first; statistics; the name of the operation that is the output.

    ``level`` says how many passes over the image come before a value can be computed: 0, or one more than that of what a statistic
    reads. ``small`` are the operations that read nothing but statistics and each other: they are computed once.
    """

    operations: dict[str, Operation] = field(default_factory=dict)
    statistics: dict[str, Statistic] = field(default_factory=dict)
    level: dict[str, int] = field(default_factory=dict)
    small: set[str] = field(default_factory=set)
    output: str = ""
    like: Tensor = field(default_factory=lambda: torch.empty(0))  # of the image's type, on its device

    @property
    def input(self) -> Operation:
        return next(iter(self.operations.values()))


def compile_graph(graph: Graph, *, dtype: torch.dtype | None = None) -> Program:
    """The program of a graph. ``dtype``: the one that autocast computes convolutions in.

    Raises UserError, naming the layer and the operation, where an operation cannot be computed in bands of rows.
    """
    return _Compiler(graph, dtype).run()


class _Compiler:
    def __init__(self, graph: Graph, dtype: torch.dtype | None) -> None:
        self.graph, self.dtype = graph, dtype
        self.constants = graph.constants()
        self.program = Program()
        self.names: dict[str, str] = {}  # fx node -> the operation that has its value
        self.nodes: dict[str, Node] = {}  # operation -> a node with its shape and dims
        self.tuples: dict[str, tuple[str, int, list[int]]] = {}  # tuple -> its source, the dimension that is cut, where
        self.affine: dict[str, tuple[Tensor, Tensor]] = {}
        self.folded: set[str] = set()

    def run(self) -> Program:
        for node in self.graph.globals:
            if node.is_global and node.is_global.cause == "attention":
                raise self._refusal(node, node.is_global.reason)
        for step in (self._fold, self._add):
            for node in self.graph:
                try:
                    step(node)
                except NoRuleError as error:
                    raise self._refusal(node, str(error)) from error
                except Exception as error:  # what no rule foresees is refused as well, so that another way can be taken
                    raise self._refusal(node, f"{type(error).__name__}: {error}") from error
        self.program.output = self._shown(self._resolve(self.graph.output.name))
        return self.program

    def _shown(self, name: str) -> str:
        """The operation whose result is the output: where that is a statistic, one that hands it on."""
        if name not in self.program.statistics:
            return name
        node = self.nodes[name]
        maps = identity(node.sizes[0]), identity(node.sizes[1])
        self._keep(replace(node, name=f"{name}.shown", macs=0), (Read(name, maps),), Rule(lambda blocks, cuts: blocks[0], fresh=False))
        return f"{name}.shown"

    def _refusal(self, node: Node, reason: str) -> UserError:
        layer = node.layer or node.name
        return UserError(
            f"inference=stream cannot compute '{node.op}' in layer '{layer}' in bands of rows: {reason}; use inference=windows"
        )

    def _resolve(self, name: str) -> str:
        while name in self.names:
            name = self.names[name]
        return name

    def _fold(self, node: Node) -> None:
        """Note a batch norm in evaluation mode whose source is a convolution that nobody else reads."""
        if node.op not in ("batch_norm", "_native_batch_norm_legit_no_training") or node.is_global:
            return
        source = self.graph.node(node.edges[0].source)
        if source.op not in ("conv2d", "conv_transpose2d") or len(self.graph.readers[source.name]) > 1 or source.is_global:
            return
        if source.name in self.graph.outputs.values() or _has_no_grid(source):
            return
        self.affine[source.name] = normalizer(self._call(node))
        self.folded.add(node.name)

    def _call(self, node: Node) -> Call:
        sources = tuple(self.nodes.get(self._resolve(edge.source), self.graph.node(edge.source)) for edge in node.edges)
        names = {name: self._resolve(name) for name in self.names}
        return Call(node, sources, arguments(node.fx), self.constants, names, self.dtype, self.affine.get(node.name))

    def _add(self, node: Node) -> None:
        if node.kind == "input":
            image = node.fx.meta["val"]
            self.program.like = torch.empty(0, dtype=image.dtype, device=image.device)
            self._keep(node, (), Rule(lambda blocks, cuts: blocks[0]))
            return
        if _is_random(node):
            raise NoRuleError("it is random")
        source = self._resolve(node.edges[0].source)
        if node.name in self.folded or (node.op in SAME and len(node.edges) == 1) or _is_nothing(node, self.graph):
            self.names[node.name] = source
        elif node.op in PARTS:
            self._note_parts(node, source)
        elif node.fx.target is operator.getitem:
            self._part(node)
        elif node.op == "max_pool2d_with_indices":
            self._keep(node, self._reads(node), RULES[node.op](self._call(node)))
        else:
            self._operation(node)
        if _in_place(node) and self._seen_elsewhere(node.fx):
            raise NoRuleError("it writes over a tensor of which a view is read later")
        if _in_place(node) and node.name in self.program.operations:
            self.names[source] = node.name  # whoever reads the overwritten tensor later means the new value

    def _seen_elsewhere(self, writer: fx.Node) -> bool:
        """Whether what an in-place operation writes is read later under another name than the one it writes to."""
        target = writer.args[0]
        assert isinstance(target, fx.Node)
        root = target
        while may_alias(root) and isinstance(root.args[0], fx.Node):
            root = root.args[0]
        family, queue = {root}, [root]
        while queue:
            found = [user for user in queue.pop().users if user is not writer and may_alias(user) and user not in family]
            queue += found
            family.update(found)
        order = {node: place for place, node in enumerate(writer.graph.nodes)}
        others = [member for member in family if self._resolve(member.name) != self._resolve(target.name)]
        return any(order[user] > order[writer] and user not in family for member in others for user in member.users)

    def _operation(self, node: Node) -> None:
        rows, columns = ([edge.maps[axis] for edge in node.edges] for axis in (0, 1))
        call = self._call(node)
        pooled = "adaptive" in node.op and any(map(_is_pooled, (*rows, *columns)))
        if pooled or any(map(_is_global, rows)):
            self._global(node, call)
            return
        if node.is_global and node.is_global.cause in ("attention", "weights", "flatten", "concat", "shift"):
            raise NoRuleError(node.is_global.reason)
        whole_rows = any(map(_is_global, columns))
        if node.kind in ("conv", "transposed", "pool") and None in node.dims and not _has_no_grid(node):
            raise NoRuleError("an axis of one cell has been lost in a reshape before it")
        if _has_no_grid(node) and all(map(_has_no_grid, call.sources)) and node.op not in (*VIEWS, "expand", "expand_as"):
            made = bound(call)  # all of it is one cell
        elif node.op in RULES:
            made = RULES[node.op](call)
        elif node.kind in ("pointwise", "merge", "concat", "layout", "norm", "reduce", "linear", "product", "crop"):
            made = bound(call)
        else:
            raise NoRuleError("there is no rule for it")
        if whole_rows and node.dims[1] is not None and node.sizes[1] > 1:
            made = _cut_out(made, node.dims[1])
        self._keep(node, self._reads(node), made, whole_rows)

    def _global(self, node: Node, call: Call) -> None:
        """A pool becomes a statistic; a norm one and a multiplication that uses it. Over what is small they are run as they are."""
        source = self._resolve(node.edges[0].source)
        if all(self._is_small(self._resolve(edge.source)) for edge in node.edges):
            self._keep(node, self._reads(node), bound(call))
        elif node.op in POOLS and len(node.edges) == 1:
            how = POOLS[node.op]
            Pool(call, how)  # refuses what it cannot gather
            self._statistic(node, node.name, source, lambda: Pool(call, how), node.dims)
            self.nodes[node.name] = node
        elif node.op in NORMS and len(node.edges) == 1:
            self._statistic(node, f"{node.name}.moments", source, lambda: Moments(call), (None, None))
            reads = (Read(source, _locals(node.maps)), Read(f"{node.name}.moments", None))
            self._keep(node, reads, _rescaling(node))
        else:
            assert node.is_global is not None
            raise NoRuleError(node.is_global.reason)

    def _statistic(self, node: Node, name: str, source: str, begin: Callable[[], Any], dims: tuple[int | None, ...]) -> None:
        self.program.level[name] = self.program.level[source] + 1
        self.program.statistics[name] = Statistic(name, node.layer, node.op, source, (dims[0], dims[1]), begin)

    def _note_parts(self, node: Node, source: str) -> None:
        given = arguments(node.fx)
        dim = given.get("dim") or 0
        shape = self.graph.node(node.edges[0].source).shape
        sizes = [tensor.shape[dim] if node.op != "unbind" else 1 for tensor in node.fx.meta["val"]]
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        self.tuples[node.name] = (source, dim % len(shape), starts)

    def _part(self, node: Node) -> None:
        """One tensor of a tuple: a crop of what was cut up."""
        origin, index = node.edges[0].source, node.fx.args[1]
        assert isinstance(index, int)
        if origin not in self.tuples:
            self._result(node, self.graph.node(origin), index)
            return
        source, dim, starts = self.tuples[origin]
        whole = self.nodes[source]
        unbind = len(node.shape) < len(whole.shape)
        along = whole.dims.index(dim) if dim in whole.dims else None
        start, size = starts[index], 1 if unbind else node.shape[dim]

        def run(blocks: Sequence[Tensor], cuts: Sequence[Cuts]) -> Tensor:
            x = blocks[0] if along is not None else part(blocks[0], dim, start, size)
            return x.squeeze(dim) if unbind else x

        self._keep(node, (Read(source, (node.maps[0], node.maps[1])),), Rule(run, fresh=False))

    def _result(self, node: Node, origin: Node, index: int) -> None:
        """One of several results: the first is what the operation itself computes, another is computed anew."""
        if index == 0:
            self.names[node.name] = self._resolve(origin.name)
        elif origin.op in RULES or origin.is_global or origin.name not in self.program.operations or node.shape != origin.shape:
            raise NoRuleError("only the first of its results can be computed so")
        else:
            self._keep(node, self._reads(origin), bound(self._call(origin), index))

    def _reads(self, node: Node) -> tuple[Read, ...]:
        return tuple(Read(self._resolve(edge.source), (edge.maps[0], edge.maps[1])) for edge in node.edges)

    def _is_small(self, name: str) -> bool:
        return name in self.program.small or name in self.program.statistics

    def _keep(self, node: Node, reads: tuple[Read, ...], made: Rule, whole_rows: bool = False) -> None:
        for axis in (0, 1):
            if node.sizes[axis] > 1 and node.dims[axis] is None:
                raise NoRuleError("it flattens space")
        sizes, dims = (node.sizes[0], node.sizes[1]), (node.dims[0], node.dims[1])
        program = self.program
        program.level[node.name] = max((program.level[read.source] for read in reads), default=0)
        read_cells = max((read.maps[0].n_in * read.maps[1].n_in for read in reads if read.maps), default=0)
        if all(self._is_small(read.source) for read in reads) and sizes[0] * sizes[1] <= read_cells:
            program.small.add(node.name)
        if program.like.device.type not in DIRECT:
            made = replace(made, into=None)
        self.nodes[node.name] = node
        program.operations[node.name] = Operation(
            node.name, node.layer, node.op, node.shape, sizes, dims, reads, made, node.macs, whole_rows
        )


def _is_global(axis: AxisMap) -> bool:
    return isinstance(axis, Whole | Bins) and axis.n_in > 1 and not axis.is_identity


def _is_pooled(axis: AxisMap) -> bool:
    return isinstance(axis, Whole | Bins) and not axis.is_identity


def _has_no_grid(node: Node) -> bool:
    return node.dims == (None, None) and node.sizes == (1, 1)


def _locals(maps: Sequence[AxisMap]) -> tuple[AxisMap, AxisMap]:
    """What is left of a norm's maps when its statistics are known."""
    rows, columns = (axis.local or axis if isinstance(axis, Whole) else axis for axis in maps)
    return rows, columns


def _is_nothing(node: Node, graph: Graph) -> bool:
    """Whether the operation hands its source on: a crop, a reshape or an expansion to the shape that it has already."""
    ops = ("slice", "narrow", "expand", "expand_as", "adaptive_avg_pool2d", "adaptive_max_pool2d", "pad", "constant_pad_nd", *VIEWS)
    if node.op in ("to", "_to_copy", "type_as"):
        found = node.fx.args[0].meta["val"], node.fx.meta["val"]  # type: ignore[union-attr]
        return found[0].dtype == found[1].dtype and found[0].device == found[1].device
    return (
        node.op in ops
        and len(node.edges) == 1
        and node.shape == graph.node(node.edges[0].source).shape
        and all(axis.is_identity for axis in node.maps)
    )


def _in_place(node: Node) -> bool:
    schema = getattr(node.fx.target, "_schema", None)
    name = schema.name.partition("::")[2] if schema is not None else ""
    return name.endswith("_") and not name.endswith("__") and bool(node.edges)


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


def _rescaling(node: Node) -> Rule:
    """What is left of a norm when its scale and shift are known. They are not rounded to the map's type, only the result is."""

    def run(blocks: Sequence[Tensor], cuts: Sequence[Cuts], out: Tensor | None = None) -> Tensor:
        x, factors = blocks
        scale, shift = factors.view(2, 1, -1, 1, 1)
        y = torch.addcmul(shift, x, scale, out=out)
        # On a GPU autocast leaves group norm, and it alone, in float32.
        return y.to(torch.group_norm(x.new_zeros(1, 1, 1, 1), 1).dtype if "group_norm" in node.op else x.dtype)

    return Rule(run, run)


def normalizer(call: Call) -> tuple[Tensor, Tensor]:
    """Scale and shift per channel, float64, of a batch norm in evaluation mode."""
    mean, variance = call.tensor("running_mean"), call.tensor("running_var")
    weight, bias = call.tensor("weight"), call.tensor("bias")
    assert mean is not None
    assert variance is not None
    scale = torch.rsqrt(precise(variance) + call.get("eps"))
    if weight is not None:
        scale = scale * precise(weight)
    shift = -precise(mean) * scale
    return scale, shift if bias is None else shift + precise(bias)


def arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of a call by the names of its schema, defaults filled in."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return {}
    schema = node.target._schema.arguments
    named = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    return {**named, **dict(zip((argument.name for argument in schema), node.args, strict=False)), **node.kwargs}
